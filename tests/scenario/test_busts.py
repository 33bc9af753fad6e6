"""Executions that the broker takes back: what the order and the cash of it come to."""

import dataclasses
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.commands.reconciling import next_step
from domain.account import Position
from domain.errors import BrokerUnavailable, StateError
from domain.ids import ExecutionId, Symbol
from domain.orders import BrokerOrder, Fill, OrderState, Side, TradeUpdate
from execution.desk import OrderSettings
from tests.support.order_scene import Scene, hold, live_order, request
from tests.support.virtual_time import virtual

AAPL = Symbol("AAPL")


def take_back(scene: Scene, order: BrokerOrder, fill: Fill, *, is_told: bool = True) -> None:
    """Undo an execution as the broker does: shares, cash, and the order's total."""
    broker = scene.broker
    held = broker.orders[order.broker_order_id]
    busted = dataclasses.replace(held, filled_quantity=held.filled_quantity - fill.quantity)
    broker.orders[order.broker_order_id] = busted
    broker.quantities[fill.symbol] -= fill.signed_quantity
    broker.cash += fill.signed_quantity * fill.price
    if is_told:
        scene.path.updates.apply(
            TradeUpdate(
                event="trade_bust",
                order=busted,
                fill=None,
                at=scene.clock.now(),
                previous_execution_id=fill.execution_id,
            )
        )


async def bought(scene: Scene) -> tuple[BrokerOrder, Fill]:
    await scene.reconciler.run("start")
    _, order = await live_order(scene)
    fill = scene.broker.fill(order, 10)
    scene.merge_stream()
    return order, fill


async def long_ago_taken_back_unheard(scene: Scene) -> Fill:
    """Undo an execution that only deep looks still read; nobody is told."""
    order, fill = await bought(scene)
    await scene.clock.sleep(7200)
    take_back(scene, order, fill, is_told=False)
    return fill


@virtual
async def test_b08_bust_reverses_the_execution_by_name(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _, order = await live_order(scene)
    fill = scene.broker.fill(order, 10)
    scene.merge_stream()

    scene.path.updates.apply(
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

    scene.path.updates.apply(
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

    scene.path.updates.apply(
        TradeUpdate(event="trade_bust", order=order, fill=None, at=scene.clock.now())
    )

    assert AAPL in scene.ledger.locks()
    assert scene.path.updates.take_reconcile_wish()


@virtual
async def test_b08_total_of_an_order_that_falls_by_a_bust_locks_nothing(tmp_path: Path) -> None:
    # Found by every seed with a bust: the symbol was locked for as long as the order was read.
    scene = Scene(tmp_path)
    order, fill = await bought(scene)

    take_back(scene, order, fill)
    report = await scene.reconciler.run("periodic", is_deep=True)

    assert report.breaks == ()
    assert scene.ledger.locks() == {}
    assert scene.ledger.cash() == scene.broker.cash


@virtual
async def test_b08_bust_that_leaves_a_short_position_halts(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=OrderSettings(is_long_only=True))
    order, fill = await bought(scene)
    await scene.send(request("AAPL", Side.SELL, 10, leg="exit"))
    scene.broker.fill(list(scene.broker.orders.values())[-1], 10)
    scene.merge_stream()
    assert not scene.latch.read().is_engaged

    take_back(scene, order, fill)

    assert scene.ledger.position(AAPL).quantity == -10
    assert scene.latch.read().reason == "short: AAPL is at -10 shares and only long is allowed"


@virtual
async def test_b08_bust_that_nobody_heard_of_is_adopted_with_its_cash(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    order, fill = await bought(scene)
    take_back(scene, order, fill, is_told=False)
    broken = await scene.reconciler.run("periodic")
    with pytest.raises(StateError, match="cash is adopted when they agree"):
        await scene.reconciler.adopt_cash("too early")

    adopted = await scene.reconciler.adopt(AAPL, "the broker is right")
    report = await scene.reconciler.adopt_cash("the broker is right")

    assert {found.kind for found in broken.breaks} == {"regression", "position", "cash"}
    hints = [next_step(found, is_adopted=False) or "" for found in (broken, adopted)]
    assert [hint.rpartition("openbell ")[2] for hint in hints] == [
        "reconcile --adopt",
        "reconcile --adopt-cash",
    ]
    assert next_step(report, is_adopted=True) is None
    assert report.cash_residual == 0
    assert scene.ledger.cash() == scene.broker.cash == Decimal(100_000)
    assert scene.alert_kinds()["cash.adopted"] == 1


@virtual
async def test_b08_bust_that_was_adopted_is_no_break_any_more(tmp_path: Path) -> None:
    # Found behind seed 810018: each deep look locked the symbol again, and refused a resume.
    scene = Scene(tmp_path)
    order, fill = await bought(scene)
    take_back(scene, order, fill, is_told=False)
    await scene.reconciler.run("periodic")

    await scene.reconciler.adopt(AAPL, "the broker is right")
    await scene.reconciler.adopt_cash("the broker is right")
    for _ in range(3):
        report = await scene.reconciler.run("look", is_deep=True)

    assert report.breaks == ()
    assert not scene.ledger.locks()
    assert scene.alert_kinds()["symbol.locked"] == 1

    await hold(scene, "AAPL", 10)
    later = list(scene.broker.orders.values())[-1]
    take_back(scene, later, scene.broker.executions[-1], is_told=False)
    broken = await scene.reconciler.run("look", is_deep=True)
    assert {found.kind for found in broken.breaks} == {"regression", "position", "cash"}


@virtual
async def test_b08_nothing_is_sold_of_what_an_unknown_bust_changed_until_it_was_compared(
    tmp_path: Path,
) -> None:
    # Found as seed 5031660: an exit went out again for what was held before the bust.
    scene = Scene(tmp_path)
    order, fill = await bought(scene)
    unknown = dataclasses.replace(fill, execution_id=ExecutionId("of-nobody"), quantity=Decimal(6))
    take_back(scene, order, unknown)
    too_early, after = (request("AAPL", Side.SELL, n, leg="exit", revision=n) for n in (10, 4))

    await scene.send(too_early)
    written = len(scene.broker.posts)
    await scene.reconciler.run("stream")
    await scene.send(after)

    assert scene.state_of(too_early) is OrderState.SKIPPED
    assert len(scene.broker.posts) == written + 1


def taken_back_while_positions_are_read(
    scene: Scene, order: BrokerOrder, *quantities: int
) -> list[int]:
    """Let one reading of positions after the other be followed by the bust of an unbooked name."""
    left, positions = list(quantities), scene.broker.positions
    at_broker = scene.broker.orders[order.broker_order_id]

    async def positions_then_bust() -> Sequence[Position]:
        told = await positions()
        if left:
            shares = left.pop(0)
            scene.broker.quantities[AAPL] -= shares
            scene.broker.cash += shares * 100
            nobody = ExecutionId(f"of-nobody-{len(left)}")
            scene.path.updates.offer(
                TradeUpdate(
                    event="trade_bust",
                    order=at_broker,
                    fill=None,
                    at=scene.clock.now(),
                    previous_execution_id=nobody,
                )
            )
        return told

    scene.broker.positions = positions_then_bust  # type: ignore[method-assign]
    return left


@virtual
async def test_b08_a_bust_heard_while_positions_are_read_is_not_compared_with_them(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    order, _ = await bought(scene)
    left = taken_back_while_positions_are_read(scene, order, 6)
    too_many, held = (request("AAPL", Side.SELL, n, leg="exit", revision=n) for n in (10, 4))

    report = await scene.reconciler.run("run")
    await scene.send(too_many, held)

    assert left == []
    assert {found.kind for found in report.breaks} == {"position", "cash"}
    assert (AAPL in scene.ledger.locks(), report.unlocked) == (True, ())
    assert scene.state_of(too_many) is OrderState.SKIPPED
    assert scene.state_of(held) is OrderState.LIVE


@virtual
async def test_b08_a_bust_heard_in_the_last_of_many_readings_stays_disputed(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    order, _ = await bought(scene)
    left = taken_back_while_positions_are_read(scene, order, 1, 1, 1, 1)
    exit_ = request("AAPL", Side.SELL, 1, leg="exit")

    report = await scene.reconciler.run("run")
    await scene.send(exit_)

    assert left == []
    assert "unread" in {found.kind for found in report.breaks}
    assert scene.state_of(exit_) is OrderState.SKIPPED

    assert scene.path.updates.take_reconcile_wish()
    await scene.reconciler.run("stream")
    assert scene.desk.disputed == {AAPL: Decimal(6)}


@virtual
async def test_b08_a_bust_that_changed_nothing_is_over_within_one_comparison(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    order, _ = await bought(scene)
    taken_back_while_positions_are_read(scene, order, 0)

    report = await scene.reconciler.run("run")

    assert report.is_equal
    assert report.unlocked == (AAPL,)
    assert scene.ledger.locks() == {}


@virtual
async def test_k11_garbled_cash_is_not_adopted(tmp_path: Path) -> None:
    # Found as seed 810018: a garbled 0 was adopted, and the next look saw a gain of all cash.
    scene = Scene(tmp_path)
    order, fill = await bought(scene)
    take_back(scene, order, fill, is_told=False)
    await scene.reconciler.run("periodic")
    await scene.reconciler.adopt(AAPL, "the broker is right")
    true = await scene.broker.account()
    garbled = dataclasses.replace(true, cash=Decimal(0))
    scene.broker.read_faults["account"].extend([true, true, garbled, true])

    with pytest.raises(BrokerUnavailable, match="try again"):
        await scene.reconciler.adopt_cash("the broker is right")
    await scene.reconciler.adopt_cash("the broker is right")

    assert scene.ledger.cash() == scene.broker.cash == Decimal(100_000)
    adopted = [text for kind, text in scene.alerts if kind == "cash.adopted"]
    assert adopted == ["1000 USD adopted: the broker is right"]


@virtual
async def test_a18_cash_is_not_compared_beside_an_empty_list_of_positions(tmp_path: Path) -> None:
    # Found as seed 250: the list was empty, as the books of the busted sale were, and the
    # missing cash counted as a withdrawal: the mark rose by it, and the latch was engaged.
    scene = Scene(tmp_path)
    order, fill = await bought(scene)
    take_back(scene, order, fill)
    scene.broker.quantities[AAPL] = Decimal(10)
    scene.broker.cash -= 1000
    scene.broker.read_faults["positions"].append([])

    report = await scene.reconciler.run("periodic")

    assert report.held == ()
    assert report.cash_residual == -1000
    assert report.unnamed_cash is None


@virtual
async def test_b08_break_that_only_a_deep_look_shows_locks_until_a_deep_look_or_a_person_ends_it(
    tmp_path: Path,
) -> None:
    # Found as seed 14500070: shallow looks lifted the lock, and every ten minutes it was told anew.
    scene = Scene(tmp_path)
    fill = await long_ago_taken_back_unheard(scene)
    # Shares came without a word, so that the positions agree by chance.
    scene.broker.quantities[AAPL] += fill.signed_quantity
    await scene.reconciler.run("start", is_deep=True)

    for _ in range(6):
        await scene.clock.sleep(300)
        await scene.reconciler.run("periodic")

    assert "filled quantity fell" in scene.ledger.locks()[AAPL]
    assert scene.alert_kinds()["symbol.locked"] == 1
    adopted = await scene.reconciler.adopt(AAPL, "counted, and right")
    assert adopted.unlocked == (AAPL,)
    assert (await scene.reconciler.run("look", is_deep=True)).is_equal


@virtual
async def test_b08_break_that_only_a_deep_look_explains_further_is_told_once_more_only(
    tmp_path: Path,
) -> None:
    # Found by seeds with a bust that nobody heard of: every look told the lock in other words.
    scene = Scene(tmp_path)
    await long_ago_taken_back_unheard(scene)
    await scene.reconciler.run("periodic")

    for _ in range(3):
        await scene.reconciler.run("periodic", is_deep=True)
        await scene.reconciler.run("periodic")

    assert "filled quantity fell" in scene.ledger.locks()[AAPL]
    assert scene.alert_kinds()["symbol.locked"] <= 2
