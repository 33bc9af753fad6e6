"""The market data and news WebSockets: msgpack for Alpaca's client, JSON for others."""

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]
from starlette.websockets import WebSocket, WebSocketDisconnect

from brokers.exchange.prices import Quote
from brokers.paper_server.market_data import news_json, quote_json, trade_json
from brokers.paper_server.trade_stream import CheckKeys
from brokers.paper_server.venue import Venue
from brokers.paper_server.wire import Json, stamp
from domain.ids import Symbol
from domain.market import NewsItem

_PRICE_CHANNELS = (
    "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds",
)  # fmt: skip
_MINUTE = dt.timedelta(minutes=1)


class _Client:
    """One connection, its channels, and what still has to be sent."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.is_packed = "msgpack" in websocket.headers.get("content-type", "")
        self.channels: dict[str, set[str]] = {}
        self.queue: asyncio.Queue[list[Json]] = asyncio.Queue()

    def wants(self, channel: str, symbol: str) -> bool:
        return bool(self.channels.get(channel, set()) & {symbol, "*"})

    def say(self, *messages: Json) -> None:
        self.queue.put_nowait(list(messages))

    async def write(self) -> None:
        # The reader sees the end of the connection; sending into it is no error.
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                messages = await self.queue.get()
                if self.is_packed:
                    await self.websocket.send_bytes(msgpack.packb(messages, default=_pack_time))
                else:
                    await self.websocket.send_text(json.dumps(messages, default=stamp))


class DataStream:
    """Publishes each step of the prices, minute bars, and news when it is time."""

    def __init__(self, venue: Venue, check_keys: CheckKeys, news: Sequence[NewsItem]) -> None:
        self._venue = venue
        self._check_keys = check_keys
        self._clients: list[_Client] = []
        self._news = sorted(news, key=lambda item: (item.published_at, item.item_id))
        self._served_until = venue.now()
        venue.add_timer(self.next_due, self.on_time)

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until either side leaves."""
        await websocket.accept()
        client = _Client(websocket)
        client.say({"T": "success", "msg": "connected"})
        if not self._clients:
            # Nothing is replayed: what happened before the first client is over.
            self._served_until = self._venue.now()
        self._clients.append(client)
        writer = asyncio.ensure_future(client.write())
        try:
            with contextlib.suppress(WebSocketDisconnect):
                await self._read(client)
        finally:
            self._clients.remove(client)
            writer.cancel()

    def next_due(self) -> dt.datetime | None:
        """Return the next moment with something to publish."""
        times: list[dt.datetime] = []
        if any(set(client.channels) & set(_PRICE_CHANNELS) for client in self._clients):
            feed = self._venue.exchange.feed
            change = feed.next_change(self._served_until)
            bar = feed.next_change(self._served_until - _MINUTE)
            times += [change] if change is not None else []
            times += [bar + _MINUTE] if bar is not None else []
        if any("news" in client.channels for client in self._clients):
            times += [n.published_at for n in self._news if n.published_at > self._served_until][:1]
        return min(times, default=None)

    def on_time(self, now: dt.datetime) -> None:
        """Publish everything that is due by now, in order."""
        while (due := self.next_due()) is not None and due <= now:
            self._publish(due)
            self._served_until = due

    def _publish(self, at: dt.datetime) -> None:
        feed = self._venue.exchange.feed
        is_change = feed.next_change(self._served_until) == at
        started = feed.next_change(self._served_until - _MINUTE)
        is_bar = started is not None and started + _MINUTE == at
        for client in self._clients:
            messages: list[Json] = []
            for listing in feed.listings():
                symbol = listing.symbol
                quote = feed.quote(symbol, at)
                if is_change and quote is not None and quote.volume is not None:
                    messages += _ticks(client, symbol, quote, at)
                if is_bar and started is not None and client.wants("bars", symbol):
                    messages += _minute_bar(symbol, feed.quote(symbol, started), started)
            messages += [
                _news(item)
                for item in self._news
                if item.published_at == at and any(client.wants("news", s) for s in item.symbols)
            ]
            if messages:
                client.say(*messages)

    async def _read(self, client: _Client) -> None:
        is_known = False
        while True:
            request = await _receive(client)
            action = request.get("action")
            if action == "auth":
                keys = str(request.get("key", "")), str(request.get("secret", ""))
                if is_known:
                    client.say({"T": "error", "code": 403, "msg": "already authenticated"})
                elif self._check_keys(*keys):
                    is_known = True
                    client.say({"T": "success", "msg": "authenticated"})
                else:
                    client.say({"T": "error", "code": 402, "msg": "auth failed"})
            elif not is_known:
                client.say({"T": "error", "code": 401, "msg": "not authenticated"})
            elif action in ("subscribe", "unsubscribe"):
                _subscribe(client, request, is_adding=action == "subscribe")
                self._venue.wake()
            else:
                client.say({"T": "error", "code": 400, "msg": "invalid syntax"})


def _subscribe(client: _Client, request: Mapping[str, Any], *, is_adding: bool) -> None:
    for channel in (*_PRICE_CHANNELS, "news"):
        symbols = {str(symbol) for symbol in request.get(channel) or ()}
        if not symbols:
            continue
        known = client.channels.setdefault(channel, set())
        known.update(symbols) if is_adding else known.difference_update(symbols)
        if not known:
            del client.channels[channel]
    is_news = client.websocket.url.path.endswith("news")
    names = ("news",) if is_news else _PRICE_CHANNELS
    client.say(
        {"T": "subscription", **{name: sorted(client.channels.get(name, ())) for name in names}}
    )


def _ticks(client: _Client, symbol: Symbol, quote: Quote, at: dt.datetime) -> list[Json]:
    messages: list[Json] = []
    if client.wants("trades", symbol):
        messages.append({"T": "t", "S": symbol, **trade_json(quote, at), "t": at})
    if client.wants("quotes", symbol):
        messages.append({"T": "q", "S": symbol, **quote_json(quote, at), "t": at})
    return messages


def _minute_bar(symbol: Symbol, quote: Quote | None, at: dt.datetime) -> list[Json]:
    if quote is None or quote.volume is None:
        return []
    price = float(quote.last)
    prices = {"o": price, "h": price, "l": price, "c": price, "vw": price}
    volume = int(quote.volume)
    return [{"T": "b", "S": symbol, **prices, "v": volume, "n": max(1, volume // 100), "t": at}]


def _news(item: NewsItem) -> Json:
    body = news_json(item) | {"created_at": item.published_at, "updated_at": item.published_at}
    del body["images"]
    return {"T": "n", **body}


def _pack_time(value: Any) -> Any:
    return msgpack.Timestamp.from_datetime(value) if isinstance(value, dt.datetime) else str(value)


async def _receive(client: _Client) -> Json:
    message = await client.websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    try:
        raw = message.get("bytes")
        request = json.loads(message["text"]) if raw is None else msgpack.unpackb(raw)
    except (ValueError, KeyError, TypeError, msgpack.UnpackException):
        request = None
    return request if isinstance(request, dict) else {}
