import datetime as dt
from decimal import Decimal

import pytest

from domain.errors import DataError
from domain.ids import BrokerOrderId, ClientOrderId
from domain.orders import OrderState, Side
from state.booking import Match, compare
from state.cost_basis import Holding, average, trade
from state.journal import Journal
from state.ledger import FillOutcome, Ledger
from state.store import Store
from tests.support.booked import fills, sums
from tests.support.state_builders import (
    AAPL,
    OB1,
    START,
    a_broker_order,
    a_fill,
    approved,
)

DAY = (START - dt.timedelta(hours=13), START + dt.timedelta(hours=11))


def state_of(journal: Journal) -> OrderState:
    record = journal.get(OB1)
    assert record is not None
    return record.state


def test_fill_moves_shares_cost_and_cash(live: Journal, ledger: Ledger) -> None:
    ledger.adopt_cash(Decimal("50000"), "opening")

    assert ledger.apply_fill(a_fill(), origin="stream") is FillOutcome.NEW

    held = ledger.position(AAPL)
    assert (held.quantity, held.total_cost, held.avg_price) == (100, 14320, Decimal("143.20"))
    assert ledger.cash() == Decimal("35680")
    assert state_of(live) is OrderState.FILLED
    assert fills(ledger) == (a_fill(),)


def test_same_execution_again_is_a_duplicate(live: Journal, ledger: Ledger, store: Store) -> None:
    ledger.apply_fill(a_fill(), origin="stream")
    before = store.rows("SELECT max(seq) FROM events")[0][0]

    assert ledger.apply_fill(a_fill(), origin="poll") is FillOutcome.DUPLICATE
    assert store.rows("SELECT max(seq) FROM events")[0][0] == before
    assert ledger.position(AAPL).quantity == 100


def test_b12_same_execution_under_another_id_is_a_duplicate(live: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("stream-id"), origin="stream")

    for _ in range(2):
        told_again = a_fill("activity-id", at=START + dt.timedelta(hours=3))
        assert ledger.apply_fill(told_again, origin="activities") is FillOutcome.DUPLICATE
    assert len(fills(ledger)) == 1


def test_b11_equal_executions_with_different_ids_are_two(live: Journal, ledger: Ledger) -> None:
    one = a_fill("x-1", quantity="10")
    two = a_fill("x-2", quantity="10", cumulative="20")

    assert [ledger.apply_fill(fill, origin="stream") for fill in (one, two)] == [
        FillOutcome.NEW,
        FillOutcome.NEW,
    ]
    assert ledger.position(AAPL).quantity == 20


def test_b01_partial_fills_add_up_exactly_in_any_order(live: Journal, ledger: Ledger) -> None:
    late, early = a_fill("x-2", "0.3", cumulative="0.4"), a_fill("x-1", "0.1", cumulative="0.1")
    ledger.apply_fill(late, origin="stream")
    record = live.get(OB1)
    assert record is not None
    assert (record.filled_quantity, record.missing_quantity) == (Decimal("0.4"), Decimal("0.1"))

    ledger.apply_fill(early, origin="activities")

    assert ledger.position(AAPL).quantity == Decimal("0.4")
    assert state_of(live) is OrderState.LIVE


@pytest.mark.parametrize("state", [OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED])
def test_b03_late_fill_is_booked_in_every_terminal_state(
    live: Journal, ledger: Ledger, state: OrderState
) -> None:
    live.apply_order(a_broker_order(state=state, raw_status=state.value))

    assert ledger.apply_fill(a_fill(quantity="40"), origin="poll") is FillOutcome.NEW
    assert state_of(live) is state
    record = live.get(OB1)
    assert record is not None
    assert record.filled_quantity == 40

    ledger.apply_fill(a_fill("x-2", quantity="60", cumulative="100"), origin="poll")
    assert state_of(live) is OrderState.FILLED


def test_fill_of_an_order_in_doubt_proves_that_it_lives(journal: Journal, ledger: Ledger) -> None:
    journal.record_plan([approved("ob-1")], "run")
    journal.mark_sending(OB1)
    journal.mark_unknown(OB1, "timeout")

    ledger.apply_fill(a_fill(quantity="40"), origin="stream")

    record = journal.get(OB1)
    assert record is not None
    assert (record.state, record.broker_order_id) == (OrderState.LIVE, "b-ob-1")


def test_b05_overfill_is_booked_in_full_and_locks_the_symbol(live: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1", quantity="100"), origin="stream")

    assert (
        ledger.apply_fill(a_fill("x-2", quantity="10", cumulative="110"), origin="stream")
        is FillOutcome.OVERFILL
    )
    assert ledger.position(AAPL).quantity == 110
    assert "110 of 100" in ledger.locks()[AAPL]
    assert FillOutcome.OVERFILL.is_booked


def test_fill_before_the_answer_to_its_order_is_counted_by_the_answer(
    journal: Journal, ledger: Ledger
) -> None:
    journal.record_plan([approved("ob-1")], "run")
    journal.mark_sending(OB1)
    # The activity log knows the broker's id only, and the answer that names it is still out.
    nameless = a_fill(quantity="40", client_order_id=ClientOrderId(""))
    assert ledger.apply_fill(nameless, origin="activities") is FillOutcome.UNKNOWN_ORDER

    journal.apply_order(a_broker_order(filled_quantity=Decimal(40)))

    record = journal.get(OB1)
    assert record is not None
    assert (record.booked_quantity, record.missing_quantity) == (40, 0)
    assert fills(ledger)[0].client_order_id == OB1


def test_fill_of_a_twin_order_overfills_the_intent(live: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1"), origin="stream")
    twin = a_fill("x-9", broker_order_id=BrokerOrderId("twin"))

    assert ledger.apply_fill(twin, origin="stream") is FillOutcome.OVERFILL
    assert ledger.position(AAPL).quantity == 200


def test_fill_of_an_unknown_order_is_booked_as_truth(journal: Journal, ledger: Ledger) -> None:
    assert ledger.apply_fill(a_fill(), origin="stream") is FillOutcome.UNKNOWN_ORDER
    assert ledger.position(AAPL).quantity == 100


@pytest.mark.parametrize(
    "second",
    [
        a_fill("x-2", quantity="50", cumulative="100"),
        a_fill("x-2", quantity="100", price="143.21"),
        a_fill("x-2", quantity="150", cumulative="150"),
        a_fill("x-1", quantity="100", price="143.21"),
        a_fill("x-1", quantity="100", broker_order_id=BrokerOrderId("another")),
    ],
    ids=[
        "part of the same shares",
        "other price",
        "more shares",
        "id reused",
        "id of another order",
    ],
)
def test_contradicting_execution_is_not_booked_and_locks_the_symbol(
    live: Journal, ledger: Ledger, second: object, store: Store
) -> None:
    ledger.apply_fill(a_fill(), origin="stream")

    assert ledger.apply_fill(second, origin="activities") is FillOutcome.CONFLICT  # type: ignore[arg-type]
    assert ledger.position(AAPL).quantity == 100
    assert "contradicts" in ledger.locks()[AAPL]
    before = store.rows("SELECT max(seq) FROM events")[0][0]
    ledger.apply_fill(second, origin="activities")  # type: ignore[arg-type]
    assert store.rows("SELECT max(seq) FROM events")[0][0] == before


@pytest.mark.parametrize(
    "fill",
    [
        a_fill(quantity="0"),
        a_fill(quantity="-1"),
        a_fill(price="0"),
        a_fill(price="NaN"),
        a_fill(quantity="Infinity"),
        a_fill(quantity="10", cumulative="5"),
    ],
)
def test_impossible_execution_is_refused(ledger: Ledger, fill: object) -> None:
    with pytest.raises(DataError):
        ledger.apply_fill(fill, origin="stream")  # type: ignore[arg-type]
    assert ledger.positions() == {}


def test_closing_realizes_against_the_average_cost(ledger: Ledger) -> None:
    for number, (side, quantity, price) in enumerate(
        ((Side.BUY, "100", "10"), (Side.BUY, "50", "13"), (Side.SELL, "60", "12"))
    ):
        ledger.apply_fill(
            a_fill(
                f"x-{number}",
                quantity,
                price,
                side=side,
                broker_order_id=BrokerOrderId(f"b-{number}"),
                client_order_id=ClientOrderId(f"c-{number}"),
            ),
            origin="stream",
        )

    held = ledger.position(AAPL)
    assert (held.quantity, held.total_cost, held.realized_pnl) == (90, 990, 60)
    assert sums(ledger, *DAY)["realized"] == 60
    assert sums(ledger, START + dt.timedelta(days=1))["realized"] == 0


def test_fill_beyond_flat_closes_then_opens_the_other_side() -> None:
    change = trade(
        Holding(quantity=Decimal(50), total_cost=Decimal(500)), Decimal(-80), Decimal(12)
    )

    assert (change.realized_pnl, change.cost, change.cash) == (100, -860, 960)


def test_short_position_realizes_when_covered() -> None:
    change = trade(
        Holding(quantity=Decimal(-80), total_cost=Decimal(-800)), Decimal(30), Decimal(8)
    )

    assert (change.realized_pnl, change.cost, change.cash) == (60, 300, -240)


def test_flat_average_is_nothing() -> None:
    assert average(Decimal(0), Decimal(0)) == 0


def test_adoption_sets_the_position_and_names_the_difference(ledger: Ledger) -> None:
    ledger.apply_fill(a_fill(price="10"), origin="stream")

    assert ledger.adopt_position(AAPL, Decimal(60), Decimal(12), "sold on the web") == -40

    held = ledger.position(AAPL)
    assert (held.quantity, held.total_cost, held.realized_pnl) == (60, 600, 80)
    assert ledger.cash() == -1000
    assert sums(ledger)["adjustments"] == -480
    assert ledger.adopt_position(AAPL, Decimal(60), Decimal(12), "again") == 0


def test_cash_is_adopted_by_its_difference(ledger: Ledger) -> None:
    assert ledger.adopt_cash(Decimal("50000.10"), "opening") == Decimal("50000.10")
    assert ledger.adopt_cash(Decimal("50000.10"), "opening") == 0
    assert sums(ledger)["adjustments"] == Decimal("50000.10")


def test_locks_name_their_reason_until_lifted(ledger: Ledger) -> None:
    ledger.lock(AAPL, "ledger 100, broker 60")

    assert ledger.locks() == {AAPL: "ledger 100, broker 60"}
    assert ledger.unlock(AAPL)
    assert not ledger.unlock(AAPL)
    assert ledger.locks() == {}


def test_comparison_goes_by_the_shares_of_the_order() -> None:
    booked = a_fill("x", "40", cumulative="100")

    assert compare(a_fill("y", "60", cumulative="60"), booked) is Match.NONE
    assert compare(a_fill("y", "40", cumulative="140"), booked) is Match.NONE
    assert compare(a_fill("y", "40", cumulative="100"), booked) is Match.SAME
    assert compare(a_fill("y", "41", cumulative="101"), booked) is Match.CLASH
    assert compare(a_fill("y", "40", cumulative="100", side=Side.SELL), booked) is Match.CLASH
