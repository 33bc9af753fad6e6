"""The recorded prices as a bar source: what the demo and the embedded default trade on."""

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from domain.clock import Clock
from domain.ids import Symbol
from domain.market import Bar
from marketdata.base import SessionCalendar
from marketdata.recording import Recording, recording
from marketdata.session_calendar import last_complete


class SampleBars:
    """A BarSource over the recording; it never shows a session that is not over yet."""

    name = "sample"

    def __init__(self, *, clock: Clock, calendar: SessionCalendar) -> None:
        self._clock = clock
        self._calendar = calendar

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the complete daily bars of the dates ``start`` to ``end``, oldest first.

        A symbol that is not recorded is absent.

        Raises:
            DataError: a data package is not installed.
        """
        last = min(end, last_complete(self._calendar, self._clock.now()).date)
        # In a thread: the first call reads two files, a quarter of a second.
        return await asyncio.to_thread(_collect, sorted(set(symbols)), start, last)


def _collect(
    symbols: Sequence[Symbol], start: dt.date, end: dt.date
) -> Mapping[Symbol, Sequence[Bar]]:
    recorded: Recording = recording()
    found = {symbol: recorded.bars(symbol, start, end) for symbol in symbols}
    return {symbol: bars for symbol, bars in found.items() if bars}
