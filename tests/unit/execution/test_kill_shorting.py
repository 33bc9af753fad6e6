"""Kill with flatten forbids short sales at the broker, so that no late twin sells twice."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from domain.errors import (
    BrokerError,
    BrokerUnavailable,
    OutcomeUnknown,
    StateError,
    StorageError,
)
from domain.ids import Symbol
from domain.orders import OrderState
from execution.closing_notes import LOST_AFTER_SECONDS
from execution.kill import Proof, complete_pending_kill
from execution.resume import resume
from state.latch_record import KillAction
from tests.support.fake_broker import Crash, delivered_late, lost_before
from tests.support.kill_scene import AAPL, holding, strike
from tests.support.virtual_time import virtual

TSLA = Symbol("TSLA")
LAST_FOUR = "1234"


async def take_up_again(scene: SimpleNamespace) -> None:
    async def agrees() -> None:
        return

    await resume(
        scene.broker,
        scene.latch,
        clock=scene.clock,
        reason="checked",
        confirm=LAST_FOUR,
        expected_sequence=scene.latch.read().sequence,
        check=agrees,
    )


@virtual
async def test_a05_late_closing_sale_is_refused_when_its_twin_has_sold(tmp_path: Path) -> None:
    scene = holding(tmp_path)
    scene.broker.submit_faults.append(delivered_late(100))

    report = await strike(scene, flatten=True)
    scene.broker.is_suspended = False
    await asyncio.sleep(200)

    assert report.proof is Proof.FLAT
    assert scene.broker.quantities[AAPL] == 0
    ids = [order_id for order_id, _ in scene.broker.posts]
    assert len(set(ids)) == len(ids) == 2, "no id is written twice"


@virtual
async def test_a05_second_kill_does_not_double_what_the_first_left_on_its_way(
    tmp_path: Path,
) -> None:
    scene = holding(tmp_path)
    scene.broker.submit_faults.append(delivered_late(30))

    first = await strike(scene, flatten=True, seconds=5)
    second = await strike(scene, flatten=True)
    scene.broker.is_suspended = False
    await asyncio.sleep(60)

    assert (first.proof, second.proof) == (Proof.NOT_FLAT, Proof.FLAT)
    assert scene.broker.quantities[AAPL] == 0
    ids = [order_id for order_id, _ in scene.broker.posts]
    assert len(set(ids)) == len(ids) == 2, "each kill takes ids of its own"


@virtual
async def test_resume_allows_short_sales_again_that_the_kill_forbade(tmp_path: Path) -> None:
    scene = holding(tmp_path)
    await strike(scene, flatten=True)
    assert scene.broker.is_shorting_banned
    assert scene.latch.read().is_shorting_forbidden

    await take_up_again(scene)

    assert not scene.broker.is_shorting_banned
    assert not scene.latch.read().is_shorting_forbidden


@virtual
async def test_account_that_never_shorts_is_left_as_a_person_set_it(tmp_path: Path) -> None:
    scene = holding(tmp_path)
    scene.broker.is_shorting_banned = True
    writes: list[str] = []
    scene.broker.before_write = writes.append

    await strike(scene, flatten=True)
    await take_up_again(scene)

    assert scene.broker.is_shorting_banned
    assert not {"forbid", "allow"} & set(writes)


@virtual
async def test_plain_kill_and_a_flat_account_leave_the_setting_alone(tmp_path: Path) -> None:
    scene = holding(tmp_path)
    await strike(scene)
    scene.broker.quantities.clear()
    await strike(scene, flatten=True)

    assert not scene.broker.is_shorting_banned
    assert not scene.latch.read().is_shorting_forbidden


@pytest.mark.parametrize("hook", ["before_write", "after_write"])
@virtual
async def test_k08_kill_cut_off_at_the_ban_is_completed_and_undone_by_the_resume(
    tmp_path: Path, hook: str
) -> None:
    scene = holding(tmp_path)

    def die(what: str) -> None:
        if what == "forbid":
            raise Crash

    setattr(scene.broker, hook, die)
    with pytest.raises(Crash):
        await strike(scene, flatten=True)
    setattr(scene.broker, hook, None)

    report = await complete_pending_kill(
        scene.broker, scene.latch, clock=scene.clock, tell=scene.lines.append
    )
    assert report is not None
    assert report.proof is Proof.FLAT
    assert scene.broker.is_shorting_banned
    await take_up_again(scene)

    assert not scene.broker.is_shorting_banned


@virtual
async def test_resume_stays_engaged_while_short_sales_read_back_as_forbidden(
    tmp_path: Path,
) -> None:
    scene = holding(tmp_path)
    await strike(scene, flatten=True)

    async def stubborn(*, is_forbidden: bool) -> bool:
        return True

    scene.broker.set_shorting_forbidden = stubborn
    with pytest.raises(BrokerError, match="still forbidden"):
        await take_up_again(scene)

    assert scene.latch.read().is_engaged
    assert scene.latch.read().is_shorting_forbidden


@virtual
async def test_k08_kill_that_comes_during_a_resume_keeps_the_ban_it_found(tmp_path: Path) -> None:
    scene = holding(tmp_path)
    await strike(scene, flatten=True)

    def engage(what: str) -> None:
        if what == "allow":
            scene.latch.engage("again", scene.clock.now(), pending=KillAction.FLATTEN)

    scene.broker.before_write = engage
    with pytest.raises(StateError):
        await take_up_again(scene)

    assert scene.broker.is_shorting_banned
    assert scene.latch.read().is_shorting_forbidden


@virtual
async def test_account_without_the_setting_is_told_and_leaves_what_may_still_arrive(
    tmp_path: Path,
) -> None:
    scene = holding(tmp_path)
    scene.broker.offers_shorting_ban = False
    scene.broker.submit_faults.append(lost_before())

    first = await strike(scene, flatten=True)
    await asyncio.sleep(LOST_AFTER_SECONDS)
    second = await strike(scene, flatten=True)

    assert (first.proof, second.proof) == (Proof.NOT_FLAT, Proof.FLAT)
    assert any("short sales" in problem for problem in first.problems)
    (order_id, at), (again, later) = scene.broker.posts
    assert order_id == again
    assert (later - at).total_seconds() >= LOST_AFTER_SECONDS


@virtual
async def test_ban_that_gives_no_answer_takes_a_part_of_the_time_and_is_told(
    tmp_path: Path,
) -> None:
    scene = holding(tmp_path)

    async def silent(*, is_forbidden: bool) -> bool:
        await asyncio.sleep(1)
        raise OutcomeUnknown("timeout")

    scene.broker.set_shorting_forbidden = silent

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert report.elapsed_seconds < 20
    assert "short sales could not be forbidden" in report.problems


@virtual
async def test_ban_is_asked_for_again_while_the_broker_gives_no_clear_answer(
    tmp_path: Path,
) -> None:
    scene = holding(tmp_path)
    scene.broker.read_faults["is_shorting_forbidden"].append(BrokerUnavailable("x"))

    report = await strike(scene, flatten=True)

    assert report.problems == ()
    assert scene.broker.is_shorting_banned


@virtual
async def test_ban_that_the_latch_could_not_note_is_set_all_the_same_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = holding(tmp_path)

    def full(*, forbids_shorting: bool) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(scene.latch, "begin_closing", full)

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert scene.broker.is_shorting_banned
    assert any("clear no_shorting there by hand" in problem for problem in report.problems)


@virtual
async def test_a04_shares_held_by_an_order_that_does_not_show_yet_are_waited_for(
    tmp_path: Path,
) -> None:
    scene = holding(tmp_path)
    scene.broker.fills_at_once = False
    scene.broker.visible_after_seconds = 20.0
    died: list[str] = []

    def die(what: str) -> None:
        if what == "submit" and not died:
            died.append(what)
            raise Crash

    scene.broker.after_write = die
    with pytest.raises(Crash):
        await strike(scene, flatten=True)

    def reject() -> None:
        scene.broker.finish(scene.broker.working()[0], OrderState.REJECTED)
        scene.broker.fills_at_once = True

    asyncio.get_running_loop().call_later(25, reject)

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    states = [order.state for order in scene.broker.orders.values()]
    assert states == [OrderState.REJECTED, OrderState.FILLED]
