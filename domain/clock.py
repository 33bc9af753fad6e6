"""Time, as an argument.

Nothing outside this file asks the machine what time it is: a component that needs the
time takes a Clock, so demo, backtest and simulation run the same code as live.
"""

import asyncio
import datetime as dt
import time
from typing import Protocol

UTC = dt.UTC


class Clock(Protocol):
    """Where the time comes from.  ``now`` is aware UTC; ``monotonic`` never goes back."""

    def now(self) -> dt.datetime:
        """Return the current time in UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start, for measuring spans."""

    async def sleep(self, seconds: float) -> None:
        """Wait; at once when ``seconds`` is not above 0."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> dt.datetime:
        """Return the current time in UTC."""
        return dt.datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that moves when told to; ``sleep`` moves it and returns at once."""

    def __init__(self, start: dt.datetime) -> None:
        self._now = start
        self._elapsed = 0.0

    def now(self) -> dt.datetime:
        """Return the time that was set."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds moved since the start."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Move the clock, yield once."""
        self.advance(dt.timedelta(seconds=max(0.0, seconds)))
        await asyncio.sleep(0)

    def advance(self, span: dt.timedelta) -> None:
        """Move the clock forward."""
        self._now += span
        self._elapsed += span.total_seconds()


class LoopClock:
    """Time of a replay: a start, plus what the running event loop has counted.

    Under the replay loop (``transport.replay_loop``) loop time is simulated, so timers,
    deadlines and this clock move together.
    """

    def __init__(self, start: dt.datetime, loop: asyncio.AbstractEventLoop) -> None:
        self._start = start
        self._loop = loop
        self._origin = loop.time()

    def now(self) -> dt.datetime:
        """Return the simulated time in UTC, to the microsecond."""
        return self._start + dt.timedelta(seconds=self._loop.time() - self._origin)

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the loop."""
        await asyncio.sleep(max(0.0, seconds))


async def sleep_until(clock: Clock, moment: dt.datetime) -> None:
    """Wait until ``clock`` shows ``moment``; short naps, so that a jump of the clock is seen."""
    longest_nap_seconds = 30.0
    while (left := (moment - clock.now()).total_seconds()) > 0:
        await clock.sleep(min(left, longest_nap_seconds))
