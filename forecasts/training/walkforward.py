"""Walk-forward: train, calibrate and test on spans that move through the years.

Every test block is later than everything its model has seen, and its baselines know no
more than the model did.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasts.calibration import calibrate
from forecasts.training.baselines import baselines_of
from forecasts.training.config import Spans, TrainingConfig
from forecasts.training.dataset import Panel, Samples, build_samples
from forecasts.training.evaluation import figures
from forecasts.training.fitting import fit
from forecasts.training.losses import scaled_targets, shift_and_stretch

Floats = NDArray[np.float64]
Calibrator = Callable[[Floats, Floats, Floats, Floats, Sequence[float]], Floats]
"""From outcomes, shift, stretch, base and levels to the table of every step; see ``calibrate``."""

VALIDATION_YEARS = 3
CALIBRATION_YEARS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One test block and what it showed, by step."""

    start: dt.date
    end: dt.date
    best_epoch: int
    figures: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedBlock:
    """A test block and the model fitted for it, not calibrated yet.

    ``moved`` and ``moved_later`` are what the network does to its base on the calibration and
    on the test samples: shift and stretch.
    """

    start: dt.date
    end: dt.date
    best_epoch: int
    base: Floats
    levels: tuple[float, ...]
    known: tuple[Samples, ...]
    calibration: Samples
    test: Samples
    moved: tuple[Floats, Floats]
    moved_later: tuple[Floats, Floats]

    def measured(self, calibrator: Calibrator = calibrate) -> Block:
        """Calibrate on what came before the block, and measure on it."""
        outcomes = scaled_targets(self.calibration)
        table = calibrator(outcomes, *self.moved, self.base, self.levels)
        shift, stretch = self.moved_later
        return Block(
            start=self.start,
            end=self.end,
            best_epoch=self.best_epoch,
            figures=figures(
                self.test,
                shift[:, :, None] + stretch[:, :, None] * table,
                baselines_of([*self.known, self.calibration], self.levels),
                self.levels,
            ),
        )


def walk_forward(
    config: TrainingConfig, panel: Panel, years: Sequence[int], *, block_years: int = 3
) -> Iterable[Block]:
    """Yield one block for each start year, each from a model trained for it alone."""
    for block in fitted_blocks(config, panel, years, block_years=block_years):
        yield block.measured()


def fitted_blocks(
    config: TrainingConfig, panel: Panel, years: Sequence[int], *, block_years: int = 3
) -> Iterable[FittedBlock]:
    """Yield the same before calibration, to compare ways of calibrating one model."""
    samples = build_samples(
        panel, lookback=config.lookback, horizon=config.horizon, feature_set=config.features
    )
    for year in years:
        yield _fitted(config, samples, year, block_years)


def spans_before(year: int) -> Spans:
    """Return the spans of a model that is first used in a year."""
    calibration = year - CALIBRATION_YEARS
    return Spans(
        validation=dt.date(calibration - VALIDATION_YEARS, 1, 1),
        calibration=dt.date(calibration, 1, 1),
        end=dt.date(year, 1, 1),
    )


def _fitted(config: TrainingConfig, samples: Samples, year: int, block_years: int) -> FittedBlock:
    spans = spans_before(year)
    told = dataclasses.replace(config, spans=spans)
    training = samples.between(spans.start, spans.validation)
    validation = samples.between(spans.validation, spans.calibration)
    calibration = samples.between(spans.calibration, spans.end)
    end = dt.date(year + block_years, 1, 1)
    first, last = np.datetime64(spans.end, "D"), np.datetime64(end, "D")
    test = samples.where((samples.dates >= first) & (samples.dates < last))
    fitted = fit(training, validation, told)
    return FittedBlock(
        start=spans.end,
        end=end,
        best_epoch=fitted.best_epoch,
        base=fitted.network.base.numpy().astype(np.float64),
        levels=config.levels,
        known=(training, validation),
        calibration=calibration,
        test=test,
        moved=shift_and_stretch(fitted.network, calibration),
        moved_later=shift_and_stretch(fitted.network, test),
    )
