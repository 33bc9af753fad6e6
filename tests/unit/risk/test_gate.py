import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from domain.decisions import GateResult
from domain.errors import DataError
from domain.forecasts import ForecastSource
from domain.orders import Side
from domain.trading_state import TradingState
from risk.context import GateContext
from risk.gate import check, check_batch
from risk.limits import LIMITS
from risk.settings import RiskLimits
from tests.support.decisions import (
    AAA,
    BBB,
    CCC,
    CLOSE,
    NOW,
    OPEN,
    SESSION_DATE,
    asset,
    context,
    mark,
    request,
    reservation,
)
from tests.support.vectors import cases

NAN = Decimal("NaN")
LONG = {AAA: Decimal(100)}
EXIT = request(side=Side.SELL, quantity="100", limit="99")


def limits(**changes: Any) -> dict[str, Any]:
    return {"limits": RiskLimits(**changes)}


def denied(result: GateResult) -> set[str]:
    return set(result.reasons)


def test_a_sound_entry_passes_and_every_limit_states_figure_and_bound() -> None:
    result = check(request(), context())

    assert result.is_approved
    assert [item.limit for item in result.checks] == [limit.__name__ for limit in LIMITS]
    assert all(item.figure and item.bound for item in result.checks)


def test_a_denial_by_the_trading_state_names_what_it_comes_of() -> None:
    why = "the report of 2022-12-13 is NOT RECONCILED"
    reducing = context(trading_state=TradingState.REDUCING, trading_state_reason=why)

    found = next(c for c in check(request(), reducing).checks if c.limit == "trading_state")

    assert (found.passed, found.figure, found.detail) == (False, "REDUCING", why)


def test_all_limits_run_even_when_the_first_one_denies() -> None:
    halted = context(trading_state=TradingState.HALTED, is_latch_engaged=True)

    result = check(request(), halted)

    assert len(result.checks) == len(LIMITS)
    assert denied(result) == {"trading_state", "latch"}


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"trading_state": TradingState.HALTED}, "trading_state"),
        ({"trading_state": TradingState.REDUCING}, "trading_state"),
        ({"is_latch_engaged": True}, "latch"),
        ({"is_latch_engaged": None}, "latch"),
        ({"locks": {AAA: "break of 3 shares"}}, "symbol_lock"),
        ({"assets": {}}, "asset_tradable"),
        ({"assets": {AAA: asset(is_tradable=False)}}, "asset_tradable"),
        ({"window": None}, "session_window"),
        ({"session_date": SESSION_DATE + dt.timedelta(days=1)}, "session_window"),
        ({"now": NOW - dt.timedelta(hours=2)}, "session_window"),
        ({"confidences": {}}, "confidence"),
        ({"confidences": {AAA: 0.5999}}, "confidence"),
        ({"confidences": {AAA: float("nan")}}, "confidence"),
        ({"confidences": {AAA: float("inf")}}, "confidence"),
        ({"forecast_sources": {}}, "forecast_source"),
        ({"forecast_sources": {AAA: ForecastSource.NONE}}, "forecast_source"),
        ({"expected_data_date": None}, "data_age"),
        ({"expected_data_date": dt.date(2022, 12, 12)}, "data_age"),
        ({"marks": {AAA: mark("0")}}, "price_known"),
        ({"marks": {AAA: mark("NaN")}}, "price_known"),
        (limits(stale_after_seconds=3600), "price_age"),
        ({"marks": {AAA: mark("97")}}, "price_collar"),
        (limits(max_order_notional_usd=Decimal("999.99")), "order_notional"),
        (limits(max_orders_per_day=1) | {"orders_today": 1}, "orders_per_day"),
        ({"opened_notional_today": Decimal(199_001)}, "notional_per_day"),
        ({"opened_notional_today": NAN}, "notional_per_day"),
        ({"average_volumes": {}}, "participation"),
        ({"average_volumes": {AAA: Decimal(999)}}, "participation"),
        (limits(max_position_pct=Decimal("0.99")), "position_pct"),
        (limits(max_gross_pct=Decimal("0.99")), "gross_pct"),
        (limits(max_net_pct=Decimal("0.99")), "net_pct"),
        ({"buying_power": Decimal(999)}, "buying_power"),
        ({"buying_power": None}, "buying_power"),
        ({"buying_power": NAN}, "buying_power"),
        ({"equity_at": NOW - dt.timedelta(seconds=301)}, "equity_age"),
        ({"equity_at": NOW + dt.timedelta(seconds=60)}, "equity_age"),
        ({"equity_at": None}, "equity_age"),
        ({"daily_loss_pct": Decimal("1.5")}, "daily_loss"),
        ({"daily_loss_pct": None}, "daily_loss"),
        ({"daily_loss_pct": NAN}, "daily_loss"),
        ({"drawdown_pct": Decimal(5)}, "drawdown"),
        ({"drawdown_pct": None}, "drawdown"),
        ({"known_ids": frozenset({request().client_order_id})}, "duplicate_intent"),
        ({"reservations": (reservation(side=Side.SELL),)}, "self_cross"),
        ({"reporting": {AAA: "reports on 2022-12-14"}}, "earnings"),
        ({"closed_to_entries": {AAA: "halted: News pending"}}, "open_to_entries"),
    ],
)
def test_an_entry_is_denied_by_exactly_the_limit_it_breaks(
    changes: dict[str, Any], limit: str
) -> None:
    assert limit in denied(check(request(), context(**changes)))


def test_an_entry_into_earnings_passes_where_the_user_allows_it() -> None:
    allowed = limits(allow_earnings_entries=True)

    assert check(
        request(), context(reporting={AAA: "reports on 2022-12-14"}, **allowed)
    ).is_approved
    assert check(request(), context(reporting={BBB: "reports on 2022-12-14"})).is_approved


@pytest.mark.parametrize("equity", [None, NAN, Decimal("sNaN"), Decimal(0), Decimal("Infinity")])
def test_unknown_equity_denies_every_share_of_it(equity: Decimal | None) -> None:
    result = check(request(), context(equity=equity))

    assert denied(result) >= {"position_pct", "gross_pct", "net_pct", "equity_age"}


def test_unknown_positions_deny_entries_and_exits() -> None:
    unknown = dataclasses.replace(context(), positions=None)

    assert "long_only" in denied(check(request(), unknown))
    assert not check(EXIT, unknown).is_approved


def test_a_holding_without_a_price_denies_entries_elsewhere() -> None:
    blind = context(positions={BBB: Decimal(5)}, marks={AAA: mark()})

    assert denied(check(request(), blind)) >= {"gross_pct", "net_pct"}


@pytest.mark.parametrize(
    "changes",
    [
        {"trading_state": TradingState.REDUCING},
        {"locks": {AAA: "break"}},
        {"confidences": {}},
        {"forecast_sources": {}},
        {"expected_data_date": None},
        {"equity": None},
        {"equity_at": None},
        {"buying_power": None},
        {"daily_loss_pct": None},
        {"daily_loss_pct": Decimal(9)},
        {"drawdown_pct": Decimal(9)},
        {"average_volumes": {}},
        {"opened_notional_today": Decimal(10**9)},
        {"now": OPEN + dt.timedelta(hours=3)},
        {"marks": {AAA: mark("100", date=dt.date(2022, 11, 1))}},
        {"marks": {AAA: mark("102")}},
        limits(max_gross_pct=Decimal("0.01"), max_position_pct=Decimal("0.01")),
        {"reservations": (reservation(quantity="50"),)},
        {"reporting": {AAA: "reports on 2022-12-14"}},
    ],
)
def test_an_exit_that_lowers_exposure_passes_where_entries_may_not(changes: dict[str, Any]) -> None:
    result = check(EXIT, context(positions=LONG, **changes))

    assert result.reasons == ()


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"trading_state": TradingState.HALTED}, "trading_state"),
        ({"is_latch_engaged": True}, "latch"),
        ({"is_latch_engaged": None}, "latch"),
        ({"marks": {}}, "price_known"),
        ({"marks": {AAA: mark("110")}}, "price_collar"),
        ({"now": CLOSE + dt.timedelta(seconds=1)}, "session_window"),
        ({"assets": {}}, "asset_tradable"),
        ({"known_ids": frozenset({EXIT.client_order_id})}, "duplicate_intent"),
        ({"reservations": (reservation(side=Side.SELL, quantity="1"),)}, "long_only"),
    ],
)
def test_an_exit_still_needs_these(changes: dict[str, Any], limit: str) -> None:
    assert limit in denied(check(EXIT, context(positions=LONG, **changes)))


def test_a_sale_beyond_the_holding_is_an_entry_and_denied_long_only() -> None:
    beyond = request(side=Side.SELL, quantity="101", limit="99")

    assert "long_only" in denied(check(beyond, context(positions=LONG)))


def test_g09_a_short_sale_needs_leave_and_a_shortable_asset() -> None:
    short = request(side=Side.SELL, quantity="10", limit="99")
    allowed = limits(allow_short=True)

    assert check(short, context(**allowed)).is_approved
    assert denied(check(short, context(assets={AAA: asset(is_shortable=False)}, **allowed))) == {
        "asset_tradable"
    }


def test_a_market_order_has_no_bound_and_is_denied() -> None:
    assert denied(check(request(limit=None), context())) == {"price_collar", "order_form"}


@pytest.mark.parametrize(
    ("order", "passes"),
    [
        (request(limit="100.005"), False),
        (request(quantity="10.5"), False),
        (request(side=Side.SELL, quantity="10.5", limit="99"), True),
    ],
)
def test_g09_orders_fit_the_tick_grid_and_only_exits_may_have_fractions(
    order: Any, passes: bool
) -> None:
    result = check(order, context(positions=LONG))

    assert ("order_form" in denied(result)) is not passes


@pytest.mark.parametrize("vector", cases("price_collar"))
def test_g13_the_collar_agrees_with_the_reference(vector: Any) -> None:
    given = vector["inputs"]
    band = RiskLimits(price_collar_pct=Decimal(given["max_dev"]) * 100, allow_short=True)
    order = request(side=Side(given["side"]), limit=given["limit"])

    result = check(order, context(limits=band, marks={AAA: mark(given["ref"])}))

    assert ("price_collar" not in denied(result)) is vector["expected"]["accept"]


@pytest.mark.parametrize("vector", cases("price_collar", refused=True))
def test_the_collar_denies_on_a_bad_reference(vector: Any) -> None:
    given = vector["inputs"]
    result = check(request(limit=given["limit"]), context(marks={AAA: mark(given["ref"])}))

    assert "price_collar" in denied(result)


def test_unknown_volume_passes_only_where_the_owner_said_so() -> None:
    relaxed = context(average_volumes={}, **limits(require_known_volume=False))

    assert check(request(), relaxed).is_approved


def test_entries_leave_room_for_one_exit_of_each_holding() -> None:
    tight = context(positions=LONG, orders_today=1, **limits(max_orders_per_day=2))

    assert denied(check(request(BBB), tight)) == {"orders_per_day"}
    assert check(EXIT, tight).is_approved


def test_an_exit_that_is_sent_anew_leaves_room_for_the_first_exits_of_other_holdings() -> None:
    both = LONG | {BBB: Decimal(10)}
    tight = context(
        positions=both, orders_today=1, exited=frozenset({AAA}), **limits(max_orders_per_day=2)
    )
    other = request(BBB, Side.SELL, quantity="10", leg="exit")

    assert denied(check(EXIT, tight)) == {"orders_per_day"}
    results, after = check_batch([other], tight)
    assert results[0].is_approved
    assert after.exited == both.keys()
    roomy = dataclasses.replace(after, **limits(max_orders_per_day=3))
    assert check(EXIT, roomy).is_approved


def test_working_orders_count_at_their_worst_against_the_caps() -> None:
    working = (reservation(quantity="95"),)

    assert check(request(quantity="5", leg="more"), context(reservations=working)).is_approved
    assert "position_pct" in denied(
        check(request(quantity="6", leg="more"), context(reservations=working))
    )


def test_an_order_that_only_just_fits_is_approved_at_the_bound_itself() -> None:
    assert check(request(quantity="100"), context()).is_approved
    assert denied(check(request(quantity="101"), context())) == {"position_pct"}


def test_a_batch_reserves_each_approved_order_before_the_next() -> None:
    room_for_two = context(**limits(max_gross_pct=Decimal(2)))

    results, after = check_batch([request(AAA), request(BBB), request(CCC)], room_for_two)

    assert [result.is_approved for result in results] == [True, True, False]
    assert denied(results[2]) == {"gross_pct"}
    assert after.orders_today == 2
    assert after.opened_notional_today == 2000
    assert len(after.reservations) == 2


def test_a_denied_order_reserves_nothing() -> None:
    results, after = check_batch([request(quantity="101"), request(BBB)], context())

    assert [result.is_approved for result in results] == [False, True]
    assert len(after.reservations) == 1


def test_the_same_intent_twice_in_a_batch_is_approved_once() -> None:
    results, _ = check_batch([request(), request()], context())

    assert [result.is_approved for result in results] == [True, False]
    assert denied(results[1]) == {"duplicate_intent"}


def test_buying_power_counts_reserved_buys_but_not_reserved_exits() -> None:
    working = (reservation(BBB, quantity="15"), reservation(CCC, Side.SELL, quantity="5"))
    held = {CCC: Decimal(5)}

    def asked(power: str) -> GateContext:
        return context(positions=held, reservations=working, buying_power=Decimal(power))

    assert check(request(), asked("2500")).is_approved
    assert denied(check(request(), asked("2499"))) == {"buying_power"}


def test_an_order_reserved_without_any_price_denies_buying_power() -> None:
    blind = context(reservations=(reservation(BBB, price=None),), marks={AAA: mark()})

    assert "buying_power" in denied(check(request(), blind))


def test_a_figure_that_cannot_be_compared_is_a_no() -> None:
    result = check(request(), context(equity=Decimal("sNaN"), buying_power=Decimal("sNaN")))

    assert not result.is_approved
    with pytest.raises(DataError):
        request(quantity="NaN")
