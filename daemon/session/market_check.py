"""Do the broker and we mean the same session?  Asked every morning, and while one is on.

Our calendar comes with a package; the broker knows of a day of mourning, a late open or a
halt before any package does.  Whatever is in doubt blocks entries until it is cleared;
exits are allowed.  On a day that the broker calls closed no run sends anything, and once it
is over it is no session any more.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from daemon.session.broker_calendar import BrokerCalendar
from domain.account import MarketClock
from domain.errors import AuthRefused, BrokerUnavailable, DataError, RunSkipped
from domain.market import Session
from execution.desk import Desk
from marketdata.session_calendar import new_york
from marketdata.traded_sessions import TradedSessions
from state.fact_words import AGREES
from state.facts import Facts

MOST_SKEW_SECONDS = 2.0
HALTING_SKEW_SECONDS = 30.0
FACT: Final = "market_check"

_AGREED_AT = "calendar_agreed_at"
_TRUSTED_FOR = dt.timedelta(days=7)
# The bell and the broker's flag need not move in the same second.
_EDGE = dt.timedelta(minutes=1)
_NO_ANSWER = (BrokerUnavailable, AuthRefused, DataError)
_KINDS: Final = {
    "calendar": "calendar.disagrees",
    "hours": "calendar.disagrees",
    "closure": "market.closed",
    "skew": "clock.skewed",
}

Times = tuple[dt.datetime, dt.datetime]


class MarketCheck:
    """Holds what is in doubt about the session; ``problem`` blocks entries while there is any.

    Args:
        desk: broker, clock, incidents and alerts.
        calendar: ours, which learns what was closed.
        facts: remembers that, and when the two last agreed, over a restart.
        is_clock_compared: off for replayed time, which is nobody's.
    """

    def __init__(
        self, desk: Desk, *, calendar: TradedSessions, facts: Facts, is_clock_compared: bool
    ) -> None:
        self._desk = desk
        self._calendar = BrokerCalendar(desk, calendar, facts)
        self._facts = facts
        self._is_clock_compared = is_clock_compared
        self._doubts: dict[str, str] = {}
        self._absent: dt.date | None = None
        self._log = structlog.get_logger("market")

    @property
    def problem(self) -> str | None:
        """Why entries are blocked; None when they are not."""
        return "; ".join(self._doubts[name] for name in sorted(self._doubts)) or None

    def require_open(self) -> None:
        """Stop a run that would send orders into a closed market.

        Raises:
            RunSkipped: the broker says that there is no trading now.
        """
        if "closure" in self._doubts:
            raise RunSkipped(f"closed: {self._doubts['closure']}")

    async def require_session(self, session: Session) -> None:
        """Stop a run about a session that never was.

        Raises:
            RunSkipped: the broker's calendar does not have it, but those around it.
        """
        await self.learn(session)
        if self._calendar.was_closed(session):
            raise RunSkipped(f"closed: {_no_session(session)}")

    async def learn(self, session: Session) -> None:
        """Ask whether a session took place, unless the broker's calendar is known to have it."""
        if self._calendar.has(session):
            return
        try:
            await self._calendar.ask(session)
        except _NO_ANSWER as exc:
            self._log.warning("calendar.unread", reason=str(exc))

    async def compare(self, session: Session) -> None:
        """Compare calendar and clock; to be called before anything is decided."""
        await self._compare_calendars(session)
        await self.look(session)

    async def look(self, session: Session) -> None:
        """Ask the broker's clock; without an answer the last verdict stands."""
        try:
            before = self._desk.clock.now()
            found = await self._desk.broker.clock()
        except _NO_ANSWER as exc:
            self._log.warning("clock.unread", reason=str(exc))
            closure, hours = self._told()
        else:
            self._judge_skew(found, before)
            is_at_bell = _is_at_bell(session, found.now)
            closure, hours = self._told() if is_at_bell else _by_clock(session, found)
        if self._absent == session.date or self._calendar.was_closed(session):
            closure = closure or _no_session(session)
        self._set("closure", closure)
        self._set("hours", hours)
        self._remember()

    def _told(self) -> tuple[str | None, str | None]:
        return self._doubts.get("closure"), self._doubts.get("hours")

    async def _compare_calendars(self, session: Session) -> None:
        try:
            ours, theirs = await self._calendar.ask(session)
        except _NO_ANSWER as exc:
            self._set("calendar", self._unread(exc))
            return
        self._absent = None if self._calendar.has(session) else session.date
        self._set("calendar", _differences(ours, theirs))
        if "calendar" not in self._doubts:
            self._facts.put(**{_AGREED_AT: self._desk.clock.now().isoformat()})

    def _unread(self, exc: Exception) -> str | None:
        """A calendar that agreed within the week is believed for a day without an answer."""
        agreed_at = self._facts.get(_AGREED_AT)
        if agreed_at is None:
            return f"the broker's calendar could not be read ({exc})"
        age = self._desk.clock.now() - dt.datetime.fromisoformat(agreed_at)
        if dt.timedelta(0) <= age <= _TRUSTED_FOR:
            self._log.warning("calendar.unread", reason=str(exc), agreed_at=agreed_at)
            return self._doubts.get("calendar")
        return f"the broker's calendar could not be read since {agreed_at[:10]} ({exc})"

    def _judge_skew(self, found: MarketClock, before: dt.datetime) -> None:
        if not self._is_clock_compared:
            return
        after = self._desk.clock.now()
        travel = max(0.0, (after - before).total_seconds())
        apart = abs((found.now - before).total_seconds() - travel / 2)
        # Half of the time on the way is what cannot be known.
        skew = max(0.0, apart - travel / 2)
        text = f"this machine's clock is {skew:.1f} s from the broker's"
        if not skew <= HALTING_SKEW_SECONDS:
            self._desk.halt(f"clock: {text}; set it right, then resume")
        self._set("skew", None if skew <= MOST_SKEW_SECONDS else text)

    def _set(self, name: str, doubt: str | None) -> None:
        before = self._doubts.pop(name, None)
        if doubt is not None:
            self._doubts[name] = doubt
            if doubt != before:
                self._desk.note(_KINDS[name], f"{doubt}; entries are blocked")
        elif before is not None:
            self._log.warning("market.cleared", what=before)
        # Now, and not at the next look only: an entry may be about to leave again.
        self._desk.market_doubt = self.problem

    def _remember(self) -> None:
        told = self.problem or AGREES
        if self._facts.get(FACT) != told:
            self._facts.put(**{FACT: told})


def _no_session(session: Session) -> str:
    return f"the broker's calendar has no session on {session.date}"


def _is_at_bell(session: Session, now: dt.datetime) -> bool:
    """Tell whether the clock's answer is of a minute that tells nothing of the day."""
    return (
        session.open <= now < session.open + _EDGE or session.close - _EDGE < now <= session.close
    )


def _by_clock(session: Session, found: MarketClock) -> tuple[str | None, str | None]:
    """Return why the market is closed, and what differs about its hours, by the broker's clock."""
    if found.now < session.open:
        if new_york(found.next_open).date() > session.date:
            return f"the broker opens next on {new_york(found.next_open):%Y-%m-%d}", None
        if found.next_open != session.open and not found.is_open:
            return None, f"the broker opens at {_hour(found.next_open)}, not {_hour(session.open)}"
        return None, None
    if found.now > session.close:
        return None, None
    if not found.is_open:
        return "the broker's clock says that the market is closed", None
    if found.next_close != session.close:
        return None, f"the broker closes at {_hour(found.next_close)}, not {_hour(session.close)}"
    return None, None


def _differences(ours: Sequence[Session], theirs: Sequence[Session]) -> str | None:
    days = differing_dates(ours, theirs)
    if not days:
        return None
    mine, other = _times(ours), _times(theirs)
    told = [f"{day} (ours {_span(mine.get(day))}, theirs {_span(other.get(day))})" for day in days]
    return f"the broker's calendar differs on {', '.join(told)}"


def differing_dates(ours: Sequence[Session], theirs: Sequence[Session]) -> list[dt.date]:
    """Return the dates on which two calendars disagree about open or close."""
    mine, other = _times(ours), _times(theirs)
    return sorted(day for day in mine.keys() | other.keys() if mine.get(day) != other.get(day))


def _times(sessions: Sequence[Session]) -> Mapping[dt.date, Times]:
    return {session.date: (session.open, session.close) for session in sessions}


def _span(times: Times | None) -> str:
    return "closed" if times is None else f"{_hour(times[0])}-{_hour(times[1])}"


def _hour(moment: dt.datetime) -> str:
    return f"{new_york(moment):%H:%M}"
