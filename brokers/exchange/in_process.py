"""The broker port straight onto the exchange, without sockets, for backtests."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence

from brokers.base import SendGuard
from brokers.exchange import views
from brokers.exchange.engine import Exchange
from brokers.exchange.events import OrderChanged
from brokers.exchange.orders import Ticket
from brokers.exchange.refusal import Refusal
from brokers.exchange.words import Kind, Tif
from domain.account import Account, Activity, Asset, MarketClock, Position
from domain.clock import Clock
from domain.errors import DuplicateOrder
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.market import Session
from domain.orders import BrokerOrder, OrderRequest, TradeUpdate


class InProcessBroker:
    """A Broker and a TradeStream over an Exchange; the clock moves the market."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._on_update: Callable[[TradeUpdate], None] | None = None

    @property
    def exchange(self) -> Exchange:
        """The exchange behind the port."""
        return self._exchange

    def settle(self) -> None:
        """Let the market reach the clock's time and deliver what happened."""
        self._exchange.advance(self._clock.now())
        self._deliver()

    async def account(self) -> Account:
        """Read balances and flags."""
        self.settle()
        return views.account_view(self._exchange)

    async def clock(self) -> MarketClock:
        """Read the broker's clock."""
        self.settle()
        return views.clock_view(self._exchange)

    async def calendar(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Read the sessions between two dates, both included."""
        return self._exchange.calendar.sessions(start, end)

    async def assets(self, symbols: Iterable[Symbol]) -> Mapping[Symbol, Asset]:
        """Read what is allowed for each symbol; unknown symbols are absent."""
        found = {symbol: views.asset_view(self._exchange, symbol) for symbol in sorted(symbols)}
        return {symbol: asset for symbol, asset in found.items() if asset is not None}

    async def positions(self) -> Sequence[Position]:
        """Read all holdings."""
        self.settle()
        return views.position_views(self._exchange)

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """Read every order that can still fill."""
        self.settle()
        orders = sorted(self._exchange.book.open_orders.values(), key=lambda o: o.client_order_id)
        return [views.order_view(order) for order in orders]

    async def orders_since(self, moment: dt.datetime) -> Sequence[BrokerOrder]:
        """Read orders in any state submitted since ``moment``."""
        self.settle()
        orders = self._exchange.book.orders.values()
        since = [order for order in orders if order.submitted_at >= moment]
        since.sort(key=lambda order: (order.submitted_at, order.client_order_id))
        return [views.order_view(order) for order in since]

    async def find_order(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Look an order up by our id."""
        self.settle()
        order = self._exchange.book.find(client_order_id)
        return views.order_view(order) if order is not None else None

    async def get_order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Look an order up by the broker's id."""
        self.settle()
        order = self._exchange.book.orders.get(broker_order_id)
        return views.order_view(order) if order is not None else None

    async def activities(self, since: dt.datetime) -> Sequence[Activity]:
        """Read all activities since ``since``, oldest first."""
        self.settle()
        return views.activity_views(self._exchange, since)

    async def submit(self, request: OrderRequest, *, guard: SendGuard) -> BrokerOrder:
        """Send one order.

        Raises:
            DuplicateOrder: an order with this id exists.
            OrderRejected: the exchange refused, with Alpaca's code.
        """
        self.settle()
        guard()
        ticket = Ticket(
            symbol=request.symbol,
            side=request.side,
            kind=Kind(request.order_type),
            tif=Tif(request.time_in_force),
            quantity=request.quantity,
            limit_price=request.limit_price,
            client_order_id=request.client_order_id,
        )
        try:
            order = self._exchange.submit(ticket, self._clock.now())
        except Refusal as refusal:
            if refusal.is_duplicate:
                raise DuplicateOrder(refusal.message) from refusal
            raise
        finally:
            self._deliver()
        return views.order_view(order)

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Ask for a cancel."""
        self._exchange.cancel(broker_order_id, self._clock.now())
        self._deliver()

    async def cancel_everything(self) -> None:
        """Ask for a cancel of every open order."""
        for order_id in sorted(self._exchange.book.open_orders):
            # Ended meanwhile, or being canceled already.
            with contextlib.suppress(Refusal):
                self._exchange.cancel(order_id, self._clock.now())
        self._deliver()

    async def set_suspended(self, *, is_suspended: bool) -> bool:
        """Set the lock on new orders and read it back."""
        self._exchange.configure(self._clock.now(), is_suspended=is_suspended)
        return self._exchange.desk.config.is_suspended

    async def is_shorting_forbidden(self) -> bool | None:
        """Read whether short sales are forbidden."""
        return self._exchange.desk.config.is_shorting_forbidden

    async def set_shorting_forbidden(self, *, is_forbidden: bool) -> bool:
        """Forbid or allow short sales and read it back."""
        self._exchange.configure(self._clock.now(), is_shorting_forbidden=is_forbidden)
        return self._exchange.desk.config.is_shorting_forbidden

    async def run(
        self,
        *,
        on_ready: Callable[[], None],
        on_update: Callable[[TradeUpdate], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Deliver updates while they happen, until cancelled; this stream is never lost."""
        del on_unreadable, on_lost
        self._on_update = on_update
        on_ready()
        try:
            await asyncio.Event().wait()
        finally:
            self._on_update = None

    def _deliver(self) -> None:
        events = self._exchange.take_events()
        if self._on_update is None:
            return
        for event in events:
            if isinstance(event, OrderChanged) and event.name:
                self._on_update(views.update_view(event))
