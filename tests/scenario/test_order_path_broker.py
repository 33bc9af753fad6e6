"""Class A: what the order path does with every answer, and every silence, of the broker."""

import dataclasses
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    DuplicateOrder,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from domain.orders import BrokerOrder, OrderRequest, OrderState, Side
from domain.trading_state import TradingState
from execution.desk import OrderSettings
from tests.support.fake_broker import (
    SubmitFault,
    answered,
    delivered_late,
    lost_after,
    lost_before,
    refused,
)
from tests.support.order_scene import CUTOFF, RUN_ID, Scene, approved, denied, posted, request
from tests.support.virtual_time import OPENING, virtual


@virtual
async def test_plan_is_durable_before_the_first_byte_leaves(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = [request("AAPL"), request("MSFT")]
    seen: list[list[OrderState]] = []
    scene.broker.before_write = lambda _: seen.append([scene.state_of(r) for r in wanted])

    report = await scene.send(*wanted)

    assert seen[0] == [OrderState.SENDING, OrderState.SENDING]
    assert report.count(OrderState.LIVE) == 2


@virtual
async def test_denied_orders_are_recorded_and_never_sent(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    yes, no = request("AAPL"), request("MSFT")

    await scene.path.send([approved(yes), denied(no)], RUN_ID)

    assert posted(scene) == [yes.client_order_id]
    assert scene.state_of(no) is OrderState.DENIED


@virtual
async def test_exits_go_before_entries(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=_one_at_a_time())
    await _hold(scene, "TSLA", 10)
    entry, way_out = request("AAPL"), request("TSLA", Side.SELL, leg="exit")

    await scene.send(entry, way_out)

    assert posted(scene)[-2:] == [way_out.client_order_id, entry.client_order_id]


@virtual
async def test_at_most_n_requests_are_on_the_wire_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    on_wire, most = [0], [0]

    def up(_: str) -> None:
        on_wire[0] += 1
        most[0] = max(most[0], on_wire[0])

    def down(_: str) -> None:
        on_wire[0] -= 1

    scene.broker.before_write, scene.broker.after_write = up, None
    take = scene.broker._take

    async def counted(request: OrderRequest, fault: SubmitFault | None) -> BrokerOrder:
        try:
            return await take(request, fault)
        finally:
            down("")

    scene.broker._take = counted

    await scene.send(*[request(f"S{chr(65 + n)}") for n in range(12)])

    assert len(scene.broker.posts) == 12
    assert most[0] == 4


@virtual
async def test_plan_sent_a_second_time_sends_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()

    await scene.send(wanted)
    await scene.send(wanted)

    assert posted(scene) == [wanted.client_order_id]


@virtual
async def test_a01_timeout_before_accept_is_sent_again_with_the_same_id_after_evidence(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(lost_before())

    report = await scene.send(wanted)

    assert report.states == {wanted.client_order_id: OrderState.LIVE}
    assert len(scene.broker.orders) == 1
    (first, start), (second, again) = scene.broker.posts
    assert first == second
    assert (again - start).total_seconds() > 120, "absence needs two minutes of misses"
    assert scene.broker.reads.count("find_order") >= 3


@virtual
async def test_a01_absent_order_is_given_up_when_the_window_has_closed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(lost_before())

    await scene.send(wanted, cutoff=OPENING + dt.timedelta(seconds=60))

    assert scene.state_of(wanted) is OrderState.ABANDONED
    assert len(scene.broker.posts) == 1
    assert scene.alert_kinds()["order.abandoned"] == 1
    assert wanted.client_order_id in {r.client_order_id for r in scene.journal.working()}


@virtual
async def test_a02_reply_lost_after_accept_is_found_and_never_sent_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.fills_at_once = True
    scene.broker.submit_faults.append(lost_after())

    report = await scene.send(wanted)
    await scene.reconciler.run("periodic")

    assert report.states == {wanted.client_order_id: OrderState.FILLED}
    assert len(scene.broker.posts) == 1
    scene.assert_books_equal()


@virtual
async def test_a03_restart_reads_a_sending_order_by_id_before_anything_else(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.path.stage([approved(wanted)], RUN_ID)
    scene.journal.mark_sending(wanted.client_order_id)
    scene.broker._accept_request(wanted)
    scene.restart()

    left = await scene.path.recover(cutoff=CUTOFF)

    assert left == ()
    assert scene.broker.reads[0] == "find_order"
    assert scene.state_of(wanted) is OrderState.LIVE
    assert scene.broker.posts == []


@virtual
async def test_approved_order_that_never_left_is_handed_back_after_a_restart(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    send, drop = request("AAPL"), request("MSFT")
    scene.path.stage([approved(send), approved(drop)], RUN_ID)
    scene.restart()

    left = await scene.path.recover()
    report = await scene.path.send_staged([left[0].client_order_id], cutoff=CUTOFF)
    skipped = scene.path.skip([left[1].client_order_id], "too late")

    assert {r.client_order_id for r in left} == {send.client_order_id, drop.client_order_id}
    assert report.count(OrderState.LIVE) == 1
    assert skipped == 1
    assert scene.state_of(drop) is OrderState.SKIPPED


@pytest.mark.parametrize("delay", [1, 5, 30])
@virtual
async def test_a04_order_that_is_invisible_for_a_while_is_not_sent_again(
    tmp_path: Path, delay: int
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.visible_after_seconds = delay
    scene.broker.submit_faults.append(lost_after())

    report = await scene.send(wanted)

    assert report.states == {wanted.client_order_id: OrderState.LIVE}
    assert len(scene.broker.posts) == 1


@virtual
async def test_a05_late_twin_is_refused_by_a_broker_that_remembers_ids(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(delivered_late(200))
    scene.broker.fills_at_once = True

    await scene.send(wanted)
    await scene.clock.sleep(120)
    await scene.reconciler.run("periodic")

    assert len(scene.broker.orders) == 1
    scene.assert_books_equal()


@virtual
async def test_a05_late_twin_of_a_filled_order_is_found_canceled_named_and_locked(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.ids_unique_for_ever = False
    scene.broker.submit_faults.append(delivered_late(200))
    await scene.send(wanted)
    scene.broker.fill(scene.broker.order(wanted.client_order_id), 10)
    scene.merge_stream()

    await scene.clock.sleep(90)
    report = await scene.reconciler.run("periodic")
    await scene.clock.sleep(5)

    assert len(scene.broker.orders) == 2
    assert not scene.broker.working(), "the twin is canceled"
    assert scene.alert_kinds()["order.external"] == 1
    assert "symbol.locked" in scene.alert_kinds()
    assert report.is_equal
    assert scene.ledger.position(wanted.symbol).quantity == 10


@virtual
async def test_a05_late_twin_that_fills_at_once_is_booked_once_more(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.ids_unique_for_ever = False
    scene.broker.fills_at_once = True
    scene.broker.submit_faults.append(delivered_late(200))
    await scene.send(wanted)

    await scene.clock.sleep(90)
    await scene.reconciler.run("periodic")

    assert scene.ledger.position(wanted.symbol).quantity == 20
    scene.assert_books_equal()


@virtual
async def test_a06_duplicate_id_is_proof_of_existence_and_is_adopted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker._accept_request(wanted)

    report = await scene.send(wanted)

    assert report.states == {wanted.client_order_id: OrderState.LIVE}
    assert len(scene.broker.orders) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": Decimal(11)},
        {"side": Side.SELL},
        {"limit_price": Decimal("99.99")},
        {"symbol": "MSFT"},
        {"time_in_force": "opg"},
        {"order_type": "market"},
    ],
    ids=lambda change: next(iter(change)),
)
@virtual
async def test_a06_duplicate_id_with_another_field_halts_as_id_collision(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    taken = scene.broker._accept_request(wanted)
    scene.broker.orders[taken.broker_order_id] = dataclasses.replace(taken, **change)

    await scene.send(wanted)

    assert scene.latch.read().is_engaged
    assert "id-collision" in scene.latch.read().reason
    assert next(iter(change)).split("_")[-1] in scene.latch.read().reason
    assert scene.state_of(wanted) in {OrderState.UNKNOWN, OrderState.ABANDONED}


@virtual
async def test_a06_duplicate_that_cannot_be_seen_yet_stays_unknown_until_it_can(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.visible_after_seconds = 10
    scene.broker._accept_request(wanted)

    await scene.send(wanted)

    assert scene.state_of(wanted) is OrderState.LIVE
    assert len(scene.broker.posts) == 1


@virtual
async def test_a07_429_waits_as_told_and_sends_the_same_id(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(refused(RateLimited("too many", retry_after_seconds=7)))

    await scene.send(wanted)

    (first, start), (second, again) = scene.broker.posts
    assert first == second
    assert (again - start).total_seconds() >= 7
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_a08_429_for_ever_ends_in_skipped_at_the_cutoff(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    limit = refused(RateLimited("too many", retry_after_seconds=0))
    scene.broker.submit_faults.extend([limit] * 1000)

    await scene.send(wanted, cutoff=OPENING + dt.timedelta(seconds=50))

    assert scene.state_of(wanted) is OrderState.SKIPPED
    assert 2 <= len(scene.broker.posts) <= 8
    assert all(at <= OPENING + dt.timedelta(seconds=50) for _, at in scene.broker.posts)


@pytest.mark.parametrize("after", [-1.0, float("nan"), 1e9, float("inf")])
@virtual
async def test_a09_absurd_retry_after_is_put_between_one_and_sixty_seconds(
    tmp_path: Path, after: float
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.append(refused(RateLimited("x", retry_after_seconds=after)))

    await scene.send(request())

    (_, start), (_, again) = scene.broker.posts
    assert 1 <= (again - start).total_seconds() <= 61


@pytest.mark.parametrize("fault", [lost_before(), lost_after()], ids=["not-taken", "taken"])
@pytest.mark.parametrize("status", ["500", "502", "503", "504"])
@virtual
async def test_a10_a11_5xx_is_unknown_and_one_post_goes_out(
    tmp_path: Path, fault: SubmitFault, status: str
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(
        dataclasses.replace(fault, error=OutcomeUnknown(f"HTTP {status}"))
    )

    await scene.path.send([approved(wanted)], RUN_ID, cutoff=None)

    expected = OrderState.LIVE if fault.is_accepted else OrderState.ABANDONED
    assert scene.state_of(wanted) is expected
    assert len(scene.broker.posts) == 1


@virtual
async def test_a12_refused_keys_halt_and_stop_the_rest(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=_one_at_a_time())
    first, second = request("AAPL"), request("MSFT")
    scene.broker.submit_faults.append(refused(AuthRefused("401")))

    await scene.send(first, second)

    assert len(scene.broker.posts) == 1
    assert "auth" in scene.latch.read().reason
    assert scene.state_of(first) is OrderState.REJECTED
    assert scene.state_of(second) is OrderState.SKIPPED


@virtual
async def test_a13_refused_order_is_closed_and_the_others_go_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    first, second = request("AAPL"), request("MSFT")
    scene.broker.submit_faults.append(refused(OrderRejected("insufficient buying power")))

    report = await scene.send(first, second)

    assert report.states == {
        first.client_order_id: OrderState.REJECTED,
        second.client_order_id: OrderState.LIVE,
    }
    assert len(scene.broker.posts) == 2
    record = scene.journal.get(first.client_order_id)
    assert record is not None
    assert "buying power" in record.reason
    assert {r.client_order_id for r in scene.journal.working()} == {second.client_order_id}


@virtual
async def test_a16_unreadable_answer_to_an_accepted_order_is_read_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(
        SubmitFault(error=OutcomeUnknown("the answer was not JSON"), is_accepted=True)
    )

    report = await scene.send(wanted)

    assert report.states == {wanted.client_order_id: OrderState.LIVE}
    assert len(scene.broker.posts) == 1


@virtual
async def test_a18_one_empty_list_of_positions_is_not_believed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await _hold(scene, "AAPL", 10)
    scene.broker.read_faults["positions"].append([])

    report = await scene.reconciler.run("periodic")

    assert report.is_equal
    assert scene.ledger.locks() == {}


@virtual
async def test_a18_empty_list_that_equity_contradicts_locks_all_holdings_to_no_order(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await _hold(scene, "AAPL", 10)
    scene.broker.read_faults["positions"].extend([[], []])

    report = await scene.reconciler.run("periodic")
    await scene.send(request("AAPL", Side.SELL, 10, leg="exit"))

    assert [found.kind for found in report.breaks] == ["empty"]
    assert len(scene.broker.posts) == 1, "the holding itself is in doubt, so no exit either"
    again = await scene.reconciler.run("periodic")
    assert again.unlocked == ("AAPL",)


@virtual
async def test_a23_request_that_was_never_written_goes_again_with_the_same_id(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.extend([refused(NotSent("refused")), refused(NotSent("dns"))])

    await scene.send(wanted)

    assert posted(scene) == [wanted.client_order_id]
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_a24_answer_for_another_order_is_unknown_and_named(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted, other = request("AAPL"), request("MSFT")
    crossed = scene.broker._accept_request(other)
    scene.broker.submit_faults.append(answered(lambda _: crossed))

    await scene.send(wanted)

    assert scene.alert_kinds()["broker.crossed_answer"] == 1
    record = scene.journal.get(wanted.client_order_id)
    assert record is not None
    assert record.state is OrderState.LIVE
    assert record.broker_order_id != crossed.broker_order_id


@virtual
async def test_a27_list_that_cannot_be_read_whole_proves_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    scene.broker.read_faults["orders_since"].append(BrokerUnavailable("page 2 is missing"))

    with pytest.raises(BrokerUnavailable):
        await scene.reconciler.run("periodic")

    assert scene.state_of(wanted) is OrderState.LIVE
    assert scene.ledger.locks() == {}


@virtual
async def test_a27_order_missing_from_the_lists_is_read_by_id(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    scene.broker.fill(scene.broker.order(wanted.client_order_id), 10, is_announced=False)
    for name in ("open_orders", "orders_since"):
        scene.broker.read_faults[name].append([])

    report = await scene.reconciler.run("periodic")

    assert scene.state_of(wanted) is OrderState.FILLED
    assert report.is_equal


@virtual
async def test_a29_cancel_that_loses_to_a_fill_books_the_fill(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    order = scene.broker.order(wanted.client_order_id)
    scene.broker.fill_on_cancel[order.broker_order_id] = Decimal(10)

    ended = await scene.path.cancel(wanted.client_order_id, "test")
    scene.merge_stream()

    assert ended
    assert scene.state_of(wanted) is OrderState.FILLED
    scene.assert_books_equal()


@virtual
async def test_cancel_of_a_resting_order_ends_when_it_is_read_as_canceled(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted, other = request("AAPL"), request("MSFT")
    await scene.send(wanted, other)

    assert await scene.path.cancel_working("the session ends")

    assert scene.state_of(wanted) is OrderState.CANCELED
    assert scene.state_of(other) is OrderState.CANCELED


@virtual
async def test_cancel_that_sticks_is_reported_as_not_ended(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    scene.broker.cancel_seconds = None

    assert not await scene.path.cancel(wanted.client_order_id, "test")

    assert scene.state_of(wanted) is OrderState.CANCELING


@virtual
async def test_cancel_waits_out_a_429_and_an_unanswered_read(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    scene.broker.cancel_faults.append(RateLimited("x", retry_after_seconds=2))
    scene.broker.read_faults["get_order"].append(BrokerUnavailable("x"))

    assert await scene.path.cancel(wanted.client_order_id, "test")
    assert not await scene.path.cancel(request("MSFT").client_order_id, "never sent")


@virtual
async def test_a32_report_that_goes_back_is_ignored_and_locks_until_two_clean_runs(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    order = scene.broker.order(wanted.client_order_id)
    scene.broker.fill(order, 10)
    scene.merge_stream()
    await scene.reconciler.run("periodic")
    old = [dataclasses.replace(order, state=OrderState.LIVE, filled_quantity=Decimal(0))]
    scene.broker.read_faults["orders_since"].extend([old] * 2)

    report = await scene.reconciler.run("periodic")

    assert [found.kind for found in report.breaks] == ["regression"]
    assert scene.state_of(wanted) is OrderState.FILLED
    assert "AAPL" in scene.ledger.locks()
    assert (await scene.reconciler.run("periodic")).unlocked == ()
    assert (await scene.reconciler.run("periodic")).unlocked == ("AAPL",)


@virtual
async def test_abandoned_order_is_canceled_on_sight_and_its_fills_are_booked(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(delivered_late(500))
    await scene.send(wanted, cutoff=None)
    assert scene.state_of(wanted) is OrderState.ABANDONED

    await scene.clock.sleep(400)
    scene.broker.fill(scene.broker.order(wanted.client_order_id), 3)
    await scene.reconciler.run("periodic")
    await scene.reconciler.run("periodic")

    assert scene.state_of(wanted) is OrderState.CANCELED
    assert scene.ledger.position(wanted.symbol).quantity == 3
    scene.assert_books_equal()


@virtual
async def test_abandoned_order_gives_its_reservation_back_after_its_session(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(lost_before())
    await scene.send(wanted, cutoff=None)

    await scene.reconciler.run("periodic")
    assert scene.state_of(wanted) is OrderState.ABANDONED
    await scene.clock.sleep(24 * 3600)
    await scene.reconciler.run("start")

    assert scene.state_of(wanted) is OrderState.EXPIRED
    assert scene.journal.working() == ()


@virtual
async def test_unknown_order_keeps_its_reservation_while_the_broker_is_down(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.is_down = True

    report = await scene.send(wanted)

    assert not report.is_settled
    assert scene.state_of(wanted) is OrderState.UNKNOWN
    assert len(scene.broker.posts) == 1
    scene.broker.is_down = False
    for _ in range(6):
        await scene.reconcile_calmly()
    # Comparing sends nothing, and gives nothing up that may still go again.
    assert scene.state_of(wanted) is OrderState.UNKNOWN
    await scene.clock.sleep(30 * 60)
    await scene.reconcile_calmly()
    assert scene.state_of(wanted) is OrderState.ABANDONED


@pytest.mark.parametrize(
    ("state", "side", "expected"),
    [
        (TradingState.HALTED, Side.SELL, OrderState.SKIPPED),
        (TradingState.REDUCING, Side.BUY, OrderState.SKIPPED),
        (TradingState.REDUCING, Side.SELL, OrderState.LIVE),
        (TradingState.ACTIVE, Side.BUY, OrderState.LIVE),
    ],
)
@virtual
async def test_guard_reads_the_trading_state_at_the_write(
    tmp_path: Path, state: TradingState, side: Side, expected: OrderState
) -> None:
    scene = Scene(tmp_path)
    await _hold(scene, "AAPL", 10)
    scene.state = state
    wanted = request("AAPL", side, 10, leg="exit")

    await scene.send(wanted)

    assert scene.state_of(wanted) is expected


@virtual
async def test_guard_lets_a_locked_symbol_only_be_exited_and_never_through_zero(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await _hold(scene, "AAPL", 10)
    scene.ledger.lock(request().symbol, "test")
    entry, too_much = request(), request("AAPL", Side.SELL, 11, leg="exit")
    half, rest = (request("AAPL", Side.SELL, n, leg="exit", revision=n) for n in (6, 5))

    await scene.send(entry)
    await scene.send(too_much)
    await scene.send(half)
    await scene.send(rest)

    assert scene.state_of(entry) is OrderState.SKIPPED
    assert scene.state_of(too_much) is OrderState.SKIPPED
    assert scene.state_of(half) is OrderState.LIVE
    assert scene.state_of(rest) is OrderState.SKIPPED, "with the first it would pass zero"


@virtual
async def test_k04_kill_between_the_plan_and_the_write_stops_every_unsent_order(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, settings=_one_at_a_time())
    wanted = [request(f"S{chr(65 + n)}") for n in range(4)]

    def kill_after_two(_: str) -> None:
        if len(scene.broker.posts) == 1:
            scene.latch.engage("kill", scene.clock.now())

    scene.broker.before_write = kill_after_two

    await scene.send(*wanted)

    assert [scene.state_of(r) for r in wanted[2:]] == [OrderState.SKIPPED] * 2
    assert len(scene.broker.posts) == 2


@virtual
async def test_k03_order_in_flight_during_the_kill_is_canceled_once_seen(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.after_write = lambda name: (
        scene.latch.engage("kill", scene.clock.now()) if name == "submit" else None
    )

    await scene.send(wanted)

    assert len(scene.broker.orders) == 1
    assert scene.state_of(wanted) is OrderState.CANCELED


@virtual
async def test_k03_lost_reply_during_the_kill_is_read_up_and_canceled(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(lost_after())
    scene.broker.after_write = lambda name: (
        scene.latch.engage("kill", scene.clock.now()) if name == "submit" else None
    )

    await scene.send(wanted)

    assert scene.state_of(wanted) is OrderState.CANCELED
    assert len(scene.broker.posts) == 1


@virtual
async def test_k07_missing_latch_file_stops_every_write(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.latch.path.unlink()
    wanted = request()

    await scene.send(wanted)

    assert scene.broker.posts == []
    assert scene.state_of(wanted) is OrderState.SKIPPED


@virtual
async def test_duplicate_answer_after_a_resend_is_adopted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(refused(RateLimited("x", retry_after_seconds=1)))
    scene.broker.submit_faults.append(
        SubmitFault(error=DuplicateOrder("must be unique"), is_accepted=True)
    )

    report = await scene.send(wanted)

    assert report.states == {wanted.client_order_id: OrderState.LIVE}


def _one_at_a_time() -> OrderSettings:
    return OrderSettings(sends_at_once=1)


async def _hold(scene: Scene, symbol: str, quantity: int) -> None:
    """Buy a position, booked on both sides."""
    wanted = request(symbol, quantity=quantity, leg="opening")
    await scene.send(wanted)
    scene.broker.fill(scene.broker.order(wanted.client_order_id), quantity)
    scene.merge_stream()
    await scene.reconciler.run("test")
    assert scene.ledger.locks() == {}
