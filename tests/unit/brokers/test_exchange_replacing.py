"""Replacing orders: what may change, what is refused, and what is reserved meanwhile."""

from decimal import Decimal
from typing import Any

import pytest

from brokers.exchange.orders import Amendment, Order
from brokers.exchange.refusal import Refusal
from brokers.exchange.words import Status, Tif
from tests.support.exchange_world import DATES, Market


def amend(market: Market, order: Order, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        name: value if name in ("tif", "client_order_id") else Decimal(value)
        for name, value in changes.items()
    }
    return market.exchange.replace(order.id, Amendment(**fields), market.now)


def working(market: Market, *args: Any, **fields: Any) -> Order:
    order = market.order(*args, **fields)
    market.wait(1)
    return order


@pytest.mark.parametrize(
    ("order", "changes", "message"),
    [
        ({"limit": "90"}, {}, "nothing to replace"),
        ({"limit": "90"}, {"stop_price": "95"}, "limit orders take no stop price"),
        ({"limit": "90"}, {"trail": "1"}, "limit orders take no trail"),
        ({"limit": "90"}, {"limit_price": "90.001"}, "sub-penny increment"),
        ({"limit": "90"}, {"quantity": "1.5"}, "cannot be replaced"),
        ({"limit": "90"}, {"quantity": "5000"}, "insufficient buying power"),
        ({"stop": "110"}, {"limit_price": "95"}, "stop orders take no limit price"),
        ({"stop": "110"}, {"stop_price": "-1"}, "stop_price must be > 0"),
        ({"stop": "110"}, {"tif": Tif.IOC}, "must be DAY or GTC"),
        ({"limit": "90"}, {"tif": Tif.OPG}, "after 7:00pm and before 9:28am"),
        ({"limit": "90"}, {"limit_price": "91", "client_order_id": "x" * 129}, "128 characters"),
    ],
)
def test_amendment_that_does_not_fit_is_refused(
    order: dict[str, Any], changes: dict[str, str], message: str
) -> None:
    market = Market("10:00")
    old = working(market, "buy", "10", **order)

    with pytest.raises(Refusal, match=message):
        amend(market, old, **changes)
    assert market.status(old) is Status.NEW


def test_fractional_order_keeps_its_quantity() -> None:
    market = Market("10:00")
    old = working(market, "buy", "1.5", limit="90")

    with pytest.raises(Refusal, match="fractional or notional"):
        amend(market, old, quantity="2")


def test_exit_cannot_grow_beyond_the_position() -> None:
    market = Market("10:00")
    market.hold("10")
    old = working(market, "sell", "10", limit="110")

    with pytest.raises(Refusal, match="insufficient qty"):
        amend(market, old, quantity="11")


def test_exit_cannot_grow_into_shares_that_another_exit_holds() -> None:
    market = Market("10:00")
    market.hold("10")
    first = working(market, "sell", "5", limit="110")
    working(market, "sell", "4", limit="110")

    with pytest.raises(Refusal, match="insufficient qty") as caught:
        amend(market, first, quantity="10")

    assert caught.value.details["available"] == "6"
    assert amend(market, first, quantity="6").quantity == 6


def test_order_cannot_be_repriced_through_an_own_order() -> None:
    market = Market("10:00")
    market.hold("10")
    buy = working(market, "buy", "10", limit="90")
    working(market, "sell", "10", limit="110")

    with pytest.raises(Refusal, match="potential wash trade"):
        amend(market, buy, limit_price="120")


def test_trail_of_a_replacement_has_the_bounds_of_a_new_one() -> None:
    market = Market("10:00")
    market.hold("10")
    old = working(market, "sell", "10", kind="trailing_stop", trail_percent="5")

    with pytest.raises(Refusal, match=r"trail_percent must be >= 0\.1"):
        amend(market, old, trail="-5")


def test_exit_can_be_repriced_while_it_holds_all_shares() -> None:
    market = Market("10:00")
    market.hold("10")
    old = working(market, "sell", "10", limit="110")

    fresh = amend(market, old, limit_price="105", client_order_id="second")
    market.wait(1)

    assert fresh.client_order_id == "second"
    assert market.status(fresh) is Status.NEW
    assert market.exchange.held_for_orders(fresh.symbol) == 10


def test_stop_price_time_in_force_and_trail_can_change() -> None:
    market = Market("10:00")
    market.hold("20")
    stop = working(market, "sell", "10", stop="90")
    trail = working(market, "sell", "10", kind="trailing_stop", trail_price="9")

    changed = amend(market, stop, stop_price="91", tif=Tif.GTC)
    tighter = amend(market, trail, trail="8")
    market.wait(1)

    assert (changed.stop_price, changed.tif) == (91, Tif.GTC)
    assert market.see(changed).expires_at != stop.expires_at
    assert market.see(tighter).trail_price == 8


def test_partly_filled_order_is_replaced_for_the_rest() -> None:
    market = Market("09:31", partial_fraction=1.0)
    old = working(market, "buy", "100", limit="105")
    filled = market.see(old).filled_quantity
    assert 0 < filled < 100

    with pytest.raises(Refusal, match="qty must be > filled_qty"):
        amend(market, old, quantity=str(filled))
    fresh = amend(market, old, quantity="100", limit_price="90")
    market.wait(1)

    assert market.status(old) is Status.REPLACED
    assert market.see(old).filled_quantity == filled
    assert market.see(fresh).quantity == 100 - filled


def test_replaced_stop_leg_still_belongs_to_its_bracket() -> None:
    market = Market("09:31")
    parent = market.order("buy", "10", order_class="bracket", take_profit="110", stop_loss="90")
    market.wait(1)
    stop = next(
        market.exchange.order(leg)
        for leg in parent.leg_ids
        if market.exchange.order(leg).stop_price is not None
    )

    fresh = amend(market, stop, stop_price="98.40")
    market.wait(1)
    assert market.status(fresh) is Status.HELD
    assert fresh.id in market.see(parent).leg_ids
    market.at("15:59")

    assert market.status(fresh) is Status.FILLED
    assert market.exchange.book.holdings == {}
    assert market.exchange.book.open_orders == {}


def test_replaced_oco_parent_keeps_its_stop() -> None:
    market = Market("09:31")
    market.hold("10")
    parent = market.order(
        "sell", "10", kind="limit", order_class="oco", take_profit="110", stop_loss="98.40"
    )
    market.wait(1)

    fresh = amend(market, parent, limit_price="102.50")
    market.wait(1)
    (stop,) = market.see(fresh).leg_ids
    assert market.exchange.order(stop).parent_id == fresh.id
    market.at("15:59")

    # The low comes before the high on a rising day.
    assert market.exchange.order(stop).status is Status.FILLED
    assert market.status(fresh) is Status.CANCELED


def test_order_under_replacement_can_be_canceled_only_afterwards() -> None:
    market = Market("10:00")
    old = working(market, "buy", "10", limit="90")
    amend(market, old, limit_price="91")

    with pytest.raises(Refusal, match="pending replace"):
        market.cancel(old)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantity": "1.1234567891"}, "9 decimal places"),
        ({"quantity": None, "notional": "0"}, "notional must be > 0"),
        ({"quantity": None, "notional": "1.001"}, "2 decimal places"),
        ({"kind": "stop"}, "stop orders require a stop price"),
        ({"kind": "limit", "limit": "90", "stop": "91"}, "limit orders require no stop price"),
        ({"kind": "stop", "limit": "90", "stop": "91"}, "stop orders require no limit price"),
        ({"kind": "trailing_stop"}, "trail_price or trail_percent"),
        ({"kind": "trailing_stop", "trail_percent": "0.05"}, "trail_percent must be >= 0.1"),
        ({"limit": "-1"}, "limit_price must be > 0"),
        ({"stop": "110", "tif": "ioc"}, "stop orders must be DAY or GTC orders"),
        ({"take_profit": "110"}, "simple orders take no take_profit"),
        ({"order_class": "bracket", "take_profit": "110"}, "require take_profit and stop_loss"),
        ({"order_class": "oto"}, "exactly one of take_profit or stop_loss"),
        (
            {"order_class": "oco", "take_profit": "110", "stop_loss": "90"},
            "oco orders must be limit orders",
        ),
        (
            {"order_class": "oco", "kind": "limit", "take_profit": "80", "stop_loss": "90"},
            "oco orders must be exit orders",
        ),
        (
            {"order_class": "bracket", "take_profit": "80", "stop_loss": "90"},
            "beyond stop_loss.stop_price",
        ),
        (
            {"order_class": "bracket", "take_profit": "110", "stop_loss": "90", "tif": "ioc"},
            "complex orders must be DAY or GTC",
        ),
        (
            {"order_class": "bracket", "take_profit": "110", "stop_loss": "105"},
            "stop_loss.stop_price must be <= base_price - 0.01",
        ),
    ],
)
def test_combination_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    market = Market("10:00")
    quantity = fields.pop("quantity", "1")

    with pytest.raises(Refusal) as caught:
        market.order("buy", quantity, **fields)
    assert message in caught.value.message
    assert market.exchange.book.orders == {}


def test_short_bracket_mirrors_the_sides() -> None:
    market = Market("10:00")

    parent = market.order(
        "sell", "10", limit="99", order_class="bracket", take_profit="95", stop_loss="104"
    )
    market.wait(1)

    assert [market.exchange.order(leg).side for leg in parent.leg_ids] == ["buy", "buy"]
    assert market.status(parent) is Status.FILLED


def test_blocked_account_and_forbidden_flags_refuse() -> None:
    market = Market("10:00", is_shorting_enabled=False)
    with pytest.raises(Refusal, match="not allowed to short"):
        market.order("sell", "1")
    market.exchange.configure(market.now, is_blocked=True)
    with pytest.raises(Refusal, match="not authorized to trade"):
        market.order("buy", "1")


@pytest.mark.parametrize(("multiplier", "expected"), [(1, 100_000), (2, 200_000), (4, 400_000)])
def test_buying_power_follows_the_multiplier(multiplier: int, expected: int) -> None:
    assert Market("10:00", multiplier=multiplier).exchange.balances().buying_power == expected


def test_buy_stop_does_not_chase_the_price_beyond_its_cap() -> None:
    market = Market("09:31")

    order = working(market, "buy", "10", stop="100.50")
    market.at("15:59")

    assert market.status(order) is Status.FILLED
    assert (market.see(order).filled_avg_price or 0) <= Decimal("100.50") * Decimal("1.025")


def test_gtc_order_is_canceled_when_its_ninety_days_end() -> None:
    market = Market("10:00")
    order = working(market, "buy", "10", limit="50", tif="gtc")

    market.wait(91 * 86_400)

    assert market.status(order) is Status.CANCELED


def test_extended_hours_order_lives_until_the_evening() -> None:
    market = Market("10:00")
    order = working(market, "buy", "10", limit="50", is_extended_hours=True)

    market.at("19:59")
    assert market.status(order) is Status.NEW
    market.at("20:01")

    assert market.status(order) is Status.EXPIRED


def test_extended_hours_order_of_the_evening_ends_the_same_evening() -> None:
    market = Market("17:00")
    order = market.order("buy", "10", limit="150", is_extended_hours=True)

    market.at("10:00", DATES[2])

    assert market.status(order) is Status.EXPIRED


def test_withdrawal_beyond_the_cash_is_refused() -> None:
    from brokers.exchange.events import ActivityPosted
    from tests.support.exchange_world import DAY

    market = Market("10:00")
    row = ActivityPosted(at=market.now, id="x", kind="CSW", date=DAY, net_amount=Decimal(-100_001))

    with pytest.raises(Refusal, match="insufficient cash"):
        market.exchange.post(row, market.now)
