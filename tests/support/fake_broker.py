"""A broker with its own small truth, and switches for everything that can go wrong.

It shares no code with the daemon's bookkeeping: orders, executions, positions and cash
are counted here independently, so a test can compare the two sides.
"""

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brokers.base import SendGuard
from domain.account import Account, Activity, ActivityKind, Asset, MarketClock, Position
from domain.clock import Clock
from domain.errors import (
    BrokerUnavailable,
    DuplicateOrder,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
)
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.market import Session
from domain.orders import BrokerOrder, Fill, OrderRequest, OrderState, OrderType, Side, TradeUpdate

ZERO = Decimal(0)
LATENCY_SECONDS = 0.02
ACCOUNT_NUMBER = "PA3TEST01234"


class Crash(BaseException):
    """The process dies here.  Not an Exception: nothing may handle it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitFault:
    """What happens to one POST: ``accepted_after`` is None for never."""

    error: Exception | None = None
    is_accepted: bool = False
    accepted_after: float | None = None
    answer: Callable[[BrokerOrder], BrokerOrder] | None = None


def lost_before() -> SubmitFault:
    return SubmitFault(error=OutcomeUnknown("timeout"))


def lost_after() -> SubmitFault:
    return SubmitFault(error=OutcomeUnknown("reply lost"), is_accepted=True)


def delivered_late(seconds: float) -> SubmitFault:
    return SubmitFault(error=OutcomeUnknown("timeout"), accepted_after=seconds)


def refused(error: Exception) -> SubmitFault:
    return SubmitFault(error=error)


def answered(answer: Callable[[BrokerOrder], BrokerOrder]) -> SubmitFault:
    return SubmitFault(is_accepted=True, answer=answer)


class FakeBroker:
    """Implements brokers.base.Broker."""

    def __init__(self, clock: Clock, *, cash: str = "100000") -> None:
        self.clock_source = clock
        self.orders: dict[BrokerOrderId, BrokerOrder] = {}
        self.executions: list[Fill] = []
        self.quantities: dict[Symbol, Decimal] = defaultdict(Decimal)
        self.opening_cash = Decimal(cash)
        self.cash = Decimal(cash)
        self.prices: dict[Symbol, Decimal] = defaultdict(lambda: Decimal(100))
        self.other_activities: list[Activity] = []
        self.is_open = True
        self.is_suspended = False
        self.offers_suspend = True
        self.is_shorting_banned = False
        self.offers_shorting_ban = True
        self.fills_at_once = False
        self.ids_unique_for_ever = True
        self.visible_after_seconds = 0.0
        self.cancel_seconds: float | None = 0.05
        self.fill_on_cancel: dict[BrokerOrderId, Decimal] = {}
        self.submit_faults: deque[SubmitFault | None] = deque()
        self.cancel_faults: deque[Exception | None] = deque()
        self.read_faults: dict[str, deque[object]] = defaultdict(deque)
        self.is_down = False
        self.posts: list[tuple[ClientOrderId, dt.datetime]] = []
        self.cancels: list[BrokerOrderId] = []
        self.cancels_of_everything = 0
        self.reads: list[str] = []
        self.on_update: Callable[[TradeUpdate], None] | None = None
        self.before_write: Callable[[str], object] | None = None
        self.after_write: Callable[[str], object] | None = None
        self.on_read: Callable[[str], object] | None = None
        self._seen_at: dict[BrokerOrderId, dt.datetime] = {}
        self._numbers = iter(range(1, 10**9))

    # Reads

    async def account(self) -> Account:
        garbled = await self._read("account")
        if isinstance(garbled, Account):
            return garbled
        value = sum((q * self.prices[s] for s, q in self.quantities.items()), ZERO)
        return Account(
            account_number=ACCOUNT_NUMBER,
            status="ACTIVE",
            equity=self.cash + value,
            last_equity=self.cash + value,
            cash=self.cash,
            buying_power=self.cash * 2,
            is_trading_blocked=False,
            is_suspended_by_user=self.is_suspended,
        )

    async def clock(self) -> MarketClock:
        await self._read("clock")
        now = self.clock_source.now()
        day = now.replace(hour=14, minute=30, second=0, microsecond=0)
        close = now.replace(hour=21, minute=0, second=0, microsecond=0)
        return MarketClock(
            now=now,
            is_open=self.is_open,
            next_open=day + dt.timedelta(days=1) if now >= day else day,
            next_close=close + dt.timedelta(days=1) if now >= close else close,
        )

    async def calendar(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        await self._read("calendar")
        days = [start + dt.timedelta(days=n) for n in range((end - start).days + 1)]
        return [
            Session(
                date=day,
                open=dt.datetime(day.year, day.month, day.day, 14, 30, tzinfo=dt.UTC),
                close=dt.datetime(day.year, day.month, day.day, 21, 0, tzinfo=dt.UTC),
                is_half_day=False,
            )
            for day in days
        ]

    async def assets(self, symbols: Iterable[Symbol]) -> Mapping[Symbol, Asset]:
        await self._read("assets")
        return {
            s: Asset(symbol=s, is_tradable=True, is_shortable=True, is_fractionable=True)
            for s in symbols
        }

    async def positions(self) -> Sequence[Position]:
        override = await self._read("positions")
        if override is not None:
            return override  # type: ignore[return-value]
        return [
            Position(
                symbol=symbol,
                quantity=quantity,
                avg_entry_price=self.prices[symbol],
                market_price=self.prices[symbol],
            )
            for symbol, quantity in sorted(self.quantities.items())
            if quantity != 0
        ]

    async def open_orders(self) -> Sequence[BrokerOrder]:
        override = await self._read("open_orders")
        if override is not None:
            return override  # type: ignore[return-value]
        return [o for o in self._visible() if not o.state.is_terminal]

    async def orders_since(self, moment: dt.datetime) -> Sequence[BrokerOrder]:
        override = await self._read("orders_since")
        if override is not None:
            return override  # type: ignore[return-value]
        return [o for o in self._visible() if o.submitted_at >= moment]

    async def find_order(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        override = await self._read("find_order")
        if override is not None:
            return override  # type: ignore[return-value]
        found = [o for o in self._visible() if o.client_order_id == client_order_id]
        return found[-1] if found else None

    async def get_order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        override = await self._read("get_order")
        if override is not None:
            return override  # type: ignore[return-value]
        return next((o for o in self._visible() if o.broker_order_id == broker_order_id), None)

    async def activities(self, since: dt.datetime) -> Sequence[Activity]:
        override = await self._read("activities")
        if override is not None:
            return override  # type: ignore[return-value]
        rows = [_activity(fill) for fill in self.executions] + self.other_activities
        return sorted((r for r in rows if r.at >= since), key=lambda r: r.at)

    # Writes

    async def submit(self, request: OrderRequest, *, guard: SendGuard) -> BrokerOrder:
        await asyncio.sleep(LATENCY_SECONDS / 2)
        fault = self.submit_faults.popleft() if self.submit_faults else None
        if fault is not None and isinstance(fault.error, NotSent):
            raise fault.error
        guard()
        self._write(self.before_write, "submit")
        self.posts.append((request.client_order_id, self.clock_source.now()))
        if self.is_down:
            raise OutcomeUnknown("no answer")
        return await self._take(request, fault)

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        await asyncio.sleep(LATENCY_SECONDS / 2)
        self._write(self.before_write, "cancel")
        self.cancels.append(broker_order_id)
        if self.is_down:
            raise OutcomeUnknown("no answer")
        fault = self.cancel_faults.popleft() if self.cancel_faults else None
        if fault is not None:
            raise fault
        self._cancel(broker_order_id)
        self._write(self.after_write, "cancel")
        await asyncio.sleep(LATENCY_SECONDS / 2)

    async def cancel_everything(self) -> None:
        await asyncio.sleep(LATENCY_SECONDS / 2)
        self._write(self.before_write, "cancel everything")
        self.cancels_of_everything += 1
        if self.is_down:
            raise OutcomeUnknown("no answer")
        fault = self.cancel_faults.popleft() if self.cancel_faults else None
        if fault is not None:
            raise fault
        for order in self.working():
            if order.state is not OrderState.CANCELING:
                self._cancel(order.broker_order_id)
        self._write(self.after_write, "cancel everything")
        await asyncio.sleep(LATENCY_SECONDS / 2)

    async def set_suspended(self, *, is_suspended: bool) -> bool:
        await asyncio.sleep(LATENCY_SECONDS)
        self._write(self.before_write, "suspend")
        if self.is_down:
            raise OutcomeUnknown("no answer")
        if not self.offers_suspend:
            raise OrderRejected("the account has no trading lock")
        self.is_suspended = is_suspended
        self._write(self.after_write, "suspend")
        return self.is_suspended

    async def is_shorting_forbidden(self) -> bool | None:
        override = await self._read("is_shorting_forbidden")
        if override is not None:
            return bool(override)
        return self.is_shorting_banned if self.offers_shorting_ban else None

    async def set_shorting_forbidden(self, *, is_forbidden: bool) -> bool:
        await asyncio.sleep(LATENCY_SECONDS)
        self._write(self.before_write, "forbid" if is_forbidden else "allow")
        if self.is_down:
            raise OutcomeUnknown("no answer")
        if not self.offers_shorting_ban:
            raise OrderRejected("the account has no setting for short sales")
        self.is_shorting_banned = is_forbidden
        self._write(self.after_write, "forbid" if is_forbidden else "allow")
        return self.is_shorting_banned

    # The market, moved by the test

    def order(self, client_order_id: ClientOrderId) -> BrokerOrder:
        """Return the newest order with this id, hidden or not."""
        return [o for o in self.orders.values() if o.client_order_id == client_order_id][-1]

    def working(self) -> list[BrokerOrder]:
        return [o for o in self.orders.values() if not o.state.is_terminal]

    def fill(
        self,
        order: BrokerOrder,
        quantity: Decimal | int,
        price: str = "100",
        *,
        is_announced: bool = True,
    ) -> Fill:
        """Execute part of an order, whatever its state, and announce it."""
        quantity = Decimal(quantity)
        order = self.orders[order.broker_order_id]
        total = order.filled_quantity + quantity
        # One for an amount of money has no quantity: a test finishes it.
        done = ZERO < order.quantity <= total
        state = OrderState.FILLED if done else order.state
        status = "filled" if done else "partially_filled"
        self._replace(order, state, status, filled=total, price=Decimal(price))
        fill = Fill(
            execution_id=ExecutionId(f"exec-{next(self._numbers)}"),
            broker_order_id=order.broker_order_id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=Decimal(price),
            cumulative_quantity=total,
            at=self.clock_source.now(),
        )
        self._book(fill)
        if is_announced:
            self.announce("fill" if done else "partial_fill", order.broker_order_id, fill)
        return fill

    def finish(self, order: BrokerOrder, state: OrderState) -> None:
        """Move an order to a terminal state and announce it."""
        self._replace(self.orders[order.broker_order_id], state, state.value)
        self.announce(state.value, order.broker_order_id)

    def place_by_hand(self, symbol: str, side: Side, quantity: int, *, coid: str) -> BrokerOrder:
        """Let a person, or another program, send an order."""
        return self._accept(
            client_order_id=ClientOrderId(coid),
            symbol=Symbol(symbol),
            side=side,
            quantity=Decimal(quantity),
        )

    def announce(
        self, event: str, broker_order_id: BrokerOrderId, fill: Fill | None = None
    ) -> None:
        """Push a trade update to whoever listens."""
        if self.on_update is not None:
            order = self.orders[broker_order_id]
            self.on_update(
                TradeUpdate(event=event, order=order, fill=fill, at=self.clock_source.now())
            )

    # Inside

    async def _read(self, name: str) -> object | None:
        await asyncio.sleep(LATENCY_SECONDS)
        self.reads.append(name)
        if self.on_read is not None:
            self.on_read(name)
        if self.is_down:
            raise BrokerUnavailable(f"{name}: the broker does not answer")
        queue = self.read_faults[name]
        fault = queue.popleft() if queue else None
        if isinstance(fault, Exception):
            raise fault
        return fault

    @staticmethod
    def _write(hook: Callable[[str], object] | None, name: str) -> None:
        if hook is not None:
            hook(name)

    async def _take(self, request: OrderRequest, fault: SubmitFault | None) -> BrokerOrder:
        if fault is not None and fault.accepted_after is not None:
            asyncio.get_running_loop().call_later(
                fault.accepted_after, self._accept_quietly, request
            )
        order = None
        if fault is None or fault.is_accepted:
            order = self._accept_request(request)
        self._write(self.after_write, "submit")
        await asyncio.sleep(LATENCY_SECONDS / 2)
        if fault is not None and fault.error is not None:
            raise fault.error
        if order is None:
            raise OutcomeUnknown("nothing came back")
        if fault is not None and fault.answer is not None:
            return fault.answer(order)
        return order

    def _accept_quietly(self, request: OrderRequest) -> None:
        with contextlib.suppress(OrderRejected, DuplicateOrder):
            self._accept_request(request)

    def _is_taken(self, client_order_id: ClientOrderId) -> bool:
        return any(
            o.client_order_id == client_order_id
            and (self.ids_unique_for_ever or not o.state.is_terminal)
            for o in self.orders.values()
        )

    def _accept_request(self, request: OrderRequest) -> BrokerOrder:
        if self.is_suspended:
            raise OrderRejected("account is suspended by its user", code=40310000)
        if self._is_taken(request.client_order_id):
            raise DuplicateOrder("client_order_id must be unique")
        if self.is_shorting_banned and request.side is Side.SELL:
            self._check_free(request)
        return self._accept(
            client_order_id=request.client_order_id,
            symbol=request.symbol,
            side=request.side,
            quantity=request.quantity,
            order_type=request.order_type.value,
            limit_price=request.limit_price,
            time_in_force=request.time_in_force.value,
        )

    def _check_free(self, request: OrderRequest) -> None:
        working = [o for o in self.working() if o.symbol == request.symbol and o.side is Side.SELL]
        promised = sum((o.quantity - o.filled_quantity for o in working), ZERO)
        if request.quantity > self.quantities[request.symbol] - promised:
            raise OrderRejected("insufficient qty available for order", code=40310000)

    def _accept(
        self,
        *,
        client_order_id: ClientOrderId,
        symbol: Symbol,
        side: Side,
        quantity: Decimal,
        order_type: str = "market",
        limit_price: Decimal | None = None,
        time_in_force: str = "day",
    ) -> BrokerOrder:
        now = self.clock_source.now()
        order = BrokerOrder(
            broker_order_id=BrokerOrderId(f"broker-{next(self._numbers)}"),
            client_order_id=client_order_id,
            symbol=symbol,
            side=side,
            quantity=quantity,
            order_type=order_type,
            limit_price=limit_price,
            time_in_force=time_in_force,
            state=OrderState.LIVE,
            raw_status="new",
            filled_quantity=ZERO,
            filled_avg_price=None,
            submitted_at=now,
            updated_at=now,
        )
        self.orders[order.broker_order_id] = order
        self._seen_at[order.broker_order_id] = now + dt.timedelta(
            seconds=self.visible_after_seconds
        )
        self.announce("new", order.broker_order_id)
        if self.fills_at_once and (self.is_open or order_type != OrderType.MARKET.value):
            self.fill(order, quantity, str(limit_price or self.prices[symbol]))
        return order

    def _visible(self) -> list[BrokerOrder]:
        now = self.clock_source.now()
        return [o for o in self.orders.values() if self._seen_at[o.broker_order_id] <= now]

    def _cancel(self, broker_order_id: BrokerOrderId) -> None:
        order = self.orders.get(broker_order_id)
        if order is None:
            raise OrderRejected("order not found", code=40410000)
        if order.state.is_terminal:
            raise OrderRejected(f'order is already in "{order.raw_status}" state', code=42210000)
        if order.state is OrderState.CANCELING:
            raise OrderRejected("order pending cancel", code=42210000)
        self._replace(order, OrderState.CANCELING, "pending_cancel")
        if self.cancel_seconds is not None:
            asyncio.get_running_loop().call_later(
                self.cancel_seconds, self._finish_cancel, broker_order_id
            )

    def _finish_cancel(self, broker_order_id: BrokerOrderId) -> None:
        if (quantity := self.fill_on_cancel.pop(broker_order_id, None)) is not None:
            self.fill(self.orders[broker_order_id], quantity)
        order = self.orders[broker_order_id]
        if not order.state.is_terminal:
            self._replace(order, OrderState.CANCELED, "canceled")
            self.announce("canceled", broker_order_id)

    def _replace(
        self,
        order: BrokerOrder,
        state: OrderState,
        status: str,
        *,
        filled: Decimal | None = None,
        price: Decimal | None = None,
    ) -> None:
        self.orders[order.broker_order_id] = dataclasses.replace(
            order,
            state=state,
            raw_status=status,
            filled_quantity=order.filled_quantity if filled is None else filled,
            filled_avg_price=order.filled_avg_price if price is None else price,
            updated_at=self.clock_source.now(),
        )

    def _book(self, fill: Fill) -> None:
        self.executions.append(fill)
        self.quantities[fill.symbol] += fill.signed_quantity
        self.cash -= fill.signed_quantity * fill.price


def _activity(fill: Fill) -> Activity:
    return Activity(
        activity_id=f"act::{fill.execution_id}",
        kind=ActivityKind.FILL,
        at=fill.at,
        net_amount=-fill.signed_quantity * fill.price,
        symbol=fill.symbol,
        broker_order_id=fill.broker_order_id,
        side=fill.side.value,
        quantity=fill.quantity,
        price=fill.price,
        cumulative_quantity=fill.cumulative_quantity,
    )
