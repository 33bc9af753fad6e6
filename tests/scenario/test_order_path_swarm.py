"""Many seeds of everything at once: faults, lags, deaths, kills, lost streams, other hands.

Checked all the way: nothing is written that is not durable (I02), nothing while the latch
is engaged (I06).  Checked after healing: at most one order for each intent (I01), each
execution once (I03), positions share for share (I04), nothing left in doubt (I16).
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest

from domain.errors import NotSent, OrderRejected, RateLimited
from domain.orders import OrderRequest, OrderState, Side
from execution.kill import complete_pending_kill, kill
from tests.support.fake_broker import (
    Crash,
    SubmitFault,
    delivered_late,
    lost_after,
    lost_before,
    refused,
)
from tests.support.order_scene import CUTOFF, RUN_ID, Scene, approved, request
from tests.support.virtual_time import run

_T = TypeVar("_T")

SEEDS = range(60)
SYMBOLS = ("AAPL", "MSFT", "TSLA")
IN_DOUBT = {OrderState.SENDING, OrderState.UNKNOWN, OrderState.APPROVED}


class Life:
    """One seed."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.scene = Scene(directory)
        self.wanted: dict[str, OrderRequest] = {}
        self.dies_after = self._sometimes(0.5, lambda: self.dice.randint(1, 60))
        self.steps = 0
        broker = self.scene.broker
        broker.ids_unique_for_ever = self.dice.random() < 0.8
        broker.fills_at_once = self.dice.random() < 0.5
        broker.visible_after_seconds = self._sometimes(0.4, lambda: self.dice.uniform(0, 30)) or 0.0
        broker.before_write = self.write
        broker.after_write = broker.on_read = self.step
        share = self.dice.random()
        for _ in range(12):
            broker.submit_faults.append(self._fault() if self.dice.random() < share else None)

    def _sometimes(self, chance: float, draw: Callable[[], _T]) -> _T | None:
        return draw() if self.dice.random() < chance else None

    def _fault(self) -> SubmitFault:
        return self.dice.choice(
            [
                lost_before(),
                lost_after(),
                delivered_late(self.dice.uniform(1, 100)),
                refused(NotSent("no connection")),
                refused(RateLimited("x", retry_after_seconds=self.dice.uniform(0, 30))),
                refused(OrderRejected("insufficient buying power")),
            ]
        )

    def step(self, _name: str) -> None:
        self.steps += 1
        if self.steps == self.dies_after:
            raise Crash

    def write(self, name: str) -> None:
        self.step(name)
        if name != "submit" or self.is_kill_sending:
            return
        assert not self.scene.latch.read().is_engaged, "I06"
        sending = {
            record.client_order_id
            for record in self.scene.journal.working()
            if record.state is OrderState.SENDING
        }
        assert sending, "I02"

    is_kill_sending = False

    async def live(self) -> None:
        """A few plans with everything going wrong, then calm, then the checks."""
        for number in range(3):
            try:
                await self._day(number)
            except Crash:
                self.dies_after = self.steps + self.dice.randint(1, 40)
                await self._restart()
        await self._heal()
        self._check()
        self.scene.stop()

    async def _day(self, number: int) -> None:
        scene = self.scene
        plan = [
            request(symbol, quantity=self.dice.randint(1, 9), revision=number)
            for symbol in self.dice.sample(SYMBOLS, k=2)
        ]
        self.wanted.update({wish.client_order_id: wish for wish in plan})
        if self.dice.random() < 0.2:
            asyncio.get_running_loop().call_later(self.dice.uniform(0, 3), self._engage)
        await scene.path.send([approved(wish) for wish in plan], RUN_ID, cutoff=CUTOFF)
        for order in scene.broker.working():
            if self.dice.random() < 0.6:
                left = order.quantity - order.filled_quantity
                scene.broker.fill(order, self.dice.randint(1, max(1, int(left))))
        if self.dice.random() < 0.3:
            hand = scene.broker.place_by_hand("AAPL", Side.BUY, 2, coid=f"hand-{number}")
            scene.broker.fill(hand, 2)
        if scene.stream and self.dice.random() < 0.5:
            scene.stream[:] = self.dice.choices(scene.stream, k=len(scene.stream) // 2 + 1)
        if self.dice.random() < 0.7:
            scene.merge_stream()
        await scene.reconciler.run("periodic")

    def _engage(self) -> None:
        self.scene.latch.engage("kill", self.scene.clock.now())

    async def _restart(self) -> None:
        self.scene.stream.clear()
        self.scene.restart()
        with contextlib.suppress(Crash):
            left = await self.scene.path.recover(cutoff=CUTOFF, patience_seconds=240)
            self.scene.path.skip([record.client_order_id for record in left], "left over")
            await self.scene.reconciler.run("start", is_deep=True)

    async def _heal(self) -> None:
        scene = self.scene
        self.dies_after = None
        scene.broker.submit_faults.clear()
        scene.broker.visible_after_seconds = 0
        scene.stream.clear()
        scene.restart()
        left = await scene.path.recover(patience_seconds=240)
        scene.path.skip([record.client_order_id for record in left], "left over")
        for _ in range(10):
            await scene.reconciler.run("heal", is_deep=True)
            await scene.clock.sleep(30)

    def _check(self) -> None:
        scene = self.scene
        orders = list(scene.broker.orders.values())
        accepted = Counter(o.client_order_id for o in orders if o.client_order_id in self.wanted)
        if scene.broker.ids_unique_for_ever:
            assert all(count == 1 for count in accepted.values()), "I01"
        for order in orders:
            if order.client_order_id in self.wanted:
                assert order.quantity == self.wanted[order.client_order_id].quantity, "I01"
        scene.assert_books_equal()
        assert scene.ledger.cash() == scene.broker.cash, "I05"
        assert not any(r.state in IN_DOUBT for r in scene.journal.working()), "I16"
        assert scene.ledger.locks() == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_order_path_keeps_its_promises_under_everything_at_once(tmp_path: Path, seed: int) -> None:
    async def live() -> None:
        await Life(tmp_path, seed).live()

    run(live())


@pytest.mark.parametrize("seed", range(20))
def test_k03_k06_kill_at_any_moment_ends_flat_and_with_equal_books(
    tmp_path: Path, seed: int
) -> None:
    async def live() -> None:
        life = Life(tmp_path, seed)
        scene = life.scene
        scene.broker.fills_at_once = True
        life.dies_after = None
        plan = [request(symbol, quantity=5) for symbol in SYMBOLS]
        sending = asyncio.create_task(scene.send(*plan))
        await scene.clock.sleep(life.dice.uniform(0, 0.1))
        scene.broker.before_write = None
        dies_at = life.steps + life.dice.randint(1, 25)

        def die(_name: str) -> None:
            life.steps += 1
            if life.steps == dies_at:
                raise Crash

        scene.broker.on_read = scene.broker.after_write = None
        scene.broker.before_write = die
        with contextlib.suppress(Crash):
            await kill(
                scene.broker,
                scene.latch,
                flatten=True,
                reason="test",
                clock=scene.clock,
                tell=lambda _: None,
            )
        scene.broker.before_write = None
        with contextlib.suppress(Crash):
            await sending
        await complete_pending_kill(
            scene.broker, scene.latch, clock=scene.clock, tell=lambda _: None
        )
        await life._heal()

        assert scene.latch.read().is_engaged
        assert not scene.broker.working()
        assert set(scene.broker.quantities.values()) <= {Decimal(0)}
        scene.assert_books_equal()
        scene.stop()

    run(live())
