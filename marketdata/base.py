"""Ports of market data."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from domain.ids import Symbol
from domain.market import Bar, Session


class BarSource(Protocol):
    """Daily bars of many symbols; each starts at midnight in New York, given in UTC."""

    name: str

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the complete daily bars of the dates ``start`` to ``end``, oldest first.

        A symbol without data is absent.

        Raises:
            ProviderUnavailable: the source did not answer.
        """


class SessionCalendar(Protocol):
    """Trading sessions; the only place that knows New York time."""

    def session_on(self, date: dt.date) -> Session | None:
        """Return the session of a New York date, or None when the exchange is closed."""

    def next_session(self, moment: dt.datetime) -> Session:
        """Return the first session whose close is after ``moment``."""

    def previous_session(self, date: dt.date) -> Session:
        """Return the last session before a date."""

    def sessions(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Return the sessions between two dates, both included."""
