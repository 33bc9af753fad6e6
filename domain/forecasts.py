"""Forecasts: a distribution of the future return of one symbol."""

import datetime as dt
import math
from dataclasses import dataclass
from enum import StrEnum, unique

from domain.errors import DataError
from domain.ids import Symbol


@unique
class ForecastSource(StrEnum):
    """Which engine answered."""

    REMOTE = "remote"
    LOCAL = "local"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Cumulative log return over ``horizon`` sessions, as calibrated quantiles.

    ``levels`` rise within (0, 1); ``quantiles`` never fall, fractions (0.01 = 1 %);
    ``mean`` and ``volatility`` describe the same period; ``probability_up`` is
    P(return > 0).  ``data_cutoff`` is the date of the last bar the model saw.
    """

    symbol: Symbol
    as_of: dt.datetime
    horizon: int
    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    mean: float
    volatility: float
    probability_up: float
    source: ForecastSource
    model: str
    model_hash: str
    data_cutoff: dt.date

    def __post_init__(self) -> None:
        """Refuse anything that is not a distribution."""
        numbers = (*self.levels, *self.quantiles, self.mean, self.volatility, self.probability_up)
        if not all(math.isfinite(number) for number in numbers):
            raise DataError(f"{self.symbol}: forecast of {self.model} is not finite")
        if len(self.levels) != len(self.quantiles) or list(self.levels) != sorted(set(self.levels)):
            raise DataError(f"{self.symbol}: forecast of {self.model} has mismatched levels")
        if list(self.quantiles) != sorted(self.quantiles):
            raise DataError(f"{self.symbol}: forecast of {self.model} has crossing quantiles")
        if self.volatility <= 0 or not 0 <= self.probability_up <= 1 or self.horizon < 1:
            raise DataError(f"{self.symbol}: forecast of {self.model} is out of range")

    @property
    def confidence(self) -> float:
        """Probability of the more likely direction, in [0.5, 1]."""
        return max(self.probability_up, 1 - self.probability_up)
