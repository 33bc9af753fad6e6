"""A life of a program, its durable steps, and its death at the one that was chosen."""

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tests.simulation.faults import Faults
from tests.simulation.trouble import Trouble

THAWS_WITHIN = 30.0
"""Seconds in which a frozen program notices that it may go on."""


class Crash(BaseException):
    """The program died here; nothing of it runs any more."""


class Watcher(Protocol):
    """Somebody who decides at each step what becomes of it."""

    def dies(self, process: "Process", what: str) -> bool:
        """Tell whether the program dies after this step."""
        ...

    def trouble(
        self, process: "Process", what: str, among: tuple[Trouble, ...]
    ) -> tuple[Trouble, float] | None:
        """Return how this operation of the disk fails and for how many seconds all do."""
        ...


class Process:
    """One life: the daemon's or a command's."""

    def __init__(self, name: str, faults: Faults, *, crash_at: int | None = None) -> None:
        self.name = name
        self.crash_at = crash_at
        self.watcher: Watcher | None = None
        self.is_dead = False
        self.frozen_until = 0.0
        self.has_recovered: Callable[[], bool] = lambda: False
        """True once what a start has to set right is done."""
        self.steps = 0
        self.died_at: str | None = None
        self.disk_faults = 0
        self._faults = faults

    def alive(self) -> None:
        """Raise when the process is dead: a dead one does nothing."""
        if self.is_dead:
            raise Crash(self.name)

    async def thawed(self) -> None:
        """Wait while the program is stopped: it does nothing, and time passes it by."""
        # It may be let go earlier.
        while (left := self.frozen_until - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, THAWS_WITHIN))

    def step(self, what: str) -> None:
        """Count something that became durable or left; die here when it is the chosen one."""
        self.alive()
        self.steps += 1
        if self.steps == self.crash_at or (
            self.watcher is not None and self.watcher.dies(self, what)
        ):
            self.die(what)

    def die(self, what: str) -> None:
        """End here and now."""
        self.died_at = what
        self.is_dead = True
        raise Crash(f"{self.name} died after step {self.steps}, {what}")

    def trouble(self, what: str, among: tuple[Trouble, ...]) -> tuple[Trouble, float] | None:
        """Return how an operation of the disk fails, and for how long; None when it does not."""
        if self._faults.strikes("disk.refused"):
            return self._faults.pick("disk.refused", list(among)), 0.0
        if what in {"copy", "report"} and self._faults.strikes("disk.evening_refused"):
            return self._faults.pick("disk.evening_refused", list(among)), 0.0
        if self.name.startswith("kill") and self._faults.strikes("disk.kill_refused"):
            return self._faults.pick("disk.kill_refused", list(among)), 0.0
        if self.watcher is not None:
            return self.watcher.trouble(self, what, among)
        return None


_current: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def current() -> Process | None:
    """Return the process that the running code belongs to."""
    return _current.get()


def enter(process: Process) -> None:
    """Make everything that this task does and starts belong to a process."""
    _current.set(process)


@contextmanager
def outside() -> Iterator[None]:
    """Do something that no process of the simulation does."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)
