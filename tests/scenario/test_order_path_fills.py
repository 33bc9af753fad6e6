"""Executions into the books: each once, whatever happens to its order."""

import asyncio
import dataclasses
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pytest

from domain.account import Activity, ActivityKind
from domain.ids import ExecutionId, Symbol
from domain.orders import OrderState, Side, TradeUpdate
from execution.desk import OrderSettings
from tests.support.booked import fills
from tests.support.fake_broker import lost_after
from tests.support.order_scene import Scene, live_order, request
from tests.support.virtual_time import virtual

AAPL = Symbol("AAPL")


@virtual
async def test_b01_partial_fills_sum_exactly_and_shrink_the_reservation(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene, "10")
    for part, price in (("3.333333333", "100.01"), ("0.1", "99.9999"), ("0.2", "100")):
        scene.broker.fill(order, Decimal(part), price)
    scene.merge_stream()

    record = scene.journal.get(wanted.client_order_id)

    assert record is not None
    assert record.state is OrderState.LIVE
    assert record.leaves_quantity == Decimal("6.366666667")
    scene.assert_books_equal()


@pytest.mark.parametrize("end", [OrderState.CANCELED, OrderState.EXPIRED])
@virtual
async def test_b02_partial_then_end_keeps_the_fills_and_frees_the_rest(
    tmp_path: Path, end: OrderState
) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.broker.fill(order, 4)
    scene.broker.finish(order, end)
    scene.merge_stream()

    assert scene.state_of(wanted) is end
    assert scene.journal.working() == ()
    assert (await scene.reconciler.run("periodic")).is_equal
    scene.assert_books_equal()


@virtual
async def test_b03_late_fill_after_a_confirmed_cancel_is_booked(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    await scene.path.cancel(wanted.client_order_id, "test")
    await scene.clock.sleep(3600)
    scene.broker.fill(order, 4)
    scene.merge_stream()

    assert scene.ledger.position(AAPL).quantity == 4
    assert (await scene.reconciler.run("periodic")).is_equal
    scene.assert_books_equal()


@virtual
async def test_b04_late_fill_found_after_restart_and_day_roll_has_its_trade_date(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 10)
    executed = scene.clock.now()
    scene.stop()
    await scene.clock.sleep(5 * 86_400)
    scene.start()

    await scene.path.recover()
    report = await scene.reconciler.run("start", is_deep=True)

    assert report.is_equal
    (fill,) = fills(scene.ledger)
    assert (fill.quantity, fill.at) == (10, executed)
    scene.assert_books_equal()


@virtual
async def test_b05_overfill_is_booked_in_full_locked_and_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 110)
    scene.merge_stream()

    assert scene.ledger.position(AAPL).quantity == 110
    assert AAPL in scene.ledger.locks()
    assert scene.alert_kinds()["fill.beyond_order"] == 1


@virtual
async def test_b06_reject_after_accept_is_terminal_and_frees_the_reservation(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.broker.finish(order, OrderState.REJECTED)
    scene.merge_stream()

    assert scene.state_of(wanted) is OrderState.REJECTED
    assert scene.journal.working() == ()
    assert len(scene.broker.posts) == 1


@pytest.mark.parametrize(
    "status", ["calculated", "suspended", "stopped", "done_for_day", "pending_review", "brand_new"]
)
@virtual
async def test_b07_status_that_may_still_fill_keeps_its_reservation(
    tmp_path: Path, status: str
) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.path.updates.apply(
        TradeUpdate(
            event=status,
            order=dataclasses.replace(order, raw_status=status),
            fill=None,
            at=scene.clock.now(),
        )
    )

    record = scene.journal.get(wanted.client_order_id)

    assert record is not None
    assert record.state is OrderState.LIVE
    assert record.raw_status == status


@virtual
async def test_b07_restated_order_is_read_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.broker.fill(order, 10, is_announced=False)
    scene.path.updates.apply(
        TradeUpdate(event="restated", order=order, fill=None, at=scene.clock.now())
    )

    await scene.path.follow_up()

    assert scene.state_of(wanted) is OrderState.FILLED


@virtual
async def test_b09_c11_order_of_another_hand_is_adopted_named_counted_and_left_alone(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    manual = scene.broker.place_by_hand("AAPL", Side.BUY, 5, coid="by-hand")
    scene.merge_stream()

    (record,) = scene.journal.working()
    scene.broker.fill(manual, 5)
    scene.merge_stream()
    await scene.reconciler.run("periodic")

    assert record.is_external
    assert record.leaves_quantity == 5
    assert scene.alert_kinds()["order.external"] == 1
    assert scene.broker.cancels == []
    scene.assert_books_equal()


@virtual
async def test_an_order_of_another_hand_for_an_amount_of_money_is_followed_to_its_end(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    manual = scene.broker.place_by_hand("AAPL", Side.BUY, 0, coid="by-hand")
    scene.merge_stream()
    await scene.reconciler.run("periodic")
    scene.broker.fill(manual, Decimal("1.5"))
    scene.merge_stream()
    scene.restart()

    await scene.reconciler.run("start")
    scene.broker.fill(manual, Decimal("0.25"))
    scene.broker.finish(manual, OrderState.FILLED)
    scene.merge_stream()
    report = await scene.reconciler.run("periodic")

    assert report.is_equal
    assert report.locked == ()
    assert scene.journal.working() == ()
    assert scene.alert_kinds()["stream.dead_letter"] == 0
    assert scene.alert_kinds()["fill.beyond_order"] == 0
    scene.assert_books_equal()


@virtual
async def test_b10_position_closed_on_the_web_is_booked_from_activities(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 10)
    scene.merge_stream()
    manual = scene.broker.place_by_hand("AAPL", Side.SELL, 10, coid="web-close")
    scene.broker.fill(manual, 10)
    scene.stream.clear()

    report = await scene.reconciler.run("periodic")

    assert report.is_equal
    assert scene.ledger.position(AAPL).quantity == 0
    scene.assert_books_equal()


@virtual
async def test_b11_equal_fills_with_different_execution_ids_are_two_rows(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 5)
    scene.broker.fill(order, 5)
    scene.merge_stream()

    assert scene.ledger.position(AAPL).quantity == 10
    scene.assert_books_equal()


@virtual
async def test_b12_one_fill_from_stream_and_activities_under_two_ids_is_one_row(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 4)
    scene.merge_stream()

    for _ in range(3):
        await scene.reconciler.run("periodic")

    assert scene.ledger.position(AAPL).quantity == 4
    scene.assert_books_equal()


@virtual
async def test_b13_split_is_booked_by_name_and_keeps_the_books_equal(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 10)
    scene.merge_stream()
    await scene.reconciler.run("periodic")
    cost = scene.ledger.position(AAPL).total_cost
    scene.broker.quantities[AAPL] = Decimal(40)
    scene.broker.prices[AAPL] = Decimal(25)

    before = await scene.reconciler.run("periodic")
    scene.broker.other_activities.append(
        Activity(
            activity_id="split-1",
            kind=ActivityKind.SPLIT,
            at=scene.clock.now(),
            net_amount=Decimal(0),
            symbol=AAPL,
            quantity=Decimal(30),
        )
    )
    after = await scene.reconciler.run("periodic")

    assert before.locked == ("AAPL",)
    assert after.unlocked == ("AAPL",)
    assert scene.ledger.position(AAPL).quantity == 40
    assert scene.ledger.position(AAPL).total_cost == cost


@virtual
async def test_b14_dividend_is_booked_once_and_closes_the_cash_residual(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.reconciler.run("start")
    scene.broker.cash += Decimal("12.34")

    before = await scene.reconciler.run("periodic")
    scene.broker.other_activities.append(
        Activity(
            activity_id="div-1",
            kind=ActivityKind.DIVIDEND,
            at=scene.clock.now(),
            net_amount=Decimal("12.34"),
            symbol=AAPL,
        )
    )
    after = [await scene.reconciler.run("periodic") for _ in range(2)]

    assert before.cash_residual == Decimal("12.34")
    assert before.is_equal, "cash is named, it does not stop trading"
    assert [report.breaks for report in after] == [(), ()]


@virtual
async def test_b15_short_position_halts_where_only_long_is_allowed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=OrderSettings(is_long_only=True))
    manual = scene.broker.place_by_hand("AAPL", Side.SELL, 5, coid="by-hand")
    scene.broker.fill(manual, 5)

    scene.merge_stream()

    assert "short" in scene.latch.read().reason
    assert scene.broker.posts == []


async def booked_and_contradicted(scene: Scene) -> None:
    """Book four shares, and hear of the same ones at another price."""
    _, order = await live_order(scene)
    scene.broker.fill(order, 4, "100")
    (update,) = (u for u in scene.stream if u.fill is not None)
    assert update.fill is not None
    scene.merge_stream()
    other = dataclasses.replace(update.fill, execution_id=ExecutionId("other"), price=Decimal("90"))
    scene.path.updates.apply(dataclasses.replace(update, fill=other))


@virtual
async def test_fill_that_contradicts_a_booked_one_locks_and_is_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    await booked_and_contradicted(scene)

    assert scene.alert_kinds()["fill.conflict"] == 1
    assert AAPL in scene.ledger.locks()
    assert scene.ledger.position(AAPL).quantity == 4


@virtual
async def test_fill_that_contradicts_a_booked_one_at_each_look_locks_once(tmp_path: Path) -> None:
    # Found as seed 13000053: break and contradiction took turns as the reason of the lock, and
    # each turn was told.
    scene = Scene(tmp_path)
    await booked_and_contradicted(scene)
    scene.broker.quantities[AAPL] = Decimal(9)

    for _ in range(4):
        await scene.reconciler.run("periodic")

    locked = "SELECT payload FROM events WHERE kind = 'symbol.locked' ORDER BY seq"
    reasons = [json.loads(row["payload"])["reason"] for row in scene.store.rows(locked)]
    assert ["contradicts" in reason for reason in reasons] == [True, False]
    assert reasons[1] == "the books hold 4 shares of AAPL, the broker 9"
    assert scene.alert_kinds()["symbol.locked"] == 1


@virtual
async def test_fill_of_an_order_that_is_nowhere_is_booked_and_the_order_is_read(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    manual = scene.broker.place_by_hand("AAPL", Side.BUY, 5, coid="by-hand")
    fill = scene.broker.fill(manual, 5)
    scene.path.books.book_fill(fill, origin="stream")

    await scene.path.follow_up()

    (record,) = scene.journal.of_session(scene.clock.now().date())
    assert record.is_external
    scene.assert_books_equal()


@virtual
async def test_execution_booked_before_its_order_was_recognized_counts_for_the_order(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.fills_at_once = True
    scene.broker.submit_faults.append(lost_after())
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(scene.send(wanted))
        await scene.clock.sleep(0.5)
        for activity in await scene.broker.activities(scene.clock.now() - dt.timedelta(days=1)):
            scene.path.books.book_activity(activity)
        await sending

    assert scene.journal.incomplete() == ()
    record = scene.journal.get(wanted.client_order_id)
    assert record is not None
    assert record.booked_quantity == 10
    scene.assert_books_equal()


@virtual
async def test_a05_fill_of_a_twin_on_the_stream_counts_for_the_twin(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.ids_unique_for_ever = False
    wanted, order = await live_order(scene)
    scene.broker.fill(order, 10)
    twin = scene.broker._accept_request(wanted)
    scene.broker.fill(twin, 4)

    scene.merge_stream()

    record = scene.journal.get(wanted.client_order_id)
    assert record is not None
    assert record.booked_quantity == 10
    assert scene.alert_kinds()["fill.beyond_order"] == 0
    assert scene.ledger.position(AAPL).quantity == 14
    scene.assert_books_equal()
