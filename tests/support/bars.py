"""Bars and sources made up for tests of market data."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from domain.clock import UTC
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.market import Bar
from marketdata.session_calendar import NyseCalendar, day_start

CALENDAR = NyseCalendar()
EVENING = dt.datetime(2022, 12, 14, 22, tzinfo=UTC)


def made_bar(symbol: Symbol, date: dt.date, close: float) -> Bar:
    return Bar(
        symbol=symbol,
        at=day_start(date),
        open=close - 0.25,
        high=close + 1.5,
        low=close - 1.5,
        close=close,
        volume=1_000_000,
    )


def made_series(symbol: Symbol, start: dt.date, end: dt.date, *, first: float = 100) -> list[Bar]:
    dates = [session.date for session in CALENDAR.sessions(start, end)]
    return [made_bar(symbol, date, first + number % 9) for number, date in enumerate(dates)]


class MadeSource:
    """A vendor in memory that notes what it was asked."""

    name = "made"

    def __init__(self, *series: Sequence[Bar]) -> None:
        self.bars = {bars[0].symbol: list(bars) for bars in series}
        self.asked: list[tuple[tuple[Symbol, ...], dt.date, dt.date]] = []
        self.is_down = False

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        wanted = tuple(sorted(set(symbols)))
        self.asked.append((wanted, start, end))
        if self.is_down:
            raise ProviderUnavailable("made: down")
        found = {
            symbol: [bar for bar in self.bars.get(symbol, ()) if start <= bar.at.date() <= end]
            for symbol in wanted
        }
        return {symbol: bars for symbol, bars in found.items() if bars}
