"""An event loop whose time is simulated, so that a trading day takes seconds.

Everything that waits (timers, deadlines, ``asyncio.sleep``) follows ``loop.time()``.

- ``speed = 0`` steps: time stands still while anything is in flight and then jumps to the
  next timer.  In flight means: a callback is ready, a socket is readable, a job runs in
  an executor, or somebody holds the time.
- ``speed > 0`` scales: one real second is ``speed`` simulated seconds, for servers in
  other processes that run at the same pace; ``real_time`` slows it down for a while.

The trading code does not know which loop it runs on.
"""

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Iterator
from typing import Any

# Bytes sent over loopback are readable at once, save when the kernel is busy elsewhere.
_GRACE_SECONDS = 0.001
# A job that hangs must not stop time for ever: its caller's deadline has to come.
_LONGEST_HOLD_SECONDS = 120.0


class _ReplaySelector(selectors.DefaultSelector):
    """A selector that asks the loop how long to wait really."""

    loop: "ReplayLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.loop.speed > 0:
            return super().select(timeout / self.loop.pace)
        return self._step(timeout)

    def _step(self, timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        if ready := super().select(0):
            return ready
        if self.loop.is_held:
            if ready := super().select(self.loop.patience_seconds):
                return ready
        elif ready := super().select(_GRACE_SECONDS):
            return ready
        self.loop.step(timeout)
        return []


class ReplayLoop(asyncio.SelectorEventLoop):
    """The loop.  Use it with ``asyncio.Runner(loop_factory=...)``."""

    def __init__(self, *, speed: float = 0.0) -> None:
        selector = _ReplaySelector()
        selector.loop = self
        self.speed = speed
        self.pace = speed
        self.steps = 0
        self._simulated = 0.0
        self._real_start = time.monotonic()
        self._holds = 0
        self._held_until: list[float] = []
        super().__init__(selector)

    def time(self) -> float:
        """Return simulated seconds since the loop was made."""
        if self.speed > 0:
            return self._simulated + (time.monotonic() - self._real_start) * self.pace
        return self._simulated

    def step(self, seconds: float) -> None:
        """Move simulated time forward."""
        self._simulated += seconds
        self.steps += 1

    @contextlib.contextmanager
    def real_time(self, longest_seconds: float) -> Iterator[None]:
        """Let a scaled loop run at the machine's pace for a while; a stepping one needs no such.

        Not slower than that: whatever waits for a deadline must still reach it.

        Args:
            longest_seconds: after these the scaled pace comes back all the same.
        """
        if self.speed == 0:
            yield
            return
        self._set_pace(min(1.0, self.speed))
        giving_up = self.call_later(longest_seconds, self._set_pace, self.speed)
        try:
            yield
        finally:
            giving_up.cancel()
            self._set_pace(self.speed)

    def _set_pace(self, pace: float) -> None:
        self._simulated, self._real_start = self.time(), time.monotonic()
        self.pace = pace

    @property
    def is_held(self) -> bool:
        """True while work that no socket shows is in flight."""
        return self._holds > 0 or self.patience_seconds > 0

    @property
    def patience_seconds(self) -> float:
        """How many real seconds time may stand still before it steps all the same."""
        longest = max(0.0, max(self._held_until, default=0.0) - time.monotonic())
        # Who knows how long a job may take has the last word.
        return max(longest, _LONGEST_HOLD_SECONDS) if self._holds > 0 else longest

    @contextlib.contextmanager
    def hold(self, longest_seconds: float | None = None) -> Iterator[None]:
        """Keep time from stepping, for work outside this loop (another process).

        Args:
            longest_seconds: real seconds after which time steps again all the same.
        """
        if longest_seconds is None:
            self._holds += 1
            try:
                yield
            finally:
                self._holds -= 1
            return
        until = time.monotonic() + longest_seconds
        self._held_until.append(until)
        try:
            yield
        finally:
            self._held_until.remove(until)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run a job in a thread; time stands still until its result is delivered."""
        self._holds += 1
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            self._holds -= 1
            raise
        future.add_done_callback(self._release)
        return future

    def _release(self, _: asyncio.Future[Any]) -> None:
        self._holds -= 1


def is_stepping() -> bool:
    """Tell whether the running loop jumps from one timer to the next."""
    loop = asyncio.get_running_loop()
    return isinstance(loop, ReplayLoop) and loop.speed == 0
