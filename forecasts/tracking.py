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
from dataclasses import asdict

import numpy as np

from domain.errors import StateError
from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar
from domain.track_record import LockedForecast, ScoredForecast

GENESIS = "0" * 64
# A half day in summer ends then; no session ends earlier.
_EARLIEST_CLOSE = dt.time(17, tzinfo=dt.UTC)


def lock(
    forecasts: Iterable[Forecast],
    last_closes: Mapping[Symbol, float],
    *,
    base_rate: float,
    locked_at: dt.datetime,
    after: LockedForecast | None,
) -> tuple[LockedForecast, ...]:
    """Chain forecasts to the last record, in the order of their symbols.

    Args:
        forecasts: forecasts of one answer.
        last_closes: close of each forecast's data cut-off; a symbol without one is left out.
        base_rate: share of rises over their horizon, from what the model was trained on.
        locked_at: now.
        after: last record of the log, None for an empty one.
    """
    records: list[LockedForecast] = []
    for forecast in sorted(forecasts, key=lambda one: one.symbol):
        if forecast.symbol in last_closes:
            draft = _draft(forecast, last_closes[forecast.symbol], base_rate, locked_at)
            records.append(_chained(draft, records[-1] if records else after))
    return tuple(records)


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


def verify_answer(records: Sequence[LockedForecast], *, first: int, digest: str) -> None:
    """Check the forecasts of one answer against what the event log holds of them.

    Args:
        records: all of the answer, in order.
        first: number of the first.
        digest: that of the last.

    Raises:
        StateError: they are not the ones that were locked.
    """
    if not records or records[0].number != first or records[-1].digest != digest:
        raise StateError(f"the forecasts locked from {first} on are not all there")
    start = records[0]
    verify_chain(
        records, dataclasses.replace(start, number=start.number - 1, digest=start.previous)
    )


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
    low, high = np.interp((0.1, 0.9), record.levels, record.quantiles)
    return ScoredForecast(
        number=record.number,
        symbol=record.symbol,
        source=record.source,
        model=record.model,
        horizon=record.horizon,
        probability_up=record.probability_up,
        base_rate=record.base_rate,
        matured_on=matured_on,
        outcome=outcome,
        is_inside_80=bool(low <= outcome <= high),
    )


def _draft(
    forecast: Forecast, last_close: float, base_rate: float, locked_at: dt.datetime
) -> LockedForecast:
    return LockedForecast(
        number=1,
        locked_at=locked_at,
        symbol=forecast.symbol,
        data_cutoff=forecast.data_cutoff,
        last_close=last_close,
        horizon=forecast.horizon,
        levels=forecast.levels,
        quantiles=forecast.quantiles,
        probability_up=forecast.probability_up,
        base_rate=base_rate,
        source=forecast.source,
        model=forecast.model,
        model_hash=forecast.model_hash,
        previous=GENESIS,
        digest="",
    )


def _chained(draft: LockedForecast, last: LockedForecast | None) -> LockedForecast:
    if last is not None:
        draft = dataclasses.replace(draft, number=last.number + 1, previous=last.digest)
    return dataclasses.replace(draft, digest=_digest(draft))


def _digest(record: LockedForecast) -> str:
    values = asdict(record)
    del values["digest"]
    values["locked_at"] = record.locked_at.astimezone(dt.UTC).isoformat(timespec="microseconds")
    values["data_cutoff"] = record.data_cutoff.isoformat()
    values["source"] = record.source.value
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
