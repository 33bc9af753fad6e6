"""One seed: days of market under faults, lives and deaths of the daemon, then a calm end."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from domain.market import Session
from tests.simulation.branching import Branches, Explorer
from tests.simulation.checkers import books, latch, orders
from tests.simulation.checkers.evidence import reading
from tests.simulation.daemon_life import Machine
from tests.simulation.day_plan import DayPlan
from tests.simulation.disk import shims
from tests.simulation.judge import Judge
from tests.simulation.lasting import Lasting
from tests.simulation.lives import Lives
from tests.simulation.loop import SimLoop, Stuck
from tests.simulation.person import Person
from tests.simulation.scenario import Outcome, Scenario
from tests.simulation.setups import setup_of
from tests.simulation.stories import Reacher
from tests.simulation.world import World

__all__ = ["Outcome", "Scenario", "Simulation", "simulate"]

CALM_BEFORE_CLOSE = dt.timedelta(minutes=45)
_LEAST_CALM = dt.timedelta(minutes=14)
_MOST_CALM = dt.timedelta(minutes=40)


def simulate(
    scenario: Scenario, *, explore: "Callable[[Branches, Simulation], Explorer] | None" = None
) -> Outcome:
    """Run a scenario from its beginning to its verdict, and from each step what else may be."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False
    )
    memory = Path("/dev/shm")  # noqa: S108 - in memory where the machine has it
    parent = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="openbell-sim-", dir=parent) as directory,
        # Texts name the state directory: the same name in every run, the same trace.
        contextlib.chdir(directory),
    ):
        loop = SimLoop()
        branches = Branches()
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(lambda _loop, _context: None)
        try:
            simulation = Simulation(scenario, Path("state"), loop)
            world, outcome = simulation.world, simulation.world.outcome
            if explore is not None:
                branches.moved = simulation.lives.moved
                simulation.lives.explorer = explore(branches, simulation)
            try:
                with shims(world.disk), simulation.judge.events.listening(world.directory):
                    loop.run_until_complete(simulation.main())
            except Stuck as exc:
                world.blame([("X02", str(exc))])
            except BaseException:
                branches.fail()
                raise
            branches.deliver(outcome.violations, outcome.trace)
            outcome.endings = branches.endings
            return outcome
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(asyncio.sleep(0))
            asyncio.set_event_loop(None)
            loop.close()


class Simulation:
    """The days of one seed, one after the other."""

    def __init__(self, scenario: Scenario, directory: Path, loop: SimLoop) -> None:
        self.world = World(scenario, directory, loop)
        self.lives = Lives(self.world)
        self.judge = Judge(self.world, self.lives)
        self.world.machine = self._machine()
        self._person = Person(self.world, self.lives, self.judge)
        self._plan = DayPlan(self.world, self.lives, self.judge, self._person)
        kill = partial(self._person.kill, flatten=False)
        self.world.truth.reacher = Reacher(self.world.faults, kill)

    def _machine(self) -> Machine:
        world, scenario = self.world, self.world.scenario
        return Machine(
            directory=world.directory,
            clock=world.clock,
            truth=world.truth,
            market=world.market,
            on_wire=self.judge.at_wire,
            command_keys=world.sender.keys,
            setup=setup_of(world.faults),
            look_seconds=scenario.every_seconds(),
            report_seen=self.judge.report_seen,
            alerted=self.judge.alerted,
        )

    async def main(self) -> None:
        """Play the days, then judge the end."""
        daemon = asyncio.create_task(self.lives.supervise())
        days = asyncio.create_task(self._days())
        background = self.world.background
        try:
            await days
        finally:
            await self.lives.end()
            daemon.cancel()
            for task in background:
                task.cancel()
            await asyncio.gather(daemon, *background, return_exceptions=True)
        if self.world.has_books:
            self.judge.check_rebuild()
        self._conclude()

    async def _days(self) -> None:
        for session in self.world.sessions:
            await self._day(session, is_last=session is self.world.sessions[-1])

    async def _day(self, session: Session, *, is_last: bool) -> None:
        world, truth = self.world, self.world.truth
        self._plan.night(session)
        await world.until(session.open - dt.timedelta(minutes=105))
        await self._person.come_in()
        truth.hours.begin(session, world.faults)
        real = truth.hours.real
        if real is not None:
            world.market.begin(session)
            truth.match_all()
            world.at(real.close, self._close())
        self._plan.draw(session)
        await world.until(session.open)
        # Prices move at the open: no order fills before.
        calm = session.close - CALM_BEFORE_CLOSE
        while truth.now() < calm:
            await world.until(min(calm, truth.now() + dt.timedelta(minutes=25)))
            self.judge.check_always()
        if is_last:
            await self._calm_down(session)
        await world.until(session.close + dt.timedelta(minutes=20))
        self.judge.check_always()
        if is_last:
            self.judge.check_end()

    async def _close(self) -> None:
        self.world.truth.expire_all()

    async def _calm_down(self, session: Session) -> None:
        """Make everything well; after three looks of the daemon nothing may be left of it."""
        world = self.world
        world.faults.is_on = False
        world.disk.heal()
        self.lives.calm.set()
        world.truth.is_down = world.truth.is_blocked = False
        world.truth.hours.is_halted = False
        world.truth.lasting = Lasting()
        world.truth.post_all()
        world.clock.move(dt.timedelta())
        if self.lives.life is not None:
            self.lives.life.stream.heal()
            self.lives.thaw()
        if latch.kill_is_pending(world.directory) or self._is_done_too_early(session):
            await self.lives.stop()
        # A symbol whose order went back is unlocked by the second clean look.
        looks = dt.timedelta(seconds=3 * world.machine.look_seconds + 120)
        calm = min(max(looks, _LEAST_CALM), _MOST_CALM)
        await world.until(session.close - CALM_BEFORE_CLOSE + calm)
        self.judge.check_calm()

    def _is_done_too_early(self, session: Session) -> bool:
        """Tell whether the daemon ended its day by a clock that was hours ahead.

        Found as seed 47000430: what is told after that is read by its next start.
        """
        query = "SELECT 1 FROM runs WHERE session_date = ? AND kind = 'eod' AND state <> 'RUNNING'"
        if not self.world.has_books:
            return False
        with reading(self.world.directory) as db:
            return db.execute(query, (session.date.isoformat(),)).fetchone() is not None

    def _conclude(self) -> None:
        world, outcome, truth = self.world, self.world.outcome, self.world.truth
        outcome.executions = len(truth.executions)
        outcome.faults = world.faults.counts
        outcome.busiest = truth.busiest
        world.blame(orders.bounded(truth))
        world.blame(books.adds_up(truth))
        trace = hashlib.sha256()
        for entry in truth.log:
            trace.update(repr(entry).encode())
        trace.update(self.judge.events.digest.encode())
        trace.update(repr(world.machine.alerts).encode())
        outcome.trace = trace.hexdigest()[:16]
