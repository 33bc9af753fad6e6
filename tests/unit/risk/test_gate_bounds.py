"""The gate at its bounds: what passes at the bound itself, and what binds nobody it should not."""

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from domain.decisions import LimitCheck
from domain.orders import Side
from risk.context import OrderWindow, is_known
from risk.gate import check
from risk.settings import RiskLimits
from tests.support.decisions import (
    AAA,
    BBB,
    NOW,
    asset,
    context,
    mark,
    request,
    reservation,
)

LONG = {AAA: Decimal(100)}
EXIT = request(side=Side.SELL, quantity="100", limit="99")
SECOND = dt.timedelta(seconds=1)


def answer(order: Any, limit: str, **changes: Any) -> LimitCheck:
    result = check(order, context(**changes))
    return next(found for found in result.checks if found.limit == limit)


def window(**changes: dt.datetime) -> OrderWindow:
    known = {
        "opens_at": NOW - SECOND,
        "entries_until": NOW + SECOND,
        "exits_until": NOW + 2 * SECOND,
    }
    return OrderWindow(**{**known, **changes})


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"opens_at": NOW}, True),
        ({"opens_at": NOW + SECOND}, False),
        ({"entries_until": NOW}, True),
        ({"entries_until": NOW - SECOND}, False),
    ],
)
def test_an_entry_may_leave_from_the_first_to_the_last_moment_of_its_window(
    changes: dict[str, dt.datetime], passes: bool
) -> None:
    assert answer(request(), "session_window", window=window(**changes)).passed is passes


@pytest.mark.parametrize(("confidence", "passes"), [(0.6, True), (1.0, True), (1.0001, False)])
def test_the_least_confidence_is_enough_and_more_than_certain_is_none(
    confidence: float, passes: bool
) -> None:
    assert answer(request(), "confidence", confidences={AAA: confidence}).passed is passes


@pytest.mark.parametrize(
    ("age", "passes"), [(3600, True), (3601, False), (0, True), (-5, True), (-6, False)]
)
def test_a_price_may_be_as_old_as_the_bound_and_as_young_as_clocks_differ(
    age: int, passes: bool
) -> None:
    seen = dataclasses.replace(mark(), at=NOW - dt.timedelta(seconds=age))
    limits = RiskLimits(stale_after_seconds=3600)

    assert answer(request(), "price_age", marks={AAA: seen}, limits=limits).passed is passes


@pytest.mark.parametrize(("age", "passes"), [(300, True), (301, False), (-5, True), (-6, False)])
def test_an_equity_may_be_as_old_as_the_bound_and_as_young_as_clocks_differ(
    age: int, passes: bool
) -> None:
    at = NOW - dt.timedelta(seconds=age)

    assert answer(request(), "equity_age", equity_at=at).passed is passes


def test_a_price_below_a_dollar_is_known() -> None:
    assert is_known(Decimal("0.5"))
    assert answer(request(limit="0.5"), "price_known", marks={AAA: mark("0.5")}).passed


def test_what_cannot_be_sold_short_may_be_bought_and_sold_as_far_as_it_is_held() -> None:
    long_only: dict[str, Any] = {"assets": {AAA: asset(is_shortable=False)}}

    assert check(request(), context(**long_only)).is_approved
    assert check(EXIT, context(positions=LONG, **long_only)).is_approved


def test_a_leg_in_which_an_order_works_takes_no_second_one_under_another_id() -> None:
    twin = dataclasses.replace(reservation(quantity="1"), leg="entry")
    other_leg = dataclasses.replace(reservation(quantity="1"), leg="exit")
    elsewhere = dataclasses.replace(reservation(BBB, quantity="1"), leg="entry")

    found = answer(request(), "duplicate_intent", reservations=(twin,))

    assert (found.passed, found.figure) == (False, f"{twin.client_order_id} works")
    assert answer(request(), "duplicate_intent", reservations=(other_leg, elsewhere)).passed


def test_an_exit_passes_where_the_symbol_is_closed_to_entries() -> None:
    halted = {"closed_to_entries": {AAA: "halted: News pending"}}

    assert answer(EXIT, "open_to_entries", positions=LONG, **halted).passed


def test_an_exit_may_meet_a_purchase_of_our_own() -> None:
    buying = (reservation(quantity="1"),)

    assert answer(EXIT, "self_cross", positions=LONG, reservations=buying).passed
    assert not answer(request(side=Side.SELL), "self_cross", reservations=buying).passed, (
        "a short sale is an entry"
    )


def test_room_is_kept_for_exits_of_what_is_held_and_not_of_what_is_flat() -> None:
    flat = {AAA: Decimal(0), BBB: Decimal(2)}
    last = {"orders_today": 1, "limits": RiskLimits(max_orders_per_day=3)}

    found = answer(request(), "orders_per_day", positions=flat, **last)

    assert (found.passed, found.figure, found.bound) == (True, "2", "2")


@pytest.mark.parametrize("marks", [{}, {AAA: mark("NaN")}, {AAA: mark("0")}])
@pytest.mark.parametrize("limit", ["position_pct", "gross_pct", "net_pct"])
def test_an_entry_without_a_price_has_no_known_share_of_equity(
    marks: dict[Any, Any], limit: str
) -> None:
    found = answer(request(), limit, marks=marks)

    assert (found.passed, found.figure) == (False, "unknown")


def test_shares_of_equity_are_told_in_percent_of_it() -> None:
    held = {AAA: Decimal(20), BBB: Decimal(-50)}

    figures = [
        answer(request(), name, positions=held).figure
        for name in ("position_pct", "gross_pct", "net_pct")
    ]

    # 30 AAA of 3,000 USD and 50 BBB short of 5,000, on 100,000.
    assert figures == ["3.0000 %", "8.0000 %", "3.0000 %"]


def test_a_book_that_is_net_short_is_bound_like_one_that_is_net_long() -> None:
    short = {AAA: Decimal(-60), BBB: Decimal(-60)}
    limits = RiskLimits(allow_short=True, max_net_pct=Decimal(12), max_gross_pct=Decimal(100))
    more = request(side=Side.SELL, quantity="1", limit="99")

    found = answer(more, "net_pct", positions=short, limits=limits)

    assert (found.passed, found.figure) == (False, "12.1000 %")
