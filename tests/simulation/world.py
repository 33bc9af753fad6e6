"""What one seed is played in: time, market, broker and machine."""

import asyncio
import datetime as dt
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.simulation.checkers.evidence import Violations, reading
from tests.simulation.daemon_life import Machine
from tests.simulation.disk import Disk
from tests.simulation.faults import Faults
from tests.simulation.loop import SimClock, SimLoop
from tests.simulation.market import Market
from tests.simulation.messages import Sender
from tests.simulation.scenario import Outcome, Scenario
from tests.simulation.truth import Truth

BEFORE_OPEN = dt.timedelta(minutes=110)
_MOST_OF_A_KIND = 3


class World:
    """Everything that is there whoever is alive."""

    machine: Machine
    """Where the programs run; made once there is somebody to judge what leaves it."""

    def __init__(self, scenario: Scenario, directory: Path, loop: SimLoop) -> None:
        self.scenario = scenario
        self.directory = directory
        self.loop = loop
        self.faults = Faults(scenario.seed, dropped=scenario.dropped, only=scenario.only)
        self.outcome = Outcome(seed=scenario.seed, days=scenario.days)
        self.sessions = scenario.sessions()
        begin = self.sessions[0].open - BEFORE_OPEN
        self.clock = SimClock(begin, loop)
        self.market = Market(self.faults, self.sessions)
        # A wall clock of its own: what happens to the machine's does not happen to the broker.
        self.truth = Truth(self.market, self.faults, SimClock(begin, loop), loop)
        self.sender = Sender(self.faults, self.truth.now)
        self.disk = Disk(loop.time)
        self.background: list[asyncio.Task[Any]] = []

    @property
    def has_books(self) -> bool:
        """True once a daemon has made its tables."""
        if not (self.directory / "openbell.db").exists():
            return False
        with reading(self.directory) as db:
            found = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'reports'")
            return found.fetchone() is not None

    def blame(self, found: Violations) -> None:
        """Keep violations, a few of each kind."""
        for invariant, text in found:
            known = [one for one in self.outcome.violations if one[0] == invariant]
            if len(known) < _MOST_OF_A_KIND:
                at = f"{self.truth.now():%Y-%m-%d %H:%M:%S}"
                self.outcome.violations.append((invariant, f"{at} {text}"))

    async def until(self, moment: dt.datetime) -> None:
        """Wait for a true moment."""
        left = self.truth.clock.loop_time(moment) - self.loop.moment
        if left > 0:
            await asyncio.sleep(left)

    def beside(self, job: Coroutine[Any, Any, None]) -> None:
        """Let something happen beside the day."""
        self.background.append(asyncio.create_task(job))

    def at(self, moment: dt.datetime, job: Coroutine[Any, Any, None]) -> None:
        """Let something happen at a true moment."""

        async def later() -> None:
            await self.until(moment)
            await job

        self.beside(later())
