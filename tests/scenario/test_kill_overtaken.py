"""A plain kill while somebody else closes positions, resumes, or is done before it."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.session.unfinished_kill import AGAIN_AFTER_SECONDS
from domain.account import Position
from domain.errors import BrokerUnavailable
from domain.orders import Side
from execution.kill import Proof, complete_pending_kill
from state.latch_record import KillAction
from tests.scenario.test_remote_kill import Remote
from tests.support.kill_scene import AAPL, make, strike
from tests.support.virtual_time import virtual


def before_the_open(tmp_path: Path) -> SimpleNamespace:
    scene = make(tmp_path)
    scene.broker.is_open = False
    scene.broker.quantities[AAPL] = Decimal(7)
    return scene


@pytest.mark.parametrize("slow_seconds", [0, 1, 3])
@pytest.mark.parametrize("later_seconds", [0.05, 0.5, 0.6])
@virtual
async def test_plain_kill_that_is_still_looking_leaves_the_closing_orders_of_a_later_flatten(
    tmp_path: Path, later_seconds: float, slow_seconds: float
) -> None:
    # It read the closing orders, was slow, and canceled what the other had verified as queued.
    scene = before_the_open(tmp_path)
    read = scene.broker.positions

    async def slowly() -> Sequence[Position]:
        if asyncio.current_task() is plain:
            await asyncio.sleep(slow_seconds)
        found: Sequence[Position] = await read()
        return found

    scene.broker.positions = slowly
    plain = asyncio.create_task(strike(scene))
    await asyncio.sleep(later_seconds)
    reports = [await strike(scene, flatten=True), await plain]

    assert [report.proof for report in reports] == [Proof.QUEUED_FOR_OPEN] * 2
    assert all(report.verified for report in reports)
    assert [(o.side, o.quantity) for o in scene.broker.working()] == [(Side.SELL, 7)]


@virtual
async def test_plain_kill_does_not_lock_a_later_flatten_out_of_an_open_market(
    tmp_path: Path,
) -> None:
    # It set the lock again that the other had cleared, and every closing order was refused.
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities[AAPL] = Decimal(7)

    plain = asyncio.create_task(strike(scene))
    await asyncio.sleep(0.5)
    reports = [await strike(scene, flatten=True), await plain]

    assert [report.proof for report in reports] == [Proof.FLAT, Proof.FLAT]
    assert scene.broker.quantities[AAPL] == 0
    assert scene.broker.is_suspended


@virtual
async def test_plain_kill_finishes_the_later_flatten_that_died(tmp_path: Path) -> None:
    scene = before_the_open(tmp_path)
    scene.broker.read_faults["open_orders"].extend([BrokerUnavailable("away")] * 3)

    plain = asyncio.create_task(strike(scene))
    await asyncio.sleep(0.3)
    scene.latch.engage("died", scene.clock.now(), pending=KillAction.FLATTEN)
    report = await plain

    assert report.proof is Proof.QUEUED_FOR_OPEN
    assert scene.latch.read().pending is None


@virtual
async def test_plain_kill_after_a_flatten_cancels_its_closing_orders(tmp_path: Path) -> None:
    scene = before_the_open(tmp_path)
    await strike(scene, flatten=True)

    report = await strike(scene)

    assert report.proof is Proof.CANCELED
    assert not scene.broker.working()


@virtual
async def test_cancel_that_nobody_asked_for_keeps_closing_orders(tmp_path: Path) -> None:
    # The end of a broken process leaves it to the next start, which canceled them.
    scene = before_the_open(tmp_path)
    await strike(scene, flatten=True)
    scene.latch.engage(
        "egress: too many", scene.clock.now(), pending=KillAction.CANCEL, is_asked=False
    )

    report = await complete_pending_kill(
        scene.broker, scene.latch, clock=scene.clock, tell=scene.lines.append
    )

    assert report is not None
    assert report.proof is Proof.QUEUED_FOR_OPEN
    assert len(scene.broker.working()) == 1


async def kill_from_afar_in_vain(remote: Remote) -> None:
    """Let the daemon's own kill end unverified; it tries again minutes later."""
    away = [BrokerUnavailable("orders: an answer is not usable")] * 1000
    remote.scene.broker.read_faults["open_orders"].extend(away)
    remote.controls.kill("from afar")
    await remote.scene.clock.sleep(90)
    assert remote.kinds == ["kill.engaged", "kill.unfinished"]
    remote.scene.broker.read_faults["open_orders"].clear()


def typed(remote: Remote) -> SimpleNamespace:
    scene = remote.scene
    return SimpleNamespace(broker=scene.broker, latch=scene.latch, clock=scene.clock, lines=[])


@virtual
async def test_kill_from_afar_that_is_tried_again_leaves_what_a_person_has_queued_to_close(
    tmp_path: Path,
) -> None:
    remote = Remote(tmp_path)
    remote.scene.broker.is_open = False
    remote.scene.broker.quantities[AAPL] = Decimal(7)
    await kill_from_afar_in_vain(remote)
    report = await strike(typed(remote), flatten=True)
    assert report.verified

    await remote.scene.clock.sleep(4 * AGAIN_AFTER_SECONDS)

    assert [order.side for order in remote.scene.broker.working()] == [Side.SELL]


@virtual
async def test_kill_from_afar_is_not_tried_again_after_a_person_resumed(tmp_path: Path) -> None:
    remote = Remote(tmp_path)
    broker, latch = remote.scene.broker, remote.scene.latch
    await kill_from_afar_in_vain(remote)
    assert (await strike(typed(remote))).verified
    await broker.set_suspended(is_suspended=False)
    latch.release("checked", remote.scene.clock.now())
    stop = broker.place_by_hand("AAPL", Side.SELL, 1, coid="a-stop")

    await remote.scene.clock.sleep(4 * AGAIN_AFTER_SECONDS)

    assert broker.working() == [stop]
    assert not broker.is_suspended


@virtual
async def test_kill_from_afar_in_vain_is_tried_again_where_nobody_did_anything(
    tmp_path: Path,
) -> None:
    remote = Remote(tmp_path)
    broker = remote.scene.broker
    await kill_from_afar_in_vain(remote)
    broker.place_by_hand("AAPL", Side.BUY, 1, coid="late")
    remote.scene.latch.engage("a loss limit", remote.scene.clock.now())

    await remote.scene.clock.sleep(2 * AGAIN_AFTER_SECONDS)

    assert not broker.working()
    assert remote.scene.latch.read().pending is None
