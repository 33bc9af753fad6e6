"""A holding that fell too far is closed, and nothing else is."""

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import Symbol
from domain.orders import OrderRequest, Side
from risk.book import Book
from risk.settings import RiskLimits
from risk.stops import Track, followed, stop_orders, stops_reached
from tests.support.decisions import AAA, BBB, asset, position, reservation, view

LIMITS = RiskLimits(stop_loss_pct=Decimal(10))
TRAILING = RiskLimits(trailing_stop_pct=Decimal(5))
COST = Decimal(100)
LOST = {AAA: Track(cost=Decimal(700), best=Decimal(700), last=Decimal(600))}


def book_of(*held: tuple[Symbol, str, str], **changes: object) -> Book:
    """Holdings as (symbol, shares, market price); no bars, as within the session."""
    seen = dataclasses.replace(
        view(),
        history={},
        positions={symbol: position(symbol, shares, price) for symbol, shares, price in held},
        assets={symbol: asset(symbol) for symbol, _, _ in held},
    )
    return dataclasses.replace(Book(view=seen, limits=LIMITS), **changes)  # type: ignore[arg-type]


def at(price: str, best: str = "100") -> dict[Symbol, Track]:
    return {AAA: Track(cost=COST, best=Decimal(best), last=Decimal(price))}


def orders(book: Book, tracks: dict[Symbol, Track]) -> tuple[OrderRequest, ...]:
    return stop_orders(book, stops_reached(book, tracks))


@pytest.mark.parametrize(("price", "is_stopped"), [("90.01", False), ("90", True), ("70", True)])
def test_a_holding_is_sold_once_it_lost_the_bound(price: str, is_stopped: bool) -> None:
    sent = orders(book_of((AAA, "30", price)), at(price))

    assert [(o.symbol, o.side, o.quantity, o.leg) for o in sent] == (
        [(AAA, Side.SELL, Decimal(30), "exit")] if is_stopped else []
    )


def test_a_short_is_bought_back_when_the_price_rose() -> None:
    sent = orders(book_of((AAA, "-30", "111")), at("111"))

    assert [(o.side, o.quantity) for o in sent] == [(Side.BUY, Decimal(30))]


@pytest.mark.parametrize(("price", "is_stopped"), [("114.01", False), ("114", True)])
def test_a_trailing_stop_goes_by_the_best_price(price: str, is_stopped: bool) -> None:
    book = book_of((AAA, "30", price), limits=TRAILING)

    assert bool(orders(book, at(price, best="120"))) is is_stopped


def test_the_limit_is_the_edge_of_the_exit_collar_and_the_reason_has_the_figures() -> None:
    (order,) = orders(book_of((AAA, "30", "80")), at("80"))

    assert order.limit_price == Decimal("76.00")
    assert order.decision_price == Decimal(80)
    assert order.reason == "stop: 80 is 20.00 % worse than the average cost 100.0000"


def test_a_gain_and_a_holding_without_price_track_or_certainty_have_no_stop() -> None:
    doubtful = {AAA: dataclasses.replace(at("80")[AAA], is_doubtful=True)}

    assert orders(book_of((AAA, "30", "130")), at("130")) == ()
    assert orders(book_of((AAA, "30", "NaN")), at("80")) == ()
    assert orders(book_of((BBB, "30", "1")), {}) == ()
    assert orders(book_of((AAA, "30", "80")), doubtful) == ()


def test_an_exit_at_work_is_not_doubled() -> None:
    working = dataclasses.replace(reservation(AAA, Side.SELL, "30"), leg="exit")
    book = book_of((AAA, "30", "80"), reservations=(working,))

    assert orders(book, at("80")) == ()


@pytest.mark.parametrize(
    ("held", "asked"), [("0.6", "0.6"), ("1", "1"), ("3", "1")], ids=["a part", "one", "more"]
)
def test_shares_dearer_than_an_order_may_be_are_asked_for_so_that_the_gate_answers(
    held: str, asked: str
) -> None:
    # Nothing was asked: the stop was reached, nothing sold, and nobody told.
    dear = dataclasses.replace(LIMITS, max_order_notional_usd=Decimal(500))

    (order,) = orders(book_of((AAA, held, "600"), limits=dear), LOST)

    assert order.quantity == Decimal(asked)


@pytest.mark.parametrize(
    ("shares", "side"), [("1", Side.SELL), ("0.6", Side.SELL), ("-1", Side.BUY)]
)
def test_a_single_share_has_a_stop_too(shares: str, side: Side) -> None:
    price = "80" if side is Side.SELL else "120"

    sent = orders(book_of((AAA, shares, price)), at(price))

    assert [(o.side, o.quantity) for o in sent] == [(side, abs(Decimal(shares)))]


def test_no_stop_is_the_default() -> None:
    book = book_of((AAA, "30", "0.02"), limits=RiskLimits())

    assert orders(book, at("0.02")) == ()


def test_a_split_that_is_not_booked_yet_is_a_doubt_until_the_cost_follows() -> None:
    calm = followed(None, held=Decimal(30), cost=COST, price=Decimal(101))
    jumped = followed(calm, held=Decimal(30), cost=COST, price=Decimal("50.5"))
    still = followed(jumped, held=Decimal(30), cost=COST, price=Decimal("50.4"))
    booked = followed(still, held=Decimal(60), cost=COST / 2, price=Decimal("50.5"))

    assert (calm.is_doubtful, jumped.is_doubtful, still.is_doubtful) == (False, True, True)
    assert booked == Track(cost=Decimal(50), best=Decimal("50.5"), last=Decimal(50))


def test_a_purchase_far_below_the_cost_is_no_jump() -> None:
    # Found as seed 5031071: the new cost was compared with, and nothing was ever sold again.
    fell = followed(None, held=Decimal(17), cost=Decimal("172.45"), price=Decimal(130))
    lower = followed(fell, held=Decimal(17), cost=Decimal("172.45"), price=Decimal(118))
    bought = followed(lower, held=Decimal(20), cost=Decimal("164.28"), price=Decimal("116.44"))
    book = book_of((AAA, "20", "116.44"))

    assert not bought.is_doubtful
    assert stops_reached(book, {AAA: bought})


@pytest.mark.parametrize(
    ("cost", "price", "is_doubtful"),
    [("82", "58", False), ("82", "116", False), ("160", "58", True), ("160", "240", True)],
    ids=["split booked", "cost alone", "jump down", "jump up"],
)
def test_a_price_is_compared_with_what_a_change_of_cost_may_mean(
    cost: str, price: str, is_doubtful: bool
) -> None:
    before = Track(cost=Decimal(164), best=Decimal(164), last=Decimal(118))

    track = followed(before, held=Decimal(40), cost=Decimal(cost), price=Decimal(price))

    assert track.is_doubtful is is_doubtful


@pytest.mark.parametrize(("price", "is_doubtful"), [("140", False), ("140.01", True)])
def test_a_price_may_move_by_the_most_ratio_and_no_further(price: str, is_doubtful: bool) -> None:
    calm = Track(cost=COST, best=COST, last=COST)

    track = followed(calm, held=Decimal(1), cost=COST, price=Decimal(price))

    assert track.is_doubtful is is_doubtful


@given(
    st.lists(st.integers(min_value=90, max_value=120), min_size=1, max_size=30),
    st.sampled_from([Decimal(10), Decimal(-10)]),
)
def test_the_best_price_is_the_best_ever_seen(prices: list[int], held: Decimal) -> None:
    track: Track | None = None
    for price in prices:
        track = followed(track, held=held, cost=COST, price=Decimal(price))

    assert track is not None
    assert track.best == (max if held > 0 else min)([COST, *map(Decimal, prices)])
    assert not track.is_doubtful
