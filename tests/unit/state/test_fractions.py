"""What a split makes less than a share of is paid out, and its cost leaves the holding."""

import contextlib
import datetime as dt
import itertools
from collections.abc import Sequence
from decimal import Decimal

import pytest

from domain.account import Activity, ActivityKind
from domain.ids import BrokerOrderId
from domain.orders import Fill, Side
from risk.stops import followed
from state.checks import differing_tables
from state.ledger import Ledger
from tests.support.state_builders import AAPL, START, a_fill, an_activity, open_store

SPLIT_AT = START + dt.timedelta(hours=20)
PAID_ON = SPLIT_AT.replace(hour=5)
HALF = Decimal("0.5")


def a_split(added: str, *, fraction: Decimal | None = None, name: str = "s-1") -> Activity:
    return an_activity(
        ActivityKind.SPLIT,
        symbol=AAPL,
        quantity=Decimal(added),
        fraction=fraction,
        activity_id=name,
        at=SPLIT_AT,
    )


def a_payout(amount: str, *, at: dt.datetime = PAID_ON) -> Activity:
    return an_activity(ActivityKind.OTHER, amount, symbol=AAPL, activity_id="p-1", at=at)


def a_trade(number: int, signed: str, price: str) -> Fill:
    quantity = Decimal(signed)
    return a_fill(
        f"x-{number}",
        str(abs(quantity)),
        price,
        broker_order_id=BrokerOrderId(f"b-{number}"),
        side=Side.BUY if quantity > 0 else Side.SELL,
        at=SPLIT_AT + dt.timedelta(hours=number) if number else START,
    )


def tell(ledger: Ledger, told: Sequence[Activity | Fill]) -> None:
    for one in told:
        if isinstance(one, Fill):
            ledger.apply_fill(one, origin="stream")
        else:
            assert ledger.apply_activity(one)
            assert not ledger.apply_activity(one)


def holding(ledger: Ledger) -> tuple[Decimal, Decimal, Decimal]:
    held = ledger.position(AAPL)
    assert held.realized_pnl == ledger.cash() + held.total_cost
    return held.quantity, held.total_cost, held.realized_pnl


TOLD = [a_split("-23", fraction=HALF)]
IN_TWO_ROWS = [a_split("-25"), a_split("2", fraction=HALF, name="s-2")]
UNTOLD = [a_split("-23")]


@pytest.mark.parametrize("split", [TOLD, IN_TWO_ROWS], ids=["in one row", "taken and given"])
def test_b13_shares_keep_their_cost_when_a_reverse_split_leaves_a_fraction(
    ledger: Ledger, split: Sequence[Activity]
) -> None:
    tell(ledger, [a_trade(0, "25", "10"), *split])
    assert holding(ledger) == (2, 200, -50)

    tell(ledger, [a_payout("55")])
    assert holding(ledger) == (2, 200, 5)


def test_b13_a_short_holding_pays_for_its_fraction(ledger: Ledger) -> None:
    tell(ledger, [a_trade(0, "-25", "10"), a_split("23", fraction=-HALF), a_payout("-55")])

    assert holding(ledger) == (-2, -200, -5)


@pytest.mark.parametrize(
    ("paid", "after"),
    [
        ("-55", (-2, -195, 0)),
        # No more than a share of three cost, and money that comes is no price of a short's part.
        ("-90", (-2, Decimal("-166.666666666667"), Decimal("-6.666666666667"))),
        ("55", (-2, -250, 55)),
    ],
)
def test_b13_a_fraction_of_a_short_that_nobody_told_cost_what_is_paid_for_it(
    ledger: Ledger, paid: str, after: tuple[Decimal, Decimal, Decimal]
) -> None:
    tell(ledger, [a_trade(0, "-25", "10"), a_split("23"), a_payout(paid)])

    assert holding(ledger) == after


def test_b13_a_fee_after_a_split_takes_no_cost_of_the_shares_along(ledger: Ledger) -> None:
    tell(ledger, [a_trade(0, "25", "10"), *UNTOLD, a_payout("-5")])

    assert holding(ledger) == (2, 250, -5)


def test_b13_a_stop_does_not_take_a_fraction_for_a_loss(ledger: Ledger) -> None:
    tell(ledger, [a_trade(0, "15", "10")])
    track = followed(None, held=Decimal(15), cost=Decimal(10), price=Decimal(10))

    tell(ledger, [a_split("-14", fraction=HALF)])

    held = ledger.position(AAPL)
    track = followed(track, held=held.quantity, cost=held.avg_price, price=Decimal(100))
    assert (track.cost, track.is_doubtful) == (100, False)


@pytest.mark.parametrize(
    ("held", "added", "paid", "after"),
    [
        ("25", "-23", "50", (2, 200, 0)),
        ("15", "-14", "50", (1, 100, 0)),
        ("119", "-108", "90", (11, 1100, 0)),
        ("9", "-9", "90", (0, 0, 0)),
        # Less than a share cannot have cost what a share costs.
        ("15", "-14", "500", (1, 75, 425)),
        ("25", "75", "30", (100, Decimal("250") - Decimal("250") / 101, None)),
    ],
)
def test_b13_a_fraction_that_nobody_told_cost_what_it_brought(
    ledger: Ledger, held: str, added: str, paid: str, after: tuple[Decimal, Decimal, Decimal | None]
) -> None:
    tell(ledger, [a_trade(0, held, "10"), a_split(added), a_payout(paid)])

    quantity, cost, realized = holding(ledger)
    assert (quantity, cost) == (after[0], Decimal(after[1]).quantize(Decimal("1e-12")))
    assert after[2] is None or realized == after[2]


def test_b13_a_cost_that_a_split_left_without_a_share_is_no_part_of_the_next_entry(
    ledger: Ledger,
) -> None:
    tell(ledger, [a_trade(0, "9", "100"), a_split("-9"), a_trade(1, "10", "560")])
    assert holding(ledger) == (10, 5600, -900)

    tell(ledger, [a_payout("900")])
    assert holding(ledger) == (10, 5600, 0)


def test_b14_money_for_a_symbol_that_was_not_split_is_its_profit(ledger: Ledger) -> None:
    late = a_payout("7", at=SPLIT_AT + dt.timedelta(days=31))
    tell(ledger, [a_trade(0, "25", "10"), a_split("75"), late])

    assert holding(ledger) == (100, 250, 7)


def test_b13_who_counted_the_shares_has_counted_those_of_the_split(ledger: Ledger) -> None:
    tell(ledger, [a_trade(0, "25", "10")])
    ledger.adopt_position(AAPL, Decimal(2), Decimal(100), "counted", as_of=SPLIT_AT)

    tell(ledger, [*TOLD, a_payout("50")])

    assert holding(ledger) == (2, 200, 0)


@pytest.mark.parametrize("split", [TOLD, IN_TWO_ROWS, UNTOLD], ids=["told", "two rows", "untold"])
@pytest.mark.parametrize("held", ["25", "-25"])
def test_b13_the_order_in_which_split_payout_and_trades_are_told_changes_nothing(
    split: Sequence[Activity], held: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if held == "-25":
        split = [
            an_activity(
                one.kind,
                symbol=AAPL,
                quantity=-(one.quantity or 0),
                fraction=-one.fraction if one.fraction else None,
                activity_id=one.activity_id,
                at=one.at,
            )
            for one in split
        ]
    sold, paid = ("-1", "55") if held == "25" else ("1", "-55")
    trades = [a_trade(1, sold, "120"), a_trade(2, "3", "90")]
    story: list[Activity | Fill] = [*split, a_payout(paid), *trades]
    ends = set()
    for told in itertools.permutations(story):
        if told.index(trades[0]) > told.index(trades[1]):
            continue
        directory = tmp_path_factory.mktemp("books") / "var"
        with contextlib.closing(open_store(directory)) as store:
            ledger = Ledger(store)
            tell(ledger, [a_trade(0, held, "10"), *told])
            ends.add((*holding(ledger), ledger.cash()))
            assert not differing_tables(store._connected())
    assert len(ends) == 1
