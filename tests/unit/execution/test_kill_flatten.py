"""Kill with flatten: every position closed once, with ids that survive a crash."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from domain.account import Position
from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    NotSent,
    OrderRejected,
    RateLimited,
)
from domain.ids import Symbol
from domain.orders import OrderState, Side
from execution.flatten_scope import read_scope
from execution.kill import Proof
from state.latch_record import KillAction
from tests.support.fake_broker import (
    SubmitFault,
    delivered_late,
    lost_after,
    lost_before,
    refused,
)
from tests.support.kill_scene import AAPL, make, strike, with_orders
from tests.support.virtual_time import OPENING, loop_clock, virtual


@virtual
async def test_kill_leaves_positions_alone_when_flatten_was_not_asked_for(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(10)

    report = await strike(scene)

    assert report.proof is Proof.CANCELED
    assert report.positions == 1
    assert scene.broker.posts == []


@virtual
async def test_a_bug_at_one_closing_order_does_not_keep_the_others_from_being_closed(
    tmp_path: Path,
) -> None:
    # Found as seed 3038: the start that completed a kill ended by it, and each one after it.
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities.update({AAPL: Decimal(7), Symbol("TSLA"): Decimal(3)})
    scene.broker.submit_faults.append(
        SubmitFault(is_accepted=True, error=ValueError("an answer that no reader was written for"))
    )

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert sorted(o.symbol for o in scene.broker.orders.values()) == ["AAPL", "TSLA"]


@virtual
async def test_flatten_sells_longs_and_covers_shorts_with_derived_ids(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities.update({AAPL: Decimal(7), Symbol("TSLA"): Decimal(-3)})

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert report.verified
    sent = {
        o.client_order_id.rpartition("-")[0]: (o.side, o.quantity)
        for o in scene.broker.orders.values()
    }
    assert sent == {
        "ob-20221214-AAPL-flatten-0": (Side.SELL, 7),
        "ob-20221214-TSLA-flatten-504": (Side.BUY, 3),
    }


@pytest.mark.parametrize("at_read", range(1, 13))
@virtual
async def test_a_closing_order_that_fills_while_the_account_is_read_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_read: int
) -> None:
    # Found as seed 5000714: held was read before open orders, so what filled in between was
    # neither open any more nor taken off the holding yet.
    scene = make(tmp_path)
    broker = scene.broker
    broker.quantities[AAPL] = Decimal(-7)
    # Of a kill that sold too much before: its numbers went on from those of the sale.
    scope = await read_scope(broker, scene.clock)
    closing = broker.place_by_hand("AAPL", Side.BUY, 7, coid=scope.order_id(AAPL, 33))
    reads = 0

    def counted(read: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        async def then_fill() -> object:
            nonlocal reads
            answer = await read()
            reads += 1
            if reads == at_read:
                broker.fill(closing, 7)
            return answer

        return then_fill

    monkeypatch.setattr(broker, "positions", counted(broker.positions))
    monkeypatch.setattr(broker, "open_orders", counted(broker.open_orders))

    await strike(scene, flatten=True)

    assert broker.posts == []
    assert broker.quantities[AAPL] == 0


@virtual
async def test_k09_flatten_comes_before_the_lock_and_after_the_cancels(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(7)
    scene.broker.place_by_hand("AAPL", Side.SELL, 7, coid="resting")
    scene.broker.fills_at_once = True
    writes: list[str] = []
    scene.broker.before_write = writes.append

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert writes == ["cancel", "forbid", "submit", "suspend"]


@virtual
async def test_k09_partial_flatten_is_reported_as_not_flat(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(7)

    report = await strike(scene, flatten=True, seconds=10)

    assert report.proof is Proof.NOT_FLAT
    assert not report.verified
    assert report.positions == 1
    assert report.open_orders == 1
    assert scene.latch.read().pending is KillAction.FLATTEN


@virtual
async def test_flatten_of_a_locked_account_lifts_the_lock_first_and_sets_it_again(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities[AAPL] = Decimal(7)
    await strike(scene)
    assert scene.broker.is_suspended

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert scene.broker.is_suspended


@virtual
async def test_flatten_of_a_locked_account_that_is_flat_never_lifts_the_lock(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    await strike(scene)
    writes: list[str] = []
    scene.broker.before_write = lambda what: writes.append(f"{what} {scene.broker.is_suspended}")

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert writes == ["suspend True"]


@virtual
async def test_k05_flatten_with_the_market_closed_queues_for_the_open(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.is_open = False
    scene.broker.quantities[AAPL] = Decimal(7)
    with_orders(scene, 2)

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.QUEUED_FOR_OPEN
    assert report.verified
    (queued,) = scene.broker.working()
    assert (queued.side, queued.quantity) == (Side.SELL, 7)
    # The session it is queued for is tomorrow's: the market closed today.
    assert queued.client_order_id.startswith("ob-20221215-AAPL-flatten-0-")


@pytest.mark.parametrize(
    "fault",
    [
        lost_after(),
        lost_before(),
        refused(NotSent("x")),
        refused(RateLimited("y", retry_after_seconds=1)),
    ],
    ids=["reply-lost", "request-lost", "not-sent", "rate-limited"],
)
@virtual
async def test_flatten_closes_once_whatever_happens_to_the_request(
    tmp_path: Path, fault: object
) -> None:
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities[AAPL] = Decimal(7)
    scene.broker.submit_faults.append(fault)

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert sum(fill.quantity for fill in scene.broker.executions) == 7


@virtual
async def test_flatten_request_delivered_late_does_not_sell_twice(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities[AAPL] = Decimal(7)
    scene.broker.submit_faults.append(delivered_late(5))

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert len(scene.broker.posts) == 1


@virtual
async def test_flatten_does_not_sell_on_positions_that_lag_behind_the_fill(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities[AAPL] = Decimal(7)
    stale = [
        Position(
            symbol=AAPL,
            quantity=Decimal(7),
            avg_entry_price=Decimal(100),
            market_price=Decimal(100),
        )
    ]
    scene.broker.read_faults["positions"].extend([None, stale, stale])

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert len(scene.broker.posts) == 1


@virtual
async def test_flatten_waits_for_the_end_of_an_order_that_reserves_the_shares(
    tmp_path: Path,
) -> None:
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities.update({AAPL: Decimal(7), Symbol("TSLA"): Decimal(3)})
    scene.broker.fills_at_once = False
    scene.broker.place_by_hand("AAPL", Side.SELL, 7, coid="resting")
    scene.broker.fills_at_once = True
    scene.broker.cancel_seconds = None

    report = await strike(scene, flatten=True, seconds=20)

    assert report.proof is Proof.NOT_FLAT
    assert [str(order_id)[12:16] for order_id, _ in scene.broker.posts] == ["TSLA"]


@virtual
async def test_flatten_gives_up_on_a_symbol_the_broker_refuses_and_names_it(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(7)
    scene.broker.submit_faults.extend([refused(OrderRejected("halted"))] * 20)

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.NOT_FLAT
    assert any("AAPL" in problem for problem in report.problems)
    assert len(scene.broker.posts) == 8


@virtual
@pytest.mark.parametrize("is_down", [False, True])
async def test_k08_plain_kill_takes_a_pending_flatten_back_once_it_is_verified(
    tmp_path: Path, *, is_down: bool
) -> None:
    scene = make(tmp_path)
    scene.latch.engage("flatten", scene.clock.now(), pending=KillAction.FLATTEN)
    scene.broker.is_down = is_down

    report = await strike(scene)

    assert report.verified is not is_down
    assert scene.latch.read().pending is (KillAction.FLATTEN if is_down else None)


@virtual
async def test_flatten_names_the_session_by_the_next_open_when_closed(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.is_open = False
    scene.clock = loop_clock(OPENING - dt.timedelta(hours=2))
    scene.broker.clock_source = scene.clock
    scene.broker.quantities[AAPL] = Decimal(7)

    await strike(scene, flatten=True)

    (queued,) = scene.broker.working()
    assert queued.client_order_id.startswith("ob-20221214-AAPL-flatten-0-")
    assert queued.state is OrderState.LIVE


@virtual
async def test_flatten_waits_for_a_broker_that_cannot_name_the_account(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.fills_at_once = True
    scene.broker.quantities[AAPL] = Decimal(7)
    with_orders(scene, 0)
    scene.broker.read_faults["account"].extend([BrokerUnavailable("x")] * 3)
    scene.broker.read_faults["positions"].append(BrokerUnavailable("x"))

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT


@virtual
async def test_flatten_with_keys_refused_in_the_middle_stops_and_says_so(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(7)
    scene.broker.submit_faults.append(refused(AuthRefused("401")))

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.NOT_FLAT
    assert "keys" in report.problems[-1]


@virtual
async def test_flatten_on_a_dead_broker_reports_that_nothing_was_closed(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.is_down = True

    report = await strike(scene, flatten=True, seconds=10)

    assert report.proof is Proof.NOT_FLAT
    assert any("positions were not closed" in problem for problem in report.problems)


@virtual
async def test_flatten_order_that_is_not_listed_yet_is_waited_for(tmp_path: Path) -> None:
    scene = make(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(7)
    scene.broker.read_faults["open_orders"].extend([None, None, []])
    asyncio.get_running_loop().call_later(
        3, lambda: scene.broker.fill(scene.broker.working()[0], 7)
    )

    report = await strike(scene, flatten=True)

    assert report.proof is Proof.FLAT
    assert len(scene.broker.posts) == 1


@virtual
async def test_a04_flatten_order_that_was_taken_and_does_not_show_is_never_sent_again(
    tmp_path: Path,
) -> None:
    # Found as seed 22: it filled, still unshown, as its second copy was written.
    scene = make(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(7)
    scene.broker.ids_unique_for_ever = False
    scene.broker.visible_after_seconds = 30.0

    report = await strike(scene, flatten=True, seconds=25.0)

    assert not report.verified
    assert len(scene.broker.posts) == 1
