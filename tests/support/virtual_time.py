"""An event loop whose clock jumps to the next timer: scenarios of hours run in milliseconds.

For in-process fakes only (no sockets, no threads): with nothing left to wait for it
raises instead of hanging.
"""

import asyncio
import datetime as dt
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from domain.clock import LoopClock

OPENING = dt.datetime(2022, 12, 14, 14, 30, tzinfo=dt.UTC)


class _Selector(selectors.DefaultSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that cannot come")
        self.loop.moment += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that is never idle."""

    def __init__(self) -> None:
        self.moment = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.moment


_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Turn an async test into a plain one that runs in virtual time."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return wrapper


def loop_clock(start: dt.datetime = OPENING) -> LoopClock:
    """Return the clock of the running loop."""
    return LoopClock(start, asyncio.get_running_loop())
