"""The loop and the clock of a simulation: one thread, no socket, and no moment passes unasked.

Time jumps to the next timer when nothing is ready.  Tasks hash by their number of birth,
so that sets of them have the same order in every process.
"""

import asyncio
import datetime as dt
import itertools
import selectors
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from tests.simulation.processes import current

# Callbacks of one moment: far more than any honest flood of work.
_MOST_ROUNDS = 100_000


class Stuck(RuntimeError):
    """Every task waits for something that cannot come."""


class _NoSockets(selectors.SelectSelector):
    loop: "SimLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("every task waits for something that cannot come")
        if timeout > 0:
            self.loop.moment += timeout
            self.loop.rounds = 0
        self.loop.rounds += 1
        if self.loop.rounds > _MOST_ROUNDS:
            raise Stuck("the same moment lasts for ever: something does not wait")
        return []


class _Task(asyncio.Task[Any]):
    numbers: Iterator[int]

    def __hash__(self) -> int:
        # First asked for while the task is made, so the numbers follow the births.
        try:
            return self._number
        except AttributeError:
            self._number: int = next(self.numbers)
            return self._number


def _make(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any
) -> asyncio.Task[Any]:
    return _Task(coro, loop=loop, **kwargs)


class SimLoop(asyncio.SelectorEventLoop):
    """A loop that is never idle."""

    def __init__(self) -> None:
        self.moment = 0.0
        self.rounds = 0
        selector = _NoSockets()
        selector.loop = self
        super().__init__(selector)
        _Task.numbers = itertools.count(1)
        self.set_task_factory(_make)  # type: ignore[arg-type]

    def time(self) -> float:
        return self.moment

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Do the job here and now: the simulation has one thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:  # noqa: BLE001 - handed to whoever awaits it
            future.set_exception(exc)
        return future


class SimClock:
    """The wall clock of one machine: true time plus an offset that a fault may move."""

    def __init__(self, start: dt.datetime, loop: SimLoop) -> None:
        self._start = start
        self._loop = loop
        self.offset = dt.timedelta()
        self.moved_at = 0.0

    def now(self) -> dt.datetime:
        return self.true_now() + self.offset

    def move(self, offset: dt.timedelta) -> None:
        """Set it this far from the truth."""
        self.offset, self.moved_at = offset, self._loop.moment

    def true_now(self) -> dt.datetime:
        """Return the time by a clock that is never wrong."""
        return self._start + dt.timedelta(seconds=self._loop.moment)

    def monotonic(self) -> float:
        return self._loop.moment

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
        if (process := current()) is not None:
            await process.thawed()

    def loop_time(self, moment: dt.datetime) -> float:
        """Return the loop's seconds at a true moment."""
        return (moment - self._start).total_seconds()
