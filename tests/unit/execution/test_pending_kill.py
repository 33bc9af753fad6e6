"""A kill that was cut off is pending in the latch until somebody completes it."""

import asyncio
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from domain.errors import StorageError
from domain.ids import Symbol
from execution.closing_notes import LOST_AFTER_SECONDS
from execution.kill import KillReport, complete_pending_kill
from state.latch import Latch
from state.latch_record import KillAction
from tests.support.fake_broker import Crash
from tests.support.kill_scene import AAPL, make, strike, with_orders
from tests.support.order_scene import failing
from tests.support.virtual_time import run, virtual


@pytest.mark.parametrize("flatten", [False, True], ids=["cancel", "flatten"])
@pytest.mark.parametrize("moment", ["before_write", "after_write", "on_read"])
def test_k06_kill_cut_off_at_each_step_is_completed_by_the_next_start(
    tmp_path: Path, moment: str, flatten: bool
) -> None:
    steps = 0
    for crash_at in range(1, 60):
        directory = tmp_path / f"{crash_at}"
        directory.mkdir()
        if not run(_cut_off_and_complete(directory, moment, crash_at, flatten=flatten)):
            break
        steps += 1
    assert 0 < steps < 59


async def _cut_off_and_complete(
    directory: Path, moment: str, crash_at: int, *, flatten: bool
) -> bool:
    scene = make(directory)
    scene.broker.fills_at_once = True
    scene.broker.quantities.update({AAPL: Decimal(7), Symbol("TSLA"): Decimal(-3)})
    scene.broker.fills_at_once = False
    with_orders(scene, 3)
    scene.broker.fills_at_once = True
    left = [crash_at]

    def crash(_name: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Crash

    setattr(scene.broker, moment, crash)
    try:
        await strike(scene, flatten=flatten)
    except Crash:
        pass
    else:
        return False
    setattr(scene.broker, moment, None)
    assert scene.latch.read().is_engaged
    assert scene.latch.read().pending is not None

    report = await _complete(scene, directory)
    if not report.verified:
        # Cut off as it bought: that one may have been written, and only time tells.
        assert [name for name, held in scene.broker.quantities.items() if held] == ["TSLA"]
        await asyncio.sleep(LOST_AFTER_SECONDS)
        report = await _complete(scene, directory)

    assert report.verified
    assert not scene.broker.working()
    assert scene.latch.read().pending is None
    if flatten:
        assert not any(scene.broker.quantities.values())
        assert sum(fill.quantity for fill in scene.broker.executions) == 10
    return True


async def _complete(scene: SimpleNamespace, directory: Path) -> KillReport:
    report = await complete_pending_kill(
        scene.broker, Latch(directory), clock=scene.clock, tell=scene.lines.append
    )
    assert report is not None
    return report


@virtual
async def test_nothing_is_pending_on_an_armed_or_completed_latch(tmp_path: Path) -> None:
    scene = make(tmp_path)

    async def complete() -> KillReport | None:
        return await complete_pending_kill(
            scene.broker, scene.latch, clock=scene.clock, tell=scene.lines.append
        )

    assert await complete() is None
    await strike(scene)
    assert await complete() is None


@virtual
async def test_completed_kill_that_cannot_be_noted_stays_pending(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.latch.complete = failing(StorageError("disk full"))

    report = await strike(scene)

    assert report.verified
    assert "disk full" in report.problems[-1]
    assert scene.latch.read().pending is KillAction.CANCEL
