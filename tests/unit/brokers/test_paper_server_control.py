"""The control endpoints: time, prices and what others do with the same account."""

import datetime as dt
from decimal import Decimal
from typing import Any

from tests.support.broker_doors import Venue, over
from tests.support.exchange_world import AAPL, moment

wire = over("httpx")


async def control(venue: Venue, name: str, **fields: Any) -> Any:
    answer = await venue.door.client.post(f"/_openbell/{name}", json=fields)
    return answer.json() if answer.status_code == 200 else answer


@wire
async def test_clock_can_be_moved_ahead_only(venue: Venue) -> None:
    await control(venue, "clock", to=moment("11:00").isoformat())
    assert (await venue.door.clock()).now == moment("11:00")

    await control(venue, "clock", to=moment("09:00").isoformat())
    assert (await venue.door.clock()).now >= moment("11:00")
    await control(venue, "clock", advance_seconds=60)

    assert (await venue.door.clock()).now >= moment("11:01")


@wire
async def test_moved_clock_lets_everything_due_happen(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="90.00")

    await control(venue, "clock", to=moment("16:05").isoformat())

    assert (await venue.door.get(order.id)).status == "expired"


@wire
async def test_price_set_by_hand_fills_a_resting_order_at_its_limit(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="90.00")
    await venue.wait(1)

    await control(venue, "prices", symbol="AAPL", last="89.00")

    filled = await venue.door.get(order.id)
    assert (filled.status, filled.price) == ("filled", 90)
    await control(venue, "prices", symbol="AAPL")
    assert (await venue.door.account()).equity > 100_000


@wire
async def test_hand_trade_belongs_to_nobody_we_know(venue: Venue) -> None:
    await control(venue, "hand-trades", symbol="AAPL", qty="3", side="buy")
    await venue.wait(1)

    assert (await venue.door.positions())[AAPL][0] == 3


@wire
async def test_hand_fill_can_come_after_the_cancel_and_beyond_the_order(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="90.00", coid="late")
    await venue.wait(1)
    await venue.door.cancel(order.id)
    await venue.wait(1)

    await control(venue, "hand-fills", client_order_id="late", qty="11", price="90")

    seen = await venue.door.find("late")
    assert (seen.status, seen.filled) == ("canceled", 11)
    assert (await venue.door.positions())[AAPL] == (Decimal(11), Decimal(90))
    assert [fill.cumulative for fill in await venue.door.fills()] == [11]


@wire
async def test_split_and_dividend_reach_the_account(venue: Venue) -> None:
    await venue.hold("10")
    cash = (await venue.door.account()).cash

    await control(venue, "splits", symbol="AAPL", ratio="4")
    await venue.wait(1)
    await control(venue, "activities", kind="DIV", net_amount="2.50", symbol="AAPL")

    assert (await venue.door.positions())[AAPL][0] == 40
    assert (await venue.door.account()).cash == cash + Decimal("2.50")
    rows = await venue.door.call("GET", "/v2/account/activities?direction=asc")
    assert [row["activity_type"] for row in rows] == ["FILL", "SPLIT", "DIV"]


@wire
async def test_bust_takes_the_shares_back(venue: Venue) -> None:
    await venue.hold("10")
    (row,) = await venue.door.call("GET", "/v2/account/activities/FILL")

    await control(venue, "busts", execution_id=row["id"].split("::")[1])

    assert await venue.door.positions() == {}
    assert (await venue.door.account()).cash == 100_000


@wire
async def test_blocked_account_refuses_orders(venue: Venue) -> None:
    await control(venue, "account", is_blocked=True)

    row = await venue.door.call("GET", "/v2/account")
    assert row["trading_blocked"] is True


@wire
async def test_log_and_truth_tell_what_really_happened(venue: Venue) -> None:
    await venue.door.submit("buy", "10", coid="truth")
    await venue.wait(1)

    log = (await venue.door.client.get("/_openbell/log?method=POST")).json()
    truth = (await venue.door.client.get("/_openbell/truth")).json()

    assert [row["path"] for row in log] == ["/v2/orders"]
    assert truth["orders"]["truth"]["status"] == "filled"
    assert truth["executions"][0]["client_order_id"] == "truth"
    assert truth["positions"] == {"AAPL": "10"}


@wire
async def test_wrong_control_request_is_answered_in_words(venue: Venue) -> None:
    for name, fields in (
        ("hand-trades", {"symbol": "AAPL"}),
        ("hand-fills", {"client_order_id": "nobody"}),
        ("activities", {}),
        ("splits", {"symbol": "AAPL", "ratio": "0"}),
        ("busts", {"execution_id": "none"}),
    ):
        answer = await control(venue, name, **fields)
        assert answer.status_code in (404, 422)
        assert answer.json()["message"]


@wire
async def test_time_of_the_venue_follows_its_clock(venue: Venue) -> None:
    before = (await venue.door.clock()).now
    await venue.wait(90)

    assert (await venue.door.clock()).now - before >= dt.timedelta(seconds=90)
