"""Scores of matured forecasts beside their baseline on the same forecasts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasts.scoring import brier_parts, newey_west_error
from forecasts.tracking import ScoredForecast

Floats = NDArray[np.float64]

# Two-sided 95 %.
_STANDARD_ERRORS = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of a group of forecasts.

    The baseline calls every forecast a rise, with the base rate as its probability.
    ``advantage`` is accuracy minus that of the baseline, ``advantage_error`` its standard
    error with days as clusters and overlapping horizons allowed for; ``effective_size``
    is how many independent forecasts would give that error.
    """

    count: int
    accuracy: float
    baseline_accuracy: float
    advantage: float
    advantage_error: float
    effective_size: float
    brier: float
    baseline_brier: float
    coverage_of_80_band: float

    @property
    def brier_skill(self) -> float:
        """Share of the baseline's Brier score that the model saves; below 0 it adds."""
        return 1 - self.brier / self.baseline_brier if self.baseline_brier > 0 else 0.0

    @property
    def advantage_upper_bound(self) -> float:
        """Upper end of the 95 % interval of the advantage."""
        return self.advantage + _STANDARD_ERRORS * self.advantage_error


def scores_of(scored: Sequence[ScoredForecast], *, base_rate: float) -> Scores | None:
    """Score a group; None when it is too small for a standard error.

    Args:
        scored: matured forecasts.
        base_rate: share of rises known before the first of them, from the model's card.
    """
    days = np.unique([one.matured_on.toordinal() for one in scored])
    if days.size <= 1:
        return None
    rose = np.array([float(one.rose) for one in scored])
    right = np.array([float(one.was_right) for one in scored])
    chances = np.array([one.forecast.probability_up for one in scored])
    advantage = right - rose if base_rate >= 1 / 2 else right - (1 - rose)
    error = _clustered_error(scored, advantage)
    accuracy = float(right.mean())
    spread = accuracy * (1 - accuracy)
    own_error = _clustered_error(scored, right)
    effective = spread / own_error**2 if own_error > 0 else float(len(scored))
    return Scores(
        count=len(scored),
        accuracy=accuracy,
        baseline_accuracy=accuracy - float(advantage.mean()),
        advantage=float(advantage.mean()),
        advantage_error=error,
        effective_size=min(effective, float(len(scored))),
        brier=brier_parts(chances, rose).brier,
        baseline_brier=float(np.mean((base_rate - rose) ** 2)),
        coverage_of_80_band=float(np.mean([one.is_inside_80 for one in scored])),
    )


def grouped(
    scored: Sequence[ScoredForecast], by: Callable[[ScoredForecast], str], *, base_rate: float
) -> Mapping[str, Scores]:
    """Score each group; a group that is too small is absent."""
    groups: dict[str, list[ScoredForecast]] = {}
    for one in scored:
        groups.setdefault(by(one), []).append(one)
    found = {name: scores_of(groups[name], base_rate=base_rate) for name in sorted(groups)}
    return {name: scores for name, scores in found.items() if scores is not None}


def by_model(one: ScoredForecast) -> str:
    """Group by model."""
    return one.forecast.model


def by_source(one: ScoredForecast) -> str:
    """Group by source."""
    return one.forecast.source.value


def by_symbol(one: ScoredForecast) -> str:
    """Group by symbol."""
    return one.forecast.symbol


def by_confidence(one: ScoredForecast) -> str:
    """Group by confidence, in steps of 5 %."""
    chance = one.forecast.probability_up
    low = min(int(max(chance, 1 - chance) * 20), 19) * 5
    return f"{low}-{low + 5} %"


def _clustered_error(scored: Sequence[ScoredForecast], values: Floats) -> float:
    # Symbols of one day move together: their mean is one observation.  Forecasts of h
    # sessions overlap for h - 1 of them.
    days, place = np.unique([one.matured_on.toordinal() for one in scored], return_inverse=True)
    by_day = np.bincount(place, weights=values) / np.bincount(place)
    horizon = max(one.forecast.horizon for one in scored)
    rule = math.floor(4 * (days.size / 100) ** (2 / 9))
    return newey_west_error(by_day, lag=max(horizon - 1, rule))
