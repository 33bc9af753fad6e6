"""Class D: the process dies at every durable step, every write and every read, and again.

After each death the next process recovers on the same files; in the end every intent has
exactly one order at the broker, or is recorded as never sent, and the books are equal.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.orders import OrderRequest, OrderState, Side
from tests.support.fake_broker import Crash, SubmitFault, lost_after, lost_before
from tests.support.order_scene import CUTOFF, RUN_ID, Scene, approved, request
from tests.support.virtual_time import run

# Every pair of deaths takes minutes; by default every sixth is lived, spread evenly.
PAIR_STRIDE = 1 if os.environ.get("OPENBELL_ALL_CRASH_PAIRS") else 6

Faults = Callable[[], list[SubmitFault | None]]


class Fuse:
    """Counts steps and dies at one of them; afterwards nothing durable happens any more."""

    def __init__(self, scene: Scene, dies_at: int | None) -> None:
        self.left = dies_at
        self.steps = 0
        self.is_dead = False
        self.scene = scene
        broker = scene.broker
        broker.before_write = broker.after_write = broker.on_read = self.step
        self._transaction = scene.store.transaction
        self._depth = 0
        wrapped: Any = self.transaction
        scene.store.transaction = wrapped

    def step(self, _name: str = "") -> None:
        if self.is_dead:
            raise Crash
        self.steps += 1
        if self.left is not None and self.steps == self.left:
            self.is_dead = True
            raise Crash

    @contextlib.contextmanager
    def transaction(self) -> Iterator[object]:
        if self._depth:
            with self._transaction() as connection:
                yield connection
            return
        self._depth += 1
        try:
            with self._transaction() as connection:
                yield connection
                self.step("before commit")
        finally:
            self._depth -= 1
        self.step("after commit")

    def remove(self) -> None:
        broker = self.scene.broker
        broker.before_write = broker.after_write = broker.on_read = None


async def send_plan(scene: Scene, wanted: list[OrderRequest]) -> None:
    await scene.path.send([approved(r) for r in wanted], RUN_ID, cutoff=CUTOFF)
    await scene.reconciler.run("after")


async def recover(scene: Scene, wanted: list[OrderRequest]) -> None:
    """What the daemon does at a start, and then the run that was due."""
    left = await scene.path.recover(cutoff=CUTOFF, patience_seconds=240)
    await scene.reconciler.run("start", is_deep=True)
    scene.path.skip([r.client_order_id for r in left], "left over from a former run")
    await send_plan(scene, wanted)


async def live(
    directory: Path, deaths: tuple[int, ...], faults: Faults, symbols: tuple[str, ...]
) -> list[int]:
    """Live one day with a death at step ``deaths[n]`` of process n; return the steps of each."""
    scene = Scene(directory)
    wanted = [request(symbol) for symbol in symbols]
    scene.broker.fills_at_once = True
    scene.broker.submit_faults.extend(faults())
    steps: list[int] = []
    for number, dies_at in enumerate((*deaths, None)):
        fuse = Fuse(scene, dies_at)
        work = send_plan if number == 0 else recover
        with contextlib.suppress(Crash):
            await work(scene, wanted)
        steps.append(fuse.steps)
        fuse.remove()
        scene.restart()
    await scene.reconciler.run("end", is_deep=True)
    check(scene, wanted)
    scene.stop()
    return steps


def check(scene: Scene, wanted: list[OrderRequest]) -> None:
    accepted = Counter(order.client_order_id for order in scene.broker.orders.values())
    for intent in wanted:
        assert accepted[intent.client_order_id] == 1
        assert scene.state_of(intent) is OrderState.FILLED
        assert scene.broker.quantities[intent.symbol] == intent.quantity
    scene.assert_books_equal()
    assert scene.ledger.cash() == scene.broker.cash
    assert scene.ledger.locks() == {}


CASES: dict[str, Faults] = {
    "healthy": list,
    "reply-lost": lambda: [lost_after()],
    "request-lost": lambda: [lost_before()],
}


@pytest.mark.parametrize("case", CASES)
def test_d01_death_at_every_step_of_a_plan_ends_in_one_order_per_intent(
    tmp_path: Path, case: str
) -> None:
    total = run(live(_fresh(tmp_path), (), CASES[case], ("AAPL", "MSFT")))[0]
    assert total > 10

    for k in range(1, total + 1):
        run(live(_fresh(tmp_path), (k,), CASES[case], ("AAPL", "MSFT")))


@pytest.mark.parametrize("case", ["healthy", "reply-lost"])
def test_d02_death_in_the_recovery_too_ends_in_one_order_per_intent(
    tmp_path: Path, case: str
) -> None:
    total = run(live(_fresh(tmp_path), (), CASES[case], ("AAPL",)))[0]

    for k in range(1, total + 1):
        recovery = run(live(_fresh(tmp_path), (k,), CASES[case], ("AAPL",)))[1]
        for j in range(1 + k % PAIR_STRIDE, recovery + 1, PAIR_STRIDE):
            run(live(_fresh(tmp_path), (k, j), CASES[case], ("AAPL",)))


def test_d01_exits_survive_a_death_at_every_step_without_passing_zero(tmp_path: Path) -> None:
    async def sell(directory: Path, dies_at: int | None) -> int:
        scene = Scene(directory)
        scene.broker.fills_at_once = True
        await send_plan(scene, [request("AAPL", leg="opening")])
        way_out = request("AAPL", Side.SELL, 10, leg="exit")
        fuse = Fuse(scene, dies_at)
        with contextlib.suppress(Crash):
            await send_plan(scene, [way_out])
        fuse.remove()
        scene.restart()
        await recover(scene, [way_out])
        assert scene.broker.quantities[way_out.symbol] == 0
        scene.assert_books_equal()
        scene.stop()
        return fuse.steps

    total = run(sell(_fresh(tmp_path), None))

    for k in range(1, total + 1):
        run(sell(_fresh(tmp_path), k))


def _fresh(parent: Path) -> Path:
    directory = parent / str(sum(1 for _ in parent.iterdir()))
    directory.mkdir()
    return directory
