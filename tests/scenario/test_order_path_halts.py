"""When the order path stops trading altogether, and what still works then."""

import asyncio
import dataclasses
import datetime as dt
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from domain.account import Account
from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    OrderRejected,
    RateLimited,
    StateError,
    StorageError,
)
from domain.ids import BrokerOrderId
from domain.orders import OrderState, Side
from domain.trading_state import TradingState
from execution.desk import OrderSettings
from tests.support.fake_broker import lost_after, lost_before, refused
from tests.support.order_scene import CUTOFF, RUN_ID, Scene, approved, failing, request
from tests.support.virtual_time import OPENING, virtual


def blocked(scene: Scene) -> None:
    """Let the broker say that the account may not trade."""
    account = scene.broker.account

    async def read() -> Account:
        return dataclasses.replace(await account(), is_trading_blocked=True)

    scene.broker.account = read


@virtual
async def test_a14_blocked_account_halts_after_a_refusal(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    blocked(scene)
    scene.broker.submit_faults.append(refused(OrderRejected("account is not authorized to trade")))

    await scene.send(request())

    assert "account" in scene.latch.read().reason


@virtual
async def test_a14_blocked_account_halts_at_the_next_reconcile(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    blocked(scene)

    await scene.reconciler.run("periodic")

    assert "account" in scene.latch.read().reason


@virtual
async def test_a14_account_that_cannot_be_read_after_a_refusal_halts_nothing(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.append(refused(OrderRejected("no")))
    scene.broker.read_faults["account"].append(BrokerUnavailable("down"))

    await scene.send(request())

    assert not scene.latch.read().is_engaged


@pytest.mark.parametrize(("refusals", "is_told"), [(2, False), (3, True)])
@virtual
async def test_a15_more_than_a_fifth_refused_is_told(
    tmp_path: Path, refusals: int, is_told: bool
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.extend([refused(OrderRejected("sub-penny"))] * refusals)

    await scene.send(*[request(f"S{chr(65 + n)}") for n in range(10)])

    assert (scene.alert_kinds()["orders.refused"] == 1) is is_told


@virtual
async def test_a12_keys_refused_during_a_reconcile_halt(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.read_faults["open_orders"].append(AuthRefused("401"))

    with pytest.raises(AuthRefused):
        await scene.reconciler.run("periodic")

    assert "auth" in scene.latch.read().reason


@virtual
async def test_e01_plan_that_cannot_become_durable_sends_nothing_and_halts(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    scene.journal.mark_sending = failing(StorageError("disk full"))

    with pytest.raises(StorageError):
        await scene.send(request())

    assert scene.broker.posts == []
    assert "storage" in scene.latch.read().reason
    assert scene.journal.get(request().client_order_id) is None, "nothing half recorded"


@virtual
async def test_e01_answer_that_cannot_be_recorded_halts_and_is_read_after_the_restart(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)

    scene.journal.apply_order = failing(StorageError("disk full"))
    with pytest.raises(StorageError):
        await scene.send(request())
    assert "storage" in scene.latch.read().reason
    scene.restart()

    await scene.path.recover(cutoff=CUTOFF, patience_seconds=240)

    assert scene.state_of(request()) is OrderState.CANCELED, "halted: canceled once seen"
    assert len(scene.broker.posts) == 1


@virtual
async def test_k07_latch_that_cannot_be_written_still_stops_this_process(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    scene.latch.engage = failing(StorageError("read-only file system"))
    scene.desk.halt("test")

    await scene.send(request())

    assert scene.desk.effective_state() is TradingState.HALTED
    assert scene.broker.posts == []
    assert scene.alert_kinds()["kill.engaged"] == 1


@virtual
async def test_halt_is_told_once_and_kept_in_file_and_row(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    scene.desk.halt("first")
    scene.desk.halt("second")

    assert scene.latch.read().reason == "first"
    assert scene.store.latch_row().is_engaged
    assert scene.alert_kinds()["kill.engaged"] == 1
    scene.restart()
    assert scene.desk.effective_state() is TradingState.HALTED


@virtual
async def test_k07_row_alone_keeps_trading_halted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.desk.halt("test")
    scene.latch.path.unlink()
    scene.latch.arm_new(scene.clock.now())

    assert scene.desk.effective_state() is TradingState.HALTED


@virtual
async def test_d12_process_that_was_taken_over_sends_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.path.stage([approved(request())], RUN_ID)
    scene.journal.mark_sending(request().client_order_id)
    with sqlite3.connect(tmp_path / "openbell.db") as other:
        other.execute("UPDATE writer SET epoch = epoch + 1")
    other.close()

    with pytest.raises(StateError, match="taken over"):
        await scene.path._sender.deliver(request(), cutoff=None)

    assert scene.broker.posts == []


@virtual
async def test_order_that_is_not_durable_is_not_written(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    await scene.path._sender.deliver(request(), cutoff=None)

    assert scene.broker.posts == []


@virtual
async def test_i02_order_that_differs_from_its_durable_row_is_not_written(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.path.stage([approved(request())], RUN_ID)
    scene.journal.mark_sending(request().client_order_id)

    await scene.path._sender.deliver(request(quantity=11), cutoff=None)

    assert scene.broker.posts == []


@virtual
async def test_i11_order_that_was_paced_past_the_cutoff_is_not_written(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    submit = scene.broker.submit

    async def paced(wanted, *, guard):
        await scene.clock.sleep(60)
        return await submit(wanted, guard=guard)

    scene.broker.submit = paced

    await scene.send(request(), cutoff=OPENING + dt.timedelta(seconds=30))

    assert scene.broker.posts == []
    assert scene.state_of(request()) is OrderState.SKIPPED


@virtual
async def test_stuck_cancel_is_asked_for_again_now_and_then_and_never_blocks(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await scene.send(request())
    order = scene.broker.order(request().client_order_id)
    scene.broker.cancel_seconds = None
    scene.path.books.to_cancel[order.broker_order_id] = "test"
    started = scene.clock.monotonic()

    for _ in range(40):
        await scene.path.follow_up()
        await scene.clock.sleep(1)

    assert 2 <= len(scene.broker.cancels) <= 4
    assert scene.clock.monotonic() - started < 45
    scene.broker.finish(order, OrderState.CANCELED)
    scene.merge_stream()
    assert scene.path.books.to_cancel == {}


@virtual
async def test_order_to_read_stays_wanted_until_the_broker_answers(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.path.books.to_read.add(BrokerOrderId("unseen"))
    scene.broker.is_down = True
    await scene.path.follow_up()
    assert scene.path.books.to_read

    scene.broker.is_down = False
    await scene.path.follow_up()

    assert not scene.path.books.to_read


@virtual
async def test_recover_reads_an_order_that_a_429_left_unsent(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.path.stage([approved(wanted)], RUN_ID)
    scene.journal.mark_sending(wanted.client_order_id)
    scene.journal.mark_not_sent(wanted.client_order_id, "429")
    scene.broker._accept_request(wanted)

    left = await scene.path.recover()

    assert left == ()
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_no_resend_of_a_lost_order_while_halted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.path.stage([approved(wanted)], RUN_ID)
    scene.journal.mark_sending(wanted.client_order_id)
    scene.restart()
    scene.state = TradingState.HALTED

    await scene.path.recover(cutoff=CUTOFF, patience_seconds=240)

    assert scene.broker.posts == []
    assert scene.state_of(wanted) is OrderState.ABANDONED


@virtual
async def test_long_only_account_halts_on_a_short_found_in_the_activities(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=OrderSettings(is_long_only=True))
    manual = scene.broker.place_by_hand("AAPL", Side.SELL, 5, coid="by-hand")
    scene.broker.fill(manual, 5, is_announced=False)

    await scene.reconciler.run("periodic")

    assert "short" in scene.latch.read().reason


@virtual
async def test_cash_that_is_no_number_is_a_failed_reading(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.cash = Decimal("NaN")

    with pytest.raises(BrokerUnavailable, match="cash"):
        await scene.reconciler.run("start")


@virtual
async def test_start_reads_at_once_and_leaves_the_proof_to_the_background(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.path.stage([approved(wanted)], RUN_ID)
    scene.journal.mark_sending(wanted.client_order_id)
    scene.restart()
    started = scene.clock.monotonic()

    await scene.path.recover()
    spent = scene.clock.monotonic() - started
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(scene.path.settle_for_ever())
        await scene.clock.sleep(300)
        settling.cancel()

    assert spent < 1
    assert scene.state_of(wanted) is OrderState.ABANDONED


@virtual
async def test_background_settling_goes_on_after_a_long_outage(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(lost_after())
    scene.broker.after_write = lambda _: setattr(scene.broker, "is_down", True)
    asyncio.get_running_loop().call_later(3600, setattr, scene.broker, "is_down", False)

    async with asyncio.TaskGroup() as group:
        settling = group.create_task(scene.path.settle_for_ever())
        report = await scene.send(wanted)
        await scene.clock.sleep(3600)
        settling.cancel()

    assert not report.is_settled
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_order_canceled_before_it_was_seen_is_canceled_on_sight(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(lost_after())
    scene.broker.visible_after_seconds = 20

    async with asyncio.TaskGroup() as group:
        group.create_task(scene.send(wanted))
        await scene.clock.sleep(5)
        ended = await scene.path.cancel(wanted.client_order_id, "past the entry cut-off")

    assert not ended
    assert scene.state_of(wanted) is OrderState.CANCELED
    assert scene.path.books.unwanted == {}


@virtual
async def test_two_misses_prove_nothing_however_far_apart(tmp_path: Path) -> None:
    scene = Scene(
        tmp_path, settings=OrderSettings(unknown_reads_seconds=(130,), resolve_seconds=999)
    )
    wanted = request()
    scene.broker.submit_faults.append(lost_before())

    async with asyncio.TaskGroup() as group:
        sending = group.create_task(scene.send(wanted, cutoff=None))
        await scene.clock.sleep(300)
        assert scene.state_of(wanted) is OrderState.UNKNOWN
        sending.cancel()


@virtual
async def test_cancel_of_what_never_left_or_has_ended_asks_the_broker_nothing(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    staged, ended = request("AAPL"), request("MSFT")
    scene.path.stage([approved(staged)], RUN_ID)
    await scene.send(ended)
    scene.broker.finish(scene.broker.order(ended.client_order_id), OrderState.EXPIRED)
    scene.merge_stream()

    report = await scene.reconciler.run("periodic")

    assert report.is_equal, "a staged order is not missed at the broker"
    assert await scene.path.cancel_many([staged.client_order_id, ended.client_order_id], "test")
    assert scene.state_of(staged) is OrderState.SKIPPED
    assert scene.broker.cancels == []
    assert scene.path.books.unwanted == {}


@virtual
async def test_cancel_of_a_working_order_after_a_fill_was_seen_is_not_repeated(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await scene.send(request())
    await scene.path.cancel(request().client_order_id, "first")

    assert await scene.path.cancel(request().client_order_id, "second")
    assert len(scene.broker.cancels) == 1


@virtual
async def test_cancel_of_an_order_that_the_broker_cannot_find_does_not_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    assert not await scene.path.cancels.cancel(BrokerOrderId("nowhere"))


@virtual
async def test_429_to_the_last_request_is_skipped_without_a_cutoff_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    limit = refused(RateLimited("x", retry_after_seconds=0))
    scene.broker.submit_faults.extend([limit] * 100)

    await scene.send(request(), cutoff=None)

    assert scene.state_of(request()) is OrderState.SKIPPED
    assert len(scene.broker.posts) == 8


@virtual
async def test_answer_given_up_after_the_stream_showed_the_order_leaves_it_live(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.append(lost_after())
    scene.broker.after_write = lambda _: scene.merge_stream()

    await scene.send(request())

    assert scene.state_of(request()) is OrderState.LIVE
    assert scene.alert_kinds()["order.unknown"] == 0


@virtual
async def test_order_shown_at_the_moment_it_is_given_up_is_kept(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.visible_after_seconds = 3600
    scene.broker.submit_faults.append(lost_after())
    looks = [0]

    def show_at_the_proof(name: str) -> None:
        looks[0] += name == "find_order"
        if looks[0] == 7:
            scene.merge_stream()

    scene.broker.on_read = show_at_the_proof

    await scene.send(request(), cutoff=None)

    assert scene.state_of(request()) is OrderState.LIVE
    assert scene.alert_kinds()["order.abandoned"] == 0


@virtual
async def test_long_only_account_goes_on_when_a_buy_fills(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=OrderSettings(is_long_only=True))
    scene.broker.fills_at_once = True

    await scene.send(request())
    scene.merge_stream()

    assert not scene.latch.read().is_engaged
    scene.assert_books_equal()


@virtual
async def test_second_cancel_of_a_stuck_order_is_told_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.send(request())
    scene.broker.cancel_seconds = None

    for _ in range(2):
        assert not await scene.path.cancel(request().client_order_id, "test")

    assert scene.alert_kinds()["order.cancel_requested"] == 1
