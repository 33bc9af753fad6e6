"""Was it right?  Forecasts are locked before their outcome can be known, and scored after.

Each record carries the hash of the one before it, so a forecast cannot be changed, removed
or slipped in later without the chain showing it.
"""

import dataclasses
import datetime as dt
import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from domain.errors import StateError
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar

GENESIS = "0" * 64
# A half day in summer ends then; no session ends earlier.
_EARLIEST_CLOSE = dt.time(17, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedForecast:
    """A forecast as it was known at ``locked_at``, and its place in the chain."""

    number: int
    locked_at: dt.datetime
    symbol: Symbol
    data_cutoff: dt.date
    last_close: float
    horizon: int
    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    probability_up: float
    source: ForecastSource
    model: str
    model_hash: str
    previous: str
    digest: str

    def to_line(self) -> str:
        """Return the record as one line of text."""
        return _canonical({**_payload(self), "digest": self.digest})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredForecast:
    """A matured forecast and its outcome, a cumulative log return."""

    forecast: LockedForecast
    matured_on: dt.date
    outcome: float

    @property
    def rose(self) -> bool:
        """True when the price rose."""
        return self.outcome > 0

    @property
    def was_right(self) -> bool:
        """True when the likelier direction came."""
        return (self.forecast.probability_up >= 1 / 2) == self.rose

    @property
    def is_inside_80(self) -> bool:
        """True when the outcome fell between the 10 % and the 90 % quantile."""
        low, high = np.interp((0.1, 0.9), self.forecast.levels, self.forecast.quantiles)
        return bool(low <= self.outcome <= high)


def lock(
    forecasts: Iterable[Forecast],
    last_closes: Mapping[Symbol, float],
    *,
    locked_at: dt.datetime,
    after: LockedForecast | None,
) -> tuple[LockedForecast, ...]:
    """Chain forecasts to the last record, in the order of their symbols.

    Args:
        forecasts: forecasts of one run.
        last_closes: close of each forecast's data cut-off; a symbol without one is left out.
        locked_at: now.
        after: last record of the log, None for an empty one.
    """
    records: list[LockedForecast] = []
    for forecast in sorted(forecasts, key=lambda one: one.symbol):
        if forecast.symbol in last_closes:
            last = records[-1] if records else after
            records.append(_record(forecast, last_closes[forecast.symbol], locked_at, last))
    return tuple(records)


def read_line(line: str) -> LockedForecast:
    """Read one line of a log.

    Raises:
        StateError: not a record, or its hash is not that of its content.
    """
    try:
        values = json.loads(line)
        record = LockedForecast(
            **{
                **values,
                "locked_at": dt.datetime.fromisoformat(values["locked_at"]),
                "data_cutoff": dt.date.fromisoformat(values["data_cutoff"]),
                "symbol": Symbol(values["symbol"]),
                "source": ForecastSource(values["source"]),
                "levels": tuple(values["levels"]),
                "quantiles": tuple(values["quantiles"]),
            }
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise StateError(f"a locked forecast cannot be read ({exc})") from exc
    if _digest(record) != record.digest:
        raise StateError(f"locked forecast {record.number} was changed after it was locked")
    return record


def verify_chain(records: Sequence[LockedForecast], after: LockedForecast | None = None) -> None:
    """Check that nothing was changed, removed, slipped in or put in another order.

    Args:
        records: some of a log, in order.
        after: the record before them; None when they begin the log.

    Raises:
        StateError: names the first record that does not follow its predecessor.
    """
    previous = GENESIS if after is None else after.digest
    first = 1 if after is None else after.number + 1
    for number, record in enumerate(records, start=first):
        if record.number != number or record.previous != previous:
            raise StateError(f"locked forecast {number} does not follow its predecessor")
        if _digest(record) != record.digest:
            raise StateError(f"locked forecast {number} was changed after it was locked")
        previous = record.digest


def score(
    records: Iterable[LockedForecast], history: Mapping[Symbol, Sequence[Bar]]
) -> tuple[ScoredForecast, ...]:
    """Score every forecast that has matured.

    Only the first forecast of a symbol, model, source and data cut-off counts, and only if it
    was locked before its outcome could be known.
    """
    dates = {symbol: [bar.at.date() for bar in bars] for symbol, bars in history.items()}
    seen: set[tuple[str, ...]] = set()
    scored: list[ScoredForecast] = []
    for record in records:
        key = (record.symbol, record.model_hash, record.source, str(record.data_cutoff))
        if key in seen:
            continue
        seen.add(key)
        found = _scored(record, history.get(record.symbol, ()), dates.get(record.symbol, []))
        if found is not None:
            scored.append(found)
    return tuple(scored)


def _scored(
    record: LockedForecast, bars: Sequence[Bar], dates: list[dt.date]
) -> ScoredForecast | None:
    first = bisect_right(dates, record.data_cutoff)
    place = first + record.horizon - 1
    # The cut-off itself must be there: prices are adjusted backwards, so the close that was
    # known then may have another unit now, and only a ratio within one series is a return.
    if first == 0 or dates[first - 1] != record.data_cutoff or place >= len(bars):
        return None
    matured_on = dates[place]
    if not record.locked_at < dt.datetime.combine(matured_on, _EARLIEST_CLOSE):
        return None
    outcome = math.log(bars[place].close / bars[first - 1].close)
    return ScoredForecast(forecast=record, matured_on=matured_on, outcome=outcome)


def _record(
    forecast: Forecast, last_close: float, locked_at: dt.datetime, last: LockedForecast | None
) -> LockedForecast:
    draft = LockedForecast(
        number=1 if last is None else last.number + 1,
        locked_at=locked_at,
        symbol=forecast.symbol,
        data_cutoff=forecast.data_cutoff,
        last_close=last_close,
        horizon=forecast.horizon,
        levels=forecast.levels,
        quantiles=forecast.quantiles,
        probability_up=forecast.probability_up,
        source=forecast.source,
        model=forecast.model,
        model_hash=forecast.model_hash,
        previous=GENESIS if last is None else last.digest,
        digest="",
    )
    return dataclasses.replace(draft, digest=_digest(draft))


def _digest(record: LockedForecast) -> str:
    return hashlib.sha256(_canonical(_payload(record)).encode()).hexdigest()


def _payload(record: LockedForecast) -> dict[str, object]:
    values = asdict(record)
    del values["digest"]
    values["locked_at"] = record.locked_at.isoformat()
    values["data_cutoff"] = record.data_cutoff.isoformat()
    values["source"] = record.source.value
    return values


def _canonical(values: Mapping[str, object]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
