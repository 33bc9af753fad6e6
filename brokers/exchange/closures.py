"""Days on which the exchange stays closed although its calendar had a session."""

import datetime as dt
from collections.abc import Sequence

from brokers.exchange.prices import SessionSource
from domain.market import Session


class WithClosures:
    """A calendar from which days are taken out while it is in use, as for a day of mourning."""

    def __init__(self, calendar: SessionSource) -> None:
        self._calendar = calendar
        self._closed: set[dt.date] = set()

    def close(self, date: dt.date) -> None:
        """Take a day out."""
        self._closed.add(date)

    def session_on(self, date: dt.date) -> Session | None:
        """Return the session of a New York date, or None."""
        return None if date in self._closed else self._calendar.session_on(date)

    def next_session(self, moment: dt.datetime) -> Session:
        """Return the first session whose close is after ``moment``."""
        session = self._calendar.next_session(moment)
        while session.date in self._closed:
            session = self._calendar.next_session(session.close)
        return session

    def previous_session(self, date: dt.date) -> Session:
        """Return the last session before a date."""
        session = self._calendar.previous_session(date)
        while session.date in self._closed:
            session = self._calendar.previous_session(session.date)
        return session

    def sessions(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Return the sessions between two dates, both included."""
        known = self._calendar.sessions(start, end)
        return [session for session in known if session.date not in self._closed]
