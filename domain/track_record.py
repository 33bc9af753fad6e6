"""The track record: forecasts as they were locked, and what came of them."""

import datetime as dt
from dataclasses import dataclass

from domain.forecasts import ForecastSource
from domain.ids import Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedForecast:
    """A forecast as it was known at ``locked_at``, and its place in the chain.

    ``base_rate`` is the baseline's probability of a rise over the same period, as it was
    known then; ``digest`` covers everything before it.
    """

    number: int
    locked_at: dt.datetime
    symbol: Symbol
    data_cutoff: dt.date
    last_close: float
    horizon: int
    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    probability_up: float
    base_rate: float
    source: ForecastSource
    model: str
    model_hash: str
    previous: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredForecast:
    """What a score needs of a matured forecast; ``outcome`` is a cumulative log return."""

    number: int
    symbol: Symbol
    source: ForecastSource
    model: str
    horizon: int
    probability_up: float
    base_rate: float
    matured_on: dt.date
    outcome: float
    is_inside_80: bool

    @property
    def rose(self) -> bool:
        """True when the price rose."""
        return self.outcome > 0

    @property
    def was_right(self) -> bool:
        """True when the likelier direction came."""
        return (self.probability_up >= 1 / 2) == self.rose

    @property
    def was_baseline_right(self) -> bool:
        """True when the direction that the base rate makes likelier came."""
        return (self.base_rate >= 1 / 2) == self.rose


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """Scores of one group of matured forecasts, such as one source.

    The baseline calls every forecast by its base rate.  ``effective_size`` is how many
    independent forecasts the group is worth; 0 where it is too small to tell.
    """

    grouping: str
    name: str
    count: int
    effective_size: float
    accuracy: float
    baseline_accuracy: float
    brier: float
    baseline_brier: float
    coverage_of_80_band: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a source stands with its track record, after one more check.

    ``bad`` and ``good`` count checks in a row, ``cool_down`` those until it may change
    again; ``complaint`` is what this check found, ``reason`` why the source is demoted.
    """

    source: ForecastSource
    model: str
    is_demoted: bool
    bad: int
    good: int
    cool_down: int
    reason: str
    complaint: str
