"""What the broker alone can tell to the cent, and what it cannot."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.account import Account, Activity, ActivityKind, Position
from domain.ids import BrokerOrderId, Symbol
from reports.from_broker import BrokerBooks, from_broker
from reports.model import EndOfDayReport
from reports.render import FORMATS, render
from reports.write import write

DATE = dt.date(2026, 6, 4)
NOON = dt.datetime(2026, 6, 4, 16, tzinfo=dt.UTC)


def account(before: str, after: str, cash: str = "0") -> Account:
    return Account(
        account_number="PA3TEST0001",
        status="ACTIVE",
        equity=Decimal(after),
        last_equity=Decimal(before),
        cash=Decimal(cash),
        buying_power=Decimal(0),
        is_trading_blocked=False,
        is_suspended_by_user=False,
    )


def held(symbol: str, quantity: str, price: str, close: str | None) -> Position:
    return Position(
        symbol=Symbol(symbol),
        quantity=Decimal(quantity),
        avg_entry_price=Decimal(1),
        market_price=Decimal(price),
        previous_close=Decimal(close) if close is not None else None,
    )


def fill(symbol: str, side: str, quantity: str, price: str, minute: int = 0) -> Activity:
    sign = 1 if side == "sell" else -1
    return Activity(
        activity_id=f"{symbol}{minute}",
        kind=ActivityKind.FILL,
        at=NOON + dt.timedelta(minutes=minute),
        net_amount=sign * Decimal(quantity) * Decimal(price),
        symbol=Symbol(symbol),
        broker_order_id=BrokerOrderId("b1"),
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
    )


def booked(kind: ActivityKind, amount: str) -> Activity:
    return Activity(activity_id=kind.value, kind=kind, at=NOON, net_amount=Decimal(amount))


def report_of(books: Account, *parts: Any) -> EndOfDayReport:
    return from_broker(
        BrokerBooks(
            read_at=NOON,
            account=books,
            positions=[part for part in parts if isinstance(part, Position)],
            orders=[],
            activities=[part for part in parts if isinstance(part, Activity)],
        ),
        DATE,
        mode="paper",
        tomorrow=None,
    )


def test_the_worked_day_closes_from_the_broker_alone() -> None:
    report = report_of(
        account("55280.48", "55399.47", "42186.97"),
        held("AAA", "400", "38.25", "38.10"),
        held("BBB", "-50", "41.75", "42.60"),
        fill("BBB", "buy", "30", "42.05"),
        booked(ActivityKind.FEE, "-0.01"),
    )

    assert {one.symbol: one.pnl for one in report.by_symbol} == {
        "AAA": Decimal("60.00"),
        "BBB": Decimal("59.00"),
    }
    assert report.bridge.residual == 0
    assert report.bridge.fees == Decimal("0.01")
    assert report.doubts == ()
    assert any("cannot be told apart for BBB" in told for told in report.unknown)
    assert not report.is_reconciled


def test_a_round_trip_within_the_session_is_realized_to_the_cent() -> None:
    report = report_of(
        account("1000", "1000.75", "1000.75"),
        fill("AAA", "buy", "10", "10.00", 1),
        fill("AAA", "buy", "10", "10.10", 2),
        fill("AAA", "sell", "20", "10.0875", 3),
    )

    assert report.bridge.realized_pnl == Decimal("0.75")
    assert report.bridge.residual == 0


def test_a_short_sold_and_flipped_within_the_session_is_realized() -> None:
    report = report_of(
        account("1000", "1003", "893"),
        held("AAA", "10", "11", None),
        fill("AAA", "sell", "10", "11", 1),
        fill("AAA", "buy", "20", "10.85", 2),
    )

    assert report.bridge.realized_pnl == Decimal("1.50")
    assert report.bridge.unrealized_pnl_change == Decimal("1.50")
    assert report.bridge.residual == 0


def test_a_holding_that_was_closed_takes_the_rest_and_says_so() -> None:
    report = report_of(account("1000", "990", "990"), fill("AAA", "sell", "10", "9"))

    assert report.by_symbol[0].pnl == -10
    assert any("no price of the close before for AAA" in told for told in report.unknown)
    two = report_of(
        account("1000", "990", "990"), fill("AAA", "sell", "10", "9"), fill("BBB", "sell", "1", "9")
    )
    assert [one.symbol for one in two.by_symbol] == ["AAA, BBB"]


def test_a_cent_that_the_broker_does_not_explain_stays_a_residual() -> None:
    report = report_of(account("1000", "1000.01", "1000.01"))

    assert report.bridge.residual == Decimal("0.01")
    assert "the bridge does not close" in render(report, "md").splitlines()[2]


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_says_where_it_comes_from(form: str) -> None:
    assert "broker" in render(report_of(account("1000", "1000", "1000")), form)


def test_it_never_replaces_a_report_from_the_database(tmp_path: Path) -> None:
    report = report_of(account("1000", "1000", "1000"))
    (first,) = write(tmp_path, report, ["json"])
    assert write(tmp_path, report, ["json"]) == (first,)

    first.write_text('{"revision": 1}')
    (beside,) = write(tmp_path, report, ["json"])

    assert beside.parent.name == "2026-06-04-broker"
    assert first.read_text() == '{"revision": 1}'
