import dataclasses
import math
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from domain.errors import SizingError
from domain.forecasts import ForecastSource
from domain.ids import client_order_id
from domain.orders import OrderRequest, OrderType, Side, TimeInForce
from domain.signals import Action
from risk.book import Book, to_decimal
from risk.gate import check_batch
from risk.settings import RiskLimits
from risk.sizing import SizingPlan, plan
from tests.support.decisions import (
    AAA,
    BBB,
    CCC,
    SESSION_DATE,
    account,
    asset,
    combined,
    context,
    history,
    position,
    reservation,
    view,
)


def book(*, limits: dict[str, Any] | None = None, **changes: Any) -> Book:
    known = {"view": view(), "limits": RiskLimits(**(limits or {}))}
    return Book(**{**known, **changes})


def only(result: SizingPlan) -> OrderRequest:
    assert len(result.requests) == 1, result
    return result.requests[0]


def test_g13_a_buy_becomes_a_day_limit_order_inside_collar_and_cap() -> None:
    order = only(plan(book(), [combined()]))

    assert (order.side, order.leg, order.revision) == (Side.BUY, "entry", 0)
    assert (order.order_type, order.time_in_force) == (OrderType.LIMIT, TimeInForce.DAY)
    assert order.limit_price == Decimal("102.00")
    assert order.decision_price == 100
    # 10 % of 100,000 at the worst price of 102.
    assert order.quantity == 98


def test_the_order_id_is_derived_from_the_intent() -> None:
    order = only(plan(book(revisions={(AAA, "entry"): 2}), [combined()]))

    assert order.client_order_id == client_order_id(
        account="PA3TEST01234",
        strategy="book",
        session_date=SESSION_DATE,
        symbol=AAA,
        leg="entry",
        revision=2,
    )


def test_the_combined_signal_is_returned_with_weight_and_target() -> None:
    result = plan(book(), [combined()])

    assert result.combined[0].kelly_weight == pytest.approx(0.10)
    assert result.combined[0].target_quantity == 98


def test_a_small_edge_takes_a_quarter_of_kelly_below_the_cap() -> None:
    edge = combined(expected_return=0.0005, volatility=0.05)
    per_session, variance = 0.0005 / 5, 0.05**2 / 5

    result = plan(book(), [edge])

    assert result.combined[0].kelly_weight == pytest.approx(0.25 * per_session / variance)


def test_the_larger_of_measured_and_forecast_volatility_is_used() -> None:
    calm = combined(expected_return=0.0002, volatility=0.0001)

    weight = plan(book(), [calm]).combined[0].kelly_weight

    closes = [bar.close for bar in history(AAA)][-121:]
    returns = [math.log(b / a) for a, b in pairwise(closes)]
    mean = sum(returns) / len(returns)
    variance = sum((r - mean) ** 2 for r in returns) / len(returns)
    assert weight == pytest.approx(0.25 * 0.00004 / variance)


@pytest.mark.parametrize(
    "signal",
    [
        combined(confidence=0.599),
        combined(confidence=float("nan")),
        combined(expected_return=float("nan")),
        combined(volatility=float("inf")),
        combined(volatility=0.0),
        combined(expected_return=-0.01),
        combined(action=Action.SELL),
        combined(action=Action.HOLD),
    ],
)
def test_no_order_without_a_sound_confident_wish(signal: Any) -> None:
    assert plan(book(), [signal]).requests == ()


@pytest.mark.parametrize(
    "signal", [combined(expected_return=9.0), combined(volatility=90.0), combined(volatility=0.0)]
)
def test_implausible_moments_are_said_and_not_sized(signal: Any) -> None:
    assert plan(book(), [signal]).remarks[AAA].startswith("no entry: AAA")


def test_a_symbol_the_broker_does_not_trade_is_said_and_not_sized() -> None:
    blocked = view(assets={AAA: asset(is_tradable=False)})

    assert plan(book(view=blocked), [combined()]).requests == ()
    assert plan(book(view=blocked), [combined()]).remarks[AAA].startswith("no entry: the broker")


def test_a_short_sale_that_the_broker_refuses_is_no_hedge_for_something_else() -> None:
    twin = tuple(
        dataclasses.replace(bar, symbol=BBB, close=bar.close * (1 + 0.003 * (day % 3 - 1)))
        for day, bar in enumerate(history(AAA))
    )
    alike = view(
        account=account(buying_power="1000000"),
        history={AAA: history(AAA), BBB: twin},
        assets={AAA: asset(AAA), BBB: asset(BBB, is_shortable=False)},
    )
    wide = {"allow_short": True, "max_position_pct": Decimal(100)}
    known = book(view=alike, limits={**wide, "max_order_notional_usd": Decimal(100000)})
    long = combined(AAA, expected_return=0.0004)
    short = combined(BBB, Action.SELL, expected_return=-0.0004)

    result = plan(known, [long, short])

    assert only(result).quantity == only(plan(known, [long])).quantity
    assert result.remarks[BBB] == "no entry: the broker does not lend it"


def test_a_covariance_that_cannot_be_solved_stops_entries_and_not_exits() -> None:
    names = (AAA, BBB, CCC)
    flat = history(AAA, sigma=0.0)
    wobble = tuple(
        dataclasses.replace(bar, close=100 + 1e-5 * (day % 2)) for day, bar in enumerate(flat)
    )
    odd = view(
        names,
        positions=[position(CCC, "7")],
        history={AAA: wobble, BBB: history(BBB), CCC: history(CCC)},
    )
    small = combined(AAA, expected_return=1e-9, volatility=1e-8)
    wild = combined(BBB, volatility=20.0)

    result = plan(book(view=odd), [small, wild, combined(CCC, Action.SELL)])

    assert only(result).symbol == CCC
    assert result.remarks[AAA] == "no entry: covariance is not positive definite"


def test_part_of_a_share_that_cannot_be_sold_is_left() -> None:
    odd = view(positions=[position(AAA, "0.5")], assets={AAA: asset(is_fractionable=False)})

    assert plan(book(view=odd), [combined(action=Action.SELL)]).requests == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"account": account(equity="NaN")},
        {"account": account(equity="0")},
        {"account": account(buying_power="NaN")},
        {"history": {}},
        {"forecasts": {}},
        {
            "positions": [dataclasses.replace(position(BBB, "5"), market_price=None)],
            "history": {AAA: history(AAA)},
        },
    ],
)
def test_no_entry_where_equity_price_or_forecast_is_unknown(changes: dict[str, Any]) -> None:
    assert plan(book(view=view(**changes)), [combined()]).requests == ()


def test_what_cannot_be_sized_is_said() -> None:
    short = view(history={AAA: history(AAA, sessions=10)})

    assert plan(book(view=short), [combined()]).remarks[AAA].startswith("history shorter")


def test_news_scales_a_weight_within_its_bound() -> None:
    small: dict[str, Any] = {"expected_return": 0.0005, "volatility": 0.05}
    base = plan(book(), [combined(**small)]).combined[0].kelly_weight

    up = plan(book(), [combined(**small, sentiment_tilt=9.0)]).combined[0].kelly_weight
    down = plan(book(), [combined(**small, sentiment_tilt=-9.0)]).combined[0].kelly_weight

    assert (up, down) == (pytest.approx(base * 1.2), pytest.approx(base * 0.8))


def test_a_degraded_source_halves_the_weight() -> None:
    healthy = plan(book(), [combined()])
    degraded = plan(book(view=view(source=ForecastSource.LOCAL)), [combined()])
    only_source = plan(
        book(view=view(source=ForecastSource.LOCAL), healthy_source=ForecastSource.LOCAL),
        [combined()],
    )

    assert degraded.combined[0].kelly_weight == healthy.combined[0].kelly_weight / 2
    assert only(only_source) == only(healthy)


def test_a_degraded_source_keeps_a_holding_rather_than_cut_it() -> None:
    held = view(positions=[position(AAA, "80")], source=ForecastSource.LOCAL)

    result = plan(book(view=held), [combined()])

    assert result.requests == ()
    assert result.combined[0].target_quantity == 80


def test_a_position_above_its_kelly_target_is_trimmed() -> None:
    order = only(plan(book(view=view(positions=[position(AAA, "150")])), [combined()]))

    assert (order.side, order.leg, order.quantity) == (Side.SELL, "exit", 50)
    assert order.limit_price == Decimal("95.00")


@pytest.mark.parametrize("held", ["96", "104"])
def test_a_difference_inside_the_no_trade_band_is_left_alone(held: str) -> None:
    assert plan(book(view=view(positions=[position(AAA, held)])), [combined()]).requests == ()


def test_an_entry_below_the_smallest_order_is_not_made() -> None:
    tiny = combined(expected_return=0.000005, volatility=0.05)

    assert plan(book(), [tiny]).requests == ()


def test_a_wish_against_the_position_exits_all_of_it() -> None:
    order = only(
        plan(book(view=view(positions=[position(AAA, "7")])), [combined(action=Action.SELL)])
    )

    assert (order.side, order.leg, order.quantity) == (Side.SELL, "exit", 7)


@pytest.mark.parametrize(
    ("signal", "exits"),
    [
        (combined(action=Action.HOLD, confidence=0.55, expected_return=0.001), False),
        (combined(action=Action.HOLD, confidence=0.50, expected_return=0.001), False),
        (combined(action=Action.HOLD, confidence=0.49, expected_return=0.001), True),
        (combined(action=Action.HOLD, confidence=0.55, expected_return=-0.001), True),
        (combined(action=Action.HOLD, confidence=float("nan"), expected_return=-0.001), False),
        (combined(action=Action.HOLD, confidence=0.5, expected_return=0.0), False),
        (combined(action=Action.HOLD, confidence=0.1, volatility=0.0), False),
    ],
)
def test_a_held_position_is_kept_while_its_direction_is_likely(signal: Any, exits: bool) -> None:
    result = plan(book(view=view(positions=[position(AAA, "7")])), [signal])

    assert bool(result.requests) is exits
    assert result.combined[0].target_quantity == (0 if exits else 7)


def test_a_position_without_any_signal_is_left_alone() -> None:
    assert plan(book(view=view(positions=[position(AAA, "7")])), []).requests == ()


def test_exits_go_on_where_weights_cannot_be_had() -> None:
    gapped = view(
        positions=[position(BBB, "7")], history={BBB: history(BBB), AAA: history(AAA, sessions=5)}
    )

    result = plan(book(view=gapped), [combined(AAA), combined(BBB, Action.SELL)])

    assert only(result).symbol == BBB


def test_a_fractional_holding_is_added_to_in_whole_shares() -> None:
    order = only(plan(book(view=view(positions=[position(AAA, "7.5")])), [combined()]))

    assert order.quantity == 90


def test_news_alone_brings_no_order_into_being() -> None:
    smallest = {"min_order_notional_usd": Decimal(1000)}
    below: dict[str, Any] = {"expected_return": 0.000095, "volatility": 0.05}
    above: dict[str, Any] = {"expected_return": 0.000105, "volatility": 0.05}

    assert plan(book(limits=smallest), [combined(**below)]).requests == ()
    assert plan(book(limits=smallest), [combined(**below, sentiment_tilt=1.2)]).requests == ()
    assert plan(book(limits=smallest), [combined(**above)]).requests


def test_two_signals_for_a_symbol_are_refused() -> None:
    with pytest.raises(SizingError):
        plan(book(), [combined(), combined()])


def test_exits_come_first_then_entries_by_weight() -> None:
    names = (AAA, BBB, CCC)
    small: dict[str, Any] = {"expected_return": 0.0005, "volatility": 0.05}
    signals = [combined(AAA, **small), combined(BBB), combined(CCC, Action.SELL)]

    result = plan(book(view=view(names, positions=[position(CCC, "7")])), signals)

    assert [(r.symbol, r.leg) for r in result.requests] == [
        (CCC, "exit"),
        (BBB, "entry"),
        (AAA, "entry"),
    ]


def test_no_entry_in_a_symbol_where_an_order_still_works() -> None:
    assert plan(book(reservations=(reservation(quantity="5"),)), [combined()]).requests == ()


def test_an_exit_leaves_out_what_working_exits_may_already_sell() -> None:
    held = view(positions=[position(AAA, "10")])
    working = (reservation(side=Side.SELL, quantity="4"),)

    order = only(plan(book(view=held, reservations=working), [combined(action=Action.SELL)]))

    assert order.quantity == 6


def test_a_working_exit_is_not_sent_twice() -> None:
    held = view(positions=[position(AAA, "10")])
    working = dataclasses.replace(reservation(side=Side.SELL, quantity="4"), leg="exit")

    result = plan(book(view=held, reservations=(working,)), [combined(action=Action.SELL)])

    assert result.requests == ()


def test_g09_a_fraction_of_a_share_is_sold_only_where_the_broker_takes_it() -> None:
    held = view(positions=[position(AAA, "7.5")])
    whole_only = dataclasses.replace(held, assets={AAA: asset(is_fractionable=False)})
    sell = [combined(action=Action.SELL)]

    assert only(plan(book(view=held), sell)).quantity == Decimal("7.5")
    assert only(plan(book(view=whole_only), sell)).quantity == 7


def test_no_order_is_above_the_notional_or_volume_cap() -> None:
    by_notional = only(plan(book(limits={"max_order_notional_usd": Decimal(1000)}), [combined()]))
    by_volume = only(plan(book(limits={"max_adv_pct": Decimal("0.002")}), [combined()]))

    assert by_notional.quantity == 9
    assert by_volume.quantity == 20


def test_unknown_volume_stops_entries_unless_the_owner_allows_it() -> None:
    bars = tuple(dataclasses.replace(bar, volume=None) for bar in history(AAA))
    blind = view(history={AAA: bars})

    assert plan(book(view=blind), [combined()]).requests == ()
    assert plan(book(view=blind, limits={"require_known_volume": False}), [combined()]).requests


@pytest.mark.parametrize(
    "squeeze",
    [
        {"view": view(account=account(buying_power="5000"))},
        {"limits": {"max_gross_pct": Decimal(5)}},
        {"limits": {"max_net_pct": Decimal(5)}},
        {"opened_notional_today": Decimal(195_000)},
        {
            "reservations": (reservation(CCC, quantity="1"),),
            "view": view((AAA, BBB, CCC)),
            "limits": {"max_gross_pct": Decimal(5)},
        },
    ],
)
def test_additions_share_what_room_is_left(squeeze: dict[str, Any]) -> None:
    result = plan(book(**squeeze), [combined(AAA), combined(BBB)])

    assert {request.symbol for request in result.requests} == {AAA, BBB}
    assert sum(request.notional for request in result.requests) <= 5000
    assert sum(request.notional for request in result.requests) > 4000


def test_a_short_is_entered_only_with_leave() -> None:
    signals = [combined(action=Action.SELL)]

    order = only(plan(book(limits={"allow_short": True}), signals))

    assert (order.side, order.leg, order.limit_price) == (Side.SELL, "entry", Decimal("98.00"))
    assert order.quantity == 100


def test_a_short_is_covered_before_the_other_side_is_entered() -> None:
    held = view(positions=[position(AAA, "-7")])

    order = only(plan(book(view=held, limits={"allow_short": True}), [combined()]))

    assert (order.side, order.leg, order.quantity) == (Side.BUY, "exit", 7)


def test_the_net_cap_binds_the_heavier_side() -> None:
    limits = {"allow_short": True, "max_net_pct": Decimal(5), "max_position_pct": Decimal(20)}

    result = plan(book(limits=limits), [combined(AAA), combined(BBB, Action.SELL)])

    weights = {signal.symbol: signal.kelly_weight for signal in result.combined}
    assert abs(sum(weights.values())) <= 0.05 + 1e-12


def test_a_whole_plan_passes_the_gate() -> None:
    names = (AAA, BBB, CCC)
    held = view(names, positions=[position(CCC, "7")])
    result = plan(book(view=held), [combined(AAA), combined(BBB), combined(CCC, Action.SELL)])

    gated, _ = check_batch(result.requests, context(positions={CCC: Decimal(7)}))

    assert [item.reasons for item in gated] == [(), (), ()]


def test_a_sub_cent_price_is_no_price() -> None:
    cheap = view(history={AAA: tuple(dataclasses.replace(b, close=0.005) for b in history(AAA))})

    assert plan(book(view=cheap), [combined()]).requests == ()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_float_becomes_money_that_is_not_finite(bad: float) -> None:
    with pytest.raises(SizingError):
        to_decimal(bad, "weight")
