"""Dividends, splits and executions as the account activities tell them."""

import contextlib
import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import ActivityKind
from domain.errors import DataError
from domain.ids import BrokerOrderId
from domain.orders import Fill, Side
from state.checks import differing_tables
from state.journal import Journal
from state.ledger import FillOutcome, Ledger
from tests.support.booked import fills, sums
from tests.support.state_builders import (
    AAPL,
    START,
    a_fill,
    an_activity,
    four_for_one,
    open_store,
)

DAY = (START - dt.timedelta(hours=13), START + dt.timedelta(hours=11))
HOUR = dt.timedelta(hours=1)


def a_trade(number: int, signed: int, price: int) -> Fill:
    """Return an execution some hours after START, of an order of its own."""
    return a_fill(
        f"x-{number}",
        str(abs(signed)),
        str(price),
        broker_order_id=BrokerOrderId(f"b-{number}"),
        side=Side.BUY if signed > 0 else Side.SELL,
        at=START + number * HOUR,
    )


def test_b13_split_changes_shares_and_not_cost(ledger: Ledger) -> None:
    ledger.apply_fill(a_fill(quantity="150", price="150"), origin="stream")

    for _ in range(2):
        four_for_one(ledger)

    held = ledger.position(AAPL)
    assert (held.quantity, held.total_cost, held.realized_pnl) == (600, 22500, 0)


def test_split_activity_adds_its_shares_at_unchanged_cost(ledger: Ledger) -> None:
    ledger.apply_fill(a_fill(quantity="150", price="150"), origin="stream")
    # The broker removes the old shares, then adds the new ones.
    for activity_id, quantity in (("s-1", "-150"), ("s-2", "600")):
        split = an_activity(
            ActivityKind.SPLIT, symbol=AAPL, quantity=Decimal(quantity), activity_id=activity_id
        )
        assert ledger.apply_activity(split)
        assert not ledger.apply_activity(split)

    held = ledger.position(AAPL)
    assert (held.quantity, held.total_cost) == (600, 22500)


def test_split_activity_without_shares_is_refused(ledger: Ledger) -> None:
    with pytest.raises(DataError, match="needs symbol and quantity"):
        ledger.apply_activity(an_activity(ActivityKind.SPLIT, symbol=AAPL))


def test_b14_money_activities_are_booked_once_under_their_names(ledger: Ledger) -> None:
    booked = {
        ActivityKind.FEE: "-0.17",
        ActivityKind.DIVIDEND: "24.00",
        ActivityKind.INTEREST: "-1.37",
        ActivityKind.TRANSFER: "5000",
        ActivityKind.OTHER: "0.05",
    }
    for kind, amount in booked.items():
        assert ledger.apply_activity(an_activity(kind, amount))
        assert not ledger.apply_activity(an_activity(kind, amount))

    assert {kind: str(value) for kind, value in sums(ledger, *DAY).items() if value} == {
        "fee": "-0.17",
        "dividend": "24",
        "interest": "-1.37",
        "transfer": "5000",
        "other": "0.05",
    }
    assert ledger.cash() == Decimal("5022.51")


def test_activity_that_is_not_a_number_is_refused(ledger: Ledger) -> None:
    with pytest.raises(DataError):
        ledger.apply_activity(an_activity(ActivityKind.FEE, "NaN"))


def test_fill_activity_goes_through_the_same_door(live: Journal, ledger: Ledger) -> None:
    activity = an_activity(
        ActivityKind.FILL,
        activity_id="20221214::uuid",
        symbol=AAPL,
        broker_order_id=BrokerOrderId("b-ob-1"),
        side="buy",
        quantity=Decimal(100),
        price=Decimal("143.20"),
        cumulative_quantity=Decimal(100),
    )

    assert ledger.apply_activity(activity)
    assert ledger.apply_fill(a_fill("stream-id"), origin="stream") is FillOutcome.DUPLICATE
    assert not ledger.apply_activity(activity)
    assert fills(ledger)[0].client_order_id == "ob-1"


def test_short_sale_of_the_log_is_a_sell(ledger: Ledger) -> None:
    ledger.apply_activity(
        an_activity(
            ActivityKind.FILL,
            symbol=AAPL,
            broker_order_id=BrokerOrderId("b"),
            side="sell_short",
            quantity=Decimal(5),
            price=Decimal(10),
            cumulative_quantity=Decimal(5),
        )
    )

    assert ledger.position(AAPL).quantity == -5


def test_fill_activity_without_its_fields_is_refused(ledger: Ledger) -> None:
    with pytest.raises(DataError, match="a fill needs"):
        ledger.apply_activity(an_activity(ActivityKind.FILL, symbol=AAPL))


def test_split_that_is_told_after_its_shares_were_sold_costs_what_it_would_have_in_time(
    ledger: Ledger,
) -> None:
    # Found as seed 22000189: the sale opened a short position of the shares that were missing,
    # and 66,766 USD of loss were realized that nobody had lost.
    ledger.apply_fill(a_trade(-1, 33, 120), origin="stream")
    ledger.apply_fill(a_trade(1, -99, 45), origin="stream")
    split = an_activity(ActivityKind.SPLIT, symbol=AAPL, quantity=Decimal(66), at=START)

    assert ledger.apply_activity(split)
    assert not ledger.apply_activity(split)

    held = ledger.position(AAPL)
    assert (held.quantity, held.total_cost) == (0, 0)
    assert held.realized_pnl == 99 * 45 - 33 * 120
    assert ledger.cash() == 99 * 45 - 33 * 120


@given(
    trades=st.lists(
        st.tuples(st.integers(-40, 40).filter(bool), st.integers(1, 9)), min_size=1, max_size=6
    ),
    told_after=st.integers(0, 6),
)
def test_when_a_split_is_told_changes_no_cost(
    trades: list[tuple[int, int]], told_after: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    split = an_activity(ActivityKind.SPLIT, symbol=AAPL, quantity=Decimal(30))
    standings = []
    for place in (0, min(told_after, len(trades))):
        with contextlib.closing(open_store(tmp_path_factory.mktemp("books") / "var")) as store:
            ledger = Ledger(store)
            ledger.apply_fill(a_trade(-1, 10, 8), origin="stream")
            for number in range(len(trades) + 1):
                if number == place:
                    ledger.apply_activity(split)
                if number < len(trades):
                    ledger.apply_fill(a_trade(number + 1, *trades[number]), origin="stream")
            held = ledger.position(AAPL)
            standings.append((held.quantity, held.total_cost, held.realized_pnl, ledger.cash()))
            assert not differing_tables(store._connected())

    assert standings[0] == standings[1]
