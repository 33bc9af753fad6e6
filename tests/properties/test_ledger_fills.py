"""Executions shuffled, doubled, dropped and told by several channels: one truth comes out."""

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.orders import BrokerOrder, Fill, OrderState, Side
from state.checks import differing_tables
from state.journal import Journal
from state.ledger import FillOutcome, Ledger
from state.store import Store
from tests.support.state_builders import START, a_broker_order, a_fill, approved, open_store

SYMBOLS = (Symbol("AAPL"), Symbol("MSFT"))
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def a_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "var")
        # The disk is not what is tested here.
        store.rows("PRAGMA synchronous = OFF")
        try:
            yield store
        finally:
            store.close()


@st.composite
def orders(draw: st.DrawFn) -> list[list[Fill]]:
    """The true executions of one to three orders, in the broker's order."""
    made: list[list[Fill]] = []
    for number in range(draw(st.integers(1, 3))):
        order_id = f"ob-{number}"
        side = draw(st.sampled_from(list(Side)))
        total = Decimal(0)
        fills: list[Fill] = []
        for part in range(draw(st.integers(1, 5))):
            quantity = Decimal(draw(st.integers(1, 1_000_000))) / 1000
            total += quantity
            fills.append(
                a_fill(
                    f"{order_id}-x{part}",
                    str(quantity),
                    str(Decimal(draw(st.integers(1, 5_000_000))) / 10_000),
                    cumulative=str(total),
                    symbol=draw(st.sampled_from(SYMBOLS)) if part == 0 else fills[0].symbol,
                    side=side,
                    client_order_id=ClientOrderId(order_id),
                    broker_order_id=BrokerOrderId(f"b-{order_id}"),
                )
            )
        made.append(fills)
    return made


def begin(journal: Journal, made: list[list[Fill]]) -> None:
    for fills in made:
        first, last = fills[0], fills[-1]
        request = {
            "symbol": first.symbol,
            "side": first.side,
            "quantity": last.cumulative_quantity,
        }
        journal.record_plan([approved(first.client_order_id, **request)], "run")
        journal.mark_sending(first.client_order_id)
        journal.apply_order(
            a_broker_order(first.client_order_id, broker_order_id=first.broker_order_id, **request)
        )


def told_by_another_channel(fill: Fill) -> Fill:
    return dataclasses.replace(fill, execution_id=ExecutionId(f"activity::{fill.execution_id}"))


def positions(fills: list[Fill]) -> dict[Symbol, Decimal]:
    held: dict[Symbol, Decimal] = {}
    for fill in fills:
        held[fill.symbol] = held.get(fill.symbol, Decimal(0)) + fill.signed_quantity
    return {symbol: quantity for symbol, quantity in held.items() if quantity}


@FEW
@given(orders(), st.data())
def test_any_order_any_repeats_and_any_channel_book_each_execution_once(
    made: list[list[Fill]], data: st.DataObject
) -> None:
    true = [fill for fills in made for fill in fills]
    copies = [*true, *map(told_by_another_channel, true)]
    repeats = data.draw(st.lists(st.sampled_from(copies), max_size=10))
    told = data.draw(st.permutations([*copies, *repeats]))
    with a_store() as store:
        journal, ledger = Journal(store), Ledger(store)
        begin(journal, made)

        outcomes = [ledger.apply_fill(fill, origin="any") for fill in told]

        assert outcomes.count(FillOutcome.NEW) == len(true)
        assert set(outcomes) <= {FillOutcome.NEW, FillOutcome.DUPLICATE}
        assert {symbol: held.quantity for symbol, held in ledger.positions().items()} == positions(
            true
        )
        assert ledger.cash() == -sum(fill.signed_quantity * fill.price for fill in true)
        for fills in made:
            record = journal.get(fills[0].client_order_id)
            assert record is not None
            assert record.state is OrderState.FILLED
            assert record.missing_quantity == 0
        assert differing_tables(store._connected()) == []


@FEW
@given(orders(), st.data())
def test_dropped_executions_are_missed_until_the_backfill_brings_them(
    made: list[list[Fill]], data: st.DataObject
) -> None:
    true = [fill for fills in made for fill in fills]
    heard = data.draw(st.lists(st.sampled_from(true), unique_by=lambda fill: fill.execution_id))
    with a_store() as store:
        journal, ledger = Journal(store), Ledger(store)
        begin(journal, made)
        for fill in heard:
            ledger.apply_fill(fill, origin="stream")
        for fills in made:
            journal.apply_order(finished(fills))

        booked = {fill.execution_id for fill in heard}
        missing = {
            fills[0].client_order_id: sum(
                fill.quantity for fill in fills if fill.execution_id not in booked
            )
            for fills in made
        }
        assert {
            record.client_order_id: record.missing_quantity for record in journal.incomplete()
        } == {order_id: quantity for order_id, quantity in missing.items() if quantity}

        for fill in true:
            ledger.apply_fill(told_by_another_channel(fill), origin="activities")
        assert journal.incomplete() == ()
        assert {symbol: held.quantity for symbol, held in ledger.positions().items()} == positions(
            true
        )


def finished(fills: list[Fill]) -> BrokerOrder:
    first, total = fills[0], fills[-1].cumulative_quantity
    return a_broker_order(
        first.client_order_id,
        broker_order_id=first.broker_order_id,
        symbol=first.symbol,
        side=first.side,
        quantity=total,
        filled_quantity=total,
        state=OrderState.FILLED,
        raw_status="filled",
    )


@FEW
@given(orders(), st.data())
def test_busted_executions_leave_the_books_as_if_they_never_were(
    made: list[list[Fill]], data: st.DataObject
) -> None:
    true = [fill for fills in made for fill in fills]
    busted = data.draw(st.lists(st.sampled_from(true), unique_by=lambda fill: fill.execution_id))
    standing = [fill for fill in true if fill not in busted]
    with a_store() as store, a_store() as clean:
        for target, fills in ((store, true), (clean, standing)):
            begin(Journal(target), made)
            for fill in fills:
                Ledger(target).apply_fill(fill, origin="stream")
        for fill in data.draw(st.permutations(busted)):
            assert Ledger(store).bust_fill(fill.execution_id, at=START, reason="bust")

        assert Ledger(store).positions() == Ledger(clean).positions()
        assert Ledger(store).cash() == Ledger(clean).cash()
        for symbol in SYMBOLS:
            ours, theirs = Ledger(store).position(symbol), Ledger(clean).position(symbol)
            assert ours.realized_pnl == theirs.realized_pnl
        assert differing_tables(store._connected()) == []


@FEW
@given(orders(), st.data())
def test_states_never_regress_and_filled_quantity_never_falls(
    made: list[list[Fill]], data: st.DataObject
) -> None:
    fills = made[0]
    reports = [
        a_broker_order(
            fills[0].client_order_id,
            broker_order_id=fills[0].broker_order_id,
            symbol=fills[0].symbol,
            side=fills[0].side,
            quantity=fills[-1].cumulative_quantity,
            filled_quantity=quantity,
            state=state,
            raw_status=f"{state}-{quantity}",
        )
        for quantity in (Decimal(0), fills[0].cumulative_quantity, fills[-1].cumulative_quantity)
        for state in (OrderState.LIVE, OrderState.CANCELING, OrderState.CANCELED)
    ]
    messages: list[Fill | BrokerOrder] = data.draw(
        st.lists(st.sampled_from([*reports, *fills]), max_size=12)
    )
    with a_store() as store:
        journal, ledger = Journal(store), Ledger(store)
        begin(journal, made[:1])
        before = journal.get(fills[0].client_order_id)
        assert before is not None
        for message in messages:
            if isinstance(message, Fill):
                ledger.apply_fill(message, origin="stream")
            else:
                journal.apply_order(message)
            record = journal.get(fills[0].client_order_id)
            assert record is not None
            assert record.filled_quantity >= before.filled_quantity
            if before.state.is_terminal:
                assert record.state in {before.state, OrderState.FILLED}
            assert record.booked_quantity <= record.filled_quantity
            before = record


@pytest.mark.parametrize("k", range(1, 6))
def test_crash_after_every_booking_loses_nothing(tmp_path: Path, k: int) -> None:
    fills = [a_fill(f"x-{n}", "10", cumulative=str(10 * n)) for n in range(1, 6)]
    store = open_store(tmp_path / "var")
    Journal(store).record_plan([approved("ob-1", quantity=Decimal(50))], "run")
    for fill in fills[:k]:
        Ledger(store).apply_fill(fill, origin="stream")
    store.close()

    again = open_store(tmp_path / "var")
    for fill in fills:
        Ledger(again).apply_fill(fill, origin="activities")
    assert Ledger(again).position(Symbol("AAPL")).quantity == 50
    again.close()
