"""What happens to a day by appointment rather than at a random minute."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

from daemon.config import Schedule
from domain.market import Session
from tests.simulation.faults import Faults

SCHEDULE = Schedule()
Wait = Callable[[dt.datetime], Awaitable[None]]


def cutoff_of(session: Session) -> dt.datetime:
    """Return when entries end."""
    return session.open + dt.timedelta(minutes=SCHEDULE.entry_cutoff_minutes_after_open)


def submit_of(session: Session) -> dt.datetime:
    """Return when orders leave."""
    return session.open - dt.timedelta(minutes=SCHEDULE.submit_minutes_before_open)


def before(session: Session) -> dt.datetime:
    """Return a moment of the morning, in time for all runs of a session."""
    return session.open - dt.timedelta(hours=2)


async def away_until_cutoff(
    faults: Faults, session: Session, *, until: Wait, keep_down: Wait
) -> None:
    """Take the daemon away before it submits; bring it back shortly before entries end."""
    dice = faults.dice("at_cutoff")
    spare = dice.uniform(1, 15) if dice.random() < 0.7 else dice.uniform(15, 90)
    await until(submit_of(session) - dt.timedelta(seconds=dice.uniform(20, 300)))
    await keep_down(cutoff_of(session) - dt.timedelta(seconds=spare))


class Reacher:
    """A person who reaches for the kill switch while a request waits, once a day at most."""

    def __init__(self, faults: Faults, kill: Callable[[], Awaitable[None]]) -> None:
        self._faults = faults
        self._kill = kill
        self._tasks: set[asyncio.Future[None]] = set()
        self._day: dt.date | None = None

    def waiting(self, day: dt.date) -> float:
        """Tell how long a request that is about to wait will wait; a kill may come meanwhile."""
        if day == self._day or not self._faults.strikes("operator.kill_in_send"):
            return 0.0
        self._day = day
        seconds = self._faults.span("operator.kill_in_send", 0.5, 8)
        moment = seconds * self._faults.dice("operator.kill_in_send:share").random()
        asyncio.get_running_loop().call_later(moment, self._begin)
        return seconds

    def _begin(self) -> None:
        task = asyncio.ensure_future(self._kill())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
