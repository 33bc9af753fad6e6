"""When the broker's market is open: mostly as our calendar says, and sometimes not."""

import dataclasses
import datetime as dt
from collections.abc import Sequence

from domain.account import MarketClock
from domain.market import Session
from tests.simulation.faults import Faults
from tests.simulation.market import calendar

# Around the bells the broker's clock tells nothing of the day.
CLOSED = "closed"
_EDGE = dt.timedelta(minutes=1)
# In one seed: more than there ever were in a row are not believed, and rightly so.
_MOST_CLOSED = 4


class TradingHours:
    """The hours of today: what our calendar has, and what is so."""

    def __init__(self) -> None:
        self.planned: Session | None = None
        self.real: Session | None = None
        self.is_halted = False
        """True while nothing trades in the whole market."""
        self.closed: set[dt.date] = set()
        """The days on which it stayed closed and our calendar has a session."""
        self._is_behind = False

    def begin(self, session: Session, faults: Faults) -> None:
        """Draw the hours of a day; now and then nobody was told of them before."""
        self.planned = self.real = session
        self.is_halted = False
        if faults.strikes("market.closed") and len(self.closed) < _MOST_CLOSED:
            self.real = None
            self.closed.add(session.date)
        elif faults.strikes("market.hours"):
            self.real = self._other_hours(session, faults)
        # A calendar that is behind shows the day as ever; until the next the clock alone knows.
        self._is_behind = faults.dice("market.hours:calendar").random() >= 0.6

    def _other_hours(self, session: Session, faults: Faults) -> Session:
        minutes = dt.timedelta(minutes=faults.pick("market.hours", [15, 60, 120]))
        if faults.dice("market.hours:which").random() < 0.6:
            return dataclasses.replace(session, open=session.open + minutes)
        return dataclasses.replace(session, close=session.close - minutes)

    def is_open(self, now: dt.datetime) -> bool:
        """Tell whether orders match."""
        real = self.real
        return real is not None and not self.is_halted and real.open <= now < real.close

    def clock(self, now: dt.datetime) -> MarketClock:
        """Answer as the broker's clock does."""
        real = self.real
        after = max(now, self.planned.close) if self.planned is not None else now
        following = calendar().next_session(after)
        is_ahead = real is not None and now < real.open
        is_before_close = real is not None and now < real.close
        return MarketClock(
            now=now,
            is_open=self.is_open(now),
            next_open=real.open if is_ahead and real is not None else following.open,
            next_close=real.close if is_before_close and real is not None else following.close,
        )

    def calendar(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Answer as the broker's calendar does."""
        found = [self._listed(one) for one in calendar().sessions(start, end)]
        return [one for one in found if one is not None]

    def lacking(self) -> frozenset[dt.date]:
        """Return the closed days that the broker's calendar does not have by now."""
        behind = {self.planned.date} if self.planned is not None and self._is_behind else set()
        return frozenset(self.closed - behind)

    def _listed(self, session: Session) -> Session | None:
        if self.planned is not None and session.date == self.planned.date:
            return session if self._is_behind else self.real
        return None if session.date in self.closed else session

    def doubt(self, now: dt.datetime) -> str | None:
        """What whoever asks the clock now must find: why entries wait, "" for nothing.

        None where the answer is of a minute around the bells, and tells nothing.
        """
        ours, real = self.planned, self.real
        if ours is None:
            return None
        if now < ours.open:
            if real is None:
                return CLOSED
            return "" if real.open == ours.open else "other hours"
        if not ours.open + _EDGE <= now <= ours.close - _EDGE:
            return None
        if not self.is_open(now):
            return CLOSED
        return "" if real is not None and real.close == ours.close else "other hours"
