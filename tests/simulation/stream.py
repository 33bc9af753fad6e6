"""The trade stream of one process, with everything that the wire does to it."""

import asyncio
from collections.abc import Callable
from typing import Any

from domain.orders import TradeUpdate
from tests.simulation import garbled
from tests.simulation.processes import THAWS_WITHIN, Process
from tests.simulation.truth import Truth


class SimStream:
    """A TradeStream that loses, repeats, shuffles and garbles."""

    def __init__(self, truth: Truth, process: Process) -> None:
        self._truth = truth
        self._faults = truth.faults
        self._process = process
        self._connection = 0
        self._lost: asyncio.Event | None = None
        self._is_silent = False
        self._calls: dict[str, Callable[[Any], None]] = {}
        self._held: list[tuple[int, str, Any]] = []

    async def run(
        self,
        *,
        on_ready: Callable[[], None],
        on_update: Callable[[TradeUpdate], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._calls = {"update": on_update, "unreadable": on_unreadable}
        self._truth.listeners.append(self._push)
        try:
            while True:
                await asyncio.sleep(self._faults.span("stream.connect", 0.05, 2))
                if self._truth.is_down or self._truth.lasting.is_refusing_keys:
                    await asyncio.sleep(5)
                    continue
                self._connection += 1
                self._lost, self._is_silent = asyncio.Event(), False
                on_ready()
                await self._lost.wait()
                on_lost("the connection broke")
                self._lost = None
                if self._faults.is_on:
                    await asyncio.sleep(self._faults.span("stream.away", 0.5, 600))
        finally:
            # What is on its way to a program that has ended reaches nobody.
            self._lost = None
            self._truth.listeners.remove(self._push)

    def drop(self) -> None:
        """Break the connection."""
        if self._lost is not None:
            self._lost.set()

    def heal(self) -> None:
        """End a silence."""
        if self._is_silent:
            self.drop()

    def _push(self, update: TradeUpdate) -> None:
        faults = self._faults
        if self._lost is None or self._lost.is_set() or self._is_silent:
            return
        if faults.strikes("stream.dropped"):
            self.drop()
            return
        if faults.strikes("stream.silent"):
            self._is_silent = True
            return
        if faults.strikes("stream.missing"):
            return
        delay = faults.span("stream", 0.01, 0.2)
        if faults.strikes("stream.reordered"):
            delay += faults.span("stream.reordered", 0.1, 20)
        if faults.strikes("stream.unreadable"):
            frames = [f"<html>{update.order.broker_order_id}</html>", "\x00\xff", "{"]
            self._at(delay, "unreadable", faults.pick("stream.unreadable", frames))
            return
        told = garbled.update(faults, update)
        self._at(delay, "update", told)
        if told is update and (wrong := garbled.contradiction(faults, update)) is not None:
            self._at(delay + 1, "update", wrong)
        if faults.strikes("stream.duplicate"):
            self._at(delay + faults.span("stream.duplicate", 0, 60), "update", update)

    def _at(self, delay: float, what: str, item: Any) -> None:
        self._truth.loop.call_later(delay, self._hand, self._connection, what, item)

    def _hand(self, connection: int, what: str, item: Any) -> None:
        self._held.append((connection, what, item))
        if len(self._held) == 1:
            self._hand_over()

    def _hand_over(self) -> None:
        """Hand everything over, in the order in which it came; a frozen program reads later."""
        if (left := self._process.frozen_until - self._truth.loop.moment) > 0:
            self._truth.loop.call_later(min(left, THAWS_WITHIN), self._hand_over)
            return
        held, self._held = self._held, []
        for connection, what, item in held:
            self._call(connection, what, item)

    def _call(self, connection: int, what: str, item: Any) -> None:
        is_same = connection == self._connection and self._lost is not None
        if is_same and not self._process.is_dead:
            if what == "update" and item.previous_execution_id is not None:
                self._truth.heard(item)
            if what == "update" and item.fill is not None:
                fill = item.fill
                self._truth.streamed.add((fill.broker_order_id, fill.cumulative_quantity))
            self._truth.operated(self._process, False)
            self._calls[what](item)
