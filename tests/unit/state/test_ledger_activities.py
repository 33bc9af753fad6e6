"""Dividends, splits and executions as the account activities tell them."""

import contextlib
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import Activity, ActivityKind
from domain.errors import DataError
from domain.ids import BrokerOrderId, ExecutionId
from domain.orders import Fill, Side
from state.checks import differing_tables
from state.entries import entries_of
from state.holdings import standing_of
from state.journal import Journal
from state.ledger import FillOutcome, Ledger
from state.reversals import replay
from state.store import Store
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


def end_of(told: Sequence[Fill | Activity], directory: Path) -> tuple[Decimal, ...]:
    with contextlib.closing(open_store(directory)) as store:
        ledger = Ledger(store)
        for one in told:
            if isinstance(one, Fill):
                assert ledger.apply_fill(one, origin="activities").is_booked
            else:
                assert ledger.apply_activity(one)
        assert not differing_tables(store._connected())
        held = ledger.position(AAPL)
        assert held.realized_pnl == ledger.cash() + held.total_cost
        assert replay(entries_of(store, AAPL)).standing == standing_of(store, AAPL)
        return held.quantity, held.total_cost, held.realized_pnl, ledger.cash()


def split_of(added: int, at: dt.datetime = START, name: str = "s-1") -> Activity:
    return an_activity(
        ActivityKind.SPLIT, symbol=AAPL, quantity=Decimal(added), at=at, activity_id=name
    )


BOUGHT = a_trade(-10, 33, 120)


LATE, SPLIT, SOLD = a_trade(-1, 3, 120), split_of(72), a_trade(1, -99, 45)


@pytest.mark.parametrize(
    "told",
    [[SOLD, LATE, SPLIT], [SPLIT, SOLD, LATE], [SPLIT, LATE, SOLD]],
    ids=["split last", "execution last", "sale last"],
)
def test_b13_execution_from_before_a_split_that_is_told_late_costs_what_it_would_have_in_time(
    told: list[Fill | Activity], tmp_path: Path
) -> None:
    assert end_of([BOUGHT, *told], tmp_path / "var")[:3] == (9, 360, 495)


def test_sale_from_before_a_split_that_is_told_after_it_realizes_its_own_profit(
    tmp_path: Path,
) -> None:
    told: list[Fill | Activity] = [BOUGHT, split_of(60), a_trade(-1, -3, 130)]

    assert end_of(told, tmp_path / "var")[:3] == (90, 3600, 30)


def test_execution_from_before_a_split_changes_nothing_across_an_adoption(ledger: Ledger) -> None:
    ledger.apply_fill(BOUGHT, origin="stream")
    ledger.apply_activity(split_of(66))
    ledger.adopt_position(AAPL, Decimal(108), Decimal(40), "counted", as_of=START + HOUR)
    before = ledger.position(AAPL)

    ledger.apply_fill(a_trade(-1, 3, 40), origin="activities")

    assert ledger.position(AAPL) == before


def test_busting_a_late_execution_from_before_a_split_leaves_what_was_without_it(
    ledger: Ledger, store: Store
) -> None:
    ledger.apply_fill(BOUGHT, origin="stream")
    ledger.apply_activity(split_of(66))
    ledger.apply_fill(a_trade(1, -90, 45), origin="stream")
    before = ledger.position(AAPL)
    ledger.apply_fill(a_trade(-1, 3, 120), origin="activities")

    assert ledger.bust_fill(ExecutionId("x--1"), at=START, reason="bust")

    assert ledger.position(AAPL) == before
    assert differing_tables(store._connected()) == []


TRADES = st.lists(
    st.tuples(st.integers(-40, 40).filter(bool), st.integers(1, 9)), min_size=1, max_size=4
)


@given(
    eras=st.tuples(TRADES, TRADES, TRADES),
    added=st.tuples(st.integers(-30, 30).filter(bool), st.integers(-30, 30).filter(bool)),
    told=st.data(),
)
def test_when_a_split_or_an_execution_of_the_other_side_of_it_is_told_changes_no_cost(
    eras: tuple[list[tuple[int, int]], ...],
    added: tuple[int, int],
    told: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stories = [
        [a_trade(10 * era + number, *figures) for number, figures in enumerate(trades)]
        for era, trades in enumerate(eras)
    ]
    splits = [split_of(added[n], START + (10 * n + 9) * HOUR, f"s-{n}") for n in (0, 1)]
    in_time: list[Fill | Activity] = [*stories[0], splits[0], *stories[1], splits[1], *stories[2]]
    # Executions between the same splits keep their order; all else is told at any place.
    turns = [n for n, trades in enumerate(stories) for _ in trades] + [3, 4]
    queues: list[list[Fill | Activity]] = [[*trades] for trades in stories]
    queues += [[split] for split in splits]
    any_order = [queues[turn].pop(0) for turn in told.draw(st.permutations(turns))]

    folder = tmp_path_factory.mktemp("books")
    assert end_of(any_order, folder / "any") == end_of(in_time, folder / "in-time")
