"""Answers that are none: an order in doubt is looked up, never guessed at."""

import dataclasses
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.errors import (
    BrokerUnavailable,
    DuplicateOrder,
    OutcomeUnknown,
    RateLimited,
)
from domain.orders import OrderState, Side
from tests.support.fake_broker import (
    SubmitFault,
    answered,
    delivered_late,
    lost_after,
    lost_before,
    refused,
)
from tests.support.order_scene import CUTOFF, RUN_ID, Scene, approved, hold, request
from tests.support.virtual_time import OPENING, virtual


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
    await hold(scene, "AAPL", 10)
    scene.broker.read_faults["positions"].append([])

    report = await scene.reconciler.run("periodic")

    assert report.is_equal
    assert scene.ledger.locks() == {}


@virtual
async def test_a18_empty_list_that_equity_contradicts_locks_all_holdings_to_no_order(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await hold(scene, "AAPL", 10)
    scene.broker.read_faults["positions"].extend([[], []])

    report = await scene.reconciler.run("periodic")
    await scene.send(request("AAPL", Side.SELL, 10, leg="exit"))

    assert [found.kind for found in report.breaks] == ["empty"]
    assert len(scene.broker.posts) == 1, "the holding itself is in doubt, so no exit either"
    again = await scene.reconciler.run("periodic")
    assert again.unlocked == ("AAPL",)


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
async def test_a24_an_answer_mixed_from_two_orders_alike_is_unknown_and_named(
    tmp_path: Path,
) -> None:
    # Found by simulation seed 40207: every field fits but the broker's own id.
    scene = Scene(tmp_path)
    first, second = request(), request(revision=1)
    await scene.send(first)
    earlier = scene.broker.order(first.client_order_id)
    scene.broker.finish(earlier, OrderState.REJECTED)
    scene.merge_stream()
    scene.broker.submit_faults.append(
        answered(
            lambda _: dataclasses.replace(
                scene.broker.order(first.client_order_id), client_order_id=second.client_order_id
            )
        )
    )

    await scene.send(second)

    assert scene.alert_kinds()["broker.crossed_answer"] == 1
    record = scene.journal.get(second.client_order_id)
    assert record is not None
    assert record.state is OrderState.LIVE
    assert record.broker_order_id != earlier.broker_order_id


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
async def test_duplicate_answer_after_a_resend_is_adopted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(refused(RateLimited("x", retry_after_seconds=1)))
    scene.broker.submit_faults.append(
        SubmitFault(error=DuplicateOrder("must be unique"), is_accepted=True)
    )

    report = await scene.send(wanted)

    assert report.states == {wanted.client_order_id: OrderState.LIVE}
