"""The venue: exchange, journal and clock kept in step."""

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from brokers.exchange.engine import Exchange
from brokers.exchange.events import Event
from brokers.exchange.prices import PriceFeed, SessionSource
from brokers.exchange.settings import ExchangeSettings
from brokers.paper_server.journal import Journal
from domain.clock import Clock
from domain.errors import StorageError

_DISK_PAUSE_SECONDS = 1.0

Publish = Callable[[Sequence[Event], int], None]
NextDue = Callable[[], dt.datetime | None]
OnTime = Callable[[dt.datetime], None]


class Venue:
    """Everything that happens goes through here: journal first, then the world.

    The venue's time is the clock's, moved ahead where the journal was already later:
    a restored account never goes back in time.
    """

    def __init__(
        self,
        *,
        feed: PriceFeed,
        calendar: SessionSource,
        settings: ExchangeSettings,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._log = structlog.get_logger(__name__)
        self._ahead = dt.timedelta(0)
        self._wake = asyncio.Event()
        self._unwritten: list[Event] = []
        self._listeners: list[Publish] = []
        self._timers: list[tuple[NextDue, OnTime]] = []
        self._once: list[tuple[dt.datetime, Callable[[], None]]] = []
        self.exchange = Exchange(
            feed=feed,
            calendar=calendar,
            settings=settings,
            now=clock.now(),
            history=journal.history,
        )
        behind = self.exchange.last_time - clock.now()
        self._ahead = max(behind, dt.timedelta(0))

    def now(self) -> dt.datetime:
        """Return the venue's time."""
        return max(self._clock.now() + self._ahead, self.exchange.last_time)

    def jump(self, moment: dt.datetime) -> None:
        """Move the venue's time ahead to a moment."""
        self._ahead += max(moment - self.now(), dt.timedelta(0))
        self.settle()
        self.wake()

    def listen(self, publish: Publish) -> None:
        """Call ``publish`` with events, and the journal's count before them."""
        self._listeners.append(publish)

    def add_timer(self, next_due: NextDue, on_time: OnTime) -> None:
        """Let the pump serve another series of moments."""
        self._timers.append((next_due, on_time))

    def settle(self) -> None:
        """Let everything due happen, then commit it."""
        self.exchange.advance(self.now())
        self.commit()

    def commit(self) -> None:
        """Make the fresh events durable, then publish them."""
        # What the disk refused stays first in line: nothing is answered before it is durable.
        self._unwritten += self.exchange.take_events()
        if self._unwritten:
            before = self._journal.count
            self._journal.append(self._unwritten)
            events, self._unwritten = self._unwritten, []
            for publish in self._listeners:
                publish(events, before)
            self.wake()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something once, after some seconds of the venue's time."""
        self._once.append((self.now() + dt.timedelta(seconds=seconds), act))
        self.wake()

    def wake(self) -> None:
        """Let the pump look at its next moment again."""
        self._wake.set()

    async def rest(self, seconds: float) -> None:
        """Wait on the clock."""
        await self._clock.sleep(seconds)

    async def pump(self) -> None:
        """Keep the market moving until cancelled."""
        while True:
            self._wake.clear()
            now = self.now()
            for next_due, on_time in self._timers:
                due = next_due()
                if due is not None and due <= now:
                    on_time(now)
            for _, act in self._take_once(now):
                act()
            try:
                self.settle()
            except StorageError as exc:
                # What happened stays first in line; the market goes on when the disk does.
                self._log.error("paper_server.disk_refuses", problem=str(exc))
                await self._clock.sleep(_DISK_PAUSE_SECONDS)
                continue
            self._wake.clear()
            await self._wait(self._next_due())

    def _next_due(self) -> dt.datetime | None:
        times = [self.exchange.next_due(), *(next_due() for next_due, _ in self._timers)]
        times += [moment for moment, _ in self._once]
        return min((time for time in times if time is not None), default=None)

    def _take_once(self, now: dt.datetime) -> list[tuple[dt.datetime, Callable[[], None]]]:
        due = [one for one in self._once if one[0] <= now]
        self._once = [one for one in self._once if one[0] > now]
        return sorted(due, key=lambda one: one[0])

    async def _wait(self, due: dt.datetime | None) -> None:
        waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._wake.wait())}
        if due is not None:
            seconds = max((due - self.now()).total_seconds(), 0.0)
            waits.add(asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
