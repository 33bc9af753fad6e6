"""Shares that nobody expected: booked in any case, and a limit that they break locks at once."""

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest

from domain.errors import SendRefused
from domain.ids import Symbol
from domain.orders import BrokerOrder, OrderRequest, OrderState, Side
from execution.desk import OrderSettings
from execution.holding_limits import HoldingLimits
from execution.resume import books_agree
from risk.settings import RiskLimits
from state.equity import EquityCurve
from tests.support.account_scene import TODAY, Watched
from tests.support.order_scene import CUTOFF, Scene, request
from tests.support.virtual_time import virtual

AAPL = Symbol("AAPL")


class Limited(Watched):
    """A scene whose holdings are judged, as in the daemon."""

    def start(self) -> None:
        super().start()
        self.desk.over_limit = HoldingLimits(
            RiskLimits(),
            curve=EquityCurve(self.store),
            ledger=self.ledger,
            journal=self.journal,
        ).over

    async def judge(self) -> None:
        """Let the daemon know its equity, as its first look does."""
        await self.monitor.check(TODAY, snapshot=True, seen=await self.reconciler.run("start"))

    def buy_by_hand(self, quantity: int) -> BrokerOrder:
        """Let a person buy AAPL elsewhere, and hear of it; return the order, filled."""
        order = self.broker.place_by_hand("AAPL", Side.BUY, quantity, coid="by-hand")
        self.broker.fill(order, quantity)
        self.merge_stream()
        return self.broker.order(order.client_order_id)

    async def canceled(self, quantity: int) -> tuple[OrderRequest, BrokerOrder]:
        """Return an order that was read as canceled; the account was judged before."""
        await self.judge()
        wanted = request("AAPL", quantity=quantity)
        await self.send(wanted)
        assert await self.path.cancel(wanted.client_order_id, "test")
        assert self.state_of(wanted) is OrderState.CANCELED
        return wanted, self.broker.order(wanted.client_order_id)


@virtual
async def test_b03_a_late_fill_that_breaks_a_limit_locks_the_symbol_to_exits_at_once(
    tmp_path: Path,
) -> None:
    scene = Limited(tmp_path)
    _, order = await scene.canceled(110)

    scene.broker.fill(order, 110)
    scene.merge_stream()

    assert scene.ledger.position(AAPL).quantity == 110
    lock = scene.ledger.locks()[AAPL]
    assert lock.startswith("limit: position is 11.00 % of equity, the limit is 10 %")
    assert scene.alert_kinds()["symbol.locked"] == 1
    check = scene.path.gate.check
    more, less = request("AAPL", leg="more"), request("AAPL", Side.SELL, 20, leg="exit")
    scene.journal.record_plan([], "none")
    await scene.send(more, less)
    assert scene.state_of(more) is OrderState.SKIPPED
    assert scene.state_of(less) is OrderState.LIVE
    with pytest.raises(SendRefused):
        check(more, cutoff=CUTOFF)


@virtual
async def test_b03_the_lock_outlives_a_comparison_and_ends_when_the_holding_fits_again(
    tmp_path: Path,
) -> None:
    scene = Limited(tmp_path)
    _, order = await scene.canceled(110)
    scene.broker.fill(order, 110)
    scene.merge_stream()

    await scene.reconcile_calmly()
    assert AAPL in scene.ledger.locks()
    # The books agree: what stands in the way of a resume is doubt, not size.
    await books_agree(scene.desk, scene.reconciler)()

    scene.broker.fills_at_once = True
    await scene.send(request("AAPL", Side.SELL, 20, leg="exit"))
    await scene.reconcile_calmly()

    assert scene.ledger.position(AAPL).quantity == 90
    assert scene.ledger.locks() == {}


@virtual
async def test_b03_a_late_fill_within_the_limits_locks_nothing(tmp_path: Path) -> None:
    scene = Limited(tmp_path)
    _, order = await scene.canceled(110)

    scene.broker.fill(order, 90)
    scene.merge_stream()

    assert scene.ledger.position(AAPL).quantity == 90
    assert scene.ledger.locks() == {}


@virtual
async def test_b04_a_late_fill_that_only_the_activities_tell_of_locks_too(tmp_path: Path) -> None:
    scene = Limited(tmp_path)
    _, order = await scene.canceled(110)
    scene.broker.on_update = None
    scene.broker.fill(order, 110)

    await scene.reconciler.run("periodic")

    assert scene.ledger.locks()[AAPL].startswith("limit: position is 11.00 %")


@virtual
async def test_b09_an_order_by_hand_that_breaks_a_limit_locks_too(tmp_path: Path) -> None:
    scene = Limited(tmp_path)
    await scene.judge()

    scene.buy_by_hand(120)

    assert scene.ledger.locks()[AAPL].startswith("limit: position is 12.00 %")


@virtual
async def test_a32_b09_a_break_that_ends_does_not_lift_what_a_limit_locked(tmp_path: Path) -> None:
    # Found as seeds 3006 and 3009: the reason of the break replaced that of the limit.
    scene = Limited(tmp_path)
    await scene.judge()
    by_hand = scene.buy_by_hand(120)
    await scene.reconcile_calmly()
    old = [dataclasses.replace(by_hand, state=OrderState.LIVE, filled_quantity=Decimal(0))]
    scene.broker.read_faults["orders_since"].extend([old] * 2)

    await scene.reconciler.run("periodic")
    lock = scene.ledger.locks()[AAPL]
    assert lock.startswith("limit: position is 12.00 %")
    assert "; also by-hand: filled quantity fell from 120 to 0" in lock
    for _ in range(3):
        await scene.reconcile_calmly()

    assert AAPL in scene.ledger.locks()


@virtual
async def test_b09_an_order_by_hand_counts_with_what_our_own_order_may_still_buy(
    tmp_path: Path,
) -> None:
    # Found as seed 8001741: each was within the limit as it was booked, both together were not.
    scene = Limited(tmp_path)
    await scene.judge()
    wanted = request("AAPL", quantity=80)
    await scene.send(wanted)
    scene.broker.fill(scene.broker.order(wanted.client_order_id), 40)

    scene.buy_by_hand(25)

    assert scene.ledger.position(AAPL).quantity == 65
    assert scene.ledger.locks()[AAPL].startswith("limit: position is 10.50 % of equity")
    # What is left of ours would go beyond it: it is called off, also by a process that died since.
    scene.restart()
    await scene.path.recover()
    assert scene.state_of(wanted) is OrderState.CANCELED
    await scene.reconcile_calmly()
    assert scene.ledger.locks() == {}


@virtual
async def test_b09_what_is_beyond_a_limit_by_hand_ends_our_entry_and_no_exit(
    tmp_path: Path,
) -> None:
    scene = Limited(tmp_path)
    await scene.judge()
    entry, other = request("AAPL", quantity=50), request("MSFT", quantity=50)
    await scene.send(entry, other)
    scene.broker.fill(scene.broker.order(entry.client_order_id), 30)
    scene.merge_stream()
    closing = request("AAPL", Side.SELL, 10, leg="exit")
    await scene.send(closing)

    scene.buy_by_hand(90)
    await scene.path.follow_up()
    await scene.reconcile_calmly()

    assert scene.state_of(entry) is OrderState.CANCELED
    assert scene.state_of(closing) is OrderState.LIVE
    assert scene.state_of(other) is OrderState.LIVE


@virtual
async def test_b09_what_is_beyond_a_limit_leaves_an_order_by_hand_to_the_person(
    tmp_path: Path,
) -> None:
    scene = Limited(tmp_path)
    await scene.judge()
    resting = scene.broker.place_by_hand("AAPL", Side.BUY, 5, coid="resting")
    scene.merge_stream()

    scene.buy_by_hand(130)
    await scene.path.follow_up()
    await scene.reconcile_calmly()

    assert scene.ledger.locks()[AAPL].startswith("limit: ")
    assert scene.broker.orders[resting.broker_order_id].state is OrderState.LIVE
    assert scene.broker.cancels == []


@virtual
async def test_b10_an_adoption_that_breaks_a_limit_locks_until_the_holding_fits(
    tmp_path: Path,
) -> None:
    # Found as seed 8001449: shares that came without any order were adopted beyond the limit.
    scene = Limited(tmp_path)
    await scene.judge()
    scene.broker.quantities[AAPL] = Decimal(120)

    adopted = await scene.reconciler.adopt(AAPL, "counted")

    assert adopted.is_equal
    assert scene.ledger.locks()[AAPL].startswith("limit: position is 12.00 %")
    scene.broker.quantities[AAPL] = Decimal(110)
    assert (await scene.reconciler.adopt(AAPL, "counted")).is_equal
    assert AAPL in scene.ledger.locks(), "smaller, and still too large"
    scene.broker.quantities[AAPL] = Decimal(80)
    await scene.reconciler.adopt(AAPL, "counted")
    assert scene.ledger.locks() == {}


@virtual
async def test_b10_an_adoption_that_makes_a_holding_smaller_locks_nothing(tmp_path: Path) -> None:
    scene = Limited(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(120)
    await scene.reconciler.adopt(AAPL, "counted before there were limits")
    assert scene.ledger.unlock(AAPL)

    scene.broker.quantities[AAPL] = Decimal(110)
    await scene.reconciler.adopt(AAPL, "counted")

    assert scene.ledger.locks() == {}


@virtual
async def test_b15_a_short_position_that_is_adopted_halts_where_only_long_is_allowed(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, settings=OrderSettings(is_long_only=True))
    scene.broker.quantities[AAPL] = Decimal(-5)

    await scene.reconciler.adopt(AAPL, "counted")

    assert scene.latch.read().reason == "short: AAPL is at -5 shares and only long is allowed"


@virtual
async def test_an_expected_fill_is_the_gates_matter(tmp_path: Path) -> None:
    scene = Limited(tmp_path)
    await scene.judge()
    wanted = request("AAPL", quantity=110)
    await scene.send(wanted)

    scene.broker.fill(scene.broker.order(wanted.client_order_id), 110)
    scene.merge_stream()

    assert scene.ledger.locks() == {}


@virtual
async def test_without_a_known_equity_an_unexpected_fill_locks(tmp_path: Path) -> None:
    scene = Limited(tmp_path)
    wanted = request("AAPL", quantity=1)
    await scene.send(wanted)
    await scene.path.cancel(wanted.client_order_id, "test")

    scene.broker.fill(scene.broker.order(wanted.client_order_id), Decimal(1))
    scene.merge_stream()

    assert "equity is unknown" in scene.ledger.locks()[AAPL]
