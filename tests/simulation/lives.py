"""The lives of the daemon, one after the other: who starts it, and what it died of."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Any

from domain.errors import BrokerError, ProviderUnavailable, StorageError
from state.files import LOCK, MARK, WriterLock
from state.mark import Mark
from tests.simulation.branching import Explorer
from tests.simulation.daemon_life import DaemonLife
from tests.simulation.processes import Process
from tests.simulation.world import World

_MOST_DEATHS_A_DAY = 8
# Seconds until a daemon is tried again that died of what is no fault.
_SICK = 3600.0


class Lives:
    """Starts the daemon again whenever it ends, as a service manager does."""

    def __init__(self, world: World) -> None:
        self.life: DaemonLife | None = None
        self.explorer: Explorer | None = None
        self.restarted_at = 0.0
        self.calm = asyncio.Event()
        """Set once everything has been made well."""
        self._world = world
        self._spans: list[tuple[float, float]] = []
        self._daemon: asyncio.Task[None] | None = None
        self._is_over = False
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._away = 0
        self._stopped = asyncio.Event()
        self._processes: list[Process] = []
        self._crashes = list(world.scenario.crash_at)
        self._outages = list(world.scenario.outages)
        self._deaths = 0
        self._left_behind: list[Any] = []

    @property
    def is_running(self) -> bool:
        """True while a daemon lives."""
        return self._daemon is not None and not self._daemon.done()

    @property
    def spans(self) -> list[tuple[float, float]]:
        """From when to when each life lasted, the running one until now."""
        return [*self._spans, (self.restarted_at, self._world.loop.moment)]

    # One life after the other

    async def supervise(self) -> None:
        """Start the daemon, and start it again, until all is over."""
        outcome, loop = self._world.outcome, self._world.loop
        while not self._is_over:
            # Two commands in a row want it for a moment only.
            while not self._wanted.is_set():
                await self._wanted.wait()
            process = Process(f"daemon {outcome.lives}", self._world.faults)
            process.crash_at = self._next_crash()
            self.attach(process)
            self.life = DaemonLife(self._world.machine, process)
            self.restarted_at = loop.moment
            outcome.lives += 1
            self._daemon = asyncio.create_task(self.life.run())
            await asyncio.wait([self._daemon])
            outcome.steps += process.steps
            outcome.steps_of_lives.append(process.steps)
            self._spans.append((self.restarted_at, loop.moment))
            pause = self._bury(self._daemon, process)
            self._stopped.set()
            with contextlib.suppress(TimeoutError):
                # What lasts hours ends when everything is made well again.
                await asyncio.wait_for(self.calm.wait(), pause)
            if self.calm.is_set():
                await asyncio.sleep(pause if pause == _SICK else 1)

    async def stop(self) -> None:
        """Stop the daemon as a service manager does, and wait until it is gone."""
        task = self._daemon
        if task is None or task.done():
            return
        self._stopped.clear()
        task.cancel()
        await asyncio.wait([task])
        await self._stopped.wait()

    def freeze(self, seconds: float) -> None:
        """Have the daemon do nothing for a while, as when the machine is suspended."""
        if self.life is None or not self.is_running:
            return
        now = self._world.loop.moment
        self.life.process.frozen_until = now + seconds
        self._spans.append((self.restarted_at, now))
        self.restarted_at = now + seconds

    def thaw(self) -> None:
        """Let a frozen daemon go on."""
        now = self._world.loop.moment
        if self.life is not None and self.life.process.frozen_until > now:
            self.life.process.frozen_until = self.restarted_at = now

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Keep the daemon down meanwhile."""
        self._away += 1
        self._wanted.clear()
        await self.stop()
        yield
        self._away -= 1
        if not self._away:
            self._wanted.set()

    async def end(self) -> None:
        """Stop it for good."""
        self._is_over = True
        await self.stop()

    # Deaths

    def draw_crash(self, steps: int) -> int | None:
        """Draw the step at which a program dies, or None when it does not."""
        is_enough = self._deaths >= _MOST_DEATHS_A_DAY * self._world.scenario.days
        if is_enough or not self._world.faults.strikes("process.crash"):
            return None
        return self._world.faults.dice("crash").randint(1, steps)

    def _next_crash(self) -> int | None:
        if self._crashes:
            return self._crashes.pop(0)
        # Small numbers more often: the start and the recovery are where it hurts.
        steps = self._world.faults.pick("crash:range", [10, 30, 80, 200, 500])
        return self.draw_crash(steps)

    def power_off(self) -> None:
        """End every program at once."""
        for process in self._processes:
            process.is_dead = True

    def attach(self, process: Process) -> None:
        """Watch over the steps of a program, the daemon or a command."""
        self._processes.append(process)
        if self.explorer is not None:
            self.explorer.attach(process)

    def _bury(self, task: asyncio.Task[None], process: Process) -> float:
        """Find out why a life ended; return how long until the next."""
        life, faults = self.life, self._world.faults
        if process.is_dead:
            self._deaths += 1
            self._world.truth.write("crash", process.name, process.died_at)
            self._freeze(life)
            if self._outages:
                return self._outages.pop(0)
            if faults.strikes("process.outage"):
                return faults.span("process.outage", 600, 20_000)
            return faults.span("restart", 2, 30)
        if life is not None:
            life.close()
        if task.cancelled():
            return faults.span("restart", 1, 10)
        cause = _cause(task.exception())
        if cause is not None and not _may_end_by(cause, process):
            self._world.blame([("X01", f"{process.name} ended by {cause!r}")])
            # It is found; to die of it again and again only takes time.
            return _SICK
        # A service manager gives up where the disk stays full; a person comes by later.
        return faults.span("restart.refused", 120, 1800) if process.disk_faults else 30.0

    def _freeze(self, life: DaemonLife | None) -> None:
        """Keep the files exactly as they were at death: closing would tidy the WAL up."""
        if life is None or life.store is None:
            return
        directory = self._world.directory
        aside = directory.with_name("frozen")
        shutil.copytree(directory, aside)
        life.close()
        for path in aside.iterdir():
            if not path.name.endswith("-shm") and path.is_file():
                shutil.copy2(path, directory / path.name)
        shutil.rmtree(aside)

    def moved(self) -> None:
        """Open anew, in the directory of a forked world, what the daemon has open."""
        store: Any = self.life.store if self.life is not None else None
        if store is None or store._lock.is_released:
            return
        # Closing what was inherited would tidy up the files of the other world.
        self._left_behind.append((store._connection, store._mark, store._lock))
        store._connection = None
        store._mark = Mark(store.directory / MARK)
        store._lock = WriterLock(store.directory / LOCK)


def _may_end_by(cause: BaseException, process: Process) -> bool:
    if process.disk_faults and isinstance(cause, StorageError):
        return True
    # A start needs the broker; a daemon that is up waits for one that is away or refuses.
    return not process.has_recovered() and isinstance(cause, ProviderUnavailable | BrokerError)


def _cause(exc: BaseException | None) -> BaseException | None:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
