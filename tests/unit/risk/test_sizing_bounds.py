"""Sizing at its bounds: the smallest orders, news beside them, prices off the grid, and shorts."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from domain.forecasts import ForecastSource
from domain.market import MarketView
from domain.orders import OrderRequest, Side
from domain.signals import Action
from risk.book import Book
from risk.gate import check_batch
from risk.settings import RiskLimits
from risk.sizing import plan
from tests.support.decisions import (
    AAA,
    BBB,
    account,
    combined,
    context,
    history,
    position,
    view,
)


def book(seen: MarketView, *, source: ForecastSource | None = None, **limits: Any) -> Book:
    made = Book(view=seen, limits=RiskLimits(**limits))
    return made if source is None else dataclasses.replace(made, healthy_source=source)


def orders(made: Book, *signals: Any) -> list[tuple[str, Side, str, Decimal]]:
    requests = plan(made, signals or [combined()]).requests
    return [(order.symbol, order.side, order.leg, order.quantity) for order in requests]


def last_close(price: float) -> MarketView:
    bars = history(AAA)
    return view([AAA], history={AAA: (*bars[:-1], dataclasses.replace(bars[-1], close=price))})


def only(made: Book, signal: Any) -> OrderRequest:
    (order,) = plan(made, [signal]).requests
    return order


def test_one_share_is_an_order() -> None:
    assert orders(book(view(), max_order_notional_usd=Decimal(150))) == [
        (AAA, Side.BUY, "entry", Decimal(1))
    ]


def test_news_beside_a_wish_leaves_its_order_and_changes_its_size() -> None:
    edge: dict[str, Any] = {"expected_return": 0.0005, "volatility": 0.05}

    calm = only(book(view()), combined(**edge))
    raised = only(book(view()), combined(**edge, sentiment_tilt=1.2))

    assert (raised.symbol, raised.side) == (AAA, Side.BUY)
    assert calm.quantity < raised.quantity <= calm.quantity * Decimal("1.2")


def test_news_does_not_turn_the_trim_of_a_holding_into_a_purchase() -> None:
    edge: dict[str, Any] = {"expected_return": 0.0005, "volatility": 0.05}
    # What the wish is worth without news: the holding is a little above it, and with news below.
    wanted = plan(book(view()), [combined(**edge)]).combined[0].target_quantity
    held = view(positions=[position(AAA, str(wanted + 5))])
    made = book(held, no_trade_band_pct=Decimal(0), min_order_notional_usd=Decimal(1))

    assert [side for _, side, _, _ in orders(made, combined(**edge))] == [Side.SELL]
    assert orders(made, combined(**edge, sentiment_tilt=1.2)) == []


@pytest.mark.parametrize("price", [99.99, 33.33, 7.77, 0.7777])
def test_a_price_off_the_grid_is_bound_inside_the_collar(price: float) -> None:
    for action in (Action.BUY, Action.SELL):
        order = only(book(last_close(price), allow_short=True), combined(action=action))
        worst = Decimal(str(price)) * (100 + 2 * order.side.sign) / 100

        assert order.limit_price is not None
        assert (worst - order.limit_price) * order.side.sign >= 0


def test_a_holding_below_the_smallest_order_is_still_closed() -> None:
    made = book(view(positions=[position(AAA, "0.5")]), min_order_notional_usd=Decimal(100))

    assert orders(made, combined(action=Action.SELL)) == [(AAA, Side.SELL, "exit", Decimal("0.5"))]


def test_the_least_confidence_is_enough_to_enter() -> None:
    assert len(orders(book(view()), combined(confidence=0.6))) == 1


def test_one_share_is_sold_before_its_symbol_is_sold_short() -> None:
    made = book(view(positions=[position(AAA, "1")]), allow_short=True)

    assert orders(made, combined(action=Action.SELL)) == [(AAA, Side.SELL, "exit", Decimal(1))]


def test_a_holding_that_is_wished_for_again_takes_no_room_from_itself() -> None:
    held = view(positions=[position(AAA, "60")])

    (order,) = orders(book(held, max_gross_pct=Decimal(10), cash_reserve_pct=Decimal(0)))

    # 10 % of 100,000 are 98 shares at the worst price, but the 60 that are held cost no more.
    assert order == (AAA, Side.BUY, "entry", Decimal(38))


def test_a_volume_missing_on_one_day_is_an_unknown_volume() -> None:
    bars = history(AAA)
    gap = dataclasses.replace(bars[-3], volume=None)

    assert orders(book(view(history={AAA: (*bars[:-3], gap, *bars[-2:])}))) == []


@pytest.mark.parametrize(
    ("source", "healthy", "shares"),
    [
        (ForecastSource.REMOTE, ForecastSource.REMOTE, 98),
        (ForecastSource.REMOTE, ForecastSource.LOCAL, 98),
        (ForecastSource.LOCAL, ForecastSource.LOCAL, 98),
        (ForecastSource.LOCAL, ForecastSource.REMOTE, 49),
        (ForecastSource.NONE, ForecastSource.REMOTE, 0),
        (ForecastSource.NONE, ForecastSource.NONE, 0),
    ],
)
def test_a_forecast_counts_as_much_as_its_source_is_trusted(
    source: ForecastSource, healthy: ForecastSource, shares: int
) -> None:
    found = orders(book(view(source=source), source=healthy))

    assert sum(quantity for *_, quantity in found) == shares


SHORT: dict[str, Any] = {"allow_short": True}
SELL = combined(action=Action.SELL)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ("-40", [(AAA, Side.SELL, "entry", Decimal(60))]),
        ("-150", [(AAA, Side.BUY, "exit", Decimal(50))]),
        ("-99", []),
    ],
    ids=["added to", "trimmed", "inside the band"],
)
def test_a_short_is_brought_to_its_target_like_a_long_holding(
    held: str, expected: list[Any]
) -> None:
    assert orders(book(view(positions=[position(AAA, held)]), **SHORT), SELL) == expected


def test_a_degraded_source_keeps_a_short_rather_than_cut_it_and_adds_its_part() -> None:
    def made(held: str) -> Book:
        seen = view(positions=[position(AAA, held)], source=ForecastSource.LOCAL)
        return book(seen, **SHORT)

    assert orders(made("-80"), SELL) == []
    assert orders(made("-20"), SELL) == [(AAA, Side.SELL, "entry", Decimal(30))]


def test_additions_to_a_short_share_what_room_is_left() -> None:
    held = view(positions=[position(AAA, "-40")], account=account(buying_power="5000"))

    requests = plan(book(held, **SHORT), [SELL, combined(BBB)]).requests

    assert {order.symbol for order in requests} == {AAA, BBB}
    assert 4000 < sum(order.notional for order in requests) <= 5000


def test_a_plan_with_shorts_passes_the_gate() -> None:
    held = view(positions=[position(AAA, "-40")])
    limits = RiskLimits(allow_short=True)

    requests = plan(Book(view=held, limits=limits), [SELL, combined(BBB)]).requests
    results, _ = check_batch(requests, context(positions={AAA: Decimal(-40)}, limits=limits))

    assert [result.reasons for result in results] == [(), ()]
