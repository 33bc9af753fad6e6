"""The sessions that took place: our calendar without the days on which the exchange stayed closed.

Our calendar comes with a package and keeps a day of mourning as a session for good, while no
bar of that day will ever come.  The broker's calendar is the witness; each answer is judged
anew, so a day that it has again is a session again.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence

from domain.clock import Clock
from domain.market import Session
from marketdata.base import SessionCalendar
from marketdata.session_calendar import trading_date

# As far back as validation wants every bar: some 60 sessions.
_LOOK_BACK = dt.timedelta(days=100)
# Between two sessions there were never more days than in September 2001.
_LONGEST_GAP = dt.timedelta(days=7)
# The longest closure that was not planned, since 1933, took four sessions.
_MOST_CLOSED = 5


class TradedSessions:
    """A SessionCalendar.

    A day is taken out once it is over: until then a later answer may have it after all, and
    its runs ask again.

    Args:
        planned: our calendar.
        clock: tells which days are over.
        closed: the days that are known to have been closed.
    """

    def __init__(
        self, planned: SessionCalendar, *, clock: Clock, closed: Iterable[dt.date] = ()
    ) -> None:
        self.planned = planned
        self.closed = frozenset(closed)
        self._clock = clock

    def session_on(self, date: dt.date) -> Session | None:
        """Return the session of a New York date, or None when the exchange was closed."""
        return None if date in self._over() else self.planned.session_on(date)

    def next_session(self, moment: dt.datetime) -> Session:
        """Return the first session whose close is after ``moment``."""
        over, session = self._over(), self.planned.next_session(moment)
        while session.date in over:
            session = self.planned.next_session(session.close)
        return session

    def previous_session(self, date: dt.date) -> Session:
        """Return the last session before a date."""
        over, session = self._over(), self.planned.previous_session(date)
        while session.date in over:
            session = self.planned.previous_session(session.date)
        return session

    def sessions(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Return the sessions between two dates, both included."""
        over, known = self._over(), self.planned.sessions(start, end)
        return [session for session in known if session.date not in over] if over else known

    def asked_from(self, date: dt.date) -> dt.date:
        """Return the first day that an answer about a date must tell of.

        What is remembered is asked for again: nothing stays taken out by one wrong answer.
        """
        return min([date - _LOOK_BACK, *(day - _LONGEST_GAP for day in self.closed)])

    def closed_after(
        self, listed: Sequence[Session], asked: Sequence[Session], until: dt.date
    ) -> frozenset[dt.date]:
        """Return the days that were closed, after an answer of the broker's calendar.

        Only a day between sessions that the answer has is believed to be missing: an empty
        list or one that was cut short tells nothing of the days beyond it, nor does one with
        more holes than closures ever made.

        Args:
            listed: the answer.
            asked: our sessions of the dates that were asked for.
            until: the last day that is judged; one ahead may still change.
        """
        dates = {session.date for session in listed}
        lacking = [
            session.date
            for session in asked
            if session.date not in dates and session.date <= until and _is_between(session, dates)
        ]
        believed = lacking if len(lacking) <= _MOST_CLOSED else []
        return (self.closed - dates) | frozenset(believed)

    def _over(self) -> frozenset[dt.date]:
        if not self.closed:
            return self.closed
        today = trading_date(self._clock.now())
        return frozenset(date for date in self.closed if date < today)


def _is_between(session: Session, dates: Collection[dt.date]) -> bool:
    return bool(dates) and min(dates) < session.date < max(dates)
