"""Ports of the exchange: where prices come from, and when the market is open."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from domain.ids import Symbol
from domain.market import Bar, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Prices of one symbol at a moment, USD; ``volume`` is shares offered until the next change."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    volume: Decimal | None = None

    @property
    def middle(self) -> Decimal:
        """Middle of bid and ask."""
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A symbol of the exchange and what is allowed for it."""

    symbol: Symbol
    name: str
    venue: str = "NASDAQ"
    is_tradable: bool = True
    is_shortable: bool = True
    is_fractionable: bool = True


class PriceFeed(Protocol):
    """Prices as a step function of time; never a price from after the asked moment."""

    def quote(self, symbol: Symbol, at: dt.datetime) -> Quote | None:
        """Return the prices in force at a moment; after hours those of the last close."""

    def next_change(self, after: dt.datetime) -> dt.datetime | None:
        """Return the first moment after ``after`` at which any price may change."""

    def listings(self) -> Sequence[Listing]:
        """Return all symbols, sorted."""

    def listing(self, symbol: Symbol) -> Listing | None:
        """Return one symbol, or None."""

    def daily_bars(self, symbol: Symbol, start: dt.date, end: dt.date) -> Sequence[Bar]:
        """Return the recorded daily bars between two dates, both included."""


class SessionSource(Protocol):
    """Trading sessions; the same shape as the calendar of the market data room."""

    def session_on(self, date: dt.date) -> Session | None:
        """Return the session of a New York date, or None."""

    def next_session(self, moment: dt.datetime) -> Session:
        """Return the first session whose close is after ``moment``."""

    def previous_session(self, date: dt.date) -> Session:
        """Return the last session before a date."""

    def sessions(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Return the sessions between two dates, both included."""


class ListedSessions:
    """Sessions from a list, for recordings and tests."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sorted(sessions, key=lambda session: session.date)
        self._by_date = {session.date: session for session in self._sessions}

    def session_on(self, date: dt.date) -> Session | None:
        """Return the session of a date, or None."""
        return self._by_date.get(date)

    def next_session(self, moment: dt.datetime) -> Session:
        """Return the first session whose close is after ``moment``."""
        for session in self._sessions:
            if session.close > moment:
                return session
        raise LookupError(f"no session is listed after {moment:%Y-%m-%d %H:%M}")

    def previous_session(self, date: dt.date) -> Session:
        """Return the last session before a date."""
        for session in reversed(self._sessions):
            if session.date < date:
                return session
        raise LookupError(f"no session is listed before {date}")

    def sessions(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Return the sessions between two dates, both included."""
        return [session for session in self._sessions if start <= session.date <= end]
