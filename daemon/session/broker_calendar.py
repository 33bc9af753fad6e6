"""The broker's calendar beside ours: the coming days, and which of the past ones were closed.

What was closed is remembered over a restart, for as long as no answer has the day again.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from domain.clock import Clock
from domain.errors import StateError
from domain.market import Session
from execution.desk import Desk
from marketdata.base import SessionCalendar
from marketdata.traded_sessions import TradedSessions
from state.facts import Facts
from state.reader import Reader

SESSIONS_COMPARED = 10

_FACT: Final = "closed_days"
_LONGEST_CLOSURE = dt.timedelta(days=30)


def traded_sessions(planned: SessionCalendar, facts: Facts, clock: Clock) -> TradedSessions:
    """Return our calendar without the days that are remembered as closed."""
    return TradedSessions(planned, clock=clock, closed=_days(facts.get(_FACT)))


def sessions_beside(planned: SessionCalendar, state: Path, clock: Clock) -> TradedSessions:
    """Return the same for a command, which reads a state directory and may find none."""
    try:
        with Reader(state) as reader:
            closed = closed_days(reader)
    except StateError:
        closed = []
    return TradedSessions(planned, clock=clock, closed=closed)


def closed_days(reader: Reader) -> list[dt.date]:
    """Return the days that are remembered as closed."""
    return _days(reader.fact(_FACT))


def _days(told: str | None) -> list[dt.date]:
    return [dt.date.fromisoformat(day) for day in (told or "").split()]


class BrokerCalendar:
    """Asks the broker, and lets our calendar learn from the answer.

    Args:
        desk: the broker.
        calendar: ours, which learns what was closed.
        facts: where that is remembered.
    """

    def __init__(self, desk: Desk, calendar: TradedSessions, facts: Facts) -> None:
        self._desk = desk
        self._calendar = calendar
        self._facts = facts
        self._seen: dt.date | None = None
        self._log = structlog.get_logger("market")

    def has(self, session: Session) -> bool:
        """Tell whether the last answer was about this session, and had it."""
        return self._seen == session.date

    def was_closed(self, session: Session) -> bool:
        """Tell whether there was no such session, by evidence."""
        return session.date in self._calendar.closed

    async def ask(self, session: Session) -> tuple[Sequence[Session], Sequence[Session]]:
        """Return our sessions and the broker's from this one on.

        Raises:
            BrokerUnavailable: there was no usable answer.
            AuthRefused: the keys were not accepted.
            DataError: the answer cannot be read.
        """
        planned, first = self._calendar.planned, session.date
        ours = planned.sessions(first, first + _LONGEST_CLOSURE)[:SESSIONS_COMPARED]
        # The days behind are asked for too: a decision wants a bar of each.
        start, end = self._calendar.asked_from(first), ours[-1].date
        theirs = await self._desk.broker.calendar(start, end)
        self._learn(theirs, planned.sessions(start, end), first)
        self._seen = first if any(one.date == first for one in theirs) else None
        return ours, [one for one in theirs if one.date >= first]

    def _learn(self, theirs: Sequence[Session], asked: Sequence[Session], until: dt.date) -> None:
        closed = self._calendar.closed_after(theirs, asked, until)
        if closed == self._calendar.closed:
            return
        days = " ".join(day.isoformat() for day in sorted(closed))
        self._log.warning("calendar.closed_days", days=days)
        self._facts.put(**{_FACT: days})
        self._calendar.closed = closed
