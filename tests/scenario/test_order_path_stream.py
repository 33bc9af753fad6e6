"""The trade stream into the books: gaps, doubles, disorder and garbage."""

import asyncio
import dataclasses
import itertools
import random
from decimal import Decimal
from pathlib import Path

import pytest

from domain.errors import BrokerUnavailable, RateLimited, StorageError
from domain.ids import Symbol
from domain.orders import OrderState, Side
from execution.stream import StreamFollower
from execution.updates import LONGEST_QUEUE
from tests.support.fake_broker import SubmitFault, lost_after
from tests.support.order_scene import Scene, failing, live_order, request
from tests.support.virtual_time import virtual

AAPL = Symbol("AAPL")


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
async def test_c09_the_order_of_an_event_that_breaks_the_handler_is_read_at_once(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted, order = await live_order(scene)
    scene.stream.clear()
    scene.broker.fill(order, 10)
    object.__setattr__(scene.stream[0], "fill", "not a fill")

    scene.merge_stream()
    await scene.path.follow_up()

    # Nothing else told of its end, and no comparison came in between.
    assert scene.state_of(wanted) is OrderState.FILLED
    assert [record.client_order_id for record in scene.journal.incomplete()] == [
        wanted.client_order_id
    ]
    await scene.reconciler.run("periodic")
    scene.assert_books_equal()


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

    assert scene.alert_kinds()["reconcile.failed"] == 1
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
