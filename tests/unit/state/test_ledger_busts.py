"""Executions that are taken back or corrected, as the ledger books them."""

import datetime as dt
from decimal import Decimal

import pytest

from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId
from domain.orders import Side
from state.checks import differing_tables
from state.figures import Figures
from state.journal import Journal
from state.ledger import FillOutcome, Ledger
from state.store import Store
from tests.support.booked import fills
from tests.support.state_builders import (
    AAPL,
    OB1,
    START,
    a_fill,
    four_for_one,
)


def test_b08_bust_restores_what_was_before_it(live: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1", "40", "10", cumulative="40"), origin="stream")
    ledger.apply_fill(a_fill("x-2", "60", "13", cumulative="100"), origin="stream")

    assert ledger.bust_fill(ExecutionId("x-1"), at=START, reason="broker busted it")
    assert not ledger.bust_fill(ExecutionId("x-1"), at=START, reason="again")

    held = ledger.position(AAPL)
    assert (held.quantity, held.total_cost, held.realized_pnl) == (60, 780, 0)
    assert ledger.cash() == -780
    record = live.get(OB1)
    assert record is not None
    assert (record.booked_quantity, record.busted_quantity, record.missing_quantity) == (60, 40, 0)
    assert [fill.execution_id for fill in fills(ledger)] == ["x-2"]


def test_busted_execution_that_is_told_again_stays_busted(live: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1"), origin="stream")
    ledger.bust_fill(ExecutionId("x-1"), at=START, reason="bust")

    assert ledger.apply_fill(a_fill("x-1"), origin="poll") is FillOutcome.DUPLICATE
    assert ledger.apply_fill(a_fill("other-id"), origin="activities") is FillOutcome.DUPLICATE
    assert ledger.positions() == {}


def test_bust_by_the_id_of_another_channel_finds_its_execution(
    live: Journal, ledger: Ledger
) -> None:
    ledger.apply_fill(a_fill("stream-id"), origin="stream")
    ledger.apply_fill(a_fill("activity-id"), origin="activities")

    assert ledger.bust_fill(ExecutionId("activity-id"), at=START, reason="bust")
    assert ledger.positions() == {}


def test_bust_between_trades_gives_the_books_without_it(ledger: Ledger, store: Store) -> None:
    trades = (
        ("x-1", Side.BUY, "100", "10"),
        ("x-2", Side.BUY, "50", "16"),
        ("x-3", Side.SELL, "60", "15"),
        ("x-4", Side.SELL, "90", "11"),
    )
    for name, side, quantity, price in trades:
        ledger.apply_fill(
            a_fill(
                name,
                quantity,
                price,
                side=side,
                broker_order_id=BrokerOrderId(f"b-{name}"),
                client_order_id=ClientOrderId(f"c-{name}"),
            ),
            origin="stream",
        )
    ledger.adopt_position(AAPL, Decimal(7), Decimal(10), "found")
    ledger.bust_fill(ExecutionId("x-2"), at=START, reason="bust")

    # By hand: 100@10, sell 60@15 -> 300; sell 90@11 closes 40 -> 40, opens 50 short @11;
    # 7 adopted @10 cover 7 of them -> 7.
    held = ledger.position(AAPL)
    assert (held.quantity, held.realized_pnl, held.total_cost) == (-43, 347, -473)
    assert differing_tables(store._connected()) == []


def test_correction_replaces_an_execution(live: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1", "100", "143.20"), origin="stream")

    assert ledger.correct_fill(
        ExecutionId("x-1"), a_fill("x-1b", "100", "143.10"), reason="price corrected"
    )

    assert ledger.position(AAPL).total_cost == 14310
    record = live.get(OB1)
    assert record is not None
    assert (record.booked_quantity, record.missing_quantity) == (100, 0)
    assert record.filled_avg_price == Decimal("143.10")
    assert not ledger.correct_fill(ExecutionId("x-1"), a_fill("x-1b"), reason="again")
    assert ledger.apply_fill(a_fill("x-1", "100", "143.20"), origin="poll") is FillOutcome.DUPLICATE


def test_correction_under_the_same_id_is_kept_apart(live: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1", "100", "143.20"), origin="stream")

    assert ledger.correct_fill(ExecutionId("x-1"), a_fill("x-1", "90", "143.20"), reason="fewer")
    assert ledger.position(AAPL).quantity == 90
    assert [fill.execution_id for fill in fills(ledger)] == ["x-1/corrected"]


def test_bust_of_an_execution_from_after_a_split_keeps_the_split(ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1", "10", "10", cumulative="10"), origin="stream")
    four_for_one(ledger)
    ledger.apply_fill(a_fill("x-2", "5", "3", cumulative="15"), origin="stream")

    assert ledger.bust_fill(ExecutionId("x-2"), at=START, reason="bust")
    assert (ledger.position(AAPL).quantity, ledger.position(AAPL).total_cost) == (40, 100)


def test_bust_of_an_execution_from_before_a_split_locks_the_symbol(ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1", "10", "10"), origin="stream")
    four_for_one(ledger)

    assert not ledger.bust_fill(ExecutionId("x-1"), at=START, reason="bust")
    assert "after a split" in ledger.locks()[AAPL]
    assert ledger.position(AAPL).quantity == 40


def test_bust_of_an_unbooked_execution_does_nothing(ledger: Ledger) -> None:
    assert not ledger.bust_fill(ExecutionId("x-1"), at=START, reason="bust")
    assert not ledger.correct_fill(ExecutionId("x-1"), a_fill("x-2"), reason="correct")


def test_bust_of_an_execution_without_an_order_reverses_the_shares(ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1"), origin="stream")

    assert ledger.bust_fill(ExecutionId("x-1"), at=START, reason="bust")
    assert ledger.positions() == {}


@pytest.mark.parametrize("sold", ["0", "5"])
def test_bust_at_cost_moves_nothing_where_an_adoption_gave_shares_back(
    ledger: Ledger, sold: str
) -> None:
    def trade(number: int, side: Side, quantity: str, price: str, minute: int) -> None:
        order, at = BrokerOrderId(f"b-{number}"), START + dt.timedelta(minutes=minute)
        fill = a_fill(f"x-{number}", quantity, price, broker_order_id=order, side=side, at=at)
        ledger.apply_fill(fill, origin="stream")

    trade(1, Side.BUY, "5", "20", 1)
    adopted_at = START + dt.timedelta(minutes=10)
    ledger.adopt_position(AAPL, Decimal(10), Decimal(15), "counted", as_of=adopted_at)
    if Decimal(sold):
        trade(2, Side.SELL, sold, "16", 12)
    # It was in what was adopted, and is told only now.
    trade(3, Side.BUY, "5", "10", 5)
    before = ledger.position(AAPL)
    trade(4, Side.BUY, "1", str(before.avg_price), 20)

    assert ledger.bust_fill(ExecutionId("x-4"), at=START, reason="bust")

    assert ledger.position(AAPL) == before


def test_the_count_of_executions_never_falls(ledger: Ledger, store: Store) -> None:
    # Prometheus takes a counter that falls for one that began anew, and adds all of it again.
    for execution, cumulative in (("x-1", "40"), ("x-2", "80")):
        ledger.apply_fill(a_fill(execution, "40", "10", cumulative=cumulative), origin="stream")

    ledger.bust_fill(ExecutionId("x-1"), at=START, reason="broker busted it")

    with Figures(store.directory) as figures:
        assert figures.fills() == 2
