"""What only Alpaca's wire has: order classes, lists, replacements, closes, pages, streams."""

import asyncio
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from alpaca.data.enums import DataFeed
from alpaca.data.historical import NewsClient, StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import (
    NewsRequest,
    StockBarsRequest,
    StockLatestQuoteRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.enums import OrderClass, OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)
from alpaca.trading.stream import TradingStream

from domain.ids import Symbol
from domain.market import NewsItem
from tests.support.broker_doors import Refused, Venue, over
from tests.support.exchange_world import AAPL, DAY, MSFT, moment

sdk = over("alpaca_py")
wire = over("httpx")
NEWS = NewsItem(
    item_id="n-17",
    source="benzinga",
    published_at=moment("11:00"),
    headline="Apple rises",
    symbols=(Symbol("AAPL"),),
)


def buy(**fields: Any) -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol="AAPL",
        side=OrderSide.BUY,
        time_in_force=TimeInForce.DAY,
        **{"qty": 10, "limit_price": 90, **fields},
    )


async def run_stream(stream: Any) -> None:
    """Run a stream of the SDK on the loop that is already running."""
    await stream._run_forever()


@sdk
async def test_bracket_shows_its_legs_and_they_wait_for_the_parent(venue: Venue) -> None:
    client = venue.door.client
    request = buy(
        limit_price=99.5,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=102.5),
        stop_loss=StopLossRequest(stop_price=95),
    )

    order = await venue.door.call(client.submit_order, request)
    assert [leg.status.value for leg in order.legs] == ["held", "held"]
    await venue.at("15:59")

    legs = [await venue.door.get(str(leg.id)) for leg in order.legs]
    assert [leg.status for leg in legs] == ["filled", "canceled"]
    assert await venue.door.positions() == {}


@sdk
async def test_oco_exit_and_trailing_stop_are_understood(venue: Venue) -> None:
    client = venue.door.client
    await venue.hold("20")
    oco = LimitOrderRequest(
        symbol="AAPL",
        qty=10,
        side=OrderSide.SELL,
        time_in_force=TimeInForce.DAY,
        order_class=OrderClass.OCO,
        take_profit=TakeProfitRequest(limit_price=110),
        stop_loss=StopLossRequest(stop_price=90),
    )
    trailing = TrailingStopOrderRequest(
        symbol="AAPL",
        qty=10,
        side=OrderSide.SELL,
        time_in_force=TimeInForce.DAY,
        trail_percent=5,
    )

    pair = await venue.door.call(client.submit_order, oco)
    trail = await venue.door.call(client.submit_order, trailing)
    await venue.wait(1)

    assert pair.order_class is OrderClass.OCO
    assert (await venue.door.call(client.get_order_by_id, trail.id)).hwm is not None
    position = await venue.door.call(client.get_open_position, "AAPL")
    assert (position.qty, position.qty_available) == ("20", "0")


@sdk
async def test_replacement_answers_with_a_new_order(venue: Venue) -> None:
    client = venue.door.client
    old = await venue.door.submit("buy", "10", limit="90.00")
    await venue.wait(1)

    change = ReplaceOrderRequest(qty=12, limit_price=91, client_order_id="second")
    fresh = await venue.door.call(client.replace_order_by_id, old.id, change)
    await venue.wait(1)

    assert str(fresh.replaces) == old.id
    before = await venue.door.call(client.get_order_by_id, old.id)
    assert (before.status.value, before.replaced_by) == ("replaced", fresh.id)
    after = await venue.door.find("second")
    assert (after.status, after.quantity, after.limit) == ("new", 12, 91)


@sdk
async def test_notional_order_is_filled_with_a_fraction(venue: Venue) -> None:
    request = MarketOrderRequest(
        symbol="AAPL", notional=250.5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY
    )

    order = await venue.door.call(venue.door.client.submit_order, request)
    await venue.wait(1)

    filled = await venue.door.call(venue.door.client.get_order_by_id, order.id)
    assert filled.qty is None
    value = Decimal(filled.filled_qty) * Decimal(filled.filled_avg_price)
    assert Decimal("250.49") < value <= Decimal("250.50")


@sdk
async def test_orders_are_listed_by_status_side_symbol_and_direction(venue: Venue) -> None:
    client = venue.door.client
    for number, symbol in enumerate((AAPL, MSFT, AAPL)):
        await venue.door.submit("buy", "1", symbol=symbol, limit="50.00", coid=f"o{number}")
        await venue.wait(1)
    await venue.door.cancel((await venue.door.find("o0")).id)
    await venue.wait(1)

    async def listed(**fields: Any) -> list[str]:
        found = await venue.door.call(client.get_orders, GetOrdersRequest(**fields))
        return [order.client_order_id for order in found]

    assert await listed() == ["o2", "o1"]
    assert await listed(status=QueryOrderStatus.CLOSED) == ["o0"]
    assert await listed(status=QueryOrderStatus.ALL, direction="asc") == ["o0", "o1", "o2"]
    assert await listed(status=QueryOrderStatus.ALL, symbols=["MSFT"]) == ["o1"]
    assert await listed(status=QueryOrderStatus.ALL, side=OrderSide.SELL) == []
    second = await venue.door.call(client.get_order_by_client_id, "o1")
    after = second.submitted_at
    assert await listed(status=QueryOrderStatus.ALL, after=after) == ["o2"]
    assert await listed(status=QueryOrderStatus.ALL, until=after) == ["o0"]
    assert await listed(status=QueryOrderStatus.ALL, limit=2) == ["o2", "o1"]


@wire
async def test_order_list_has_fifty_rows_unless_asked_and_pages_by_order_id(venue: Venue) -> None:
    for number in range(60):
        await venue.door.submit("buy", "1", limit="50.00", coid=f"o{number:02d}")

    rows = await venue.door.call("GET", "/v2/orders")
    assert len(rows) == 50
    params = {"direction": "asc", "limit": "40", "status": "all"}
    first = await venue.door.call("GET", "/v2/orders", params=params)
    cursor = {"after_order_id": first[-1]["id"]}
    second = await venue.door.call("GET", "/v2/orders", params=params | cursor)

    names = [row["client_order_id"] for row in first + second]
    assert names == [f"o{number:02d}" for number in range(60)]
    with pytest.raises(Refused, match="limit must be between"):
        await venue.door.call("GET", "/v2/orders?limit=501")


@sdk
async def test_cancel_all_answers_for_each_order(venue: Venue) -> None:
    for number in range(3):
        await venue.door.submit("buy", "1", limit="50.00", coid=f"o{number}")
    await venue.wait(1)

    answers = await venue.door.call(venue.door.client.cancel_orders)
    await venue.wait(1)

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert await venue.door.open_orders() == []


@sdk
async def test_close_position_sells_a_part_or_everything(venue: Venue) -> None:
    client = venue.door.client
    await venue.hold("10")

    half = await venue.door.call(
        client.close_position, "AAPL", ClosePositionRequest(percentage="50")
    )
    await venue.wait(1)
    assert half.qty == "5"
    await venue.door.call(client.close_position, "AAPL")
    await venue.wait(1)

    assert await venue.door.positions() == {}
    with pytest.raises(Refused, match="position does not exist") as caught:
        await venue.door.call(client.close_position, "AAPL")
    assert (caught.value.status, caught.value.code) == (404, 40410000)


@sdk
async def test_close_all_reports_each_symbol_even_where_shares_are_held(venue: Venue) -> None:
    await venue.hold("10")
    await venue.hold("5", MSFT)
    await venue.door.submit("sell", "10", limit="110.00")

    rows = await venue.door.call(venue.door.client.close_all_positions)

    assert [(row.symbol, row.status) for row in rows] == [("AAPL", 403), ("MSFT", 200)]


@sdk
async def test_position_shows_its_gain_as_strings(venue: Venue) -> None:
    await venue.hold("10")
    await venue.at("14:00")

    position = await venue.door.call(venue.door.client.get_open_position, "AAPL")
    value, cost = Decimal(position.market_value), Decimal(position.cost_basis)
    assert Decimal(position.unrealized_pl) == value - cost
    assert position.side.value == "long"


@sdk
async def test_assets_and_portfolio_history_parse(venue: Venue) -> None:
    client = venue.door.client
    await venue.at("17:00")

    assets = await venue.door.call(client.get_all_assets)
    history = await venue.door.call(client.get_portfolio_history)

    assert [asset.symbol for asset in assets] == ["AAPL", "MSFT", "PENY", "XOM"]
    assert history.equity[0] == 100_000.0
    assert len(history.timestamp) == len(history.profit_loss) == 2


@wire
async def test_activities_page_by_the_last_id_and_end_with_a_short_page(venue: Venue) -> None:
    for number in range(7):
        await venue.door.submit("buy", "1", coid=f"o{number}")
        await venue.wait(1)

    seen: list[str] = []
    params = {"direction": "asc", "page_size": "3"}
    for _ in range(10):
        page = await venue.door.call("GET", "/v2/account/activities/FILL", params=params)
        seen += [row["id"] for row in page]
        if len(page) < 3:
            break
        params["page_token"] = page[-1]["id"]

    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen)


@wire
async def test_activities_can_be_asked_by_time_and_kind(venue: Venue) -> None:
    await venue.hold("1")
    middle = venue.clock.now().isoformat()
    await venue.hold("1")
    await venue.door.client.post(
        "/_openbell/activities", json={"kind": "DIV", "net_amount": "1.5", "symbol": "AAPL"}
    )

    async def rows(path: str = "", **params: str) -> list[dict[str, Any]]:
        found = await venue.door.call("GET", f"/v2/account/activities{path}", params=params)
        return list(found)

    assert [row["activity_type"] for row in await rows()] == ["DIV", "FILL", "FILL"]
    assert len(await rows("/FILL", after=middle)) == 1
    assert len(await rows("/FILL", until=middle)) == 1
    assert (await rows("/DIV"))[0]["net_amount"] == "1.5"
    assert len(await rows(category="non_trade_activity")) == 1
    assert len(await rows(activity_types="FILL,DIV")) == 3
    assert await rows(date="2022-11-21") == []


@wire
async def test_numbers_are_strings_without_noise_and_unset_is_null(venue: Venue) -> None:
    order = await venue.door.submit("buy", "10", limit="90.50")

    row = await venue.door.call("GET", f"/v2/orders/{order.id}")
    assert (row["qty"], row["limit_price"], row["filled_qty"]) == ("10", "90.5", "0")
    assert row["filled_avg_price"] is None
    assert row["created_at"].endswith("Z")
    assert (row["order_class"], row["type"], row["order_type"]) == ("", "limit", "limit")


@wire
async def test_inputs_may_be_numbers_or_strings_but_not_binary_noise(venue: Venue) -> None:
    body = {"symbol": "AAPL", "side": "buy", "type": "market", "time_in_force": "day"}
    number = await venue.door.call("POST", "/v2/orders", json=body | {"qty": 1.5})
    assert number["qty"] == "1.5"
    for noise in (0.1 + 0.2, "NaN", "many", True):
        with pytest.raises(Refused):
            await venue.door.call("POST", "/v2/orders", json=body | {"qty": noise})
    with pytest.raises(Refused) as caught:
        await venue.door.call("POST", "/v2/orders", content=b"[1")
    assert (caught.value.status, caught.value.code) == (422, 40010001)


@wire
async def test_every_answer_carries_the_rate_limit_and_the_date(venue: Venue) -> None:
    answer = await venue.door.client.get("/v2/clock")

    assert answer.headers["date"] == "Tue, 22 Nov 2022 15:00:00 GMT"
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(
        answer.headers
    )


@wire
async def test_wrong_keys_are_refused_without_a_code_and_missing_ones_as_a_proxy_does(
    venue: Venue,
) -> None:
    headers = {"APCA-API-KEY-ID": "PKWRONG", "APCA-API-SECRET-KEY": "wrong"}
    wrong = await venue.door.client.get("/v2/account", headers=headers)
    assert (wrong.status_code, wrong.json()) == (401, {"message": "unauthorized."})

    empty = {"APCA-API-KEY-ID": "", "APCA-API-SECRET-KEY": ""}
    missing = await venue.door.client.get("/v2/account", headers=empty)
    assert missing.status_code == 401
    assert missing.headers["content-type"].startswith("text/html")


@sdk
async def test_trading_stream_of_the_sdk_hears_a_whole_life(venue: Venue) -> None:
    server = venue.server
    assert server is not None
    stream = TradingStream(
        server.keys.key_id,
        server.keys.secret_key,
        url_override=server.stream_url,
        websocket_params={"ping_interval": None},
    )
    heard: list[Any] = []

    async def note(update: Any) -> None:
        heard.append(update)

    stream.subscribe_trade_updates(note)
    task = asyncio.create_task(run_stream(stream))
    await venue.wait(1)
    await venue.door.submit("buy", "10", coid="streamed")
    await venue.wait(1)
    await stream.stop_ws()
    await asyncio.wait_for(task, 30)
    await stream.close()

    assert [str(update.event) for update in heard] == ["pending_new", "new", "fill"]
    assert heard[-1].order.client_order_id == "streamed"
    assert (heard[-1].qty, heard[-1].position_qty) == (10.0, 10.0)


@sdk
async def test_bars_stop_at_the_present(venue: Venue) -> None:
    server = venue.server
    assert server is not None
    client = StockHistoricalDataClient(
        server.keys.key_id, server.keys.secret_key, url_override=server.data_url
    )
    request = StockBarsRequest(
        symbol_or_symbols=["AAPL", "NOPE"],
        timeframe=TimeFrame.Day,
        start=dt.datetime(2022, 11, 1, tzinfo=dt.UTC),
        end=dt.datetime(2022, 12, 30, tzinfo=dt.UTC),
        feed=DataFeed.IEX,
    )

    bars = (await venue.door.call(client.get_stock_bars, request)).data
    assert list(bars) == ["AAPL"]
    whole, running = bars["AAPL"]
    assert (whole.open, whole.high, whole.low, whole.close) == (100.0, 103.0, 98.0, 102.0)
    assert running.timestamp == moment("00:00")
    assert running.high < 103.0


@sdk
async def test_minute_bars_quotes_and_snapshots_parse(venue: Venue) -> None:
    server = venue.server
    assert server is not None
    client = StockHistoricalDataClient(
        server.keys.key_id, server.keys.secret_key, url_override=server.data_url
    )
    minutes = StockBarsRequest(
        symbol_or_symbols="AAPL",
        timeframe=TimeFrame.Hour,
        start=moment("09:00"),
        end=moment("10:00"),
        feed=DataFeed.IEX,
    )
    latest = StockLatestQuoteRequest(symbol_or_symbols="AAPL", feed=DataFeed.IEX)
    snapshot = StockSnapshotRequest(symbol_or_symbols=["AAPL"], feed=DataFeed.IEX)

    hours = (await venue.door.call(client.get_stock_bars, minutes)).data["AAPL"]
    quote = (await venue.door.call(client.get_stock_latest_quote, latest))["AAPL"]
    snap = (await venue.door.call(client.get_stock_snapshot, snapshot))["AAPL"]

    assert hours[0].timestamp == moment("09:00")
    assert hours[0].open == 100.0
    assert quote.bid_price < snap.latest_trade.price < quote.ask_price
    assert snap.previous_daily_bar.close == 102.0


@over("alpaca_py", news=(NEWS,))
async def test_news_appears_when_it_is_published(venue: Venue) -> None:
    server = venue.server
    assert server is not None
    client = NewsClient(server.keys.key_id, server.keys.secret_key, url_override=server.data_url)
    request = NewsRequest(symbols="AAPL", start=moment("00:00"), limit=10)

    assert (await venue.door.call(client.get_news, request)).data["news"] == []
    await venue.at("11:00")

    (item,) = (await venue.door.call(client.get_news, request)).data["news"]
    assert (item.id, item.headline, item.symbols) == (17, "Apple rises", ["AAPL"])


@sdk
async def test_data_stream_of_the_sdk_hears_trades_quotes_and_bars(venue: Venue) -> None:
    server = venue.server
    assert server is not None
    stream = StockDataStream(
        server.keys.key_id,
        server.keys.secret_key,
        url_override=server.data_stream_url,
        websocket_params={"ping_interval": None},
    )
    heard: list[Any] = []

    async def note(message: Any) -> None:
        heard.append(message)

    stream.subscribe_trades(note, "AAPL")
    stream.subscribe_quotes(note, "AAPL")
    stream.subscribe_bars(note, "AAPL")
    task = asyncio.create_task(run_stream(stream))
    await venue.at("10:06:30", DAY)
    await stream.stop_ws()
    await asyncio.wait_for(task, 30)
    await stream.close()

    kinds = [type(message).__name__ for message in heard]
    assert kinds == ["Bar", "Trade", "Quote", "Bar"]
    assert heard[1].timestamp == moment("10:05")
    assert heard[3].timestamp == moment("10:05")
    assert heard[3].close == heard[1].price
