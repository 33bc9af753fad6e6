"""A kill that cannot read the open orders asks the broker to cancel them without a list."""

import asyncio
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from domain.orders import Side
from execution.kill import Proof, complete_pending_kill
from state.latch import Latch
from state.latch_record import KillAction, LatchState
from tests.support.kill_scene import AAPL, make, strike, with_orders
from tests.support.virtual_time import virtual

ASKED = "the list of open orders cannot be read: asked the broker to cancel everything"


def without_a_list(scene: SimpleNamespace, *, times: int = 10_000) -> None:
    error = BrokerUnavailable("orders: an answer is not usable")
    scene.broker.read_faults["open_orders"].extend([error] * times)


@virtual
async def test_kill_without_a_list_cancels_everything_and_stays_not_verified(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    with_orders(scene, 5)
    without_a_list(scene)

    report = await strike(scene, seconds=20)

    assert not scene.broker.working()
    assert not scene.broker.cancels
    assert scene.broker.is_suspended
    assert report.proof is Proof.NOT_CANCELED
    assert not report.verified
    assert report.open_orders is None
    assert "was asked to cancel everything, and nothing shows yet" in report.problems[0]
    assert report.shortfall.endswith("run `openbell kill`")
    assert scene.latch.read().pending is KillAction.CANCEL
    assert scene.lines.count(ASKED) == 1


@virtual
async def test_kill_is_verified_once_the_list_comes_back_empty(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 5)
    without_a_list(scene, times=1)

    report = await strike(scene)

    assert report.verified
    assert scene.broker.cancels_of_everything == 1
    assert not report.problems


@virtual
async def test_everything_is_asked_for_again_in_each_round_without_a_list(tmp_path: Path) -> None:
    scene = make(tmp_path)
    without_a_list(scene)
    place = scene.broker.place_by_hand
    loop = asyncio.get_running_loop()
    loop.call_later(9, lambda: place("AAPL", Side.BUY, 1, coid="on its way"))

    await strike(scene, seconds=20)

    assert scene.broker.orders
    assert not scene.broker.working()
    reads = scene.broker.reads.count("open_orders")
    assert scene.broker.cancels_of_everything == reads


@virtual
async def test_order_that_shows_up_after_the_last_list_is_canceled_without_one(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    with_orders(scene, 1)
    place = scene.broker.place_by_hand

    def lose_the_list(name: str) -> None:
        if name == "suspend":
            without_a_list(scene)
            place("AAPL", Side.BUY, 1, coid="on its way")

    scene.broker.after_write = lose_the_list

    report = await strike(scene, seconds=20)

    assert not scene.broker.working()
    assert not report.verified


@virtual
async def test_list_that_can_be_read_is_gone_by_alone(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 5)

    await strike(scene)

    assert scene.broker.cancels_of_everything == 0


@pytest.mark.parametrize("at", ["the list", "the request"])
@virtual
async def test_refused_keys_end_it_there(tmp_path: Path, at: str) -> None:
    scene = make(tmp_path)
    with_orders(scene, 1)
    if at == "the list":
        scene.broker.read_faults["open_orders"].append(AuthRefused("401"))
    else:
        without_a_list(scene)
        scene.broker.cancel_faults.append(AuthRefused("401"))

    report = await strike(scene)

    assert scene.broker.cancels_of_everything == (at == "the request")
    assert report.elapsed_seconds < 1
    assert "keys" in report.problems[-1]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutcomeUnknown("504"), "asked the broker to cancel everything, and got no clear answer"),
        (ValueError("a reader"), "asked the broker to cancel everything, and got no clear answer"),
        (NotSent("no connection"), "could not ask the broker to cancel everything (no connection)"),
        (OrderRejected("404"), "could not ask the broker to cancel everything (404)"),
    ],
)
@virtual
async def test_request_that_fails_is_told_and_sent_again(
    tmp_path: Path, error: Exception, told: str
) -> None:
    scene = make(tmp_path)
    with_orders(scene, 2)
    without_a_list(scene)
    scene.broker.cancel_faults.extend([error] * 3)

    await strike(scene, seconds=20)

    assert sum(told in line for line in scene.lines) == 1
    assert scene.lines.count(ASKED) == 1
    assert not scene.broker.working()


@virtual
async def test_pause_that_the_broker_wants_is_kept(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 1)
    without_a_list(scene)
    scene.broker.cancel_faults.append(RateLimited("429", retry_after_seconds=9))
    loop, sent = asyncio.get_running_loop(), []
    scene.broker.before_write = lambda _name: sent.append(loop.time())

    await strike(scene, seconds=30)

    assert sent[1] - sent[0] >= 9
    assert not scene.broker.working()


@virtual
async def test_what_only_a_refusal_answered_is_not_called_asked(tmp_path: Path) -> None:
    scene = make(tmp_path)
    without_a_list(scene)
    scene.broker.cancel_faults.extend([NotSent("no connection")] * 1000)

    report = await strike(scene, seconds=10)

    assert report.problems[0] == "open orders could not be read: the broker does not answer"


# Closing orders, which a kill that closes positions keeps


@virtual
async def test_flatten_asks_for_everything_while_no_kill_has_closed_anything(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(7)
    with_orders(scene, 3)
    scene.broker.fills_at_once = True
    without_a_list(scene, times=1)

    report = await strike(scene, flatten=True)

    assert scene.broker.cancels_of_everything == 1
    assert not scene.broker.cancels
    assert report.proof is Proof.FLAT
    assert report.verified


@virtual
async def test_flatten_without_a_list_leaves_the_closing_orders_of_an_earlier_kill(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    scene.broker.is_open = False
    scene.broker.quantities[AAPL] = Decimal(7)
    await strike(scene, flatten=True)
    (queued,) = scene.broker.working()
    without_a_list(scene)

    report = await strike(scene, flatten=True, seconds=20)

    assert scene.broker.cancels_of_everything == 0
    assert scene.broker.working() == [queued]
    assert not report.verified


@virtual
async def test_flatten_never_asks_again_once_it_closes_positions(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.is_open = False
    scene.broker.quantities[AAPL] = Decimal(7)
    # On a disk that takes no note the process itself has to know.
    scene.latch.begin_closing = _refuse

    def lose_the_list(name: str) -> None:
        if name == "submit":
            without_a_list(scene)

    scene.broker.after_write = lose_the_list

    await strike(scene, flatten=True, seconds=20)

    assert scene.broker.cancels_of_everything == 0
    assert len(scene.broker.working()) == 1


def _refuse(*_words: object, **_names: object) -> LatchState:
    raise OSError("disk full")


@virtual
async def test_flatten_with_a_latch_that_tells_nothing_keeps_what_works(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 1)
    without_a_list(scene)
    scene.latch.engage = _refuse
    scene.latch.path.write_bytes(b"?")

    await strike(scene, flatten=True, seconds=10)

    assert scene.broker.cancels_of_everything == 0


@pytest.mark.parametrize("is_listed", [True, False])
@virtual
async def test_kill_that_closes_nothing_cancels_closing_orders_too_by_either_way(
    tmp_path: Path, is_listed: bool
) -> None:
    scene = make(tmp_path)
    scene.broker.is_open = False
    scene.broker.quantities[AAPL] = Decimal(7)
    await strike(scene, flatten=True)
    scene.broker.place_by_hand("MSFT", Side.BUY, 1, coid="of a person")
    if not is_listed:
        without_a_list(scene)

    await strike(scene, seconds=20)

    assert not scene.broker.working()


@virtual
async def test_kill_that_was_cut_off_goes_the_same_way_when_it_is_completed(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    with_orders(scene, 2)
    scene.latch.engage("cut off", scene.clock.now(), pending=KillAction.CANCEL)
    without_a_list(scene)

    report = await complete_pending_kill(
        scene.broker, Latch(tmp_path), clock=scene.clock, tell=scene.lines.append
    )

    assert not scene.broker.working()
    assert report is not None
    assert "was asked to cancel everything" in report.shortfall
