"""Follow the trade stream for ever: merge its events, and read the broker after each gap."""

import asyncio
from typing import NoReturn

from brokers.base import TradeStream
from domain.errors import AuthRefused, BrokerUnavailable
from execution.desk import Desk
from execution.orders import OrderPath
from execution.reconcile import Reconciler
from execution.waiting import doubling


class StreamFollower:
    """Tasks in one group: the connection, the merging of what it brings, and open doubts."""

    def __init__(self, desk: Desk, path: OrderPath, reconciler: Reconciler) -> None:
        self._desk = desk
        self._path = path
        self._reconciler = reconciler
        self._is_failing = False

    async def run(self, stream: TradeStream) -> None:
        """Stay with the stream until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                stream.run(
                    on_ready=self._path.updates.wish_reconcile,
                    on_update=self._path.updates.offer,
                    on_unreadable=self._path.updates.offer_unreadable,
                    on_lost=self._lost,
                )
            )
            group.create_task(self.merge_for_ever())
            group.create_task(self._path.settle_for_ever())

    async def merge_for_ever(self) -> NoReturn:
        """Merge whatever waits; after a gap compare with the broker first."""
        pauses = doubling(1.0, 60.0)
        while True:
            await self._path.updates.wait()
            if not self._path.updates.take_reconcile_wish():
                self._path.updates.drain()
            elif await self._compared():
                pauses = doubling(1.0, 60.0)
            else:
                # Executions are safe to book at any time; only trust has to wait.
                self._path.updates.drain()
                await self._desk.clock.sleep(next(pauses))
                self._path.updates.wish_reconcile()
            await self._path.follow_up()

    async def _compared(self) -> bool:
        """Compare books and broker; tell the first failure of several in a row."""
        try:
            await self._reconciler.run("stream")
        except (BrokerUnavailable, AuthRefused) as exc:
            if not self._is_failing:
                self._desk.note("reconcile.failed", f"after a gap of the stream: {exc}")
            self._is_failing = True
            return False
        self._is_failing = False
        return True

    def _lost(self, reason: str) -> None:
        self._desk.note("stream.lost", reason)
