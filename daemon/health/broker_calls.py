"""The broker port as one door: whoever counts or times its calls overrides a single method."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TypeVar

from brokers.base import Broker, SendGuard
from domain.account import Account, Activity, Asset, MarketClock, Position
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.market import Session
from domain.orders import BrokerOrder, OrderRequest

Result = TypeVar("Result")


class BrokerCalls(ABC):
    """A Broker that passes every call on through ``_call``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @abstractmethod
    async def _call(self, operation: str, call: Awaitable[Result]) -> Result:
        """Await one call; ``operation`` is its name."""

    async def account(self) -> Account:
        """Read balances and flags."""
        return await self._call("account", self._broker.account())

    async def clock(self) -> MarketClock:
        """Read the broker's clock."""
        return await self._call("clock", self._broker.clock())

    async def calendar(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Read the sessions between two dates."""
        return await self._call("calendar", self._broker.calendar(start, end))

    async def assets(self, symbols: Iterable[Symbol]) -> Mapping[Symbol, Asset]:
        """Read what is allowed for each symbol."""
        return await self._call("assets", self._broker.assets(symbols))

    async def positions(self) -> Sequence[Position]:
        """Read all holdings."""
        return await self._call("positions", self._broker.positions())

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """Read every order that can still fill."""
        return await self._call("open_orders", self._broker.open_orders())

    async def orders_since(self, moment: dt.datetime) -> Sequence[BrokerOrder]:
        """Read orders submitted since a moment."""
        return await self._call("orders_since", self._broker.orders_since(moment))

    async def find_order(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Look an order up by our id."""
        return await self._call("find_order", self._broker.find_order(client_order_id))

    async def get_order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Look an order up by the broker's id."""
        return await self._call("get_order", self._broker.get_order(broker_order_id))

    async def activities(self, since: dt.datetime) -> Sequence[Activity]:
        """Read fills, fees, dividends and transfers."""
        return await self._call("activities", self._broker.activities(since))

    async def submit(self, request: OrderRequest, *, guard: SendGuard) -> BrokerOrder:
        """Send one order, once."""
        return await self._call("submit", self._broker.submit(request, guard=guard))

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Ask for a cancel."""
        await self._call("cancel", self._broker.cancel(broker_order_id))

    async def cancel_everything(self) -> None:
        """Ask for a cancel of every open order."""
        await self._call("cancel_everything", self._broker.cancel_everything())

    async def set_suspended(self, *, is_suspended: bool) -> bool:
        """Set the broker-side lock on new orders."""
        call = self._broker.set_suspended(is_suspended=is_suspended)
        return await self._call("set_suspended", call)

    async def is_shorting_forbidden(self) -> bool | None:
        """Read whether short sales are forbidden."""
        return await self._call("is_shorting_forbidden", self._broker.is_shorting_forbidden())

    async def set_shorting_forbidden(self, *, is_forbidden: bool) -> bool:
        """Forbid or allow short sales."""
        call = self._broker.set_shorting_forbidden(is_forbidden=is_forbidden)
        return await self._call("set_shorting_forbidden", call)
