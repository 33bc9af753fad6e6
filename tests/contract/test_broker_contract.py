"""One suite over every door to an account, so that the doors never drift apart.

In process, over sockets by hand, over sockets by the unmodified alpaca-py, through our
own adapter, and, where its keys are in the environment, Alpaca's own paper service.
"""

import datetime as dt
import uuid
from decimal import Decimal

import pytest

from tests.support.broker_doors import ALL_DOORS, EMBEDDED_DOORS, Refused, Venue, over
from tests.support.exchange_world import AAPL, HALF_DAY, MSFT, moment

NEXT_DAY = dt.date(2022, 11, 23)


async def refusal(venue: Venue, *args: str, **fields: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await venue.door.submit(*args, **fields)
    return caught.value


@over(*ALL_DOORS)
async def test_account_has_a_number_equity_and_buying_power(venue: Venue) -> None:
    account = await venue.door.account()

    assert account.number.startswith("PA")
    assert account.equity > 0
    assert account.buying_power >= 0
    assert not account.is_suspended


@over(*ALL_DOORS)
async def test_resting_order_is_found_by_both_ids_and_gone_after_its_cancel(venue: Venue) -> None:
    coid = f"contract-{uuid.uuid4()}" if venue.server is None else "contract-1"

    order = await venue.door.submit("buy", "1", limit="1.00", coid=coid)
    assert order.client_order_id == coid
    assert (await venue.door.find(coid)).id == order.id
    assert (await venue.door.get(order.id)).client_order_id == coid
    assert order.id in [one.id for one in await venue.door.open_orders()]
    await venue.wait(1)
    await venue.door.cancel(order.id)
    await venue.wait(2)

    assert (await venue.door.get(order.id)).status in ("canceled", "pending_cancel")


@over(*ALL_DOORS)
async def test_order_that_nobody_sent_is_not_found(venue: Venue) -> None:
    assert await venue.door.find(f"nobody-{uuid.uuid4()}") is None
    assert await venue.door.get(str(uuid.uuid4())) is None


@over(*ALL_DOORS)
async def test_used_client_order_id_is_refused_as_not_unique(venue: Venue) -> None:
    coid = f"contract-{uuid.uuid4()}"
    order = await venue.door.submit("buy", "1", limit="1.00", coid=coid)

    said = await refusal(venue, "buy", "1", limit="1.00", coid=coid)

    assert said.code == 40010001
    assert "client_order_id must be unique" in said.message
    await venue.wait(1)
    await venue.door.cancel(order.id)


@over(*ALL_DOORS)
async def test_sub_penny_limit_price_is_refused(venue: Venue) -> None:
    said = await refusal(venue, "buy", "1", limit="100.123")

    assert said.code == 42210000
    assert "sub-penny increment" in said.message


@over(*ALL_DOORS)
async def test_unknown_symbol_is_refused(venue: Venue) -> None:
    said = await refusal(venue, "buy", "1", symbol="ZZZZZZ")

    assert said.code == 42210000
    assert "not found" in said.message


@over(*ALL_DOORS)
async def test_order_beyond_the_buying_power_is_refused(venue: Venue) -> None:
    said = await refusal(venue, "buy", "10000000", limit="100.00")

    assert said.code == 40310000
    assert "insufficient buying power" in said.message


@over(*ALL_DOORS)
async def test_cancel_of_an_unknown_order_is_refused(venue: Venue) -> None:
    with pytest.raises(Refused) as caught:
        await venue.door.cancel(str(uuid.uuid4()))

    assert caught.value.code == 40410000


@over(*ALL_DOORS)
async def test_clock_and_calendar_agree(venue: Venue) -> None:
    clock = await venue.door.clock()

    days = await venue.door.sessions(clock.now.date(), clock.now.date() + dt.timedelta(days=7))

    assert clock.next_open in [opens for _, opens, _ in days]
    assert clock.next_close in [closes for _, _, closes in days]


@over(*ALL_DOORS)
async def test_known_asset_is_tradable_and_an_unknown_one_is_absent(venue: Venue) -> None:
    assert await venue.door.tradable(AAPL) is True
    assert await venue.door.tradable("ZZZZZZ") is None


@over(*EMBEDDED_DOORS)
async def test_fresh_account_is_flat(venue: Venue) -> None:
    account = await venue.door.account()

    assert (account.equity, account.cash) == (100_000, 100_000)
    assert account.buying_power == 200_000
    assert await venue.door.positions() == {}
    assert await venue.door.open_orders() == []
    assert await venue.door.fills() == []


@over(*EMBEDDED_DOORS, start="08:30")
async def test_order_sent_before_the_open_is_accepted_and_fills_at_the_recorded_open(
    venue: Venue,
) -> None:
    order = await venue.door.submit("buy", "10")
    assert order.status == "accepted"
    await venue.at("09:31")

    filled = await venue.door.get(order.id)
    assert (filled.status, filled.filled, filled.price) == ("filled", 10, 100)


@over(*EMBEDDED_DOORS)
async def test_answer_to_a_new_order_is_pending_new_and_not_filled(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10")

    assert (order.status, order.filled) == ("pending_new", 0)


@over(*EMBEDDED_DOORS)
async def test_market_order_in_session_fills_within_a_second(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10")
    await venue.wait(1)

    assert (await venue.door.get(order.id)).status == "filled"


@over(*EMBEDDED_DOORS)
async def test_fill_becomes_a_position_and_leaves_the_cash(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10")
    await venue.wait(1)

    price = (await venue.door.get(order.id)).price
    assert await venue.door.positions() == {AAPL: (Decimal(10), price)}
    assert (await venue.door.account()).cash == 100_000 - 10 * price


@over(*EMBEDDED_DOORS)
async def test_each_execution_is_an_activity_with_its_cumulative_quantity(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10")
    await venue.wait(1)

    (fill,) = await venue.door.fills()
    assert (fill.order_id, fill.quantity, fill.cumulative) == (order.id, 10, 10)
    assert fill.price == (await venue.door.get(order.id)).price


@over(*EMBEDDED_DOORS, partial=1.0)
async def test_partial_fills_add_up_to_the_order(venue: Venue) -> None:
    order = await venue.door.submit("buy", "100")
    await venue.wait(0.5)
    part = await venue.door.get(order.id)
    assert part.status == "partially_filled"
    assert 0 < part.filled < 100
    await venue.wait(5)

    fills = await venue.door.fills()
    assert (await venue.door.get(order.id)).status == "filled"
    assert [fill.cumulative for fill in fills] == [part.filled, 100]
    assert sum(fill.quantity for fill in fills) == 100


@over(*EMBEDDED_DOORS, partial=1.0)
async def test_canceled_order_keeps_its_partial_fill(venue: Venue) -> None:
    order = await venue.door.submit("buy", "100")
    await venue.wait(0.5)
    await venue.door.cancel(order.id)
    await venue.wait(5)

    ended = await venue.door.get(order.id)
    assert ended.status == "canceled"
    assert 0 < ended.filled < 100
    assert (await venue.door.positions())[AAPL][0] == ended.filled


@over(*EMBEDDED_DOORS)
async def test_cancel_is_asynchronous(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="90.00")
    await venue.wait(1)

    await venue.door.cancel(order.id)
    assert (await venue.door.get(order.id)).status == "pending_cancel"
    await venue.wait(1)

    assert (await venue.door.get(order.id)).status == "canceled"
    assert await venue.door.open_orders() == []


@over(*EMBEDDED_DOORS)
async def test_cancel_of_a_filled_order_is_refused(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10")
    await venue.wait(1)

    with pytest.raises(Refused, match='already in "filled" state') as caught:
        await venue.door.cancel(order.id)

    assert caught.value.code == 42210000


@over(*EMBEDDED_DOORS)
async def test_second_cancel_is_refused_while_the_first_is_pending(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="90.00")
    await venue.door.cancel(order.id)

    with pytest.raises(Refused, match="pending cancel"):
        await venue.door.cancel(order.id)


@over(*EMBEDDED_DOORS)
async def test_cancel_of_everything_reaches_whatever_works_and_is_asynchronous(
    venue: Venue,
) -> None:
    await venue.door.submit("buy", "10", coid="filled")
    await venue.wait(1)
    for number, symbol in enumerate((AAPL, MSFT, AAPL)):
        await venue.door.submit("buy", "1", symbol=symbol, limit="50.00", coid=f"o{number}")
    await venue.wait(1)
    await venue.door.cancel((await venue.door.find("o0")).id)

    await venue.door.cancel_everything()
    assert {one.status for one in await venue.door.open_orders()} == {"pending_cancel"}
    await venue.wait(1)

    assert await venue.door.open_orders() == []
    assert (await venue.door.find("filled")).status == "filled"
    assert (await venue.door.find("o1")).status == "canceled"


@over(*EMBEDDED_DOORS)
async def test_cancel_of_everything_where_nothing_works_is_taken(venue: Venue) -> None:
    await venue.door.cancel_everything()
    await venue.door.cancel_everything()

    assert await venue.door.open_orders() == []


@over(*EMBEDDED_DOORS, start="08:30")
async def test_cancel_of_everything_reaches_orders_that_wait_for_the_open(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10")

    await venue.door.cancel_everything()
    await venue.at("09:31")

    assert (await venue.door.get(order.id)).status == "canceled"
    assert await venue.door.positions() == {}


@over(*EMBEDDED_DOORS)
async def test_limit_order_keeps_its_words(venue: Venue) -> None:
    order = await venue.door.submit("buy", "7", limit="90.50", coid="words-1")

    seen = await venue.door.find("words-1")
    assert (seen.symbol, seen.side, seen.kind, seen.tif) == (AAPL, "buy", "limit", "day")
    assert (seen.quantity, seen.limit, seen.id) == (7, Decimal("90.50"), order.id)


@over(*EMBEDDED_DOORS, start="08:30")
async def test_unfilled_day_order_expires_at_the_close(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="90.00")
    await venue.at("16:02")

    ended = await venue.door.get(order.id)
    assert (ended.status, ended.filled) == ("expired", 0)


@over(*EMBEDDED_DOORS)
async def test_day_order_expires_at_the_early_close_of_a_half_day(venue: Venue) -> None:
    await venue.at("10:00", HALF_DAY)
    order = await venue.door.submit("buy", "10", limit="90.00")
    await venue.at("12:59", HALF_DAY)
    assert (await venue.door.get(order.id)).status == "new"
    await venue.at("13:02", HALF_DAY)

    assert (await venue.door.get(order.id)).status == "expired"


@over(*EMBEDDED_DOORS, start="17:00")
async def test_order_sent_after_the_close_waits_for_the_next_session(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10")
    await venue.at("09:29", NEXT_DAY)
    assert (await venue.door.get(order.id)).status == "accepted"
    await venue.at("09:31", NEXT_DAY)

    assert (await venue.door.get(order.id)).status == "filled"


@over(*EMBEDDED_DOORS, start="08:30")
async def test_resting_limit_order_fills_at_its_limit(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="98.50")
    await venue.at("15:00")

    filled = await venue.door.get(order.id)
    assert (filled.status, filled.price) == ("filled", Decimal("98.50"))


@over(*EMBEDDED_DOORS)
async def test_ioc_order_that_cannot_trade_is_canceled(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="90.00", tif="ioc")
    await venue.wait(1)

    assert (await venue.door.get(order.id)).status == "canceled"


@over(*EMBEDDED_DOORS, start="08:30")
async def test_opening_order_fills_at_the_open(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", tif="opg")
    await venue.at("09:31")

    assert (await venue.door.get(order.id)).price == 100


@over(*EMBEDDED_DOORS)
async def test_opening_order_is_refused_during_the_session(venue: Venue) -> None:
    said = await refusal(venue, "buy", "10", tif="opg")

    assert said.code == 40310000
    assert "opg orders must be submitted after 7:00pm and before 9:28am" in said.message


@over(*EMBEDDED_DOORS)
async def test_closing_order_fills_at_the_recorded_close(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", tif="cls")
    await venue.at("16:02")

    assert (await venue.door.get(order.id)).price == 102


@over(*EMBEDDED_DOORS)
async def test_open_buys_reserve_buying_power(venue: Venue) -> None:
    order = await venue.door.submit("buy", "1000", limit="90.00")
    assert (await venue.door.account()).buying_power == 110_000
    await venue.wait(1)
    await venue.door.cancel(order.id)
    await venue.wait(1)

    assert (await venue.door.account()).buying_power == 200_000


@over(*EMBEDDED_DOORS)
async def test_open_sells_reserve_the_shares(venue: Venue) -> None:
    await venue.hold("10")
    await venue.door.submit("sell", "6", limit="110.00")

    said = await refusal(venue, "sell", "5", limit="110.00")

    assert said.code == 40310000
    assert "insufficient qty available for order (requested: 5, available: 4)" in said.message


@over(*EMBEDDED_DOORS)
async def test_shares_are_free_again_after_the_cancel(venue: Venue) -> None:
    await venue.hold("10")
    order = await venue.door.submit("sell", "10", limit="110.00")
    await venue.wait(1)
    await venue.door.cancel(order.id)
    await venue.wait(1)

    assert (await venue.door.submit("sell", "10")).status == "pending_new"


@over(*EMBEDDED_DOORS)
async def test_sell_beyond_the_position_is_refused(venue: Venue) -> None:
    await venue.hold("10")

    assert "insufficient qty" in (await refusal(venue, "sell", "11")).message


@over(*EMBEDDED_DOORS)
async def test_crossing_an_own_order_is_a_wash_trade(venue: Venue) -> None:
    await venue.hold("10")
    await venue.door.submit("sell", "10", limit="101.00")

    said = await refusal(venue, "buy", "1", limit="101.00")

    assert said.code == 40310000
    assert "wash trade" in said.message


@over(*EMBEDDED_DOORS)
async def test_sale_of_everything_leaves_no_position(venue: Venue) -> None:
    await venue.hold("10")
    await venue.door.submit("sell", "10")
    await venue.wait(1)

    assert await venue.door.positions() == {}
    account = await venue.door.account()
    assert account.equity == account.cash


@over(*EMBEDDED_DOORS)
async def test_short_position_is_negative(venue: Venue) -> None:
    await venue.door.submit("sell", "10")
    await venue.wait(1)

    assert (await venue.door.positions())[AAPL][0] == -10


@over(*EMBEDDED_DOORS)
async def test_fraction_of_a_share_can_be_bought_by_the_day_only(venue: Venue) -> None:
    order = await venue.door.submit("buy", "1.5")
    await venue.wait(1)

    assert (await venue.door.get(order.id)).filled == Decimal("1.5")
    assert (
        "fractional orders must be DAY orders"
        in (await refusal(venue, "buy", "1.5", tif="ioc")).message
    )


@over(*EMBEDDED_DOORS)
async def test_suspended_account_refuses_orders_and_takes_cancels(venue: Venue) -> None:
    order = await venue.door.submit("buy", "1", limit="90.00")
    await venue.wait(1)

    assert await venue.door.suspend(True) is True
    assert (await venue.door.account()).is_suspended
    assert (await refusal(venue, "buy", "1")).code == 40310000
    await venue.door.cancel(order.id)
    assert await venue.door.suspend(False) is False

    assert (await venue.door.submit("buy", "1")).status == "pending_new"


@over(*EMBEDDED_DOORS)
async def test_account_that_may_not_short_refuses_more_than_is_held_and_free(venue: Venue) -> None:
    await venue.door.submit("buy", "10")
    await venue.wait(1)
    assert await venue.door.forbid_shorting(True) is True
    resting = await venue.door.submit("sell", "10", limit="190.00")

    # A twin of a sale: beside it, after it, and when nothing is left.
    beside = await refusal(venue, "sell", "10")
    await venue.door.cancel(resting.id)
    await venue.wait(1)
    await venue.door.submit("sell", "10")
    await venue.wait(1)
    after = await refusal(venue, "sell", "10")

    assert [beside.code, after.code] == [40310000, 40310000]
    assert "insufficient qty" in beside.message
    assert "not allowed to short" in after.message
    assert await venue.door.positions() == {}
    assert await venue.door.forbid_shorting(False) is False
    assert (await venue.door.submit("sell", "10")).status == "pending_new"


@over(*EMBEDDED_DOORS)
async def test_ban_on_short_sales_leaves_the_lock_on_new_orders_as_it_is(venue: Venue) -> None:
    await venue.door.suspend(True)

    await venue.door.forbid_shorting(True)
    assert (await venue.door.account()).is_suspended
    await venue.door.suspend(False)

    assert (await refusal(venue, "sell", "1")).message.endswith("not allowed to short")


@over(*EMBEDDED_DOORS, start="08:30")
async def test_last_equity_is_that_of_the_close_of_a_day_before(venue: Venue) -> None:
    await venue.door.submit("buy", "100")
    await venue.at("17:00")
    evening = await venue.door.account()
    await venue.at("08:00", NEXT_DAY)
    morning = await venue.door.account()

    assert (evening.equity, evening.last_equity) == (100_200, 100_000)
    assert (morning.equity, morning.last_equity) == (100_200, 100_200)


@over(*EMBEDDED_DOORS)
async def test_clock_is_open_in_session_only(venue: Venue) -> None:
    assert (await venue.door.clock()).is_open
    await venue.at("16:00")

    clock = await venue.door.clock()
    assert not clock.is_open
    assert clock.next_open == moment("09:30", NEXT_DAY)
    assert clock.next_close == moment("16:00", NEXT_DAY)


@over(*EMBEDDED_DOORS)
async def test_calendar_leaves_out_the_holiday_and_shows_the_half_day(venue: Venue) -> None:
    days = await venue.door.sessions(dt.date(2022, 11, 23), dt.date(2022, 11, 28))

    assert [date for date, _, _ in days] == [NEXT_DAY, HALF_DAY, dt.date(2022, 11, 28)]
    assert days[1][2] == moment("13:00", HALF_DAY)


@over(*EMBEDDED_DOORS)
async def test_symbol_known_by_its_closes_only_is_not_tradable(venue: Venue) -> None:
    assert await venue.door.tradable("XOM") is False
    assert "not tradable" in (await refusal(venue, "buy", "1", symbol="XOM")).message


@over(*EMBEDDED_DOORS)
async def test_two_symbols_are_two_positions(venue: Venue) -> None:
    await venue.hold("10")
    await venue.hold("5", MSFT)

    assert {name: held for name, (held, _) in (await venue.door.positions()).items()} == {
        AAPL: 10,
        MSFT: 5,
    }


@over(*EMBEDDED_DOORS)
async def test_position_has_the_average_price_of_its_buys(venue: Venue) -> None:
    first = await venue.door.submit("buy", "10")
    await venue.at("13:00")
    second = await venue.door.submit("buy", "30")
    await venue.wait(1)

    prices = [(await venue.door.get(one.id)).price for one in (first, second)]
    assert prices[0] != prices[1]
    assert (await venue.door.positions())[AAPL] == (
        Decimal(40),
        (10 * prices[0] + 30 * prices[1]) / 40,
    )


@over(*EMBEDDED_DOORS)
async def test_order_worth_less_than_a_dollar_is_refused(venue: Venue) -> None:
    said = await refusal(venue, "buy", "1", symbol="PENY", limit="0.50")

    assert said.code == 40310000
    assert "minimal amount of order 1" in said.message


@over(*EMBEDDED_DOORS)
async def test_client_order_id_stays_taken_after_its_order_ended(venue: Venue) -> None:
    order = await venue.door.submit("buy", "1", limit="90.00", coid="once")
    await venue.wait(1)
    await venue.door.cancel(order.id)
    await venue.wait(1)

    assert (await refusal(venue, "buy", "1", coid="once")).code == 40010001


@over(*EMBEDDED_DOORS)
async def test_external_order_is_seen_by_everybody(venue: Venue) -> None:
    from tests.support.exchange_world import ticket

    venue.exchange.submit(ticket("buy", "3", client_order_id="by-hand"), venue.clock.now())
    if venue.server is not None:
        venue.server.venue.commit()
    await venue.wait(1)

    assert (await venue.door.find("by-hand")).status == "filled"
    assert (await venue.door.positions())[AAPL][0] == 3
