"""Kill without the daemon: latch, cancels, the lock at the broker, and proof."""

import asyncio
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    StorageError,
)
from domain.orders import Side
from execution.kill import Proof
from state.latch import Latch
from state.latch_record import KillAction, LatchState
from tests.support.kill_scene import AAPL, make, strike, with_orders
from tests.support.virtual_time import virtual


@virtual
async def test_k01_kill_latches_cancels_locks_and_proves_it_without_a_daemon(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    with_orders(scene, 50)

    report = await strike(scene)

    assert report.as_json() == {
        "latched": True,
        "open_orders": 0,
        "positions": 0,
        "verified": True,
        "elapsed_seconds": pytest.approx(report.elapsed_seconds, abs=0.001),
        "proof": "CANCELED",
        "suspended": True,
        "problems": [],
    }
    assert report.elapsed_seconds < 5
    assert not scene.broker.working()
    assert scene.broker.is_suspended
    assert scene.latch.read().is_engaged
    assert scene.latch.read().pending is None


@virtual
async def test_a_kill_tells_how_long_it_took_and_not_how_long_the_machine_runs(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    await scene.clock.sleep(3600)

    report = await strike(scene)

    assert 0 < report.elapsed_seconds < 5


@virtual
async def test_k02_broker_down_latches_at_once_and_reports_not_verified(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 1)
    scene.broker.is_down = True

    report = await strike(scene, seconds=30)

    assert report.latched
    assert not report.verified
    assert report.proof is Proof.NOT_CANCELED
    assert report.open_orders is None
    assert report.elapsed_seconds <= 35
    assert scene.latch.read().pending is KillAction.CANCEL


@virtual
async def test_k02_broker_that_returns_is_retried_until_verified(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 3)
    scene.broker.is_down = True
    asyncio.get_running_loop().call_later(20, setattr, scene.broker, "is_down", False)

    report = await strike(scene)

    assert report.verified
    assert 20 < report.elapsed_seconds < 30


@virtual
async def test_k03_order_that_arrives_during_the_kill_is_canceled_too(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.offers_suspend = False
    with_orders(scene, 1)
    place = scene.broker.place_by_hand
    for late in (0.05, 0.2, 0.4, 0.6):
        order = partial(place, "AAPL", Side.BUY, 1, coid=f"late-{late}")
        asyncio.get_running_loop().call_later(late, order)

    report = await strike(scene)

    assert report.verified
    assert report.suspended is None
    assert not scene.broker.working()
    assert len(scene.broker.orders) == 5


@virtual
async def test_k05_closed_market_cancels_queued_orders_and_locks(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.is_open = False
    with_orders(scene, 4)

    report = await strike(scene)

    assert report.verified
    assert report.suspended
    assert not scene.broker.working()


@virtual
async def test_stuck_pending_cancel_is_reported_by_name_and_not_verified(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.cancel_seconds = None
    with_orders(scene, 1)

    report = await strike(scene, seconds=20)

    assert not report.verified
    assert report.proof is Proof.NOT_CANCELED
    assert report.open_orders == 1
    assert "AAPL pending_cancel" in " ".join(report.problems)
    assert report.suspended, "the lock is set although a cancel is stuck"


@virtual
async def test_a28_mixed_cancel_failures_end_when_no_order_is_open(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 6)
    scene.broker.cancel_faults.extend(
        [
            OrderRejected("not cancelable"),
            OutcomeUnknown("timeout"),
            None,
            NotSent("no connection"),
            OutcomeUnknown("502"),
        ]
    )

    report = await strike(scene)

    assert report.verified
    assert not scene.broker.working()


@virtual
async def test_429_on_a_cancel_waits_as_told_and_goes_on(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 1)
    scene.broker.cancel_faults.append(RateLimited("too many", retry_after_seconds=7))

    report = await strike(scene)

    assert report.verified
    assert 7 < report.elapsed_seconds < 10


@virtual
async def test_refused_keys_stop_the_kill_at_once_with_the_latch_engaged(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.read_faults["open_orders"].append(AuthRefused("401"))

    report = await strike(scene)

    assert report.latched
    assert not report.verified
    assert report.elapsed_seconds < 1
    assert "keys" in report.problems[0]


@virtual
async def test_order_that_fills_while_it_is_canceled_shows_up_as_a_position(tmp_path: Path) -> None:
    scene = make(tmp_path)
    order = scene.broker.place_by_hand("AAPL", Side.BUY, 10, coid="racing")
    scene.broker.fill_on_cancel[order.broker_order_id] = Decimal(10)

    report = await strike(scene)

    assert report.verified
    assert report.positions == 1


@virtual
async def test_second_kill_keeps_what_is_queued_and_sends_nothing_twice(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.is_open = False
    scene.broker.quantities[AAPL] = Decimal(7)

    await strike(scene, flatten=True)
    report = await strike(scene, flatten=True)

    assert report.proof is Proof.QUEUED_FOR_OPEN
    assert len(scene.broker.posts) == 1


@pytest.mark.parametrize("error", [OutcomeUnknown("timeout"), ValueError("a reader broke")])
@virtual
async def test_lock_that_gives_no_answer_keeps_the_kill_unverified(
    tmp_path: Path, error: Exception
) -> None:
    scene = make(tmp_path)

    async def silent(*, is_suspended: bool) -> bool:
        await asyncio.sleep(1)
        raise error

    scene.broker.set_suspended = silent

    report = await strike(scene, seconds=10)

    assert report.proof is Proof.CANCELED
    assert report.suspended is False
    assert not report.verified
    assert "the broker's lock on new orders could not be set" in report.problems
    assert scene.latch.read().pending is KillAction.CANCEL


@virtual
async def test_a_bug_at_one_cancel_does_not_keep_the_others_from_being_canceled(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    with_orders(scene, 12)
    scene.broker.cancel_faults.extend([ValueError("a reader broke")] * 3)

    report = await strike(scene)

    assert report.proof is Proof.CANCELED
    assert report.verified
    assert any("no clear answer to a cancel" in line for line in scene.lines)


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "for-ever"])
@virtual
async def test_lock_that_another_kill_opened_is_set_again_or_the_kill_is_not_verified(
    tmp_path: Path, times: int
) -> None:
    # Found as seed 400415: a start that completed the same kill opened it to close the rest.
    scene = make(tmp_path)
    opened: list[str] = []

    def open_it(what: str) -> None:
        if what == "open_orders" and scene.broker.is_suspended and len(opened) < times:
            opened.append(what)
            scene.broker.is_suspended = False

    scene.broker.on_read = open_it

    report = await strike(scene)

    assert report.verified is report.suspended is (times == 1)
    assert scene.broker.is_suspended is (times == 1)


@virtual
async def test_empty_list_of_open_orders_is_believed_after_two_looks_only(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 1)
    scene.broker.read_faults["open_orders"].extend([[], []])

    report = await strike(scene)

    assert report.verified
    assert not scene.broker.working()


class BrokenLatch(Latch):
    """A latch on a disk that takes nothing."""

    def engage(self, *args: object, **kwargs: object) -> LatchState:
        raise StorageError("disk full")


@virtual
async def test_k07_unwritable_latch_does_not_stop_the_cancels(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 2)
    scene.latch = BrokenLatch(tmp_path)

    report = await strike(scene)

    assert not report.latched
    assert not scene.broker.working()
    assert scene.broker.is_suspended
    assert "disk full" in report.problems[0]


@virtual
async def test_cancel_with_keys_refused_stops_and_says_so(tmp_path: Path) -> None:
    scene = make(tmp_path)
    with_orders(scene, 3)
    scene.broker.cancel_faults.append(AuthRefused("401"))

    report = await strike(scene)

    assert report.proof is Proof.NOT_CANCELED
    assert "keys" in report.problems[-1]


@pytest.mark.parametrize(
    ("error", "verified", "suspended"),
    [
        (RateLimited("x", retry_after_seconds=3), True, True),
        (AuthRefused("401"), False, False),
        (BrokerUnavailable("x"), True, True),
    ],
)
@virtual
async def test_lock_is_tried_again_unless_the_keys_are_refused(
    tmp_path: Path, error: Exception, verified: bool, suspended: bool
) -> None:
    scene = make(tmp_path)
    set_suspended = scene.broker.set_suspended
    errors = [error]

    async def flaky(*, is_suspended: bool) -> bool:
        if errors:
            raise errors.pop()
        return bool(await set_suspended(is_suspended=is_suspended))

    scene.broker.set_suspended = flaky

    report = await strike(scene)

    assert (report.verified, report.suspended) == (verified, suspended)
