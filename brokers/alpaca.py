"""Alpaca's trading API behind the broker port.

Reads are repeated a few times and never trusted when they look cut short; writes are
sent once, and every answer that is not plain becomes an error that says what is known.
"""

import datetime as dt
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import structlog

from brokers import alpaca_errors as errors
from brokers import alpaca_fields as fields
from brokers import alpaca_parsing as parsing
from brokers.alpaca_paging import activities_since, list_orders
from brokers.alpaca_requests import json_body, load_models, order_body
from brokers.alpaca_wire import AlpacaWire, ReadRetry
from brokers.base import SendGuard
from domain.account import Account, Activity, Asset, MarketClock, Position
from domain.clock import Clock
from domain.errors import BrokerUnavailable, DataError, OrderRejected, OutcomeUnknown
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.market import Session
from domain.orders import BrokerOrder, OrderRequest
from domain.secrets import Secret
from transport.breaker import Breaker
from transport.http import BoundedClient, Deadlines, Egress, HttpSettings
from transport.pacing import Pacer, PacingSettings, Priority

_MOST_SINGLE_ASSET_READS = 10
# The whole list is some 11,000 rows.
_ASSET_LIST_CAP_BYTES = 32 * 1024 * 1024
_ENTRY_LEG = "entry"
_ORDERS = "/v2/orders"
_SETTINGS = "/v2/account/configurations"
_LOCK = "suspend_trade"
_NO_SHORTING = "no_shorting"
_OK = frozenset({200, 201})
_CANCEL_TAKEN = frozenset({200, 202, 204, 207})

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaSettings:
    """Where the trading API is and how patient we are.

    ``is_urgent`` marks the kill switch: all its requests may use the reserved budget.
    ``time_scale`` as in HttpSettings.
    """

    trading_url: str = "https://paper-api.alpaca.markets"
    deadlines: Deadlines = field(default_factory=Deadlines)
    retry: ReadRetry = field(default_factory=ReadRetry)
    pacing: PacingSettings = field(default_factory=PacingSettings)
    time_scale: float = 1.0
    max_connections: int = 8
    ca_file: Path | None = None
    is_urgent: bool = False


class AlpacaBroker:
    """The broker port over HTTP; see brokers.base for what each method promises."""

    def __init__(self, wire: AlpacaWire, *, clock: Clock, is_urgent: bool = False) -> None:
        self._wire = wire
        self._clock = clock
        self._is_urgent = is_urgent
        self._log = structlog.get_logger(__name__)
        self._odd_statuses: set[str] = set()

    @classmethod
    def connect(
        cls,
        settings: AlpacaSettings,
        *,
        key_id: Secret,
        secret_key: Secret,
        clock: Clock,
        breaker: Breaker | None = None,
        egress: Egress | None = None,
    ) -> "AlpacaBroker":
        """Build the adapter; nothing is sent yet.

        Args:
            settings: where the API is and how patient we are.
            key_id: API key.
            secret_key: its secret.
            clock: for pauses, pacing and jitter.
            breaker: spares a broker that is away from reads (see BROKER_BREAKER); the
                kill switch passes none.
            egress: counts what leaves (see EgressCounter); the kill switch passes none.
        """
        http = HttpSettings(
            base_url=settings.trading_url,
            deadlines=settings.deadlines,
            max_connections=settings.max_connections,
            time_scale=settings.time_scale,
            ca_file=settings.ca_file,
        )
        keys = {"APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": secret_key}
        wire = AlpacaWire(
            BoundedClient(http, keys, egress=egress),
            Pacer(settings.pacing, clock=clock),
            clock=clock,
            retry=settings.retry,
            # Jitter must not make two replays differ.
            jitter=random.Random(0),  # noqa: S311
            read_priority=Priority.KILL if settings.is_urgent else Priority.READ,
            breaker=breaker,
        )
        return cls(wire, clock=clock, is_urgent=settings.is_urgent)

    def urgent(self) -> "AlpacaBroker":
        """Return the same broker for kills and cancels: no breaker, all on the reserve."""
        return AlpacaBroker(self._wire.urgent(), clock=self._clock, is_urgent=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    async def account(self) -> Account:
        """Read balances and flags."""
        return _parsed(parsing.account, await self._wire.read("/v2/account", what="account"))

    async def clock(self) -> MarketClock:
        """Read the broker's clock."""
        return _parsed(parsing.market_clock, await self._wire.read("/v2/clock", what="clock"))

    async def calendar(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Read the sessions between two dates, both included."""
        params = (("start", start.isoformat()), ("end", end.isoformat()))
        raw = await self._wire.read("/v2/calendar", params, what="calendar")
        sessions = [_parsed(parsing.session, row) for row in _rows(raw, "calendar")]
        # A server that ignores the range would offer every day since 1970.
        return tuple(session for session in sessions if start <= session.date <= end)

    async def assets(self, symbols: Iterable[Symbol]) -> Mapping[Symbol, Asset]:
        """Read what is allowed for each symbol; unknown symbols are absent."""
        wanted = sorted(set(symbols))
        if len(wanted) > _MOST_SINGLE_ASSET_READS:
            return await self._listed_assets(frozenset(wanted))
        found: dict[Symbol, Asset] = {}
        for symbol in wanted:
            raw = await self._wire.read(f"/v2/assets/{quote(symbol, safe='')}", what=symbol)
            if raw is not None:
                found[symbol] = _parsed(parsing.asset, raw)
        return found

    async def positions(self) -> Sequence[Position]:
        """Read all holdings; none are believed only while the account agrees."""
        held = await self._positions()
        if held or not await self._is_holding():
            return held
        held = await self._positions()
        if held or not await self._is_holding():
            return held
        raise BrokerUnavailable(
            "positions: the list is empty while the account reports holdings; read them again"
        )

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """Read every order that can still fill, paged to the end."""
        return self._noted(await list_orders(self._wire, status="open"))

    async def orders_since(self, moment: dt.datetime) -> Sequence[BrokerOrder]:
        """Read orders in any state submitted since ``moment``, paged to the end."""
        return self._noted(await list_orders(self._wire, status="all", since=moment))

    async def find_order(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Look an order up by our id; None when the broker says there is none."""
        what = f"order {client_order_id}"
        params = (("client_order_id", client_order_id),)
        raw = await self._wire.read("/v2/orders:by_client_order_id", params, what=what)
        order = None if raw is None else _parsed(parsing.order, raw)
        if order is not None and order.client_order_id != client_order_id:
            raise BrokerUnavailable(f"{what}: the answer is about {order.client_order_id}")
        return None if order is None else self._noted((order,))[0]

    async def get_order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Look an order up by the broker's id; None when the broker says there is none."""
        what = f"order {broker_order_id}"
        raw = await self._wire.read(_order_path(broker_order_id), what=what)
        order = None if raw is None else _parsed(parsing.order, raw)
        if order is not None and order.broker_order_id != broker_order_id:
            raise BrokerUnavailable(f"{what}: the answer is about {order.broker_order_id}")
        return None if order is None else self._noted((order,))[0]

    async def activities(self, since: dt.datetime) -> Sequence[Activity]:
        """Read fills, fees, dividends and transfers since ``moment``, oldest first, complete."""
        return await activities_since(self._wire, since)

    async def equity_history(self) -> Mapping[dt.date, Decimal]:
        """Read the equity at the end of each day of the last month, by New York's date.

        The broker's own record is known to be wrong for hours at times: compare before use.
        """
        params = (("period", "1M"), ("timeframe", "1D"))
        what = "portfolio history"
        raw = await self._wire.read("/v2/account/portfolio/history", params, what=what)
        return _parsed(parsing.equity_history, raw)

    async def submit(self, request: OrderRequest, *, guard: SendGuard) -> BrokerOrder:
        """Send one order, once; see the port for what each error means.

        Raises:
            DuplicateOrder: the broker has an order with this id: look it up and compare.
            NotSent: certainly nothing was written; the same id may be sent again.
        """
        what = f"order {request.client_order_id}"
        await load_models()
        try:
            body = order_body(request)
        except DataError as exc:
            raise OrderRejected(str(exc)) from exc
        reply = await self._wire.write(
            "POST", _ORDERS, body, what=what, priority=self._priority(request), guard=guard
        )
        if reply.status not in _OK:
            errors.raise_for_write(reply, what=what, now=self._clock.now())
        return self._noted((errors.accepted_order(reply, request),))[0]

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Ask for a cancel; the order is done only when its state says so."""
        what = f"cancel of order {broker_order_id}"
        reply = await self._wire.write(
            "DELETE", _order_path(broker_order_id), what=what, priority=Priority.KILL
        )
        if reply.status not in _CANCEL_TAKEN:
            errors.raise_for_write(reply, what=what, now=self._clock.now())

    async def cancel_everything(self) -> None:
        """Ask for a cancel of every open order; what failed shows in the open orders only."""
        what = "cancel of everything"
        reply = await self._wire.write("DELETE", _ORDERS, what=what, priority=Priority.KILL)
        if reply.status not in _CANCEL_TAKEN:
            errors.raise_for_write(reply, what=what, now=self._clock.now())

    async def set_suspended(self, *, is_suspended: bool) -> bool:
        """Set the broker-side lock on new orders; return what the broker then reads back."""
        return await self._set(_LOCK, is_suspended, what="account lock")

    async def is_shorting_forbidden(self) -> bool | None:
        """Read whether the account's setting forbids short sales; None when it has none."""
        return await self._setting(_NO_SHORTING, what="shorting ban")

    async def set_shorting_forbidden(self, *, is_forbidden: bool) -> bool:
        """Forbid or allow short sales; return what the broker then reads back."""
        return await self._set(_NO_SHORTING, is_forbidden, what="shorting ban")

    async def _set(self, name: str, value: bool, *, what: str) -> bool:
        # Only the one key: the others stay as a person set them.
        reply = await self._wire.write(
            "PATCH", _SETTINGS, json_body({name: value}), what=what, priority=Priority.KILL
        )
        if reply.status not in _OK:
            errors.raise_for_write(reply, what=what, now=self._clock.now())
        try:
            found = await self._setting(name, what=what)
        except BrokerUnavailable as exc:
            raise OutcomeUnknown(f"{what}: it was set but cannot be read back ({exc})") from exc
        if found is None:
            raise OrderRejected(f"{what}: this account has no {name} setting")
        return found

    async def _setting(self, name: str, *, what: str) -> bool | None:
        raw = await self._wire.read(_SETTINGS, what=what)
        value = raw.get(name) if isinstance(raw, dict) else None
        return value if isinstance(value, bool) else None

    async def _positions(self) -> tuple[Position, ...]:
        raw = await self._wire.read("/v2/positions", what="positions")
        return tuple(_parsed(parsing.position, row) for row in _rows(raw, "positions"))

    async def _is_holding(self) -> bool:
        raw = await self._wire.read("/v2/account", what="account")
        return _parsed(parsing.held_value, raw) != 0

    async def _listed_assets(self, wanted: frozenset[Symbol]) -> Mapping[Symbol, Asset]:
        params = (("status", "active"), ("asset_class", "us_equity"))
        raw = await self._wire.read(
            "/v2/assets", params, what="assets", body_cap_bytes=_ASSET_LIST_CAP_BYTES
        )
        found = (
            _parsed(parsing.asset, row)
            for row in _rows(raw, "assets")
            if row.get("symbol") in wanted
        )
        return {asset.symbol: asset for asset in found}

    def _priority(self, request: OrderRequest) -> Priority:
        if self._is_urgent:
            return Priority.KILL
        return Priority.ENTRY if request.leg == _ENTRY_LEG else Priority.REDUCE

    def _noted(self, orders: Sequence[BrokerOrder]) -> Sequence[BrokerOrder]:
        for order in orders:
            status = order.raw_status
            if not parsing.is_known_status(status) and status not in self._odd_statuses:
                self._odd_statuses.add(status)
                self._log.warning(
                    "order.status_unknown", status=status, order=order.broker_order_id
                )
        return orders


def _order_path(broker_order_id: BrokerOrderId) -> str:
    return f"{_ORDERS}/{quote(broker_order_id, safe='')}"


def _rows(raw: object, what: str) -> tuple[fields.Row, ...]:
    return _parsed(lambda value: fields.rows(value, what=what), raw)


def _parsed(parse: Callable[[object], Parsed], raw: object) -> Parsed:
    try:
        return parse(raw)
    except DataError as exc:
        raise BrokerUnavailable(f"broker: an answer is not usable: {exc}") from exc
