"""What the simulated exchange refuses, in Alpaca's words and codes."""

from decimal import Decimal
from typing import Any

import pytest

from brokers.exchange.events import ActivityPosted
from brokers.exchange.refusal import Refusal
from brokers.exchange.words import Status
from tests.support.exchange_world import AAPL, CLOSES, DATES, DAY, MSFT, PENNY, Market


def refusal(market: Market, *args: Any, **fields: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        market.order(*args, **fields)
    return caught.value


def test_client_order_id_is_refused_for_ever_once_used() -> None:
    market = Market("10:00")
    first = market.order("buy", "1", client_order_id="mine")
    market.cancel(first)
    market.wait(1)

    said = refusal(market, "buy", "1", client_order_id="mine")

    assert (said.http_status, said.code) == (422, 40010001)
    assert said.message == "client_order_id must be unique"


def test_client_order_id_of_a_refused_order_is_free() -> None:
    market = Market("10:00")
    refusal(market, "buy", "100000", client_order_id="mine")

    assert market.order("buy", "1", client_order_id="mine").client_order_id == "mine"


def test_client_order_id_may_have_128_characters_and_no_more() -> None:
    market = Market("10:00")
    market.order("buy", "1", client_order_id="x" * 128)

    said = refusal(market, "buy", "1", client_order_id="x" * 129)

    assert said.message == "client_order_id must be no more than 128 characters"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantity": None}, "qty or notional is required"),
        ({"quantity": "1", "notional": "10"}, "only one of qty or notional is accepted"),
        ({"quantity": "0"}, "qty must be > 0"),
        ({"quantity": "-1"}, "qty must be > 0"),
        ({"kind": "limit"}, "limit orders require a limit price"),
        ({"kind": "market", "limit": "10"}, "market orders require no stop or limit price"),
    ],
)
def test_malformed_orders_are_refused_with_40010001(fields: dict[str, Any], message: str) -> None:
    market = Market("10:00")
    quantity = fields.pop("quantity", "1")

    said = refusal(market, "buy", quantity, **fields)

    assert (said.http_status, said.code, said.message) == (422, 40010001, message)


@pytest.mark.parametrize("price", ["290.123", "1.001"])
def test_sub_penny_prices_are_refused(price: str) -> None:
    said = refusal(Market("10:00"), "buy", "1", limit=price)

    assert (said.http_status, said.code) == (422, 42210000)
    assert said.message == (
        f"invalid limit_price {price}. sub-penny increment does not fulfill "
        "minimum pricing criteria"
    )


def test_prices_below_a_dollar_may_have_four_decimals() -> None:
    market = Market("10:00")

    assert market.order("buy", "100", symbol=PENNY, limit="0.4567").id
    refusal(market, "buy", "100", symbol=PENNY, limit="0.45678")


def test_unknown_symbol_is_refused() -> None:
    said = refusal(Market("10:00"), "buy", "1", symbol="NOPE")

    assert (said.code, said.message) == (42210000, 'asset "NOPE" not found')


def test_symbol_known_by_closes_only_is_not_tradable() -> None:
    assert "not tradable" in refusal(Market("10:00"), "buy", "1", symbol=CLOSES).message


def test_order_beyond_the_buying_power_is_refused_with_both_figures() -> None:
    said = refusal(Market("10:00"), "buy", "3000", limit="100")

    assert (said.http_status, said.code) == (403, 40310000)
    assert said.details == {"buying_power": "200000", "cost_basis": "300000"}


def test_open_buys_reserve_buying_power_until_they_end() -> None:
    market = Market("10:00")
    order = market.order("buy", "1500", limit="95")
    assert market.exchange.balances().buying_power == 200_000 - 142_500
    refusal(market, "buy", "1000", limit="95")

    market.cancel(order)
    market.wait(1)

    assert market.exchange.balances().buying_power == 200_000


def test_selling_more_than_is_free_is_refused_and_names_the_holders() -> None:
    market = Market("10:00")
    market.hold("10")
    holder = market.order("sell", "6", limit="110")

    said = refusal(market, "sell", "5", limit="110")

    assert said.message == "insufficient qty available for order (requested: 5, available: 4)"
    assert said.details["existing_qty"] == "10"
    assert said.details["held_for_orders"] == "6"
    assert said.details["related_orders"] == [holder.id]


def test_sell_that_would_flip_a_long_position_is_refused() -> None:
    market = Market("10:00")
    market.hold("10")

    assert "insufficient qty" in refusal(market, "sell", "11").message


def test_sale_for_an_amount_of_money_is_refused_beyond_the_position() -> None:
    market = Market("10:00")
    market.hold("1")

    said = refusal(market, "sell", None, notional="10000")

    assert (said.http_status, said.code) == (403, 40310000)
    assert said.details["available"] == "1"
    assert market.order("sell", None, notional="50").quantity is None


def test_sale_for_an_amount_of_money_ends_flat_where_the_price_fell_meanwhile() -> None:
    market = Market("10:00")
    market.hold("10")
    market.at("17:00")
    order = market.order("sell", None, notional="1019")

    market.at("10:00", DATES[2])

    assert market.status(order) is Status.FILLED
    assert market.exchange.book.holdings == {}


def test_order_that_could_trade_with_an_own_order_is_a_wash_trade() -> None:
    market = Market("10:00")
    market.hold("10")
    sell = market.order("sell", "10", limit="101")

    said = refusal(market, "buy", "1", limit="101")

    assert said.message == "potential wash trade detected. use complex orders"
    assert said.details["existing_order_id"] == sell.id
    assert market.order("buy", "1", limit="97").id


def test_market_order_against_any_opposite_order_is_a_wash_trade() -> None:
    market = Market("10:00")
    market.hold("10")
    market.order("buy", "1", limit="90")

    assert "wash trade" in refusal(market, "sell", "10").message


def test_order_worth_less_than_a_dollar_is_refused() -> None:
    said = refusal(Market("10:00"), "buy", "1", symbol=PENNY)

    assert (said.http_status, said.message) == (
        403,
        "cost basis must be >= minimal amount of order 1",
    )


def test_last_remainder_worth_less_than_a_dollar_may_be_sold() -> None:
    market = Market("10:00")
    market.order("buy", None, notional="2")
    market.wait(1)
    held = market.exchange.book.holding(AAPL).quantity
    part = held - Decimal("0.005")
    market.order("sell", str(part))
    market.wait(1)

    assert market.order("sell", "0.005").id


def test_suspended_account_takes_no_orders_but_cancels() -> None:
    market = Market("10:00")
    order = market.order("buy", "1", limit="90")
    market.exchange.configure(market.now, is_suspended=True)

    assert refusal(market, "buy", "1").http_status == 403
    market.cancel(order)
    market.wait(1)

    assert market.status(order) == "canceled"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tif": "gtc"}, "fractional orders must be DAY orders"),
        (
            {"kind": "trailing_stop", "trail_price": "1"},
            "fractional orders must be market, limit, stop, or stop_limit orders",
        ),
        (
            {"order_class": "bracket", "take_profit": "110", "stop_loss": "90"},
            "fractional orders must be simple orders",
        ),
    ],
)
def test_fractional_orders_are_simple_day_orders(fields: dict[str, Any], message: str) -> None:
    assert refusal(Market("10:00"), "buy", "1.5", **fields).message == message


def test_extended_hours_takes_limit_orders_only() -> None:
    said = refusal(Market("10:00"), "buy", "1", is_extended_hours=True)

    assert said.message == "extended hours order must be DAY or GTC limit orders"


def test_wrong_position_intent_is_refused() -> None:
    said = refusal(Market("10:00"), "sell", "1", position_intent="sell_to_close")

    assert said.message == (
        "position intent mismatch, inferred: sell_to_open, specified: sell_to_close"
    )


def test_short_sale_needs_permission() -> None:
    market = Market("10:00")
    market.exchange.configure(market.now, is_shorting_forbidden=True)

    assert refusal(market, "sell", "1").message == "account is not allowed to short"


def test_short_sale_needs_equity_not_cash_and_a_margin_account() -> None:
    market = Market("10:00")
    market.hold("985")
    assert market.exchange.book.cash < 2000
    assert market.order("sell", "1", symbol=MSFT).position_intent == "sell_to_open"

    for poor in (Market("10:00", starting_cash=Decimal(1999)), Market("10:00", multiplier=1)):
        said = refusal(poor, "sell", "1", symbol=PENNY)
        assert said.message == "account is not allowed to short"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (("sell", "110"), ("buy", "90"), "a long buy while a short sell order is open"),
        (("buy", "90"), ("sell", "110"), "a short sell while a long buy order is open"),
    ],
)
def test_nothing_opens_one_side_while_an_order_would_open_the_other(
    first: tuple[str, str], second: tuple[str, str], message: str
) -> None:
    market = Market("10:00")
    resting = market.order(first[0], "10", limit=first[1])
    market.wait(1)

    assert refusal(market, second[0], "10", limit=second[1]).message == f"cannot open {message}"

    market.cancel(resting)
    market.wait(1)
    assert market.order(second[0], "10", limit=second[1]).status is Status.PENDING_NEW


def test_parts_of_shares_are_refused_where_the_account_forbids_them() -> None:
    market = Market("10:00")
    market.hold("1.5")
    market.exchange.configure(market.now, is_fractional_allowed=False)

    for size in ({"quantity": "0.5"}, {"quantity": None, "notional": "100"}):
        assert "fractional trading is not enabled" in refusal(market, "buy", **size).message
    assert market.exchange.close_position(AAPL, market.now).quantity == Decimal("1.5")


def test_short_position_has_negative_quantity_and_cost_and_is_covered_by_a_buy() -> None:
    market = Market("10:00")
    market.order("sell", "10")
    market.wait(1)
    holding = market.exchange.book.holding(AAPL)
    assert holding.quantity == -10
    assert holding.cost < 0
    assert "insufficient qty" in refusal(market, "buy", "11").message

    market.order("buy", "10")
    market.wait(1)

    assert market.exchange.book.holdings == {}


def test_bracket_exits_must_be_on_the_right_sides_of_the_entry() -> None:
    said = refusal(
        Market("10:00"),
        "buy", "1", limit="100", order_class="bracket", take_profit="100", stop_loss="90",
    )  # fmt: skip

    assert said.message == "take_profit.limit_price must be >= base_price + 0.01"


def test_exits_of_a_short_bracket_at_the_market_are_judged_by_the_price_of_now() -> None:
    market = Market("10:00")

    parent = market.order("sell", "10", order_class="bracket", take_profit="95", stop_loss="101")
    said = refusal(market, "sell", "10", order_class="bracket", take_profit="95", stop_loss="99.50")

    assert len(parent.leg_ids) == 2
    assert said.message == "stop_loss.stop_price must be >= base_price + 0.01"


def test_close_of_a_flat_symbol_is_not_found() -> None:
    market = Market("10:00")

    with pytest.raises(Refusal, match="position does not exist") as refused:
        market.exchange.close_position(MSFT, market.now)

    assert (refused.value.http_status, refused.value.code) == (404, 40410000)


def test_close_of_a_percentage_sells_that_part() -> None:
    market = Market("10:00")
    market.hold("10")

    order = market.exchange.close_position(AAPL, market.now, percentage=Decimal(50))

    assert order.quantity == 5


@pytest.mark.parametrize("percentage", ["-1", "0", "100.1"])
def test_close_of_more_than_the_whole_or_of_nothing_is_refused(percentage: str) -> None:
    market = Market("10:00")
    market.hold("10")

    with pytest.raises(Refusal, match="percentage must be between 0 and 100"):
        market.exchange.close_position(AAPL, market.now, percentage=Decimal(percentage))


def test_equity_is_cash_plus_positions_and_last_equity_that_of_the_day_before() -> None:
    market = Market("08:30")
    market.order("buy", "100")
    market.at("17:00")

    figures = market.exchange.balances()

    assert figures.cash == 90_000
    assert figures.equity == 100_200
    assert figures.last_equity == 100_000
    market.at("23:59")
    assert market.exchange.balances().last_equity == 100_000
    market.at("00:01", DATES[2])
    assert market.exchange.balances().last_equity == 100_200


def test_dividend_and_fee_move_cash_and_are_listed() -> None:
    market = Market("10:00")
    for number, (kind, amount) in enumerate((("DIV", "12.34"), ("FEE", "-0.02"))):
        row = ActivityPosted(
            at=market.now, id=f"id{number}", kind=kind, date=DAY, net_amount=Decimal(amount)
        )
        market.exchange.post(row, market.now)

    assert market.exchange.book.cash == Decimal("100012.32")
    assert [row.kind for row in market.exchange.book.activities] == ["DIV", "FEE"]


def test_split_multiplies_shares_at_unchanged_cost_and_cancels_open_orders() -> None:
    market = Market("10:00")
    market.hold("10")
    cost = market.exchange.book.holding(AAPL).cost
    order = market.order("sell", "10", limit="110")

    market.exchange.split(AAPL, Decimal(4), market.now)

    assert market.exchange.book.holding(AAPL).quantity == 40
    assert market.exchange.book.holding(AAPL).cost == cost
    assert market.status(order) == "canceled"


def test_bust_takes_an_execution_back() -> None:
    from brokers.exchange import corporate

    market = Market("10:00")
    market.hold("10")
    (execution,) = market.exchange.book.executions

    corporate.bust(market.exchange.desk, execution.id, market.now)

    assert market.exchange.book.holdings == {}
    assert market.exchange.book.cash == 100_000


def test_client_order_id_can_be_used_again_where_uniqueness_ends_with_the_order() -> None:
    market = Market("10:00", is_id_unique_for_ever=False)
    first = market.order("buy", "1", client_order_id="mine")
    assert "unique" in refusal(market, "buy", "1", client_order_id="mine").message
    market.wait(1)

    second = market.order("buy", "1", client_order_id="mine")
    market.wait(1)

    assert second.id != first.id
    assert market.exchange.book.holding(AAPL).quantity == 2
