"""The worked week of tests/data/pnl-bridge.json: the account bridge must hold to the last digit."""

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.account import Activity, ActivityKind
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.orders import Fill, Side
from state.checks import differing_tables
from state.ledger import Ledger
from state.store import Store
from tests.support.booked import sums

VECTOR = json.loads((Path(__file__).parents[2] / "data" / "pnl-bridge.json").read_text())
TEN_PLACES = Decimal("0.0000000001")
CENT = Decimal("0.01")


def opening(day: dict[str, Any]) -> dt.datetime:
    return dt.datetime.fromisoformat(day["date"]).replace(tzinfo=dt.UTC, hour=13, minute=30)


def play(ledger: Ledger, day: dict[str, Any], fees: list[str]) -> None:
    at = opening(day)
    for symbol, new_rate, old_rate in day.get("splits", ()):
        held = ledger.position(Symbol(symbol)).quantity
        ledger.apply_activity(
            Activity(
                activity_id=f"{day['date']}-split-{symbol}",
                kind=ActivityKind.SPLIT,
                at=at,
                net_amount=Decimal(0),
                symbol=Symbol(symbol),
                quantity=held * Decimal(new_rate) / Decimal(old_rate) - held,
            )
        )
    filled: dict[str, Decimal] = {}
    for number, (symbol, side, quantity, price, order) in enumerate(day.get("fills", ())):
        filled[order] = filled.get(order, Decimal(0)) + Decimal(quantity)
        ledger.apply_fill(
            Fill(
                execution_id=ExecutionId(f"{day['date']}-{number}"),
                broker_order_id=BrokerOrderId(f"b-{order}"),
                client_order_id=ClientOrderId(order),
                symbol=Symbol(symbol),
                side=Side.BUY if side == "buy" else Side.SELL,
                quantity=Decimal(quantity),
                price=Decimal(price),
                cumulative_quantity=filled[order],
                at=at + dt.timedelta(minutes=number),
            ),
            origin="stream",
        )
    posted = [(ActivityKind.FEE, f"-{fee}") for fee in fees]
    posted += [(ActivityKind.DIVIDEND, amount) for amount in day.get("dividends", ())]
    posted += [(ActivityKind.INTEREST, day.get("interest", "0"))]
    posted += [(ActivityKind.TRANSFER, day.get("transfers", "0"))]
    for number, (kind, amount) in enumerate(posted):
        activity_id = f"{day['date']}-activity-{number}"
        ledger.apply_activity(
            Activity(activity_id=activity_id, kind=kind, at=at, net_amount=Decimal(amount))
        )


def unrealized(ledger: Ledger, closes: dict[str, str]) -> Decimal:
    return sum(
        (
            held.quantity * Decimal(closes[symbol]) - held.total_cost
            for symbol, held in ledger.positions().items()
        ),
        Decimal(0),
    )


def bridged(parts: Mapping[str, Decimal], unrealized_change: Decimal) -> Decimal:
    return unrealized_change + sum(parts.values(), Decimal(0))


def test_every_figure_of_the_worked_week_comes_out(ledger: Ledger, store: Store) -> None:
    ledger.adopt_cash(Decimal(VECTOR["inputs"]["start_cash"]), "opening")
    equity, open_profit, realized_total = ledger.cash(), Decimal(0), Decimal(0)
    closes: dict[str, str] = {}
    for day, expected in zip(VECTOR["inputs"]["days"], VECTOR["expected"]["days"], strict=True):
        play(ledger, day, expected["fee_parts"])
        closes.update(day["close"])
        start = opening(day).replace(hour=0, minute=0)
        summary = sums(ledger, start, start + dt.timedelta(days=1))
        profit_now = unrealized(ledger, closes)
        value = sum(
            (
                held.quantity * Decimal(closes[symbol])
                for symbol, held in ledger.positions().items()
            ),
            Decimal(0),
        )
        equity_now = ledger.cash() + value

        average = expected["avg"]
        assert ledger.cash().quantize(CENT) == Decimal(expected["cash"])
        assert value.quantize(CENT) == Decimal(expected["market_value"])
        assert equity_now.quantize(CENT) == Decimal(expected["equity"])
        assert -summary["fee"] == Decimal(expected["fees"])
        assert summary["dividend"] == Decimal(expected["dividends"])
        assert summary["interest"] == Decimal(expected["interest"])
        assert summary["transfer"] == Decimal(expected["transfers"])
        assert summary["realized"].quantize(TEN_PLACES) == Decimal(average["realised"])
        assert profit_now.quantize(TEN_PLACES) == Decimal(average["unrealised"])
        assert (profit_now - open_profit).quantize(TEN_PLACES) == Decimal(
            average["unrealised_change"]
        )
        for symbol, (quantity, cost) in average["positions"].items():
            held = ledger.position(Symbol(symbol))
            assert held.quantity == Decimal(quantity)
            assert held.avg_price == Decimal(cost).quantize(Decimal("1e-9"))
        # The identity is exact, not to the cent.
        assert equity_now - equity == bridged(summary, profit_now - open_profit)
        equity, open_profit = equity_now, profit_now
        realized_total += summary["realized"]

    total = VECTOR["expected"]["total"]["avg"]
    assert realized_total.quantize(TEN_PLACES) == Decimal(total["realised"])
    assert equity == Decimal("53783.855")
    assert differing_tables(store._connected()) == []


@pytest.mark.parametrize("price", ["12.34", "0.0001", "99999.9999"])
def test_bridge_holds_where_shares_are_adopted(ledger: Ledger, price: str) -> None:
    symbol = Symbol("AAA")
    ledger.adopt_cash(Decimal(1000), "opening")
    ledger.adopt_position(symbol, Decimal(3), Decimal(price), "found at the broker")
    ledger.adopt_position(symbol, Decimal(-1), Decimal("13.01"), "sold on the web")
    held = ledger.position(symbol)
    mark = Decimal("14.05")

    summary = sums(ledger)

    equity = ledger.cash() + held.quantity * mark
    change = held.quantity * mark - held.total_cost
    # The books began empty, so everything in them is explained.
    assert equity == bridged(summary, change)
