"""Cancels, orders given up as lost, and reports that go back."""

import asyncio
import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest

from domain.errors import (
    BrokerUnavailable,
    OutcomeUnknown,
    RateLimited,
    StorageError,
)
from domain.ids import ClientOrderId
from domain.orders import OrderState
from tests.support.fake_broker import (
    delivered_late,
    lost_before,
)
from tests.support.order_scene import Scene, request
from tests.support.virtual_time import virtual


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

    assert await scene.path.cancel_many(
        [wanted.client_order_id, other.client_order_id], "the session ends"
    )

    assert scene.state_of(wanted) is OrderState.CANCELED
    assert scene.state_of(other) is OrderState.CANCELED


@virtual
async def test_orders_are_canceled_although_the_disk_refused_to_note_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Found by refusing each operation of a day's disk: the run at the cut-off failed, nobody
    # asked again, and the entry stayed open until the close.
    scene = Scene(tmp_path)
    wanted, other = request("AAPL"), request("MSFT")
    await scene.send(wanted, other)

    def refuse(_client_order_id: ClientOrderId) -> bool:
        raise StorageError("the disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(scene.journal, "mark_canceling", refuse)
        with pytest.raises(StorageError):
            await scene.path.cancel_many(
                [wanted.client_order_id, other.client_order_id], "past the entry cut-off"
            )
    await scene.path.follow_up()
    await scene.clock.sleep(5)

    assert scene.broker.working() == []


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


@virtual
async def test_a20_lost_cancel_is_asked_for_again_until_the_order_has_ended(
    tmp_path: Path,
) -> None:
    # Found by the simulation as seed 70001: one lost request, and an entry worked on for
    # hours after its cut-off.
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    scene.broker.cancel_faults.append(OutcomeUnknown("no answer"))
    scene.settings = dataclasses.replace(scene.settings, cancel_wait_seconds=0.1)
    scene.desk.settings = scene.settings
    assert not await scene.path.cancel(wanted.client_order_id, "past the entry cut-off")

    await scene.clock.sleep(30)
    await scene.reconciler.run("periodic")
    await scene.clock.sleep(1)
    await scene.reconciler.run("periodic")

    assert scene.state_of(wanted) is OrderState.CANCELED


@virtual
async def test_a20_d01_lost_cancel_is_asked_for_again_after_a_restart(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    scene.broker.cancel_faults.extend([OutcomeUnknown("no answer")] * 20)
    assert not await scene.path.cancel(wanted.client_order_id, "past the entry cut-off")
    scene.broker.cancel_faults.clear()

    scene.restart()
    await scene.path.recover()

    assert scene.state_of(wanted) is OrderState.CANCELED


@virtual
async def test_a17_a_bug_in_the_reader_of_a_cancel_is_an_open_outcome(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    await scene.send(wanted)
    scene.broker.cancel_faults.append(ValueError("a reader broke"))

    assert await scene.path.cancel(wanted.client_order_id, "past the entry cut-off")

    assert scene.state_of(wanted) is OrderState.CANCELED


@virtual
async def test_order_that_shows_up_after_what_called_it_off_is_canceled_on_sight(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(delivered_late(100))
    sending = asyncio.create_task(scene.send(wanted))
    await scene.clock.sleep(30)
    assert scene.state_of(wanted) is OrderState.UNKNOWN

    scene.path.want_canceled(wanted.client_order_id, "past the entry cut-off")
    await sending
    await scene.clock.sleep(200)
    await scene.reconciler.run("periodic")

    assert scene.state_of(wanted) is OrderState.CANCELED
