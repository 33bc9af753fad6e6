"""What an adoption held already moves no share a second time, and leaves the cost as it is."""

import datetime as dt
from decimal import Decimal

import pytest

from domain.account import Activity, ActivityKind
from domain.orders import Side
from state.checks import differing_tables
from state.ledger import Ledger
from state.store import Store
from tests.support.booked import sums
from tests.support.state_builders import AAPL, START, a_fill

BEFORE = START - dt.timedelta(hours=5)


def a_split(quantity: str, *, at: dt.datetime = BEFORE, activity_id: str = "s-1") -> Activity:
    return Activity(
        activity_id=activity_id,
        kind=ActivityKind.SPLIT,
        at=at,
        net_amount=Decimal(0),
        symbol=AAPL,
        quantity=Decimal(quantity),
    )


def holding(ledger: Ledger) -> tuple[Decimal, Decimal, Decimal]:
    held = ledger.position(AAPL)
    return held.quantity, held.total_cost, held.realized_pnl


def identity(ledger: Ledger) -> Decimal:
    """Realized profit less what cash, cost and adoptions say it is: 0 in whole books."""
    held, adopted = ledger.position(AAPL), sums(ledger)["adjustments"]
    return held.realized_pnl - (ledger.cash() + held.total_cost - adopted)


@pytest.fixture
def hundred(ledger: Ledger) -> Ledger:
    ledger.apply_fill(a_fill(price="10", at=BEFORE - dt.timedelta(hours=1)), origin="stream")
    return ledger


@pytest.mark.parametrize(
    ("adopted", "price", "parts", "cost"),
    [
        ("200", "5", ["100"], "1000"),
        ("50", "20", ["-50"], "1000"),
        ("400", "2.5", ["-100", "400"], "1000"),
        ("203", "5", ["100"], "1015"),
    ],
    ids=["forward", "reverse", "taken and given anew", "beside shares without a word"],
)
def test_b13_split_that_was_adopted_leaves_shares_and_their_cost(
    hundred: Ledger, store: Store, adopted: str, price: str, parts: list[str], cost: str
) -> None:
    hundred.adopt_position(AAPL, Decimal(adopted), Decimal(price), "counted", as_of=START)

    for number, part in enumerate(parts):
        split = a_split(part, activity_id=f"s-{number}")
        assert hundred.apply_activity(split)
        assert not hundred.apply_activity(split)

    assert holding(hundred) == (Decimal(adopted), Decimal(cost), 0)
    assert identity(hundred) == 0
    assert differing_tables(store._connected()) == []


def test_b13_split_of_the_moment_of_the_adoption_is_in_it_and_a_later_one_is_not(
    hundred: Ledger,
) -> None:
    hundred.adopt_position(AAPL, Decimal(200), Decimal(5), "counted", as_of=START)

    hundred.apply_activity(a_split("100", at=START))
    hundred.apply_activity(
        a_split("200", at=START + dt.timedelta(microseconds=1), activity_id="s-2")
    )

    assert holding(hundred) == (400, 1000, 0)


def test_an_adoption_that_changes_nothing_is_on_record_and_moves_nothing(
    hundred: Ledger, store: Store
) -> None:
    before = holding(hundred)

    added = hundred.adopt_position(AAPL, Decimal(100), Decimal(9), "counted", as_of=START)

    assert added == 0
    assert hundred.adopted_at(AAPL) == START
    assert holding(hundred) == before
    assert hundred.apply_activity(a_split("100"))
    assert holding(hundred) == (200, 1000, 0)
    assert identity(hundred) == 0
    assert differing_tables(store._connected()) == []


def test_b10_sale_that_was_adopted_as_flat_realizes_its_own_profit(
    hundred: Ledger, store: Store
) -> None:
    hundred.adopt_position(AAPL, Decimal(0), Decimal(0), "sold on the web", as_of=START)
    assert holding(hundred) == (0, 0, -1000)

    sale = a_fill("x-9", "100", "30", side=Side.SELL, broker_order_id="b-web", at=BEFORE)
    hundred.apply_fill(sale, origin="activities")

    assert holding(hundred) == (0, 0, 2000)
    assert hundred.cash() == 2000
    assert sums(hundred)["adjustments"] == 0
    assert differing_tables(store._connected()) == []


def test_b10_purchase_told_in_parts_gives_back_part_by_part(hundred: Ledger) -> None:
    hundred.adopt_position(AAPL, Decimal(110), Decimal("12.73"), "counted", as_of=START)

    for execution, quantity, cumulative in (("x-8", "7", "7"), ("x-9", "3", "10")):
        part = a_fill(execution, quantity, "40", cumulative, broker_order_id="b-web", at=BEFORE)
        hundred.apply_fill(part, origin="activities")

    assert holding(hundred) == (110, 1400, 0)
    assert sums(hundred)["adjustments"] == 0


def test_shares_that_were_sold_since_are_given_back_by_the_price_alone(hundred: Ledger) -> None:
    hundred.adopt_position(AAPL, Decimal(200), Decimal(5), "counted", as_of=START)
    hundred.apply_fill(
        a_fill("x-2", "190", "6", side=Side.SELL, broker_order_id="b-2"), origin="stream"
    )

    hundred.apply_activity(a_split("100"))

    assert hundred.position(AAPL).quantity == 10
    assert identity(hundred) == 0


def test_b14_cash_in_lieu_of_a_split_that_was_adopted_is_booked(hundred: Ledger) -> None:
    hundred.adopt_position(AAPL, Decimal(33), Decimal(30), "counted", as_of=START)
    cash = hundred.cash()

    split = Activity(
        activity_id="s-1",
        kind=ActivityKind.SPLIT,
        at=BEFORE,
        net_amount=Decimal("9.90"),
        symbol=AAPL,
        quantity=Decimal(-67),
    )
    hundred.apply_activity(split)

    assert hundred.position(AAPL).quantity == 33
    assert hundred.cash() - cash == Decimal("9.90")


def test_what_is_given_back_is_named_in_the_books(hundred: Ledger, store: Store) -> None:
    hundred.adopt_position(AAPL, Decimal(200), Decimal(5), "counted", as_of=START)
    hundred.apply_activity(a_split("100"))

    rows = store.rows("SELECT kind, quantity, description FROM ledger_entries ORDER BY entry_id")
    assert [tuple(row) for row in rows[1:]] == [
        ("adoption", "100", "counted"),
        ("adoption", "-100", "given back: split s-1 was in it already"),
        ("split", "100", ""),
    ]


def test_b12_execution_from_before_the_opening_is_in_the_opening_cash(
    ledger: Ledger, store: Store
) -> None:
    ledger.adopt_cash(Decimal(95_000), "opening balance", as_of=START)

    ledger.apply_fill(a_fill("x-1", "10", "500", at=BEFORE), origin="activities")
    ledger.apply_fill(
        a_fill("x-2", "1", "500", broker_order_id="b-2", at=START + dt.timedelta(seconds=1)),
        origin="activities",
    )

    assert ledger.cash() == 94_500
    assert ledger.position(AAPL).quantity == 11
    assert sums(ledger)["adjustments"] == 100_000
    assert differing_tables(store._connected()) == []
