"""Walk-forward: train, calibrate and test on spans that move through the years.

Every test block is later than everything its model has seen, and its baselines know no
more than the model did.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasts.calibration import calibrate
from forecasts.training.baselines import baselines_of
from forecasts.training.config import Spans, TrainingConfig
from forecasts.training.dataset import Panel, Samples, build_samples
from forecasts.training.evaluation import figures
from forecasts.training.fitting import fit
from forecasts.training.losses import scaled_targets, shift_and_stretch

VALIDATION_YEARS = 3
CALIBRATION_YEARS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One test block and what it showed, by step."""

    start: dt.date
    end: dt.date
    best_epoch: int
    figures: Mapping[str, Mapping[str, float]]


def walk_forward(
    config: TrainingConfig, panel: Panel, years: Sequence[int], *, block_years: int = 3
) -> Iterable[Block]:
    """Yield one block for each start year, each from a model trained for it alone."""
    samples = build_samples(
        panel, lookback=config.lookback, horizon=config.horizon, feature_set=config.features
    )
    for year in years:
        yield _block(config, samples, year, block_years)


def spans_before(year: int) -> Spans:
    """Return the spans of a model that is first used in a year."""
    calibration = year - CALIBRATION_YEARS
    return Spans(
        validation=dt.date(calibration - VALIDATION_YEARS, 1, 1),
        calibration=dt.date(calibration, 1, 1),
        end=dt.date(year, 1, 1),
    )


def _block(config: TrainingConfig, samples: Samples, year: int, block_years: int) -> Block:
    spans = spans_before(year)
    told = dataclasses.replace(config, spans=spans)
    training = samples.between(spans.start, spans.validation)
    validation = samples.between(spans.validation, spans.calibration)
    calibration = samples.between(spans.calibration, spans.end)
    end = dt.date(year + block_years, 1, 1)
    first, last = np.datetime64(spans.end, "D"), np.datetime64(end, "D")
    test = samples.where((samples.dates >= first) & (samples.dates < last))
    fitted = fit(training, validation, told)
    base = fitted.network.base.numpy().astype(np.float64)
    shift, stretch = shift_and_stretch(fitted.network, calibration)
    table = calibrate(scaled_targets(calibration), shift, stretch, base, config.levels)
    shift, stretch = shift_and_stretch(fitted.network, test)
    return Block(
        start=spans.end,
        end=end,
        best_epoch=fitted.best_epoch,
        figures=figures(
            test,
            shift[:, :, None] + stretch[:, :, None] * table,
            baselines_of([training, validation, calibration], config.levels),
            config.levels,
        ),
    )
