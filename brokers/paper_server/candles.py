"""Bars of any timeframe from the feed; never a price from after now."""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brokers.exchange.engine import Exchange
from brokers.exchange.refusal import Refusal
from brokers.exchange.windows import NEW_YORK, new_york
from domain.ids import Symbol
from domain.market import Bar
from domain.money import ZERO

_TIMEFRAME = re.compile(r"(\d{0,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)")

Edge = Callable[[dt.datetime], dt.datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One bar with exact prices; ``at`` is its left edge."""

    at: dt.datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    def merged(self, later: "Candle") -> "Candle":
        """Return this bar and a later one as one."""
        return Candle(
            at=self.at,
            open=self.open,
            high=max(self.high, later.high),
            low=min(self.low, later.low),
            close=later.close,
            volume=self.volume + later.volume,
        )


def candles(
    exchange: Exchange, symbol: Symbol, timeframe: str, start: dt.datetime, end: dt.datetime
) -> Sequence[Candle]:
    """Return the bars whose left edge is in [start, end], oldest first.

    The running day is included as far as it has come, as Alpaca does.

    Raises:
        Refusal: the timeframe is unknown.
    """
    count, unit = _read_timeframe(timeframe)
    if unit in ("Min", "T", "Hour", "H"):
        seconds = count * (60 if unit in ("Min", "T") else 3600)
        merged = _merge(_steps(exchange, symbol, start, end, seconds), _intraday_edge(seconds))
    else:
        merged = _merge(_days(exchange, symbol, start, end), _calendar_edge(unit, count))
    return [candle for candle in merged if start <= candle.at <= end]


def day_start(date: dt.date) -> dt.datetime:
    """Return midnight in New York, the left edge of a daily bar."""
    return dt.datetime.combine(date, dt.time(), NEW_YORK).astimezone(dt.UTC)


def _read_timeframe(text: str) -> tuple[int, str]:
    match = _TIMEFRAME.fullmatch(text)
    if match is None or match[1].startswith("0"):
        raise Refusal(400, 40010001, f"invalid timeframe: {text}")
    return int(match[1] or 1), match[2]


def _intraday_edge(seconds: int) -> Edge:
    def edge(at: dt.datetime) -> dt.datetime:
        start = day_start(new_york(at).date())
        return start + (at - start) // dt.timedelta(seconds=seconds) * dt.timedelta(seconds=seconds)

    return edge


def _calendar_edge(unit: str, count: int) -> Edge:
    def edge(at: dt.datetime) -> dt.datetime:
        date = new_york(at).date()
        if unit in ("Week", "W"):
            date -= dt.timedelta(days=date.weekday())
        elif unit in ("Month", "M"):
            date = date.replace(month=(date.month - 1) // count * count + 1, day=1)
        return day_start(date)

    return edge


def _merge(parts: Iterator[Candle], edge: Edge) -> Sequence[Candle]:
    merged: dict[dt.datetime, Candle] = {}
    for part in parts:
        at = edge(part.at)
        known = merged.get(at)
        merged[at] = _moved(part, at) if known is None else known.merged(part)
    return [merged[at] for at in sorted(merged)]


def _moved(candle: Candle, at: dt.datetime) -> Candle:
    return Candle(
        at=at,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
    )


def _steps(
    exchange: Exchange, symbol: Symbol, start: dt.datetime, end: dt.datetime, seconds: int
) -> Iterator[Candle]:
    # A whole bucket earlier, so that the first bar is complete.
    moment = start - dt.timedelta(seconds=seconds, microseconds=1)
    last = min(end + dt.timedelta(seconds=seconds), exchange.last_time)
    while (change := exchange.feed.next_change(moment)) is not None and change <= last:
        moment = change
        quote = exchange.feed.quote(symbol, change)
        if quote is None or quote.volume is None:
            continue
        # The closing price belongs to the last minute of the session, not to the one after.
        session = exchange.calendar.session_on(new_york(change).date())
        is_close = session is not None and change == session.close
        at = change - dt.timedelta(seconds=1) if is_close else change
        yield Candle(
            at=at,
            open=quote.last,
            high=quote.last,
            low=quote.last,
            close=quote.last,
            volume=quote.volume,
        )


def _days(
    exchange: Exchange, symbol: Symbol, start: dt.datetime, end: dt.datetime
) -> Iterator[Candle]:
    now = exchange.last_time
    last = min(new_york(end).date(), new_york(now).date())
    # A month earlier, so that the first week or month is complete.
    first = new_york(start).date() - dt.timedelta(days=366)
    for bar in exchange.feed.daily_bars(symbol, first, last):
        date = bar.at.date()
        session = exchange.calendar.session_on(date)
        if session is not None and now < session.close:
            if now >= session.open:
                yield from _running_day(exchange, symbol, session.open, date)
            continue
        candle = _from_bar(bar, date)
        if candle is not None:
            yield candle


def _running_day(
    exchange: Exchange, symbol: Symbol, opened: dt.datetime, date: dt.date
) -> Iterator[Candle]:
    parts = _steps(exchange, symbol, opened, exchange.last_time, 0)
    yield from _merge(parts, lambda _: day_start(date))


def _from_bar(bar: Bar, date: dt.date) -> Candle | None:
    if bar.open is None or bar.high is None or bar.low is None:
        return None
    return Candle(
        at=day_start(date),
        open=Decimal(repr(bar.open)),
        high=Decimal(repr(bar.high)),
        low=Decimal(repr(bar.low)),
        close=Decimal(repr(bar.close)),
        volume=ZERO if bar.volume is None else Decimal(int(bar.volume)),
    )
