"""Classes B and C: executions in every shape and order, and a stream that cannot be trusted."""

import asyncio
import dataclasses
import datetime as dt
import itertools
import random
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from domain.account import Activity, ActivityKind
from domain.errors import BrokerUnavailable, RateLimited, StateError, StorageError
from domain.ids import ExecutionId, Symbol
from domain.orders import BrokerOrder, OrderRequest, OrderState, Side, TradeUpdate
from execution.desk import OrderSettings
from execution.stream import StreamFollower
from execution.updates import LONGEST_QUEUE
from tests.support.fake_broker import SubmitFault, lost_after
from tests.support.order_scene import Scene, failing, request
from tests.support.virtual_time import virtual

AAPL = Symbol("AAPL")


async def live_order(scene: Scene, quantity: str | int = 10) -> tuple[OrderRequest, BrokerOrder]:
    wanted = request(quantity=quantity)
    await scene.send(wanted)
    return wanted, scene.broker.order(wanted.client_order_id)


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
    (fill,) = scene.ledger.fills(executed, executed + dt.timedelta(seconds=1))
    assert fill.quantity == 10
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
    scene.path.apply_update(
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
    scene.path.apply_update(
        TradeUpdate(event="restated", order=order, fill=None, at=scene.clock.now())
    )

    await scene.path.follow_up()

    assert scene.state_of(wanted) is OrderState.FILLED


@virtual
async def test_b08_bust_reverses_the_execution_by_name(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    fill = scene.broker.fill(order, 10)
    scene.merge_stream()

    scene.path.apply_update(
        TradeUpdate(
            event="trade_bust",
            order=scene.broker.orders[order.broker_order_id],
            fill=None,
            at=scene.clock.now(),
            previous_execution_id=fill.execution_id,
        )
    )

    assert scene.ledger.position(AAPL).quantity == 0
    assert scene.alert_kinds()["fill.taken_back"] == 1
    assert scene.ledger.locks() == {}


@virtual
async def test_b08_correction_restates_price_and_quantity(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    fill = scene.broker.fill(order, 10, "100")
    scene.merge_stream()
    cash = scene.ledger.cash()

    scene.path.apply_update(
        TradeUpdate(
            event="trade_correct",
            order=scene.broker.orders[order.broker_order_id],
            fill=dataclasses.replace(
                fill, execution_id=ExecutionId("corrected"), price=Decimal("99")
            ),
            at=scene.clock.now(),
            previous_execution_id=fill.execution_id,
        )
    )

    assert scene.ledger.position(AAPL).quantity == 10
    assert scene.ledger.cash() == cash + 10


@virtual
async def test_b08_bust_of_an_execution_we_do_not_have_locks_and_asks_the_broker(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)

    scene.path.apply_update(
        TradeUpdate(event="trade_bust", order=order, fill=None, at=scene.clock.now())
    )

    assert AAPL in scene.ledger.locks()
    assert scene.path.updates.take_reconcile_wish()


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


# C: the stream


@virtual
async def test_c01_fills_of_a_long_gap_are_read_back_before_the_stream_is_trusted(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    await scene.reconciler.run("start")
    scene.broker.on_update = None
    await scene.clock.sleep(1800)
    scene.broker.fill(order, 6)
    await scene.clock.sleep(5400)

    await scene.reconciler.run("stream")

    assert scene.ledger.position(AAPL).quantity == 6
    assert scene.state_of(wanted) is OrderState.LIVE
    scene.assert_books_equal()


@pytest.mark.parametrize("moment", [n / 100 for n in range(30)])
@virtual
async def test_c02_fill_at_any_instant_of_the_reconnect_is_booked_once(
    tmp_path: Path, moment: float
) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    follower = StreamFollower(scene.desk, scene.path, scene.reconciler)
    stream = FakeStream(scene)
    scene.broker.on_update = None
    asyncio.get_running_loop().call_later(moment, lambda: scene.broker.fill(order, 10))

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follower.run(stream))
        await scene.clock.sleep(5)
        task.cancel()

    scene.assert_books_equal()
    assert scene.ledger.position(AAPL).quantity == 10
    assert scene.ledger.locks() == {}


class FakeStream:
    """Connects after a moment, then pushes what the broker announces."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def run(self, *, on_ready, on_update, on_unreadable, on_lost):
        await asyncio.sleep(0.1)
        self.scene.broker.on_update = on_update
        on_ready()
        self.lose = on_lost
        await asyncio.Event().wait()


@virtual
async def test_c03_duplicate_events_change_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 4)
    scene.broker.fill(order, 6)
    scene.stream.extend(list(scene.stream) * 3)
    cash = scene.ledger.cash()

    scene.merge_stream()

    assert scene.ledger.cash() == cash - 1000
    scene.assert_books_equal()


@virtual
async def test_c04_every_order_of_events_leads_to_the_same_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    ends = set()
    for revision, turn in enumerate(itertools.permutations(range(4))):
        wanted = request(revision=revision)
        scene.stream.clear()
        await scene.send(wanted)
        order = scene.broker.order(wanted.client_order_id)
        scene.broker.fill(order, 3, "100")
        scene.broker.fill(order, 3, "101")
        scene.broker.fill(order, 4, "102")
        events, scene.stream[:] = list(scene.stream), []
        scene.stream.extend(events[n] for n in turn)
        scene.merge_stream()
        record = scene.journal.get(wanted.client_order_id)
        assert record is not None
        ends.add((record.state, record.filled_quantity, record.booked_quantity))

    assert ends == {(OrderState.FILLED, Decimal(10), Decimal(10))}
    scene.assert_books_equal()


@virtual
async def test_c05_unreadable_event_has_the_order_it_names_read(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.broker.fill(order, 10, is_announced=False)
    scene.path.updates.offer_unreadable(f'{{"id": "{order.broker_order_id}", "status": "¿"}}')
    scene.path.updates.drain()

    await scene.path.follow_up()

    assert scene.state_of(wanted) is OrderState.FILLED
    assert not scene.path.updates.take_reconcile_wish()
    assert scene.alert_kinds()["stream.unreadable"] == 1


@virtual
async def test_c06_garbage_that_names_no_order_asks_for_a_whole_reading(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.path.updates.offer_unreadable("<html>maintenance</html>")
    scene.path.updates.drain()

    assert scene.path.updates.take_reconcile_wish()
    assert not scene.path.updates.take_reconcile_wish()


@virtual
async def test_c08_missing_fill_frame_is_found_by_the_next_reconcile(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    await scene.reconciler.run("start")
    scene.broker.fill(order, 10, is_announced=False)

    report = await scene.reconciler.run("periodic")

    assert report.activities_booked == 1
    assert report.is_equal
    scene.assert_books_equal()


@virtual
async def test_c09_event_that_breaks_the_handler_is_kept_and_the_next_is_merged(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.stream.clear()
    scene.broker.fill(order, 4)
    broken = dataclasses.replace(scene.stream[0], fill=None)
    object.__setattr__(broken, "fill", "not a fill")
    scene.stream.insert(0, broken)

    scene.merge_stream()
    await scene.path.follow_up()

    assert scene.alert_kinds()["stream.dead_letter"] == 1
    assert scene.ledger.position(AAPL).quantity == 4
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_c12_flood_is_bounded_and_ends_in_one_reading_of_the_truth(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.broker.fill(order, 10)
    (update,) = (u for u in scene.stream if u.fill is not None)
    for _ in range(LONGEST_QUEUE):
        scene.path.updates.offer_unreadable("noise")
    scene.path.updates.offer(update)

    assert scene.path.updates.take_reconcile_wish()
    await scene.reconciler.run("stream")

    assert scene.state_of(wanted) is OrderState.FILLED
    scene.assert_books_equal()


@virtual
async def test_e02_fills_that_the_disk_refuses_wait_and_halt_trading(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.stream.clear()
    scene.broker.fill(order, 10)
    apply_fill = scene.ledger.apply_fill

    scene.ledger.apply_fill = failing(StorageError("disk full"))
    with pytest.raises(StorageError):
        scene.merge_stream()
    scene.ledger.apply_fill = apply_fill
    scene.path.updates.drain()

    assert "storage" in scene.latch.read().reason
    scene.assert_books_equal()


@virtual
async def test_stream_follower_retries_a_reading_that_failed_and_books_meanwhile(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.read_faults["open_orders"].extend([BrokerUnavailable("down")] * 2)
    stream = FakeStream(scene)
    follower = StreamFollower(scene.desk, scene.path, scene.reconciler)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follower.run(stream))
        await scene.clock.sleep(0.5)
        scene.broker.fill(order, 10)
        await scene.clock.sleep(1)
        stream.lose("reset")
        await scene.clock.sleep(10)
        task.cancel()

    assert scene.alert_kinds()["reconcile.failed"] == 2
    assert scene.alert_kinds()["stream.lost"] == 1
    assert scene.reconciler.last is not None
    assert scene.reconciler.last.is_equal
    scene.assert_books_equal()


@virtual
async def test_random_streams_and_readings_always_end_with_equal_books(tmp_path: Path) -> None:
    for seed in range(25):
        directory = tmp_path / str(seed)
        directory.mkdir()
        await _random_day(Scene(directory), random.Random(seed))


async def _random_day(scene: Scene, dice: random.Random) -> None:
    wanted = [request(symbol, quantity=dice.randint(1, 20)) for symbol in ("AAPL", "MSFT", "TSLA")]
    await scene.send(*wanted)
    for _ in range(20):
        working = scene.broker.working()
        if working and dice.random() < 0.8:
            order = dice.choice(working)
            left = order.quantity - order.filled_quantity
            scene.broker.fill(order, dice.randint(1, int(left)), str(dice.randint(90, 110)))
        if dice.random() < 0.2:
            scene.broker.place_by_hand("AAPL", dice.choice(list(Side)), 3, coid=f"m{dice.random()}")
        if dice.random() < 0.3:
            scene.stream[:] = dice.sample(scene.stream, k=len(scene.stream))
        if dice.random() < 0.3 and scene.stream:
            del scene.stream[dice.randrange(len(scene.stream))]
        if dice.random() < 0.3:
            scene.stream.extend(dice.choices(scene.stream, k=2) if scene.stream else [])
        if dice.random() < 0.4:
            scene.merge_stream()
        if dice.random() < 0.2:
            await scene.reconciler.run("periodic")
        if dice.random() < 0.05:
            scene.stream.clear()
            scene.restart()
    scene.merge_stream()
    report = await scene.reconciler.run("end", is_deep=True)
    assert report.is_equal
    scene.assert_books_equal()
    assert scene.ledger.cash() == scene.broker.cash
    scene.stop()


# Reconciling


@virtual
async def test_reconcile_break_locks_the_symbol_and_lifts_by_itself_when_equal(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(5)

    broken = await scene.reconciler.run("start")
    await scene.send(request())
    scene.broker.quantities[AAPL] = Decimal(0)
    equal = await scene.reconciler.run("periodic")
    await scene.send(request(revision=1))

    assert [(b.kind, b.symbol, b.ours, b.theirs) for b in broken.breaks] == [
        ("position", "AAPL", "0", "5")
    ]
    assert broken.as_json()["breaks"][0]["detail"].startswith("the books hold 0 shares of AAPL")
    assert equal.unlocked == ("AAPL",)
    assert len(scene.broker.posts) == 1, "only the order after the unlock left"


@virtual
async def test_reconcile_locked_exit_may_not_exceed_what_both_books_hold(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 10)
    scene.merge_stream()
    scene.broker.quantities[AAPL] = Decimal(4)
    await scene.reconciler.run("periodic")

    too_much = request("AAPL", Side.SELL, 5, leg="exit")
    enough = request("AAPL", Side.SELL, 4, leg="exit", revision=1)
    await scene.send(too_much)
    await scene.send(enough)

    assert scene.state_of(too_much) is OrderState.SKIPPED
    assert scene.state_of(enough) is OrderState.LIVE


@virtual
async def test_reconcile_adopt_books_a_named_entry_and_unlocks(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(5)
    await scene.reconciler.run("start")

    report = await scene.reconciler.adopt(AAPL, "transferred in")

    assert report.is_equal
    assert report.unlocked == ("AAPL",)
    assert scene.ledger.position(AAPL).quantity == 5
    assert scene.alert_kinds()["position.adopted"] == 1


@virtual
async def test_reconcile_adopts_a_vanished_position_as_flat(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 10)
    scene.merge_stream()
    scene.broker.quantities[AAPL] = Decimal(0)
    scene.broker.cash += 0
    await scene.reconciler.run("periodic")

    report = await scene.reconciler.adopt(AAPL, "moved to another account")

    assert report.is_equal
    assert scene.ledger.positions() == {}


@virtual
async def test_reconcile_refuses_to_adopt_while_executions_are_missing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 10, is_announced=False)
    scene.broker.read_faults["activities"].extend([[], []])

    report = await scene.reconciler.run("periodic")
    with pytest.raises(StateError, match="not booked yet"):
        await scene.reconciler.adopt(AAPL, "impatient")
    later = await scene.reconciler.run("periodic")

    assert {found.kind for found in report.breaks} >= {"fills", "position"}
    assert later.is_equal
    assert later.unlocked == ("AAPL",)


@virtual
async def test_reconcile_leaves_a_lock_by_hand_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.ledger.lock(AAPL, "manual: under investigation")

    report = await scene.reconciler.run("periodic")

    assert report.unlocked == ()
    assert AAPL in scene.ledger.locks()


@virtual
async def test_reconcile_names_an_order_that_the_broker_lost(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.orders.pop(order.broker_order_id)

    report = await scene.reconciler.run("periodic")

    assert [found.kind for found in report.breaks] == ["order"]
    assert AAPL in scene.ledger.locks()


@virtual
async def test_reconcile_names_an_activity_that_cannot_be_booked(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.other_activities.append(
        Activity(
            activity_id="broken",
            kind=ActivityKind.SPLIT,
            at=scene.clock.now(),
            net_amount=Decimal(0),
        )
    )

    report = await scene.reconciler.run("periodic")

    assert [found.kind for found in report.breaks] == ["activity"]
    assert not report.is_equal


@virtual
async def test_reconcile_books_the_opening_cash_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    first = await scene.reconciler.run("start")
    scene.broker.cash += 100
    second = await scene.reconciler.run("periodic")

    assert scene.ledger.cash() == 100_000
    assert first.cash_residual == 0
    assert second.cash_residual == 100


@virtual
async def test_reconcile_rebuilds_the_books_of_a_lost_database_from_the_broker(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.broker.fill(order, 10)
    scene.stop()
    shutil.rmtree(tmp_path)
    scene.start()

    await scene.reconciler.run("start", is_deep=True)
    await scene.send(wanted)

    assert len(scene.broker.posts) == 1, "the same id is known from the broker"
    assert scene.ledger.position(AAPL).quantity == 10
    scene.assert_books_equal()


@virtual
async def test_reconcile_runs_one_at_a_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(scene.reconciler.run(f"r{n}")) for n in range(3)]

    spans = sorted((t.result().started_at, t.result().finished_at) for t in tasks)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


@virtual
async def test_fill_that_contradicts_a_booked_one_locks_and_is_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    scene.broker.fill(order, 4, "100")
    (update,) = (u for u in scene.stream if u.fill is not None)
    assert update.fill is not None
    scene.merge_stream()
    other = dataclasses.replace(update.fill, execution_id=ExecutionId("other"), price=Decimal("90"))

    scene.path.apply_update(dataclasses.replace(update, fill=other))

    assert scene.alert_kinds()["fill.conflict"] == 1
    assert AAPL in scene.ledger.locks()
    assert scene.ledger.position(AAPL).quantity == 4


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
async def test_late_acceptance_during_a_429_pause_is_seen_and_not_sent_again(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.visible_after_seconds = 3600
    scene.broker.submit_faults.append(
        SubmitFault(error=RateLimited("x", retry_after_seconds=5), is_accepted=True)
    )
    asyncio.get_running_loop().call_later(2, scene.merge_stream)

    await scene.send(wanted)

    assert len(scene.broker.posts) == 1
    assert scene.state_of(wanted) is OrderState.LIVE
    assert not scene.latch.read().is_engaged


@virtual
async def test_order_that_the_stream_shows_at_the_last_look_is_not_sent_again(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.visible_after_seconds = 3600
    scene.broker.submit_faults.append(lost_after())
    looks = [0]

    def show_at_the_proof(name: str) -> None:
        looks[0] += name == "find_order"
        if looks[0] == 7:
            scene.merge_stream()

    scene.broker.on_read = show_at_the_proof

    await scene.send(wanted)

    assert looks[0] == 7
    assert len(scene.broker.posts) == 1
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_reconcile_does_not_replace_a_lock_by_hand_with_its_own(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.ledger.lock(AAPL, "manual: under investigation")
    scene.broker.quantities[AAPL] = Decimal(5)

    await scene.reconciler.run("start")
    scene.broker.quantities[AAPL] = Decimal(0)
    await scene.reconciler.run("periodic")

    assert scene.ledger.locks() == {AAPL: "manual: under investigation"}


@virtual
async def test_event_that_waits_during_a_reconcile_counts_in_the_comparison(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    await scene.reconciler.run("start")
    scene.broker.reads.clear()
    scene.broker.read_faults["activities"].append([])
    scene.broker.on_update = scene.path.updates.offer
    scene.broker.on_read = lambda name: (
        scene.broker.fill(order, 10) if name == "account" and not scene.broker.executions else None
    )

    report = await scene.reconciler.run("periodic")

    assert report.is_equal
    assert scene.broker.reads.count("positions") == 1, "nothing to confirm"


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
