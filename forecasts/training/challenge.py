"""A candidate against the model in use: the same windows, which neither has seen.

Both answer the windows of the candidate's calibration span.  Their widths are calibrated on
its first half and their losses taken on its second, so neither weights nor widths know what
they are measured on.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.errors import DataError, StateError
from forecasts.calibration import calibrate
from forecasts.distribution import probability_above_zero
from forecasts.features import computable
from forecasts.local_process import ModelProcess
from forecasts.model_files import StoredModel
from forecasts.scorecard import student
from forecasts.scoring import newey_west_error, pinball
from forecasts.training.dataset import Panel, Samples, build_samples
from forecasts.training.losses import batches, scaled_targets

Floats = NDArray[np.float64]
Figures = Mapping[str, float]

_LOWEST_COVERAGE, _HIGHEST_COVERAGE = 0.72, 0.88
_BATCH = 512
_ANSWER_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What came of it; ``reasons`` say why the candidate is not better, none when it is.

    ``gain`` is the champion's pinball loss less the candidate's, ``error`` its standard error
    with days as clusters and overlapping outcomes, ``critical`` how many of these are beyond
    chance.
    """

    candidate: str
    champion: str
    step: int
    windows: int
    figures: Mapping[str, Figures]
    gain: float
    error: float
    critical: float
    reasons: tuple[str, ...]

    @property
    def is_better(self) -> bool:
        """True when the candidate may replace the champion."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """One model on the measured windows: loss, squared error of P(up), hit, inside the band."""

    loss: Floats
    brier: Floats
    right: Floats
    inside: Floats


def challenge(
    candidate: StoredModel, champion: StoredModel, panel: Panel, *, step: int
) -> Challenge:
    """Measure both models ``step`` sessions ahead and apply the rule.

    Raises:
        DataError: too little data to measure them on.
        StateError: the champion has seen the windows.
        ProviderUnavailable: a model gave no answer.
    """
    start, last = candidate.card.calibration_span
    ours, theirs = (
        _samples(model, panel).between(start, last + dt.timedelta(days=1))
        for model in (candidate, champion)
    )
    both = np.intersect1d(_keys(ours), _keys(theirs))
    ours, theirs = _only(ours, both), _only(theirs, both)
    days = np.unique(ours.dates)
    if days.size <= 2 * step:
        raise DataError(
            f"{candidate.card.title} and {champion.card.title} have {days.size} days in common, "
            f"too few for outcomes {step} sessions ahead; fetch a longer history"
        )
    middle = days[days.size // 2]
    if champion.card.validation_span[1] >= middle.item():
        raise StateError(
            f"{champion.card.title} was fitted to days until {champion.card.validation_span[1]}, "
            f"and would be measured from {middle} on; wait until later data is there"
        )
    second = ours.dates >= middle
    new = _answers(candidate, ours, middle, step)
    old = _answers(champion, theirs, middle, step)
    return _judged(candidate, champion, new, old, ours.where(second), step)


def _judged(
    candidate: StoredModel,
    champion: StoredModel,
    new: _Answers,
    old: _Answers,
    samples: Samples,
    step: int,
) -> Challenge:
    _, day = np.unique(samples.dates, return_inverse=True)
    counts = np.bincount(day)

    def difference(left: Floats, right: Floats) -> tuple[float, float]:
        by_day = np.bincount(day, weights=left - right) / counts
        return float((left - right).mean()), newey_west_error(by_day, lag=max(step - 1, 5))

    critical = student(max(1.0, counts.size / step - 1))
    gain, error = difference(old.loss, new.loss)
    brier_gain, brier_error = difference(old.brier, new.brier)
    return Challenge(
        candidate=candidate.card.title,
        champion=champion.card.title,
        step=step,
        windows=samples.size,
        figures={"candidate": _figures(new), "champion": _figures(old)},
        gain=gain,
        error=error,
        critical=critical,
        reasons=objections(
            gain,
            margin=critical * error,
            coverage=float(new.inside.mean()),
            brier_gain=brier_gain,
            brier_margin=critical * brier_error,
        ),
    )


def objections(
    gain: float, *, margin: float, coverage: float, brier_gain: float, brier_margin: float
) -> tuple[str, ...]:
    """Apply the rule: better beyond chance, an honest band, chances no worse beyond chance."""
    found = []
    if not gain > margin:
        found.append(f"its loss is {_apart(gain)}, and chance alone makes {margin:.5f}")
    if not _LOWEST_COVERAGE <= coverage <= _HIGHEST_COVERAGE:
        found.append(f"its 80 % band held {coverage:.0%}")
    if not brier_gain + brier_margin >= 0:
        found.append(f"its Brier score is {-brier_gain:.5f} above, beyond chance")
    return tuple(found)


def _apart(gain: float) -> str:
    return f"{abs(gain):.5f} {'lower' if gain > 0 else 'higher'}"


def _figures(answers: _Answers) -> Figures:
    return {
        "pinball": float(answers.loss.mean()),
        "brier": float(answers.brier.mean()),
        "accuracy": float(answers.right.mean()),
        "coverage_of_80_band": float(answers.inside.mean()),
    }


def _answers(model: StoredModel, samples: Samples, middle: np.datetime64, step: int) -> _Answers:
    first = samples.where(samples.matured < middle)
    second = samples.where(samples.dates >= middle)
    levels, place = model.card.levels, slice(step - 1, step)
    base = np.asarray(model.card.calibration.table)[place]
    process = ModelProcess(model.onnx)
    try:
        shift, stretch = _moved(process, first, base, step)
        table = calibrate(scaled_targets(first)[:, place], shift, stretch, base, levels)
        shift, stretch = _moved(process, second, base, step)
    finally:
        process.close()
    quantiles = shift + stretch * table
    outcomes = scaled_targets(second)[:, step - 1]
    rose = (outcomes > 0).astype(np.float64)
    grid = np.asarray(levels)
    chances = np.array([probability_above_zero(grid, row) for row in quantiles])
    losses = [pinball(outcomes, quantiles[:, n], level) for n, level in enumerate(levels)]
    return _Answers(
        loss=np.mean(losses, axis=0),
        brier=(chances - rose) ** 2,
        right=((chances >= 1 / 2) == (rose == 1)).astype(np.float64),
        inside=((outcomes >= quantiles[:, 1]) & (outcomes <= quantiles[:, -2])).astype(np.float64),
    )


def _moved(
    process: ModelProcess, samples: Samples, base: Floats, step: int
) -> tuple[Floats, Floats]:
    """Return what a model does to its table at one step, each (n, 1)."""
    answers = [
        process.run(samples.contexts(batch), _ANSWER_SECONDS)[:, step - 1]
        for batch in batches(np.arange(samples.size), _BATCH)
    ]
    unit = (samples.scale * np.sqrt(step))[:, None]
    scaled = np.concatenate(answers).astype(np.float64) / unit
    stretch = (scaled[:, -1] - scaled[:, 0]) / (base[0, -1] - base[0, 0])
    middle = base.shape[1] // 2
    shift = scaled[:, middle] - stretch * base[0, middle]
    return shift[:, None], stretch[:, None]


def _samples(model: StoredModel, panel: Panel) -> Samples:
    card = model.card
    chosen = computable(card.features, needed_by=f"measuring {card.title}")
    return build_samples(panel, lookback=card.lookback, horizon=card.horizon, feature_set=chosen)


def _keys(samples: Samples) -> NDArray[np.int64]:
    return samples.symbols * 1_000_000 + samples.dates.astype("datetime64[D]").astype(np.int64)


def _only(samples: Samples, keys: NDArray[np.int64]) -> Samples:
    return samples.where(np.isin(_keys(samples), keys))
