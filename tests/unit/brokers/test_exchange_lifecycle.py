"""How orders live and end at the simulated exchange."""

import datetime as dt
from decimal import Decimal

import pytest

from brokers.exchange.refusal import Refusal
from brokers.exchange.words import Status
from tests.support.exchange_world import AAPL, HALF_DAY, Market


def test_order_sent_before_the_open_is_accepted_and_fills_at_the_recorded_open_price() -> None:
    market = Market("08:30")

    order = market.order("buy", "10")
    assert order.status is Status.ACCEPTED
    market.at("09:29:59")
    assert market.status(order) is Status.ACCEPTED
    market.at("09:31")

    assert market.status(order) is Status.FILLED
    assert market.see(order).filled_avg_price == Decimal("100")
    assert market.history(order) == ["accepted", "new", "fill"]


def test_order_sent_in_session_is_pending_new_then_new_then_filled_at_the_ask() -> None:
    market = Market("10:00")

    order = market.order("buy", "10")
    assert order.status is Status.PENDING_NEW
    ask = market.quote().ask
    market.wait(1)

    assert market.history(order) == ["pending_new", "new", "fill"]
    assert market.see(order).filled_avg_price == ask


def test_sell_gets_the_bid() -> None:
    market = Market("10:00")
    market.hold("10")

    order = market.order("sell", "10")
    bid = market.quote().bid
    market.wait(1)

    assert market.see(order).filled_avg_price == bid


def test_queued_limit_order_fills_at_the_open_when_the_open_is_better_than_its_limit() -> None:
    market = Market("08:30")

    order = market.order("buy", "10", limit="101")
    market.at("09:31")

    assert market.see(order).filled_avg_price == Decimal("100")


def test_resting_limit_order_fills_at_its_limit_when_the_path_goes_through_it() -> None:
    market = Market("08:30")

    order = market.order("buy", "10", limit="98.50")
    market.at("09:31")
    assert market.status(order) is Status.NEW
    market.at("15:00")

    assert market.status(order) is Status.FILLED
    assert market.see(order).filled_avg_price == Decimal("98.50")


def test_limit_order_outside_the_days_range_expires_at_the_close_unfilled() -> None:
    market = Market("08:30")

    order = market.order("buy", "10", limit="97.99")
    market.at("15:59:59")
    assert market.status(order) is Status.NEW
    market.at("16:01")

    assert market.status(order) is Status.EXPIRED
    assert market.see(order).filled_quantity == 0


def test_day_order_expires_at_the_early_close_of_a_half_day() -> None:
    market = Market("08:30")
    market.at("10:00", HALF_DAY)

    order = market.order("buy", "10", limit="90")
    market.at("12:59")
    assert market.status(order) is Status.NEW
    market.at("13:01")

    assert market.status(order) is Status.EXPIRED


def test_order_sent_after_the_close_works_in_the_next_session_only() -> None:
    market = Market("17:00")

    order = market.order("buy", "10", limit="90")
    assert order.status is Status.ACCEPTED
    market.at("09:31", dt.date(2022, 11, 23))
    assert market.status(order) is Status.NEW
    market.at("16:01", dt.date(2022, 11, 23))

    assert market.status(order) is Status.EXPIRED


def test_gtc_order_survives_the_close_and_fills_on_a_later_day() -> None:
    market = Market("15:00")

    order = market.order("buy", "10", limit="99", tif="gtc")
    market.at("17:00")
    assert market.status(order) is Status.NEW
    market.at("15:00", dt.date(2022, 11, 23))

    assert market.status(order) is Status.FILLED
    assert market.see(order).filled_avg_price == Decimal("99")


def test_cancel_is_pending_first_and_canceled_a_moment_later() -> None:
    market = Market("10:00")
    order = market.order("buy", "10", limit="90")
    market.wait(1)

    assert market.cancel(order).status is Status.PENDING_CANCEL
    market.wait(1)

    assert market.status(order) is Status.CANCELED
    assert market.history(order)[-2:] == ["pending_cancel", "canceled"]


def test_cancel_can_lose_the_race_against_a_fill() -> None:
    market = Market("10:00", cancel_delay=dt.timedelta(seconds=1))
    order = market.order("buy", "10")

    market.cancel(order)
    market.wait(5)

    assert market.status(order) is Status.FILLED
    assert "canceled" not in market.history(order)


def test_cancel_of_a_filled_order_is_refused_with_its_state() -> None:
    market = Market("10:00")
    order = market.order("buy", "10")
    market.wait(1)

    with pytest.raises(Refusal, match='order is already in "filled" state') as refused:
        market.cancel(order)

    assert (refused.value.http_status, refused.value.code) == (422, 42210000)


def test_second_cancel_while_the_first_is_under_way_is_refused() -> None:
    market = Market("10:00")
    order = market.order("buy", "10", limit="90")
    market.cancel(order)

    with pytest.raises(Refusal, match="order pending cancel"):
        market.cancel(order)


def test_partial_fill_comes_first_and_the_rest_follows() -> None:
    market = Market("10:00", partial_fraction=1.0)

    order = market.order("buy", "100")
    market.wait(0.1)
    part = market.see(order)
    assert part.status is Status.PARTIALLY_FILLED
    assert 0 < part.filled_quantity < 100
    market.wait(5)

    assert market.status(order) is Status.FILLED
    executions = market.exchange.book.executions
    assert [one.cumulative for one in executions] == [part.filled_quantity, Decimal(100)]
    assert sum(one.quantity for one in executions) == 100


def test_cancel_after_a_partial_fill_keeps_what_was_filled() -> None:
    market = Market("10:00", partial_fraction=1.0, partial_delay=dt.timedelta(minutes=1))
    order = market.order("buy", "100")
    market.wait(0.1)

    market.cancel(order)
    market.wait(120)

    canceled = market.see(order)
    assert canceled.status is Status.CANCELED
    assert 0 < canceled.filled_quantity < 100
    assert market.exchange.book.holding(AAPL).quantity == canceled.filled_quantity


def test_about_a_tenth_of_the_orders_is_filled_in_parts() -> None:
    market = Market("10:00", partial_fraction=0.10, starting_cash=Decimal(10_000_000))
    orders = [market.order("buy", "10", client_order_id=f"o{n}") for n in range(300)]
    market.wait(10)

    parts = sum(market.see(order).fill_count > 1 for order in orders)

    assert 15 <= parts <= 50


def test_participation_limit_spreads_a_fill_over_the_steps_of_the_day() -> None:
    # 7.8 million shares in 78 steps: 100,000 a step, of which a thousandth is ours.
    market = Market("10:00", max_participation=Decimal("0.001"))

    order = market.order("buy", "250", limit="105")
    market.wait(60)
    assert market.see(order).filled_quantity == 100
    market.wait(600)

    assert market.status(order) is Status.FILLED
    assert [one.quantity for one in market.exchange.book.executions] == [100, 100, 50]


def test_ioc_that_is_not_marketable_is_canceled_at_once() -> None:
    market = Market("10:00")

    order = market.order("buy", "10", limit="90", tif="ioc")
    market.wait(1)

    assert market.status(order) is Status.CANCELED


def test_ioc_keeps_its_partial_fill_and_cancels_the_rest() -> None:
    market = Market("10:00", partial_fraction=1.0)

    order = market.order("buy", "100", tif="ioc")
    market.wait(1)

    assert market.status(order) is Status.CANCELED
    assert 0 < market.see(order).filled_quantity < 100


def test_fok_fills_whole_even_where_others_fill_in_parts() -> None:
    market = Market("10:00", partial_fraction=1.0)

    order = market.order("buy", "100", tif="fok")
    market.wait(1)

    assert market.history(order) == ["pending_new", "new", "fill"]


def test_opg_order_fills_at_the_open_or_expires_right_after_it() -> None:
    market = Market("08:00")

    filled = market.order("buy", "10", tif="opg")
    missed = market.order("buy", "10", limit="99", tif="opg")
    market.at("09:31")

    assert market.see(filled).filled_avg_price == Decimal(100)
    assert market.status(missed) is Status.EXPIRED


@pytest.mark.parametrize("clock", ["09:28", "12:00", "18:59"])
def test_opg_order_is_refused_from_shortly_before_the_open_until_the_evening(
    clock: str,
) -> None:
    market = Market(clock)

    with pytest.raises(Refusal, match="opg orders must be submitted after 7:00pm") as refused:
        market.order("buy", "10", tif="opg")

    assert refused.value.http_status == 403


@pytest.mark.parametrize("clock", ["19:00", "09:27"])
def test_opg_order_is_taken_in_the_evening_and_in_the_morning(clock: str) -> None:
    assert Market(clock).order("buy", "10", tif="opg").status is Status.ACCEPTED


def test_cls_order_fills_at_the_recorded_close() -> None:
    market = Market("12:00")

    order = market.order("buy", "10", tif="cls")
    market.at("15:59")
    assert market.status(order) is Status.NEW
    market.at("16:01")

    assert market.see(order).filled_avg_price == Decimal(102)


def test_cls_order_is_refused_in_the_last_ten_minutes() -> None:
    market = Market("15:50")

    with pytest.raises(Refusal, match="cls orders must be submitted"):
        market.order("buy", "10", tif="cls")


def test_stop_order_sleeps_until_the_last_price_reaches_it() -> None:
    market = Market("09:31")
    market.hold("10")

    order = market.order("sell", "10", stop="98.50")
    market.wait(60)
    assert market.status(order) is Status.NEW
    market.at("15:00")

    assert market.status(order) is Status.FILLED
    assert (market.see(order).filled_avg_price or 0) <= Decimal("98.50")
    assert market.see(order).filled_quantity == 10


def test_trailing_stop_follows_the_price_and_sells_when_it_turns() -> None:
    market = Market("12:00")
    market.hold("10")

    order = market.order("sell", "10", kind="trailing_stop", trail_price="0.60")
    market.at("15:59:59")

    assert market.status(order) is Status.FILLED
    assert market.see(order).high_water_mark == Decimal(103)


def test_notional_order_buys_a_fraction_of_a_share() -> None:
    market = Market("08:30")

    order = market.order("buy", None, notional="250.50")
    market.at("09:31")

    assert market.see(order).filled_quantity == Decimal("2.505")
    assert market.see(order).quantity is None


def test_replacement_takes_over_under_a_new_id() -> None:
    market = Market("10:00")
    from brokers.exchange.orders import Amendment

    old = market.order("buy", "10", limit="90")
    market.wait(1)
    fresh = market.exchange.replace(old.id, Amendment(limit_price=Decimal("91")), market.now)
    assert market.status(old) is Status.PENDING_REPLACE
    market.wait(1)

    assert market.status(old) is Status.REPLACED
    assert market.see(old).replaced_by == fresh.id
    assert market.see(fresh).replaces == old.id
    assert market.status(fresh) is Status.NEW
    assert market.see(fresh).limit_price == 91


def test_replacement_is_rejected_when_the_old_order_fills_first() -> None:
    market = Market("10:00", replace_delay=dt.timedelta(minutes=30))
    from brokers.exchange.orders import Amendment

    old = market.order("buy", "10", limit="98.20")
    market.wait(1)
    market.at("11:20")
    fresh = market.exchange.replace(old.id, Amendment(limit_price=Decimal("90")), market.now)
    market.at("12:30")

    assert market.status(old) is Status.FILLED
    assert market.status(fresh) is Status.REJECTED


def test_queued_order_cannot_be_replaced() -> None:
    market = Market("08:30")
    from brokers.exchange.orders import Amendment

    order = market.order("buy", "10", limit="90")

    with pytest.raises(Refusal, match="unable to replace order, order is not open"):
        market.exchange.replace(order.id, Amendment(limit_price=Decimal("91")), market.now)


def test_bracket_legs_wait_for_the_last_fill_and_the_winner_cancels_the_other() -> None:
    market = Market("09:31")

    parent = market.order("buy", "10", order_class="bracket", take_profit="102.50", stop_loss="95")
    profit, loss = (market.exchange.order(leg) for leg in parent.leg_ids)
    assert {profit.status, loss.status} == {Status.HELD}
    market.wait(1)
    assert market.status(profit) is Status.NEW
    assert market.status(loss) is Status.HELD
    market.at("15:59")

    assert market.status(profit) is Status.FILLED
    assert market.status(loss) is Status.CANCELED
    assert market.exchange.book.holdings == {}


def test_bracket_stop_loss_cancels_the_take_profit_and_sells() -> None:
    market = Market("09:31")

    parent = market.order("buy", "10", order_class="bracket", take_profit="110", stop_loss="98.40")
    profit, loss = (market.exchange.order(leg) for leg in parent.leg_ids)
    market.at("15:59")

    assert market.status(profit) is Status.CANCELED
    assert market.status(loss) is Status.FILLED
    assert market.exchange.book.holdings == {}


def test_canceled_bracket_parent_takes_its_legs_with_it() -> None:
    market = Market("10:00")
    parent = market.order(
        "buy", "10", limit="90", order_class="bracket", take_profit="95", stop_loss="85"
    )

    market.cancel(parent)
    market.wait(1)

    assert {market.exchange.order(leg).status for leg in parent.leg_ids} == {Status.CANCELED}


def test_oco_reserves_the_shares_once_and_its_stop_cancels_its_limit() -> None:
    market = Market("09:31")
    market.hold("10")

    exit_order = market.order(
        "sell", "10", kind="limit", order_class="oco", take_profit="110", stop_loss="98.40"
    )
    assert market.exchange.held_for_orders(AAPL) == 10
    market.at("15:59")

    (stop,) = exit_order.leg_ids
    assert market.status(exit_order) is Status.CANCELED
    assert market.exchange.order(stop).status is Status.FILLED


def test_time_never_goes_back() -> None:
    market = Market("12:00")

    market.exchange.advance(market.now - dt.timedelta(hours=1))

    assert market.exchange.last_time == market.now


def test_same_commands_give_the_same_events() -> None:
    def run() -> list[object]:
        market = Market("08:30", partial_fraction=0.5)
        for name in ("b", "a", "c"):
            market.order("buy", "10", client_order_id=name)
        market.at("17:00")
        return list(market.exchange.take_events())

    assert run() == run()
