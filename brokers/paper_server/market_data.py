"""Handlers of the market data API: bars, quotes, trades, snapshots, news."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from brokers.exchange.prices import Quote
from brokers.exchange.refusal import Refusal
from brokers.exchange.windows import new_york
from brokers.paper_server import requests
from brokers.paper_server.answers import Answer, Call, json_answer
from brokers.paper_server.candles import Candle, candles, day_start
from brokers.paper_server.trading import Routes
from brokers.paper_server.venue import Venue
from brokers.paper_server.wire import Json, stamp
from domain.ids import Symbol
from domain.market import NewsItem

_DEFAULT_LIMIT, _LARGEST_LIMIT = 1_000, 10_000
_NEWS_LIMIT, _LARGEST_NEWS_LIMIT = 10, 50
_LOT = 100

Row = tuple[Symbol, Json]


class MarketDataApi:
    """Prices and news over the venue, as far as its time has come."""

    def __init__(self, venue: Venue, news: Sequence[NewsItem]) -> None:
        self._venue = venue
        self._news = sorted(news, key=lambda item: (item.published_at, item.item_id))

    def routes(self) -> Routes:
        """Return method, path and handler of each endpoint."""
        yield "GET", "/v2/stocks/bars", self.bars
        yield "GET", "/v2/stocks/quotes", self.quotes
        yield "GET", "/v2/stocks/trades", self.trades
        yield "GET", "/v2/stocks/bars/latest", self.latest_bars
        yield "GET", "/v2/stocks/quotes/latest", self.latest_quotes
        yield "GET", "/v2/stocks/trades/latest", self.latest_trades
        yield "GET", "/v2/stocks/snapshots", self.snapshots
        yield "GET", "/v1beta1/news", self.news
        yield "GET", "/v1/corporate-actions", self.corporate_actions

    def bars(self, call: Call) -> Answer:
        """Read bars of many symbols."""
        timeframe = call.query.get("timeframe", "1Day")
        start, end = self._range(call)

        def rows(symbol: Symbol) -> Iterable[Json]:
            found = candles(self._venue.exchange, symbol, timeframe, start, end)
            return [bar_json(candle) for candle in found]

        return self._paged(call, "bars", rows)

    def quotes(self, call: Call) -> Answer:
        """Read the quotes of each step of the prices."""
        return self._paged(call, "quotes", lambda symbol: self._steps(call, symbol, quote_json))

    def trades(self, call: Call) -> Answer:
        """Read one trade for each step of the prices."""
        return self._paged(call, "trades", lambda symbol: self._steps(call, symbol, trade_json))

    def latest_bars(self, call: Call) -> Answer:
        """Read the newest minute bar of each symbol."""
        return json_answer({"bars": self._each(call, self._minute_bar)})

    def latest_quotes(self, call: Call) -> Answer:
        """Read the newest quote of each symbol."""
        return json_answer({"quotes": self._each(call, self._latest(quote_json))})

    def latest_trades(self, call: Call) -> Answer:
        """Read the newest trade of each symbol."""
        return json_answer({"trades": self._each(call, self._latest(trade_json))})

    def snapshots(self, call: Call) -> Answer:
        """Read newest trade, quote and bars of each symbol."""
        return json_answer(self._each(call, self._snapshot))

    def news(self, call: Call) -> Answer:
        """Read headlines published so far."""
        start = requests.read_moment(call.query, "start")
        end = min(requests.read_moment(call.query, "end") or self._venue.now(), self._venue.now())
        symbols = set(call.query.get("symbols", "").split(",")) - {""}
        items = [
            item
            for item in self._news
            if (start is None or item.published_at >= start)
            and item.published_at <= end
            and (not symbols or symbols & set(item.symbols))
        ]
        if call.query.get("sort", "desc") != "asc":
            items.reverse()
        rows = [(Symbol(""), news_json(item)) for item in items]
        page, token = _page(call, rows, _NEWS_LIMIT, _LARGEST_NEWS_LIMIT)
        return json_answer({"news": [row for _, row in page], "next_page_token": token})

    def corporate_actions(self, call: Call) -> Answer:
        """Say that there are none: recorded prices are adjusted already."""
        del call
        return json_answer({"corporate_actions": {}, "next_page_token": None})

    def _range(self, call: Call) -> tuple[dt.datetime, dt.datetime]:
        now = self._venue.now()
        start = requests.read_moment(call.query, "start") or day_start(new_york(now).date())
        end = requests.read_moment(call.query, "end")
        return start, now if end is None else min(end, now)

    def _paged(self, call: Call, name: str, rows: Callable[[Symbol], Iterable[Json]]) -> Answer:
        is_descending = call.query.get("sort") == "desc"
        flat: list[Row] = []
        for symbol in _symbols(call):
            found = list(rows(symbol))
            if is_descending:
                found.reverse()
            flat += [(symbol, row) for row in found]
        page, token = _page(call, flat, _DEFAULT_LIMIT, _LARGEST_LIMIT)
        grouped: dict[str, list[Json]] = {}
        for symbol, row in page:
            grouped.setdefault(symbol, []).append(row)
        return json_answer({name: grouped, "next_page_token": token})

    def _steps(
        self, call: Call, symbol: Symbol, shape: Callable[[Quote, dt.datetime], Json]
    ) -> Iterable[Json]:
        start, end = self._range(call)
        feed, moment = self._venue.exchange.feed, start - dt.timedelta(microseconds=1)
        while (change := feed.next_change(moment)) is not None and change <= end:
            moment = change
            quote = feed.quote(symbol, change)
            if quote is not None and quote.volume is not None:
                yield shape(quote, change)

    def _each(self, call: Call, read: Callable[[Symbol], Json | None]) -> dict[str, Json]:
        found = {symbol: read(symbol) for symbol in _symbols(call)}
        return {symbol: row for symbol, row in found.items() if row is not None}

    def _latest(
        self, shape: Callable[[Quote, dt.datetime], Json]
    ) -> Callable[[Symbol], Json | None]:
        def read(symbol: Symbol) -> Json | None:
            now = self._venue.now()
            quote = self._venue.exchange.feed.quote(symbol, now)
            return shape(quote, now) if quote is not None else None

        return read

    def _minute_bar(self, symbol: Symbol) -> Json | None:
        now = self._venue.now()
        found = candles(self._venue.exchange, symbol, "1Min", now - dt.timedelta(days=5), now)
        return bar_json(found[-1]) if found else None

    def _snapshot(self, symbol: Symbol) -> Json | None:
        now = self._venue.now()
        if self._venue.exchange.feed.quote(symbol, now) is None:
            return None
        days = candles(self._venue.exchange, symbol, "1Day", now - dt.timedelta(days=10), now)
        return {
            "latestTrade": self._latest(trade_json)(symbol),
            "latestQuote": self._latest(quote_json)(symbol),
            "minuteBar": self._minute_bar(symbol),
            "dailyBar": bar_json(days[-1]) if days else None,
            "prevDailyBar": bar_json(days[-2]) if len(days) > 1 else None,
        }


def bar_json(candle: Candle) -> Json:
    """Write one bar; prices are JSON numbers here."""
    return {
        "t": candle.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "o": float(candle.open),
        "h": float(candle.high),
        "l": float(candle.low),
        "c": float(candle.close),
        "v": int(candle.volume),
        "n": max(1, int(candle.volume) // _LOT),
        "vw": float(round((candle.open + candle.high + candle.low + candle.close) / 4, 4)),
    }


def quote_json(quote: Quote, at: dt.datetime) -> Json:
    """Write one quote."""
    return {
        "t": stamp(at),
        "ax": "V",
        "ap": float(quote.ask),
        "as": _LOT,
        "bx": "V",
        "bp": float(quote.bid),
        "bs": _LOT,
        "c": ["R"],
        "z": "C",
    }


def trade_json(quote: Quote, at: dt.datetime) -> Json:
    """Write one trade at the last price."""
    return {
        "t": stamp(at),
        "x": "V",
        "p": float(quote.last),
        "s": _LOT,
        "c": ["@"],
        "i": int(at.timestamp() * 1_000_000),
        "z": "C",
    }


def news_json(item: NewsItem) -> Json:
    """Write one headline."""
    return {
        "id": news_number(item),
        "headline": item.headline,
        "author": item.source,
        "created_at": stamp(item.published_at),
        "updated_at": stamp(item.published_at),
        "summary": item.summary,
        "content": "",
        "url": None,
        "images": [],
        "symbols": list(item.symbols),
        "source": item.source,
    }


def news_number(item: NewsItem) -> int:
    """Return the integer id of a headline."""
    digits = "".join(letter for letter in item.item_id if letter.isdigit())
    return int(digits[-15:]) if digits else 0


def _symbols(call: Call) -> list[Symbol]:
    names = {name for name in call.query.get("symbols", "").split(",") if name}
    if not names:
        raise Refusal(400, 40010001, "symbols is required")
    return [Symbol(name) for name in sorted(names)]


def _page(
    call: Call, rows: Sequence[Row], default: int, largest: int
) -> tuple[Sequence[Row], str | None]:
    limit = requests.read_decimal(call.query, "limit")
    size = default if limit is None else int(limit)
    if not 1 <= size <= largest:
        raise Refusal(400, 40010001, f"limit must be between 1 and {largest}")
    token: Any = requests.read_decimal(call.query, "page_token")
    start = int(token if token is not None else Decimal(0))
    following = start + size
    return rows[start:following], str(following) if following < len(rows) else None
