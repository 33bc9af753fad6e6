"""A holding that lost too much is closed, and nothing else is."""

import dataclasses
from decimal import Decimal

import pytest

from domain.ids import Symbol
from domain.orders import OrderRequest, Side
from risk.book import Book
from risk.settings import RiskLimits
from risk.stops import stop_orders, stops_reached
from tests.support.decisions import AAA, BBB, asset, position, reservation, view

LIMITS = RiskLimits(stop_loss_pct=Decimal(10))


def book_of(*held: tuple[Symbol, str, str], **changes: object) -> Book:
    """Holdings as (symbol, shares, market price); no bars, as within the session."""
    seen = dataclasses.replace(
        view(),
        history={},
        positions={symbol: position(symbol, shares, price) for symbol, shares, price in held},
        assets={symbol: asset(symbol) for symbol, _, _ in held},
    )
    return Book(view=seen, limits=LIMITS, **changes)  # type: ignore[arg-type]


def orders(book: Book, costs: dict[Symbol, Decimal]) -> tuple[OrderRequest, ...]:
    return stop_orders(book, stops_reached(book, costs))


@pytest.mark.parametrize(("price", "is_stopped"), [("90.01", False), ("90", True), ("70", True)])
def test_a_holding_is_sold_once_it_lost_the_bound(price: str, is_stopped: bool) -> None:
    sent = orders(book_of((AAA, "30", price)), {AAA: Decimal(100)})

    assert [(o.symbol, o.side, o.quantity, o.leg) for o in sent] == (
        [(AAA, Side.SELL, Decimal(30), "exit")] if is_stopped else []
    )


def test_a_short_is_bought_back_when_the_price_rose() -> None:
    sent = orders(book_of((AAA, "-30", "111")), {AAA: Decimal(100)})

    assert [(o.side, o.quantity) for o in sent] == [(Side.BUY, Decimal(30))]


def test_the_limit_is_the_edge_of_the_exit_collar_and_the_reason_has_the_figures() -> None:
    (order,) = orders(book_of((AAA, "30", "80")), {AAA: Decimal(100)})

    assert order.limit_price == Decimal("76.00")
    assert order.decision_price == Decimal(80)
    assert order.reason == "stop: 80 is 20.00 % worse than the average cost 100.0000"


def test_a_gain_and_a_holding_without_price_or_cost_have_no_stop() -> None:
    book = book_of((AAA, "30", "130"), (BBB, "5", "NaN"))

    assert orders(book, {AAA: Decimal(100), BBB: Decimal(100)}) == ()
    assert orders(book_of((AAA, "30", "1")), {}) == ()
    assert orders(book_of((AAA, "30", "1")), {AAA: Decimal("NaN")}) == ()


def test_an_exit_at_work_is_not_doubled() -> None:
    working = dataclasses.replace(reservation(AAA, Side.SELL, "30"), leg="exit")

    book = book_of((AAA, "30", "80"), reservations=(working,))

    assert orders(book, {AAA: Decimal(100)}) == ()


def test_no_stop_is_the_default() -> None:
    book = dataclasses.replace(book_of((AAA, "30", "0.02")), limits=RiskLimits())

    assert orders(book, {AAA: Decimal(100)}) == ()
