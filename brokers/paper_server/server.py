"""The embedded paper broker: Alpaca's API on 127.0.0.1, on the running event loop."""

import asyncio
import contextlib
import datetime as dt
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from brokers.exchange.by_hand import HandPrices
from brokers.exchange.closures import WithClosures
from brokers.exchange.engine import Exchange
from brokers.exchange.prices import PriceFeed, SessionSource
from brokers.exchange.settings import ExchangeSettings
from brokers.paper_server.account import AccountApi
from brokers.paper_server.control import ControlApi
from brokers.paper_server.data_stream import DataStream
from brokers.paper_server.faults import FaultBox, FaultKind
from brokers.paper_server.gate import Gate
from brokers.paper_server.journal import Journal
from brokers.paper_server.market_data import MarketDataApi
from brokers.paper_server.options import ServerOptions
from brokers.paper_server.stream_faults import StreamFaults
from brokers.paper_server.trade_stream import TradeStream
from brokers.paper_server.trading import TradingApi
from brokers.paper_server.venue import Venue
from domain.clock import Clock
from domain.errors import ConfigError
from transport.serving import cut_off, listen, start_serving

_HOST = "127.0.0.1"


class PaperServer:
    """``async with PaperServer(...) as server``: serves until the block ends.

    The account lives in ``directory`` and survives the process.  A clock that is behind
    the account's last time is taken to start there.
    """

    def __init__(
        self,
        directory: Path,
        *,
        feed: PriceFeed,
        calendar: SessionSource,
        clock: Clock,
        settings: ExchangeSettings | None = None,
        options: ServerOptions | None = None,
    ) -> None:
        options = options or ServerOptions()
        self.keys = options.keys
        self._journal = Journal(directory)
        self._prices = HandPrices(feed)
        self._calendar = WithClosures(calendar)
        self._venue = Venue(
            feed=self._prices,
            calendar=self._calendar,
            settings=settings or ExchangeSettings(),
            journal=self._journal,
            clock=clock,
        )
        self._faults = FaultBox()
        for fault in options.faults:
            self._faults.arm(fault)
        self._gate = Gate(
            self._venue,
            keys=self.keys,
            faults=self._faults,
            per_minute=options.requests_per_minute,
            abort=self._abort,
        )
        self._trades = TradeStream(self._venue, self.keys.match)
        self._trades.intercept = StreamFaults(
            self._faults, drop=self._drop_streams, mute=self._trades.mute
        ).intercept
        self._trades.is_refusing = lambda: self._faults.strike(FaultKind.REFUSE_STREAM) is not None
        self._market_data = MarketDataApi(self._venue, options.news)
        self._data = DataStream(self._venue, self.keys.match, options.news)
        self._port = options.port
        self._uvicorn: uvicorn.Server | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def exchange(self) -> Exchange:
        """The exchange behind the server, for tests and for the joined truth."""
        return self._venue.exchange

    @property
    def venue(self) -> Venue:
        """Exchange, journal and clock together."""
        return self._venue

    @property
    def faults(self) -> FaultBox:
        """The armed faults."""
        return self._faults

    @property
    def last_time(self) -> dt.datetime:
        """The time the account has reached."""
        return self._venue.exchange.last_time

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every request since the start, oldest first."""
        return list(self._gate.log)

    @property
    def port(self) -> int:
        """TCP port, chosen by the system when 0 was asked for."""
        return self._port

    @property
    def base_url(self) -> str:
        """URL of the trading API."""
        return f"http://{_HOST}:{self._port}"

    @property
    def data_url(self) -> str:
        """URL of the market data API."""
        return self.base_url

    @property
    def stream_url(self) -> str:
        """URL of the trade_updates stream."""
        return f"ws://{_HOST}:{self._port}/stream"

    @property
    def data_stream_url(self) -> str:
        """URL of the market data stream."""
        return f"ws://{_HOST}:{self._port}/v2/iex"

    @property
    def news_stream_url(self) -> str:
        """URL of the news stream."""
        return f"ws://{_HOST}:{self._port}/v1beta1/news"

    async def __aenter__(self) -> Self:
        """Start serving and let the market move."""
        try:
            listener = _listen(self._port)
        except ConfigError:
            self._journal.close()
            raise
        self._port = listener.getsockname()[1]
        self._uvicorn = await start_serving(
            Starlette(routes=self._routes()),
            listener,
            ws="websockets-sansio",
            ws_ping_interval=None,
            ws_ping_timeout=None,
            ws_per_message_deflate=False,
        )
        self._venue.settle()
        self._pump = asyncio.create_task(self._venue.pump(), name="paper-server-pump")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the market, close every connection, leave the account on disk."""
        try:
            if self._pump is not None:
                self._pump.cancel()
                # A pump that failed says so here.
                with contextlib.suppress(asyncio.CancelledError):
                    await self._pump
            self._venue.exchange.mark_time(self._venue.now())
            self._venue.commit()
        finally:
            if self._uvicorn is not None:
                await cut_off(self._uvicorn)
            self._journal.close()

    def _routes(self) -> list[BaseRoute]:
        control = ControlApi(self._venue, self._prices, self._faults, self._gate, self._calendar)
        trading = TradingApi(self._venue, self._faults)
        routes: list[BaseRoute] = [
            Route(path, self._gate.wrap(handler), methods=[method])
            for api in (trading, AccountApi(self._venue), self._market_data)
            for method, path, handler in api.routes()
        ]
        routes += control.routes()
        routes.append(WebSocketRoute("/stream", self._trades.serve))
        for path in ("/v2/iex", "/v2/sip", "/v1beta1/news"):
            routes.append(WebSocketRoute(path, self._data.serve))
        routes.append(Route("/{path:path}", _no_such_endpoint, methods=_ALL_METHODS))
        return routes

    def _abort(self, peer: tuple[str, int]) -> None:
        server = self._uvicorn
        for connection in list(server.server_state.connections) if server is not None else []:
            if connection.transport.get_extra_info("peername")[:2] == peer:
                connection.transport.abort()

    def _drop_streams(self, seconds: float) -> None:
        self._trades.closed_until = self._venue.now() + dt.timedelta(seconds=seconds)
        for subscriber in list(self._trades.subscribers):
            if subscriber.is_listening and subscriber.peer is not None:
                subscriber.is_listening = False
                self._abort(subscriber.peer)


_ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def _listen(port: int) -> socket.socket:
    try:
        return listen(_HOST, port)
    except OSError as exc:
        raise ConfigError(f"port {port} of {_HOST} is taken; choose another with --port") from exc


async def _no_such_endpoint(request: Request) -> Response:
    body = {"code": 40410000, "message": f"endpoint not found: {request.url.path}"}
    return JSONResponse(body, status_code=404)
