"""Too many errors on the order path halt it; a broker that only says no does not."""

from pathlib import Path

import pytest

from domain.errors import NotSent, OrderRejected
from domain.orders import OrderState, Side
from tests.support.fake_broker import SubmitFault, lost_after, refused
from tests.support.order_scene import Scene, request
from tests.support.virtual_time import virtual

SYMBOLS = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")


@virtual
async def test_orders_that_nobody_answers_engage_the_latch_and_stay_in_the_books(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.extend([lost_after()] * 5)

    await scene.send(*(request(symbol) for symbol in SYMBOLS))

    latch = scene.latch.read()
    assert latch.is_engaged
    assert latch.reason.startswith("error rate: 5 of ")
    assert scene.alert_kinds()["kill.engaged"] == 1
    # In doubt is not lost: each that was taken is followed, and canceled on sight.
    assert not any(
        scene.state_of(request(symbol)) in {OrderState.SENDING, OrderState.UNKNOWN}
        for symbol in SYMBOLS
    )
    assert scene.broker.working() == []


@pytest.mark.parametrize(
    "fault", [refused(OrderRejected("no buying power")), refused(NotSent("no connection"))]
)
@virtual
async def test_clear_refusals_and_a_broker_out_of_reach_halt_nothing(
    tmp_path: Path, fault: SubmitFault
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.extend([fault] * 6)

    await scene.send(*(request(symbol) for symbol in SYMBOLS))

    assert not scene.latch.read().is_engaged


@virtual
async def test_a_few_errors_among_many_answers_halt_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.extend([lost_after()] * 4)

    await scene.send(*(request(symbol) for symbol in SYMBOLS))

    assert not scene.latch.read().is_engaged


@virtual
async def test_d08_an_unexpected_error_at_one_order_leaves_it_in_doubt_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.append(refused(ZeroDivisionError("a bug")))

    await scene.send(request("AAPL"), request("AMZN"))

    assert scene.state_of(request("AMZN")) is OrderState.LIVE
    # Absent on every read: sent again, with the same id.
    assert scene.state_of(request("AAPL")) is OrderState.LIVE
    assert scene.alert_kinds()["order.unknown"] == 1


@virtual
async def test_d08_unexpected_errors_again_and_again_engage_the_latch(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.extend([refused(ZeroDivisionError("a bug"))] * 5)

    await scene.send(*(request(symbol) for symbol in SYMBOLS))

    reason = scene.latch.read().reason
    assert "error rate" in reason
    assert "ZeroDivisionError" in reason


@virtual
async def test_after_a_resume_the_count_begins_anew(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.extend([lost_after()] * 5)
    await scene.send(*(request(symbol) for symbol in SYMBOLS))
    scene.latch.release("looked at it", scene.clock.now())
    scene.store.sync_latch(scene.latch)

    scene.broker.submit_faults.append(lost_after())
    await scene.send(request("AAPL", Side.BUY, leg="again", revision=1))

    assert not scene.latch.read().is_engaged
