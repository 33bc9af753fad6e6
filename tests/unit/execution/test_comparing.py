"""What two books differ in, and whether the broker's own figures can be believed."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from domain.account import Account, Position
from domain.ids import Symbol
from execution.comparing import (
    Break,
    BreakKind,
    ReconcileReport,
    by_symbol,
    cash_break,
    is_doubtful,
    position_breaks,
)
from tests.support.virtual_time import OPENING

AAPL, MSFT, TSLA = Symbol("AAPL"), Symbol("MSFT"), Symbol("TSLA")


def account(equity: str, cash: str) -> Account:
    return Account(
        account_number="PA1",
        status="ACTIVE",
        equity=Decimal(equity),
        last_equity=Decimal(100_000),
        cash=Decimal(cash),
        buying_power=Decimal(100_000),
        is_trading_blocked=False,
        is_suspended_by_user=False,
    )


def position(quantity: str, price: str = "100", symbol: Symbol = AAPL) -> Position:
    return Position(
        symbol=symbol,
        quantity=Decimal(quantity),
        avg_entry_price=Decimal(price),
        market_price=Decimal(price),
    )


def report(**changes: Any) -> ReconcileReport:
    """One comparison in which 100 AAPL of 100 USD are held, and 30 USD are unexplained."""
    made = ReconcileReport(
        reason="test",
        started_at=OPENING,
        finished_at=OPENING,
        breaks=(),
        activities_booked=0,
        locked=(),
        unlocked=(),
        account=account("100000", "90000"),
        held=(position("100"),),
        flows=0,
        open_orders=0,
        cash_residual=Decimal(30),
    )
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(
    ("equity", "cash", "expected"),
    [
        ("100000", "100000", False),
        ("100000", "90000", True),
        ("NaN", "100000", True),
        ("Infinity", "100000", True),
        # Found as seed 17000297: their difference is no number, and asking for it raises.
        ("Infinity", "Infinity", True),
    ],
)
def test_k11_an_empty_list_is_believed_only_beside_figures_that_are_numbers(
    equity: str, cash: str, expected: bool
) -> None:
    assert is_doubtful({}, account(equity, cash)) is expected


@pytest.mark.parametrize(("cash", "expected"), [("99999.99", False), ("99999.98", True)])
def test_an_empty_list_may_lack_a_cent_of_equity_and_no_more(cash: str, expected: bool) -> None:
    assert is_doubtful({}, account("100000", cash)) is expected


def test_a_listed_holding_of_no_share_is_none() -> None:
    held = (position("0"), position("-5", symbol=MSFT))

    assert by_symbol(held) == {MSFT: Decimal(-5)}
    assert report(held=(position("0"),)).is_list_doubtful


def test_positions_are_compared_over_the_union_of_both_books() -> None:
    ours = {AAPL: Decimal(10), MSFT: Decimal(5)}
    theirs = {AAPL: Decimal(10), TSLA: Decimal(-3)}

    found = position_breaks(ours, theirs)

    assert [(one.symbol, one.ours, one.theirs) for one in found] == [
        (MSFT, "5", "0"),
        (TSLA, "0", "-3"),
    ]
    assert all(one.locks for one in found)


def test_cash_is_compared_to_the_last_digit_and_locks_no_symbol() -> None:
    (found,) = cash_break(Decimal("100.01"), Decimal(100))

    assert not found.locks
    assert "differs by -0.01" in found.detail
    assert cash_break(Decimal("100.00"), Decimal(100)) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Decimal(30)),
        # Prices move while they are read: 1 % of the equity, and no more.
        ({"account": account("99000", "88010")}, Decimal(30)),
        ({"account": account("99000", "88009")}, None),
        ({"account": account("100000", "91000")}, Decimal(30)),
        ({"account": account("100000", "91001")}, None),
        ({"account": account("Infinity", "90000")}, None),
        ({"account": account("100000", "90000"), "held": ()}, None),
        ({"account": account("90000", "100000"), "held": (position("-100"),)}, Decimal(30)),
    ],
)
def test_cash_is_called_unnamed_only_where_the_brokers_own_figures_add_up(
    changes: dict[str, Any], expected: Decimal | None
) -> None:
    assert report(**changes).unnamed_cash == expected


@pytest.mark.parametrize(
    ("kind", "is_equal"), [(BreakKind.CASH, True), (BreakKind.POSITION, False)]
)
def test_beside_any_break_but_that_of_cash_nobody_can_tell_what_cash_is(
    kind: BreakKind, is_equal: bool
) -> None:
    one = Break(kind=kind, symbol=None, ours="1", theirs="2", detail="test")

    made = report(breaks=(one,))

    assert (made.is_equal, made.unnamed_cash) == (is_equal, Decimal(30) if is_equal else None)
