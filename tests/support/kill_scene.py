"""A latch and a fake broker for a kill without a daemon."""

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

from domain.ids import Symbol
from domain.orders import Side
from execution.kill import KillReport, KillSettings, kill
from state.latch import Latch
from tests.support.fake_broker import FakeBroker
from tests.support.virtual_time import loop_clock

AAPL = Symbol("AAPL")


def make(tmp_path: Path) -> SimpleNamespace:
    clock = loop_clock()
    latch = Latch(tmp_path)
    latch.arm_new(clock.now())
    return SimpleNamespace(clock=clock, latch=latch, broker=FakeBroker(clock), lines=[])


async def strike(
    scene: SimpleNamespace, *, flatten: bool = False, seconds: float = 60.0
) -> KillReport:
    return await kill(
        scene.broker,
        scene.latch,
        flatten=flatten,
        reason="test",
        clock=scene.clock,
        tell=scene.lines.append,
        settings=KillSettings(deadline_seconds=seconds),
    )


def with_orders(scene: SimpleNamespace, count: int) -> None:
    for number in range(count):
        scene.broker.place_by_hand("AAPL", Side.BUY, 10, coid=f"order-{number}")


def holding(tmp_path: Path, quantity: int = 7) -> SimpleNamespace:
    """Open a scene with a position, at a broker that forgets the ids of ended orders."""
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.ids_unique_for_ever = False
    scene.broker.quantities[AAPL] = Decimal(quantity)
    return scene
