"""Doors to one and the same account: each is another way in, all must tell the same story."""

import asyncio
import contextlib
import datetime as dt
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import httpx
import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide
from alpaca.trading.enums import TimeInForce as SdkTif
from alpaca.trading.requests import GetCalendarRequest, LimitOrderRequest, MarketOrderRequest

from brokers.alpaca import AlpacaBroker, AlpacaSettings
from brokers.exchange.engine import Exchange
from brokers.exchange.in_process import InProcessBroker
from brokers.exchange.settings import ExchangeSettings
from brokers.paper_server import PaperServer, ServerOptions
from domain.clock import Clock, LoopClock, SystemClock
from domain.errors import DuplicateOrder, OrderRejected
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.orders import BrokerOrder, OrderRequest, OrderType, Side, TimeInForce
from domain.secrets import Secret
from tests.support.exchange_world import AAPL, DAY, calendar, feed, moment
from transport.replay_loop import ReplayLoop

NEW_YORK = ZoneInfo("America/New_York")
ALPACA_URL = "https://paper-api.alpaca.markets"


class Refused(Exception):
    """An order or cancel was refused; ``status`` is None where the door hides it."""

    def __init__(self, status: int | None, code: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Seen:
    """An order as any door shows it."""

    id: str
    client_order_id: str
    symbol: str
    side: str
    quantity: Decimal
    filled: Decimal
    price: Decimal | None
    limit: Decimal | None
    kind: str
    tif: str
    status: str


@dataclass(frozen=True)
class SeenAccount:
    number: str
    equity: Decimal
    last_equity: Decimal
    cash: Decimal
    buying_power: Decimal
    is_suspended: bool


@dataclass(frozen=True)
class SeenFill:
    order_id: str
    quantity: Decimal
    price: Decimal
    cumulative: Decimal


@dataclass(frozen=True)
class SeenClock:
    now: dt.datetime
    is_open: bool
    next_open: dt.datetime
    next_close: dt.datetime


class Door(Protocol):
    """What a test can do through any door."""

    async def submit(
        self,
        side: str = "buy",
        quantity: str = "10",
        *,
        symbol: str = AAPL,
        limit: str | None = None,
        tif: str = "day",
        coid: str | None = None,
    ) -> Seen: ...
    async def find(self, coid: str) -> Seen | None: ...
    async def get(self, order_id: str) -> Seen | None: ...
    async def open_orders(self) -> list[Seen]: ...
    async def cancel(self, order_id: str) -> None: ...
    async def cancel_everything(self) -> None: ...
    async def account(self) -> SeenAccount: ...
    async def positions(self) -> dict[str, tuple[Decimal, Decimal]]: ...
    async def fills(self) -> list[SeenFill]: ...
    async def clock(self) -> SeenClock: ...
    async def sessions(
        self, start: dt.date, end: dt.date
    ) -> list[tuple[dt.date, dt.datetime, dt.datetime]]: ...
    async def tradable(self, symbol: str) -> bool | None: ...
    async def suspend(self, on: bool) -> bool: ...
    async def forbid_shorting(self, on: bool) -> bool: ...


class PortDoor:
    """A Broker port: the in-process one, or the Alpaca adapter over sockets."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self._numbers = itertools.count()

    async def submit(
        self,
        side: str = "buy",
        quantity: str = "10",
        *,
        symbol: str = AAPL,
        limit: str | None = None,
        tif: str = "day",
        coid: str | None = None,
    ) -> Seen:
        request = OrderRequest(
            client_order_id=ClientOrderId(coid or f"t-{next(self._numbers)}"),
            strategy="test",
            session_date=DAY,
            symbol=Symbol(symbol),
            side=Side(side),
            quantity=Decimal(quantity),
            order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            limit_price=None if limit is None else Decimal(limit),
            time_in_force=TimeInForce(tif),
            leg="entry",
            revision=0,
            decision_price=Decimal(100),
            reason="contract",
        )
        try:
            order = await self.broker.submit(request, guard=lambda: None)
        except DuplicateOrder as exc:
            raise Refused(None, 40010001, "client_order_id must be unique") from exc
        except OrderRejected as exc:
            raise Refused(None, exc.code, str(exc)) from exc
        return _from_port(order)

    async def find(self, coid: str) -> Seen | None:
        order = await self.broker.find_order(ClientOrderId(coid))
        return None if order is None else _from_port(order)

    async def get(self, order_id: str) -> Seen | None:
        order = await self.broker.get_order(BrokerOrderId(order_id))
        return None if order is None else _from_port(order)

    async def open_orders(self) -> list[Seen]:
        return [_from_port(order) for order in await self.broker.open_orders()]

    async def cancel(self, order_id: str) -> None:
        try:
            await self.broker.cancel(BrokerOrderId(order_id))
        except OrderRejected as exc:
            raise Refused(None, exc.code, str(exc)) from exc

    async def cancel_everything(self) -> None:
        await self.broker.cancel_everything()

    async def account(self) -> SeenAccount:
        found = await self.broker.account()
        return SeenAccount(
            number=found.account_number,
            equity=found.equity,
            last_equity=found.last_equity,
            cash=found.cash,
            buying_power=found.buying_power,
            is_suspended=found.is_suspended_by_user,
        )

    async def positions(self) -> dict[str, tuple[Decimal, Decimal]]:
        return {
            str(one.symbol): (one.quantity, one.avg_entry_price)
            for one in await self.broker.positions()
        }

    async def fills(self) -> list[SeenFill]:
        rows = await self.broker.activities(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        return [
            SeenFill(
                str(row.broker_order_id),
                Decimal(row.quantity or 0),
                Decimal(row.price or 0),
                Decimal(row.cumulative_quantity or 0),
            )
            for row in rows
            if row.kind == "FILL"
        ]

    async def clock(self) -> SeenClock:
        found = await self.broker.clock()
        return SeenClock(found.now, found.is_open, found.next_open, found.next_close)

    async def sessions(
        self, start: dt.date, end: dt.date
    ) -> list[tuple[dt.date, dt.datetime, dt.datetime]]:
        return [(s.date, s.open, s.close) for s in await self.broker.calendar(start, end)]

    async def tradable(self, symbol: str) -> bool | None:
        found = (await self.broker.assets([Symbol(symbol)])).get(Symbol(symbol))
        return None if found is None else found.is_tradable

    async def suspend(self, on: bool) -> bool:
        return bool(await self.broker.set_suspended(is_suspended=on))

    async def forbid_shorting(self, on: bool) -> bool:
        answer = await self.broker.set_shorting_forbidden(is_forbidden=on)
        assert await self.broker.is_shorting_forbidden() is answer
        return bool(answer)


class HttpDoor:
    """Alpaca's HTTP API, spoken by hand."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def call(self, method: str, path: str, **fields: Any) -> Any:
        answer = await self.client.request(method, path, **fields)
        if answer.status_code >= 400:
            body = answer.json()
            raise Refused(answer.status_code, body.get("code"), body.get("message", ""))
        return answer.json() if answer.content else None

    async def submit(
        self,
        side: str = "buy",
        quantity: str = "10",
        *,
        symbol: str = AAPL,
        limit: str | None = None,
        tif: str = "day",
        coid: str | None = None,
    ) -> Seen:
        body = {
            "symbol": symbol,
            "qty": quantity,
            "side": side,
            "type": "market" if limit is None else "limit",
            "time_in_force": tif,
            "limit_price": limit,
            "client_order_id": coid,
        }
        body = {name: value for name, value in body.items() if value is not None}
        return _from_json(await self.call("POST", "/v2/orders", json=body))

    async def find(self, coid: str) -> Seen | None:
        params = {"client_order_id": coid}
        return await self._maybe("/v2/orders:by_client_order_id", params)

    async def get(self, order_id: str) -> Seen | None:
        return await self._maybe(f"/v2/orders/{order_id}", {})

    async def open_orders(self) -> list[Seen]:
        return [_from_json(row) for row in await self.call("GET", "/v2/orders?limit=500")]

    async def cancel(self, order_id: str) -> None:
        await self.call("DELETE", f"/v2/orders/{order_id}")

    async def cancel_everything(self) -> None:
        await self.call("DELETE", "/v2/orders")

    async def account(self) -> SeenAccount:
        return _account(await self.call("GET", "/v2/account"))

    async def positions(self) -> dict[str, tuple[Decimal, Decimal]]:
        rows = await self.call("GET", "/v2/positions")
        return {
            row["symbol"]: (Decimal(row["qty"]), Decimal(row["avg_entry_price"])) for row in rows
        }

    async def fills(self) -> list[SeenFill]:
        params = {"direction": "asc"}
        return [
            _fill(row)
            for row in await self.call("GET", "/v2/account/activities/FILL", params=params)
        ]

    async def clock(self) -> SeenClock:
        return _clock(await self.call("GET", "/v2/clock"))

    async def sessions(
        self, start: dt.date, end: dt.date
    ) -> list[tuple[dt.date, dt.datetime, dt.datetime]]:
        params = {"start": start.isoformat(), "end": end.isoformat()}
        return [_session(row) for row in await self.call("GET", "/v2/calendar", params=params)]

    async def tradable(self, symbol: str) -> bool | None:
        try:
            return bool((await self.call("GET", f"/v2/assets/{symbol}"))["tradable"])
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    async def suspend(self, on: bool) -> bool:
        path = "/v2/account/configurations"
        return bool((await self.call("PATCH", path, json={"suspend_trade": on}))["suspend_trade"])

    async def forbid_shorting(self, on: bool) -> bool:
        path = "/v2/account/configurations"
        return bool((await self.call("PATCH", path, json={"no_shorting": on}))["no_shorting"])

    async def _maybe(self, path: str, params: dict[str, str]) -> Seen | None:
        try:
            return _from_json(await self.call("GET", path, params=params))
        except Refused as refused:
            if (refused.status, refused.code) != (404, 40410000):
                raise
            return None


class SdkDoor:
    """The unmodified TradingClient of alpaca-py, in a thread."""

    def __init__(self, client: TradingClient) -> None:
        self.client = client

    async def call(self, method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        try:
            return await asyncio.to_thread(method, *args, **fields)
        except APIError as exc:
            raise Refused(exc.status_code, exc.code, exc.message) from exc

    async def submit(
        self,
        side: str = "buy",
        quantity: str = "10",
        *,
        symbol: str = AAPL,
        limit: str | None = None,
        tif: str = "day",
        coid: str | None = None,
    ) -> Seen:
        fields: dict[str, Any] = {
            "symbol": symbol,
            "qty": Decimal(quantity),
            "side": OrderSide(side),
            "time_in_force": SdkTif(tif),
            "client_order_id": coid,
        }
        request = (
            MarketOrderRequest(**fields)
            if limit is None
            else LimitOrderRequest(**fields, limit_price=Decimal(limit))
        )
        return _from_sdk(await self.call(self.client.submit_order, request))

    async def find(self, coid: str) -> Seen | None:
        return await self._maybe(self.client.get_order_by_client_id, coid)

    async def get(self, order_id: str) -> Seen | None:
        return await self._maybe(self.client.get_order_by_id, order_id)

    async def open_orders(self) -> list[Seen]:
        return [_from_sdk(order) for order in await self.call(self.client.get_orders)]

    async def cancel(self, order_id: str) -> None:
        await self.call(self.client.cancel_order_by_id, order_id)

    async def cancel_everything(self) -> None:
        await self.call(self.client.cancel_orders)

    async def account(self) -> SeenAccount:
        return _account((await self.call(self.client.get_account)).model_dump())

    async def positions(self) -> dict[str, tuple[Decimal, Decimal]]:
        rows = await self.call(self.client.get_all_positions)
        return {row.symbol: (Decimal(row.qty), Decimal(row.avg_entry_price)) for row in rows}

    async def fills(self) -> list[SeenFill]:
        path = "/account/activities/FILL"
        rows = await self.call(self.client.get, path, {"direction": "asc"})
        return [_fill(row) for row in rows]

    async def clock(self) -> SeenClock:
        found = await self.call(self.client.get_clock)
        return SeenClock(found.timestamp, found.is_open, found.next_open, found.next_close)

    async def sessions(
        self, start: dt.date, end: dt.date
    ) -> list[tuple[dt.date, dt.datetime, dt.datetime]]:
        request = GetCalendarRequest(start=start, end=end)
        days = await self.call(self.client.get_calendar, request)
        return [
            (day.date, day.open.replace(tzinfo=NEW_YORK), day.close.replace(tzinfo=NEW_YORK))
            for day in days
        ]

    async def tradable(self, symbol: str) -> bool | None:
        try:
            return bool((await self.call(self.client.get_asset, symbol)).tradable)
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    async def suspend(self, on: bool) -> bool:
        found = await self.call(self.client.get_account_configurations)
        changed = found.model_copy(update={"suspend_trade": on})
        answer = await self.call(self.client.set_account_configurations, changed)
        return bool(answer.suspend_trade)

    async def forbid_shorting(self, on: bool) -> bool:
        found = await self.call(self.client.get_account_configurations)
        changed = found.model_copy(update={"no_shorting": on})
        answer = await self.call(self.client.set_account_configurations, changed)
        return bool(answer.no_shorting)

    async def _maybe(self, method: Callable[..., Any], wanted: str) -> Seen | None:
        try:
            return _from_sdk(await self.call(method, wanted))
        except Refused as refused:
            if (refused.status, refused.code) != (404, 40410000):
                raise
            return None


class Venue:
    """An account behind a door, and a hand on its time where there is one."""

    def __init__(self, door: Any, clock: Clock, exchange: Exchange | None, server: Any) -> None:
        self.door = door
        self.clock = clock
        self.server: PaperServer | None = server
        self._exchange = exchange

    @property
    def exchange(self) -> Exchange:
        assert self._exchange is not None
        return self._exchange

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    async def at(self, clock: str, date: dt.date = DAY) -> None:
        """Wait until a New York time of day."""
        await self.clock.sleep((moment(clock, date) - self.clock.now()).total_seconds())

    async def hold(self, quantity: str = "10", symbol: str = AAPL) -> None:
        await self.door.submit("buy", quantity, symbol=symbol)
        await self.wait(5)


PORT_DOORS = ("in_process", "alpaca_broker")
WIRE_DOORS = ("httpx", "alpaca_py")
EMBEDDED_DOORS = (*PORT_DOORS, *WIRE_DOORS)
HAS_ALPACA_KEYS = bool(os.environ.get("APCA_API_KEY_ID") and os.environ.get("APCA_API_SECRET_KEY"))
# Alpaca's own paper service is a parameter only where its keys are at hand.
ALL_DOORS = (*EMBEDDED_DOORS, "alpaca") if HAS_ALPACA_KEYS else EMBEDDED_DOORS

Case = Callable[[Venue], Awaitable[None]]


def over(
    *doors: str, start: str = "10:00", partial: float = 0.0, **options: Any
) -> Callable[[Case], Any]:
    """Run an async test in simulated time, once for each door."""

    def decorate(case: Case) -> Any:
        def test(door: str, tmp_path: Path) -> None:
            async def run() -> None:
                async with open_venue(
                    door, tmp_path, start=start, partial=partial, **options
                ) as venue:
                    await case(venue)

            if door == "alpaca":
                asyncio.run(run())
            else:
                with asyncio.Runner(loop_factory=ReplayLoop) as runner:
                    runner.run(run())

        test.__name__ = case.__name__
        test.__doc__ = case.__doc__
        return pytest.mark.parametrize("door", doors)(test)

    return decorate


@contextlib.asynccontextmanager
async def open_venue(
    door: str, directory: Path, *, start: str, partial: float, **options: Any
) -> AsyncIterator[Venue]:
    """Open a fresh account and a door to it."""
    if door == "alpaca":
        keys = os.environ["APCA_API_KEY_ID"], os.environ["APCA_API_SECRET_KEY"]
        async with _http(ALPACA_URL, *keys) as client:
            yield Venue(HttpDoor(client), SystemClock(), None, None)
        return
    clock = LoopClock(moment(start), asyncio.get_running_loop())
    settings = ExchangeSettings(partial_fraction=partial)
    if door == "in_process":
        exchange = Exchange(feed=feed(), calendar=calendar(), settings=settings, now=clock.now())
        yield Venue(PortDoor(InProcessBroker(exchange, clock)), clock, exchange, None)
        return
    async with (
        PaperServer(
            directory,
            feed=feed(),
            calendar=calendar(),
            clock=clock,
            settings=settings,
            options=ServerOptions(requests_per_minute=0, **options),
        ) as server,
        _wire_door(door, server, clock) as opened,
    ):
        yield Venue(opened, clock, server.exchange, server)


@contextlib.asynccontextmanager
async def _wire_door(door: str, server: PaperServer, clock: Clock) -> AsyncIterator[Any]:
    keys = server.keys
    if door == "httpx":
        async with _http(server.base_url, keys.key_id, keys.secret_key) as client:
            yield HttpDoor(client)
    elif door == "alpaca_py":
        yield SdkDoor(sdk_client(server))
    else:
        broker = AlpacaBroker.connect(
            AlpacaSettings(trading_url=server.base_url),
            key_id=Secret(keys.key_id),
            secret_key=Secret(keys.secret_key),
            clock=clock,
        )
        try:
            yield PortDoor(broker)
        finally:
            await broker.aclose()


def sdk_client(server: PaperServer, **fields: Any) -> TradingClient:
    """Return the unmodified client, pointed at the server."""
    client = TradingClient(
        server.keys.key_id, server.keys.secret_key, url_override=server.base_url, **fields
    )
    client._session.trust_env = False  # a proxy of this machine is none of its business
    return client


def _http(url: str, key_id: str, secret_key: str) -> httpx.AsyncClient:
    headers = {"APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": secret_key}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30.0)


def _from_port(order: BrokerOrder) -> Seen:
    return Seen(
        id=order.broker_order_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=str(order.side),
        quantity=order.quantity,
        filled=order.filled_quantity,
        price=order.filled_avg_price,
        limit=order.limit_price,
        kind=order.order_type,
        tif=order.time_in_force,
        status=order.raw_status,
    )


def _from_json(row: dict[str, Any]) -> Seen:
    return Seen(
        id=row["id"],
        client_order_id=row["client_order_id"],
        symbol=row["symbol"],
        side=row["side"],
        quantity=Decimal(row["qty"] or 0),
        filled=Decimal(row["filled_qty"]),
        price=_optional(row["filled_avg_price"]),
        limit=_optional(row["limit_price"]),
        kind=row["type"],
        tif=row["time_in_force"],
        status=row["status"],
    )


def _from_sdk(order: Any) -> Seen:
    row = order.model_dump()
    words = ("side", "type", "time_in_force", "status")
    return _from_json(row | {"id": str(row["id"])} | {name: row[name].value for name in words})


def _account(row: dict[str, Any]) -> SeenAccount:
    return SeenAccount(
        number=row["account_number"],
        equity=Decimal(row["equity"]),
        last_equity=Decimal(row["last_equity"]),
        cash=Decimal(row["cash"]),
        buying_power=Decimal(row["buying_power"]),
        is_suspended=row["trade_suspended_by_user"],
    )


def _fill(row: dict[str, Any]) -> SeenFill:
    return SeenFill(
        row["order_id"], Decimal(row["qty"]), Decimal(row["price"]), Decimal(row["cum_qty"])
    )


def _clock(row: dict[str, Any]) -> SeenClock:
    times = [dt.datetime.fromisoformat(row[n]) for n in ("timestamp", "next_open", "next_close")]
    return SeenClock(times[0], row["is_open"], times[1], times[2])


def _session(row: dict[str, Any]) -> tuple[dt.date, dt.datetime, dt.datetime]:
    date = dt.date.fromisoformat(row["date"])
    times = [
        dt.datetime.combine(date, dt.time.fromisoformat(row[name]), NEW_YORK)
        for name in ("open", "close")
    ]
    return date, times[0], times[1]


def _optional(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)
