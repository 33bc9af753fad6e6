"""Scores of matured forecasts beside their baseline on the same forecasts."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.track_record import ScoredForecast, ScoreLine
from forecasts.scoring import newey_west_error

Floats = NDArray[np.float64]

# Two-sided 95 % of the normal distribution.
_Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of a group of forecasts.

    The baseline calls every forecast by its base rate.  ``advantage`` is accuracy minus that
    of the baseline, ``brier_excess`` the model's Brier score minus the baseline's.  Standard
    errors take days as clusters and allow for overlapping horizons; ``periods`` is how many
    spans of one horizon follow each other without overlap, and ``effective_size`` how many
    independent forecasts the group is worth.
    """

    count: int
    accuracy: float
    baseline_accuracy: float
    advantage: float
    advantage_error: float
    effective_size: float
    periods: float
    brier: float
    baseline_brier: float
    brier_excess_error: float
    coverage_of_80_band: float
    coverage_error: float

    @property
    def brier_skill(self) -> float:
        """Share of the baseline's Brier score that the model saves; below 0 it adds."""
        return 1 - self.brier / self.baseline_brier if self.baseline_brier > 0 else 0.0

    @property
    def critical(self) -> float:
        """How many standard errors are beyond chance: more where few periods tell the error."""
        return student(max(1.0, self.periods - 1))

    @property
    def advantage_upper_bound(self) -> float:
        """Upper end of the 95 % interval of the advantage."""
        return self.advantage + self.critical * self.advantage_error

    def line(self, grouping: str, name: str) -> ScoreLine:
        """Return what is kept of them."""
        return ScoreLine(
            grouping=grouping,
            name=name,
            count=self.count,
            effective_size=self.effective_size,
            accuracy=self.accuracy,
            baseline_accuracy=self.baseline_accuracy,
            brier=self.brier,
            baseline_brier=self.baseline_brier,
            coverage_of_80_band=self.coverage_of_80_band,
        )


def student(freedom: float) -> float:
    """Return the two-sided 95 % point of Student's distribution, within 1 % from 4 on.

    Source: Abramowitz and Stegun (1964), 26.7.5.
    """
    return _Z + 2.37227 / freedom + 2.82250 / freedom**2 + 2.55585 / freedom**3


def scores_of(scored: Sequence[ScoredForecast]) -> Scores | None:
    """Score a group; None when it is too small for a standard error."""
    days, place = np.unique([one.matured_on.toordinal() for one in scored], return_inverse=True)
    if days.size <= 1:
        return None
    rose = _floats(one.rose for one in scored)
    right = _floats(one.was_right for one in scored)
    inside = _floats(one.is_inside_80 for one in scored)
    model = (_floats(one.probability_up for one in scored) - rose) ** 2
    base = (_floats(one.base_rate for one in scored) - rose) ** 2
    advantage = right - _floats(one.was_baseline_right for one in scored)
    horizon = max(one.horizon for one in scored)
    error = _ClusteredError(place, days.size, horizon)
    accuracy = float(right.mean())
    return Scores(
        count=len(scored),
        accuracy=accuracy,
        baseline_accuracy=accuracy - float(advantage.mean()),
        advantage=float(advantage.mean()),
        advantage_error=error.of(advantage),
        effective_size=_effective(accuracy, error.of(right), len(scored), horizon),
        periods=days.size / horizon,
        brier=float(model.mean()),
        baseline_brier=float(base.mean()),
        brier_excess_error=error.of(model - base),
        coverage_of_80_band=float(inside.mean()),
        coverage_error=error.of(inside),
    )


def grouped(
    scored: Sequence[ScoredForecast], by: Callable[[ScoredForecast], str]
) -> Mapping[str, Scores]:
    """Score each group; a group that is too small is absent."""
    groups: dict[str, list[ScoredForecast]] = {}
    for one in scored:
        groups.setdefault(by(one), []).append(one)
    found = {name: scores_of(groups[name]) for name in sorted(groups)}
    return {name: scores for name, scores in found.items() if scores is not None}


def by_model(one: ScoredForecast) -> str:
    """Group by model."""
    return one.model


def by_source(one: ScoredForecast) -> str:
    """Group by source."""
    return one.source.value


def by_symbol(one: ScoredForecast) -> str:
    """Group by symbol."""
    return one.symbol


def by_confidence(one: ScoredForecast) -> str:
    """Group by confidence, in steps of 5 %."""
    chance = one.probability_up
    low = min(int(max(chance, 1 - chance) * 20), 19) * 5
    return f"{low}-{low + 5} %"


GROUPINGS: Mapping[str, Callable[[ScoredForecast], str]] = {
    "source": by_source,
    "model": by_model,
    "confidence": by_confidence,
    "symbol": by_symbol,
}


class _ClusteredError:
    """Standard error of a mean of forecasts.

    Symbols of one day move together: their mean is one observation.  Forecasts of h
    sessions overlap for h - 1 of them.
    """

    def __init__(self, place: NDArray[np.intp], days: int, horizon: int) -> None:
        self._place = place
        self._lag = max(horizon - 1, math.floor(4 * (days / 100) ** (2 / 9)))

    def of(self, values: Floats) -> float:
        by_day = np.bincount(self._place, weights=values) / np.bincount(self._place)
        return newey_west_error(by_day, lag=self._lag)


def _effective(accuracy: float, error: float, count: int, horizon: int) -> float:
    # However independent the symbols, overlapping forecasts tell no more than every h-th.
    most = count / horizon
    return min(accuracy * (1 - accuracy) / error**2, most) if error > 0 else most


def _floats(values: Iterable[float]) -> Floats:
    return np.fromiter(values, dtype=np.float64)
