"""Comparisons of intents with reports, and exposure, as pure functions."""

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from domain.account import Account
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.orders import EXTERNAL, BrokerOrder, OrderRequest, OrderState, Side
from execution.comparing import cash_break, doubtful_empty, position_breaks
from execution.context import unsized
from execution.exposure import lowers_exposure, reducible
from execution.matching import mismatches, regression
from state.rows import OrderRecord
from tests.support.order_scene import request

NOW = dt.datetime(2022, 12, 14, tzinfo=dt.UTC)
AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")


def report_of(wanted: OrderRequest, **changes: Any) -> BrokerOrder:
    order = BrokerOrder(
        broker_order_id=BrokerOrderId("b-1"),
        client_order_id=wanted.client_order_id,
        symbol=wanted.symbol,
        side=wanted.side,
        quantity=wanted.quantity,
        order_type=wanted.order_type.value,
        limit_price=wanted.limit_price,
        time_in_force=wanted.time_in_force.value,
        state=OrderState.LIVE,
        raw_status="new",
        filled_quantity=Decimal(0),
        filled_avg_price=None,
        submitted_at=NOW,
        updated_at=NOW,
    )
    return dataclasses.replace(order, **changes)


def record_of(wanted: OrderRequest, **changes: Any) -> OrderRecord:
    record = OrderRecord(
        request=wanted,
        run_id="run",
        state=OrderState.LIVE,
        broker_order_id=BrokerOrderId("b-1"),
        raw_status="new",
        filled_quantity=Decimal(0),
        filled_avg_price=None,
        booked_quantity=Decimal(0),
        busted_quantity=Decimal(0),
        reason="",
        attempts=1,
        is_external=False,
        created_at=NOW,
        updated_at=NOW,
        sent_at=NOW,
        acknowledged_at=NOW,
    )
    return dataclasses.replace(record, **changes)


def test_equal_numbers_written_differently_match() -> None:
    wanted = request(quantity="10", limit="100")

    assert (
        mismatches(
            wanted, report_of(wanted, quantity=Decimal("10.000"), limit_price=Decimal("1E+2"))
        )
        == ()
    )


def test_every_differing_field_is_named_with_both_values() -> None:
    wanted = request()

    found = mismatches(wanted, report_of(wanted, quantity=Decimal(11), side=Side.SELL))

    assert found == ("side sell instead of buy", "quantity 11 instead of 10")


@pytest.mark.parametrize(
    ("record", "report", "is_regression"),
    [
        ({"filled_quantity": Decimal(5)}, {"filled_quantity": Decimal(4)}, True),
        ({"filled_quantity": Decimal(5)}, {"filled_quantity": Decimal(5)}, False),
        ({"state": OrderState.FILLED}, {"state": OrderState.LIVE}, True),
        ({"state": OrderState.CANCELED}, {"state": OrderState.FILLED}, False),
        ({"state": OrderState.LIVE}, {"state": OrderState.CANCELED}, False),
    ],
)
def test_a32_regression_is_less_filled_or_back_from_the_end(
    record: dict[str, Any], report: dict[str, Any], is_regression: bool
) -> None:
    wanted = request()

    found = regression(record_of(wanted, **record), report_of(wanted, **report))

    assert (found is not None) is is_regression


@pytest.mark.parametrize(
    ("side", "quantity", "held", "expected"),
    [
        (Side.SELL, 10, 10, True),
        (Side.SELL, 11, 10, False),
        (Side.SELL, 1, 0, False),
        (Side.SELL, 1, -5, False),
        (Side.BUY, 5, -5, True),
        (Side.BUY, 6, -5, False),
        (Side.BUY, 1, 5, False),
    ],
)
def test_order_lowers_exposure_only_up_to_zero(
    side: Side, quantity: int, held: int, expected: bool
) -> None:
    wanted = request("AAPL", side, quantity)

    assert lowers_exposure(wanted, held=Decimal(held), working=()) is expected


def test_other_working_exits_count_before_this_one() -> None:
    other = record_of(request("AAPL", Side.SELL, 6, leg="exit"), filled_quantity=Decimal(2))
    elsewhere = record_of(request("MSFT", Side.SELL, 6, leg="exit"))
    opposite = record_of(request("AAPL", Side.BUY, 6))
    working = (other, elsewhere, opposite)

    def lowers(quantity: int) -> bool:
        wanted = request("AAPL", Side.SELL, quantity, leg="exit", revision=1)
        return lowers_exposure(wanted, held=Decimal(10), working=working)

    assert lowers(6)
    assert not lowers(7)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [(10, None, 10), (10, 4, 4), (4, 10, 4), (10, 0, 0), (10, -3, 0), (-5, -2, -2), (0, 7, 0)],
)
def test_only_what_both_books_hold_can_be_reduced(
    ours: int, theirs: int | None, expected: int
) -> None:
    told = None if theirs is None else Decimal(theirs)

    assert reducible(Decimal(ours), told) == expected


def test_positions_are_compared_over_the_union_of_both_books() -> None:
    found = position_breaks(
        {AAPL: Decimal(10), Symbol("SAME"): Decimal("1.5")},
        {MSFT: Decimal(-3), Symbol("SAME"): Decimal("1.50")},
    )

    assert [(b.symbol, b.ours, b.theirs) for b in found] == [
        ("AAPL", "10", "0"),
        ("MSFT", "0", "-3"),
    ]
    assert all(b.locks for b in found)


def account(equity: str, cash: str) -> Account:
    return Account(
        account_number="PA",
        status="ACTIVE",
        equity=Decimal(equity),
        last_equity=Decimal(equity),
        cash=Decimal(cash),
        buying_power=Decimal(0),
        is_trading_blocked=False,
        is_suspended_by_user=False,
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "equity", "is_doubtful"),
    [
        ({AAPL: Decimal(1)}, {}, "1100", True),
        ({AAPL: Decimal(1)}, {}, "1000", False),
        ({AAPL: Decimal(1)}, {MSFT: Decimal(1)}, "1100", False),
        ({}, {}, "1100", False),
        ({AAPL: Decimal(1)}, {}, "NaN", True),
    ],
)
def test_a18_empty_positions_are_doubted_when_the_equity_holds_shares(
    ours: dict[Symbol, Decimal],
    theirs: dict[Symbol, Decimal],
    equity: str,
    is_doubtful: bool,
) -> None:
    assert bool(doubtful_empty(ours, theirs, account(equity, "1000"))) is is_doubtful


def test_cash_is_compared_to_the_cent_and_locks_nothing() -> None:
    (found,) = cash_break(Decimal("10.00"), Decimal("10.01"))

    assert not found.locks
    assert "0.01" in found.detail
    assert cash_break(Decimal("10.0"), Decimal("10.00")) == ()


def test_no_order_is_an_exit_beside_one_of_unknown_size() -> None:
    by_amount = dataclasses.replace(
        request(side=Side.SELL),
        quantity=Decimal(0),
        leg=EXTERNAL,
        client_order_id=ClientOrderId("by-hand"),
    )
    beside = record_of(by_amount, is_external=True)
    wanted = request(side=Side.SELL, quantity="1")

    assert not lowers_exposure(wanted, held=Decimal(10), working=(beside,))
    assert lowers_exposure(request(side=Side.SELL, quantity="1"), held=Decimal(10), working=())


def test_nothing_is_opened_in_a_symbol_in_which_an_order_of_unknown_size_works() -> None:
    by_amount = dataclasses.replace(request(), quantity=Decimal(0), leg=EXTERNAL)
    sized = dataclasses.replace(request(), symbol=Symbol("MSFT"))

    closed = unsized([record_of(by_amount, is_external=True), record_of(sized)])

    assert set(closed) == {by_amount.symbol}
    assert "amount of money" in closed[by_amount.symbol]
