"""The edges of the wire: odd requests, pages of prices, and the manners of the streams."""

import asyncio
import json
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import websockets

from brokers.paper_server import ServerOptions
from domain.ids import Symbol
from domain.market import NewsItem
from tests.support.broker_doors import Refused, Venue, over
from tests.support.exchange_world import moment

wire = over("httpx")
ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
NEWS = tuple(
    NewsItem(
        item_id=str(number),
        source="benzinga",
        published_at=moment(f"10:0{number}"),
        headline=f"Headline {number}",
        symbols=(Symbol("AAPL"),),
    )
    for number in range(1, 6)
)


async def bars(venue: Venue, **params: str) -> Any:
    query = {"symbols": "AAPL,MSFT", "timeframe": "1Day", "start": "2022-11-01", **params}
    return await venue.door.call("GET", "/v2/stocks/bars", params=query)


@wire
async def test_each_unreadable_field_is_named(venue: Venue) -> None:
    for change, named in (
        ({"symbol": None}, "symbol"),
        ({"side": "hold"}, "side"),
        ({"type": None}, "type"),
        ({"time_in_force": "ever"}, "time_in_force"),
        ({"order_class": "mleg"}, "order_class"),
        ({"client_order_id": 7}, "client_order_id"),
        ({"order_class": "bracket", "stop_loss": {"limit_price": "1"}}, "stop_loss.stop_price"),
        ({"order_class": "bracket", "take_profit": [1]}, "take_profit"),
        ({"qty": "1e40"}, "qty"),
        ({"type": "limit", "limit_price": 1e40}, "limit_price"),
    ):
        with pytest.raises(Refused, match=named) as caught:
            await venue.door.call("POST", "/v2/orders", json=ORDER | change)
        assert caught.value.status == 422


@wire
async def test_simple_order_class_may_be_spelt_out(venue: Venue) -> None:
    row = await venue.door.call("POST", "/v2/orders", json=ORDER | {"order_class": "simple"})

    assert row["order_class"] == ""


@wire
async def test_order_lists_refuse_what_they_do_not_know(venue: Venue) -> None:
    await venue.door.submit("buy", "1", limit="50.00")
    for query in ("status=some", "after=yesterday", "after_order_id=none"):
        with pytest.raises(Refused):
            await venue.door.call("GET", f"/v2/orders?{query}")


@wire
async def test_pages_of_activities_have_at_least_one_row(venue: Venue) -> None:
    await venue.hold("1")
    for size in ("0", "-1", "1e99"):
        with pytest.raises(Refused, match="page_size"):
            await venue.door.call("GET", f"/v2/account/activities?page_size={size}")


@wire
async def test_pages_of_open_orders_go_on_after_one_that_ended(venue: Venue) -> None:
    first, *rest = [await venue.door.submit("buy", "1", limit=f"5{n}.00") for n in range(3)]
    await venue.door.cancel(first.id)
    await venue.wait(1)

    ascending = f"status=open&direction=asc&after_order_id={first.id}"
    rows = await venue.door.call("GET", f"/v2/orders?{ascending}")
    earlier = await venue.door.call("GET", f"/v2/orders?before_order_id={rest[1].id}")

    assert [row["id"] for row in rows] == [order.id for order in rest]
    assert [row["id"] for row in earlier] == [rest[0].id]


@wire
async def test_assets_are_found_by_id_and_filtered(venue: Venue) -> None:
    by_symbol = await venue.door.call("GET", "/v2/assets/AAPL")
    by_id = await venue.door.call("GET", f"/v2/assets/{by_symbol['id']}")

    assert by_id == by_symbol
    assert await venue.door.call("GET", "/v2/assets?status=inactive") == []
    assert await venue.door.call("GET", "/v2/assets?asset_class=crypto") == []
    assert len(await venue.door.call("GET", "/v2/assets?exchange=NASDAQ")) == 4


@wire
async def test_position_is_found_by_asset_id(venue: Venue) -> None:
    await venue.hold("3")
    (row,) = await venue.door.call("GET", "/v2/positions")

    assert (await venue.door.call("GET", f"/v2/positions/{row['asset_id']}"))["qty"] == "3"


@wire
async def test_close_takes_a_quantity_or_a_percentage_but_not_both(venue: Venue) -> None:
    await venue.hold("10")

    with pytest.raises(Refused, match="only one of qty or percentage"):
        await venue.door.call("DELETE", "/v2/positions/AAPL?qty=1&percentage=10")
    row = await venue.door.call("DELETE", "/v2/positions/AAPL?qty=4")

    assert (row["qty"], row["side"]) == ("4", "sell")


@wire
async def test_close_all_can_cancel_first(venue: Venue) -> None:
    await venue.hold("10")
    await venue.door.submit("sell", "10", limit="110.00")

    first = await venue.door.call("DELETE", "/v2/positions?cancel_orders=True")
    await venue.wait(1)
    second = await venue.door.call("DELETE", "/v2/positions?cancel_orders=True")

    # The cancels were only asked for, so the shares are still held the first time.
    assert [row["status"] for row in first + second] == [403, 200]


@wire
async def test_bars_page_over_symbols_and_can_be_turned_round(venue: Venue) -> None:
    first = await bars(venue, limit="3")
    assert [len(first["bars"][name]) for name in ("AAPL", "MSFT")] == [2, 1]
    second = await bars(venue, limit="3", page_token=first["next_page_token"])
    assert list(second["bars"]) == ["MSFT"]
    assert second["next_page_token"] is None

    turned = await bars(venue, sort="desc")
    times = [bar["t"] for bar in turned["bars"]["AAPL"]]
    assert times == sorted(times, reverse=True)


@wire
async def test_bars_of_weeks_and_months_are_merged_from_days(venue: Venue) -> None:
    await venue.wait(9 * 86_400)

    weeks = (await bars(venue, timeframe="1Week"))["bars"]["AAPL"]
    months = (await bars(venue, timeframe="1Month"))["bars"]["AAPL"]

    assert [(bar["o"], bar["c"]) for bar in weeks] == [(100.0, 102.0), (100.0, 102.0)]
    assert [bar["t"] for bar in weeks] == ["2022-11-21T05:00:00Z", "2022-11-28T05:00:00Z"]
    assert [bar["v"] for bar in months] == [7 * 7_800_000]


@wire
async def test_minutes_of_a_day_add_up_to_its_bar(venue: Venue) -> None:
    await venue.at("16:30")

    minutes = await bars(
        venue, timeframe="30Min", start=moment("09:30").isoformat(), symbols="AAPL"
    )

    found = minutes["bars"]["AAPL"]
    assert len(found) == 13
    assert (found[0]["o"], found[-1]["c"]) == (100.0, 102.0)
    assert max(bar["h"] for bar in found) == 103.0
    assert min(bar["l"] for bar in found) == 98.0


@wire
async def test_quotes_trades_and_latest_prices_are_served(venue: Venue) -> None:
    query = {"symbols": "AAPL", "start": moment("09:30").isoformat()}
    quotes = await venue.door.call("GET", "/v2/stocks/quotes", params=query)
    trades = await venue.door.call("GET", "/v2/stocks/trades", params=query)
    assert len(quotes["quotes"]["AAPL"]) == len(trades["trades"]["AAPL"]) == 7

    latest = {}
    for kind in ("bars", "quotes", "trades"):
        path = f"/v2/stocks/{kind}/latest?symbols=AAPL,NOPE"
        latest[kind] = (await venue.door.call("GET", path))[kind]
    assert {tuple(rows) for rows in latest.values()} == {("AAPL",)}
    assert latest["trades"]["AAPL"]["p"] == latest["bars"]["AAPL"]["c"]


@wire
async def test_data_requests_that_make_no_sense_are_bad_requests(venue: Venue) -> None:
    for path in (
        "/v2/stocks/bars?timeframe=1Day",
        "/v2/stocks/bars?symbols=AAPL&timeframe=1Eon",
        "/v2/stocks/bars?symbols=AAPL&limit=10001",
    ):
        with pytest.raises(Refused) as caught:
            await venue.door.call("GET", path)
        assert caught.value.status == 400
    actions = await venue.door.call("GET", "/v1/corporate-actions?symbols=AAPL")
    assert actions == {"corporate_actions": {}, "next_page_token": None}


@over("httpx", news=NEWS)
async def test_news_pages_in_both_directions(venue: Venue) -> None:
    await venue.at("10:30")

    first = await venue.door.call("GET", "/v1beta1/news?sort=asc&limit=3")
    token = first["next_page_token"]
    second = await venue.door.call("GET", f"/v1beta1/news?sort=asc&limit=3&page_token={token}")
    newest = await venue.door.call("GET", "/v1beta1/news?limit=1&symbols=AAPL")

    assert [row["id"] for row in first["news"] + second["news"]] == [1, 2, 3, 4, 5]
    assert second["next_page_token"] is None
    assert newest["news"][0]["id"] == 5
    assert (await venue.door.call("GET", "/v1beta1/news?symbols=MSFT"))["news"] == []


@wire
async def test_trade_stream_asks_for_keys_and_answers_both_forms(venue: Venue) -> None:
    server = venue.server
    assert server is not None
    key, secret = server.keys.key_id, server.keys.secret_key
    said = []
    async with websockets.connect(server.stream_url, ping_interval=None, proxy=None) as socket:
        for request in (
            '{"action":"listen","data":{"streams":["trade_updates"]}}',
            '{"action":"auth","key":"PKWRONG","secret":"wrong"}',
            "not json",
            json.dumps({"action": "auth", "key": key, "secret": secret}),
            b'{"action":"listen","data":{"streams":["trade_updates"]}}',
            '{"action":"listen","data":{"streams":[]}}',
        ):
            await socket.send(request)
            said.append(json.loads(await socket.recv()))
        await venue.door.submit("buy", "1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await socket.recv()

    unknown = {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
    assert said[0] == unknown
    assert said[1]["data"]["status"] == "unauthorized"
    assert said[2]["action"] == "error"
    assert said[3]["data"] == {"status": "authorized", "action": "authenticate"}
    assert said[4] == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
    assert said[5]["data"] == {"streams": []}


@over("httpx", news=NEWS)
async def test_data_stream_speaks_json_or_msgpack_and_minds_its_order(venue: Venue) -> None:
    server = venue.server
    assert server is not None
    keys = {"action": "auth", "key": server.keys.key_id, "secret": server.keys.secret_key}
    async with websockets.connect(server.news_stream_url, ping_interval=None, proxy=None) as socket:
        said = [json.loads(await socket.recv())]
        for request in (
            {"action": "subscribe", "news": ["*"]},
            {"action": "auth", "key": "PKWRONG", "secret": "wrong"},
            keys,
            keys,
            {"action": "dance"},
            {"action": "subscribe", "news": ["*"]},
        ):
            await socket.send(json.dumps(request))
            said.append(json.loads(await socket.recv()))
        (item,) = json.loads(await socket.recv())
        await socket.send(json.dumps({"action": "unsubscribe", "news": ["*"]}))
        said.append(json.loads(await socket.recv()))

    codes = [message.get("code") or message.get("msg") for (message,) in said[:-2]]
    assert codes == ["connected", 401, 402, "authenticated", 403, 400]
    assert said[-2] == [{"T": "subscription", "news": ["*"]}]
    assert said[-1] == [{"T": "subscription", "news": []}]
    assert (item["T"], item["id"]) == ("n", 1)
    assert item["created_at"].startswith("2022-11-22T15:01:00")

    headers = {"Content-Type": "application/msgpack"}
    async with websockets.connect(
        server.data_stream_url, ping_interval=None, proxy=None, additional_headers=headers
    ) as packed:
        assert msgpack.unpackb(await packed.recv()) == [{"T": "success", "msg": "connected"}]


def test_options_have_a_limit_as_alpaca_has() -> None:
    assert ServerOptions().requests_per_minute == 200
