"""The broker port of one process, with everything that the wire does."""

import asyncio
import dataclasses
import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from brokers.base import SendGuard
from domain.account import Account, Activity, ActivityKind, Asset, MarketClock, Position
from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    DuplicateOrder,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.market import Session
from domain.orders import BrokerOrder, OrderRequest
from tests.simulation import garbled
from tests.simulation.account import ACCOUNT, CalendarAnswer, ClockAnswer
from tests.simulation.broker_orders import Order, Refused
from tests.simulation.market import SYMBOLS, UNSHORTABLE
from tests.simulation.processes import Process
from tests.simulation.truth import Truth

WIRE_SECONDS = (0.005, 0.08)
DEADLINE_SECONDS = 15.0
_ABSURD = (-1.0, math.nan, math.inf, 1e9, 0.0)

OnWire = Callable[[Process, OrderRequest], None]


class SimBroker:
    """A Broker.  ``on_wire`` sees every order request at the instant it is written."""

    def __init__(self, truth: Truth, process: Process, on_wire: OnWire) -> None:
        self._truth = truth
        self._faults = truth.faults
        self._process = process
        self._on_wire = on_wire
        self.requests: Counter[int] = Counter()

    async def _wait(self, *, is_read: bool) -> None:
        self._process.alive()
        minute = int(self._truth.loop.moment // 60)
        self.requests[minute] += 1
        self._truth.busiest = max(self._truth.busiest, self.requests[minute])
        await asyncio.sleep(self._faults.span("wire", *WIRE_SECONDS))
        if self._truth.lasting.is_slow:
            await asyncio.sleep(self._faults.span("broker.slow", 1, 10))
        if is_read and self._faults.strikes("read.slow"):
            await asyncio.sleep(self._faults.span("read.slow", 1, DEADLINE_SECONDS))
        await self._process.thawed()
        self._process.alive()

    async def _read(self, what: str) -> None:
        await self._wait(is_read=True)
        is_away = self._truth.is_down or self._truth.lasting.away == what
        if is_away or self._faults.strikes("read.unavailable"):
            raise BrokerUnavailable("no usable answer")
        if self._truth.lasting.is_refusing_keys or self._faults.strikes("read.auth_refused"):
            raise AuthRefused("401")
        self._truth.before_answer(what)

    def _check_doors(self) -> None:
        """A written request other than an order may be refused too."""
        if self._truth.lasting.is_limiting or self._faults.strikes("cancel.rate_limited"):
            raise RateLimited("429", retry_after_seconds=self._faults.span("limited", 0.5, 30))
        if self._truth.lasting.is_refusing_keys:
            raise AuthRefused("401")

    def _check_reader(self) -> None:
        """What was asked is done, and the reader of the answer breaks."""
        if self._faults.strikes("cancel.unexpected"):
            raise ValueError("an answer that no reader was written for")

    # Reads

    async def account(self) -> Account:
        await self._read("account")
        truth = self._truth
        equity = truth.equity()
        if truth.lasting.odd_equity is not None:
            equity = truth.lasting.odd_equity
        elif self._faults.strikes("account.odd_equity"):
            odd = [Decimal("NaN"), Decimal(0), Decimal(-1), Decimal("Infinity")]
            equity = self._faults.pick("account.odd_equity", odd)
        else:
            truth.write("equity", str(equity))
        shown = Account(
            account_number=ACCOUNT,
            status="ACTIVE",
            equity=equity,
            last_equity=equity,
            cash=truth.cash,
            buying_power=max(truth.equity(), Decimal(0)) * 2,
            is_trading_blocked=truth.is_blocked,
            is_suspended_by_user=truth.is_suspended,
        )
        return garbled.account(self._faults, shown)

    async def clock(self) -> MarketClock:
        truth, asked = self._truth, self._truth.loop.moment
        await self._read("clock")
        now, before = truth.now(), truth.clock_told[self._process.name]
        doubt = truth.hours.doubt(now)
        if doubt is None:
            # It tells nothing new, so what was told before holds.
            doubt = before[-1].doubt if before else ""
        moment = truth.loop.moment
        before.append(ClockAnswer(at=moment, travel=moment - asked, doubt=doubt))
        return truth.hours.clock(now)

    async def calendar(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        await self._read("calendar")
        true = self._truth.hours.calendar(start, end)
        told = garbled.calendar(self._faults, true)
        self._truth.calendar_told.append(
            CalendarAnswer(
                at=self._truth.loop.moment,
                process=self._process,
                lacking=self._truth.hours.lacking(),
                is_right=told is true,
            )
        )
        return told

    async def assets(self, symbols: Iterable[Symbol]) -> Mapping[Symbol, Asset]:
        await self._read("assets")
        return {
            symbol: Asset(
                symbol=symbol,
                is_tradable=not self._truth.is_untradable(symbol),
                is_shortable=symbol != UNSHORTABLE,
                is_fractionable=False,
            )
            for symbol in symbols
            if symbol in SYMBOLS and not self._is_unlisted(symbol)
        }

    def _is_unlisted(self, symbol: Symbol) -> bool:
        """Some brokers forget what has ended, others keep it as not tradable."""
        return symbol in self._truth.market.ended and self._faults.seed % 2 == 0

    async def positions(self) -> Sequence[Position]:
        await self._read("positions")
        truth = self._truth
        if truth.lasting.is_showing_nothing or self._faults.strikes("read.empty_positions"):
            return []
        truth.write("positions", self._process.name)
        shown = [
            Position(
                symbol=symbol,
                quantity=quantity,
                avg_entry_price=abs(truth.cost[symbol] / quantity).quantize(Decimal("0.0001")),
                market_price=None if self._is_unlisted(symbol) else truth.price(symbol),
            )
            for symbol, quantity in sorted(truth.positions.items())
            if quantity
        ]
        await truth.while_read()
        return shown

    def _visible(self, orders: Iterable[Order]) -> list[Order]:
        return [order for order in orders if order.visible_at <= self._truth.loop.moment]

    def _show(self, order: Order) -> BrokerOrder:
        if order.older is not None and self._faults.strikes("read.regressed"):
            return order.older
        return garbled.order(self._faults, order.shown())

    async def open_orders(self) -> Sequence[BrokerOrder]:
        await self._read("orders")
        self._truth.listed_at[self._process.name] = self._truth.loop.moment
        return [self._show(order) for order in self._visible(self._truth.open_orders())]

    async def orders_since(self, moment: dt.datetime) -> Sequence[BrokerOrder]:
        await self._read("orders")
        found = self._visible(self._truth.orders.values())
        return [self._show(order) for order in found if order.submitted_at >= moment]

    async def find_order(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        await self._read("orders")
        found = self._visible(self._truth.of_client(client_order_id))
        if not found:
            self._truth.write("absent", self._process.name, client_order_id)
            return None
        return self._show(found[-1])

    async def get_order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        await self._read("orders")
        order = self._truth.orders.get(broker_order_id)
        return self._show(order) if order is not None and self._visible([order]) else None

    async def activities(self, since: dt.datetime) -> Sequence[Activity]:
        await self._read("activities")
        now = self._truth.loop.moment
        told = ((at, one) for at, one in self._truth.activities if at <= now)
        return [one for at, one in told if self._filed(at, one) >= since]

    def _filed(self, at: float, one: Activity) -> dt.datetime:
        """Return what the broker's filter goes by: it has a transfer when it books it."""
        age = dt.timedelta(seconds=self._truth.loop.moment - at)
        return self._truth.now() - age if one.kind is ActivityKind.TRANSFER else one.at

    # Writes

    async def submit(self, request: OrderRequest, *, guard: SendGuard) -> BrokerOrder:
        await self._wait(is_read=False)
        session, reacher = self._truth.session, self._truth.reacher
        if session is not None and reacher is not None:
            await asyncio.sleep(reacher.waiting(session.date))
        if self._faults.strikes("send.slow"):
            await asyncio.sleep(self._faults.span("send.slow", 1, 10))
        self._process.alive()
        if self._faults.strikes("send.not_sent"):
            raise NotSent("no connection")
        if self._truth.is_down and self._faults.dice("down").random() < 0.5:
            raise NotSent("connection refused")
        guard()
        self._on_wire(self._process, request)
        self._process.step("order written")
        is_error = False
        try:
            order = await self._answer(request)
            is_error = order.client_order_id != request.client_order_id
            return order
        except OutcomeUnknown:
            is_error = True
            raise
        finally:
            # Closing orders of a kill are nobody's to count.
            self._truth.operated(self._process, is_error and request.leg != "flatten")

    async def _answer(self, request: OrderRequest) -> BrokerOrder:
        faults = self._faults
        if self._truth.is_down or faults.strikes("send.lost_before"):
            await self._silence()
        if (delay := self._lateness()) is not None:
            self._truth.loop.call_later(delay, self._deliver, request, None)
            await self._silence()
        if self._truth.lasting.is_limiting or faults.strikes("send.rate_limited"):
            wait = faults.span("send.rate_limited", 0.5, 30)
            if faults.strikes("send.absurd_wait"):
                wait = faults.pick("send.absurd_wait", list(_ABSURD))
            self._truth.write("refused for now", self._process.name, request.client_order_id)
            raise RateLimited("429", retry_after_seconds=wait)
        if faults.strikes("send.rejected"):
            raise OrderRejected("refused at random", code=422)
        if faults.strikes("send.unexpected"):
            self._truth.loop.call_later(0.1, self._deliver, request, None)
            raise ValueError("an answer that no reader was written for")
        if self._truth.lasting.is_refusing_keys or faults.strikes("send.auth_refused"):
            raise AuthRefused("401")
        answer: asyncio.Future[BrokerOrder] = self._truth.loop.create_future()
        transit = faults.span("transit", 0.001, 0.3)
        # The request travels, whatever becomes of who sent it.
        self._truth.loop.call_later(transit, self._deliver, request, answer)
        order = await answer
        await self._process.thawed()
        if faults.strikes("send.lost_after"):
            await self._silence()
        await asyncio.sleep(faults.span("wire", *WIRE_SECONDS))
        self._process.step("order answered")
        if faults.strikes("send.crossed"):
            return self._crossed(order)
        self._truth.answered.add((self._process.name, request.client_order_id))
        return order

    def _lateness(self) -> float | None:
        """Draw how late an order arrives whose answer never comes."""
        faults = self._faults
        if faults.strikes("send.late"):
            return faults.span("send.late", 20, 100)
        # Where ids are forgotten, a twin of what was sent again and has ended is nobody's to stop.
        if "broker.forgets_ids" not in faults.rates and faults.strikes("send.very_late"):
            return faults.span("send.very_late", 130, 2400)
        return None

    def _crossed(self, order: BrokerOrder) -> BrokerOrder:
        """Return what a cache or a proxy may answer: a wrong field, another order, a mixture."""
        others = [o for o in self._truth.orders.values() if o.client_id != order.client_order_id]
        how = self._faults.pick("send.crossed", ["field", "other", "mixture", "mixture"])
        if how == "field" or not others:
            return dataclasses.replace(order, quantity=order.quantity + 1)
        other = others[-1].shown()
        if how == "other":
            return other
        return dataclasses.replace(other, client_order_id=order.client_order_id)

    async def _silence(self) -> None:
        await asyncio.sleep(DEADLINE_SECONDS)
        await self._process.thawed()
        self._process.alive()
        raise OutcomeUnknown("no answer in time")

    def _deliver(self, request: OrderRequest, answer: "asyncio.Future[BrokerOrder] | None") -> None:
        try:
            order = self._truth.accept(
                request.client_order_id,
                request.symbol,
                request.side,
                request.quantity,
                kind=request.order_type.value,
                limit=request.limit_price,
                in_force=request.time_in_force.value,
            )
        except Refused as exc:
            if answer is not None and not answer.done():
                answer.set_exception(_error(exc))
            return
        if answer is not None and not answer.done():
            answer.set_result(order.shown())

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        await self._wait(is_read=False)
        self._truth.operated(self._process, False)
        if self._truth.is_down:
            raise NotSent("connection refused")
        self._process.step("cancel written")
        self._check_doors()
        if self._faults.strikes("cancel.lost_before"):
            await self._silence()
        if self._faults.strikes("cancel.refused"):
            raise OrderRejected("not cancelable now", code=500)
        try:
            self._truth.ask_cancel(broker_order_id)
        except Refused as exc:
            raise OrderRejected(str(exc), code=exc.code) from exc
        if self._faults.strikes("cancel.lost_after"):
            await self._silence()
        self._check_reader()

    async def cancel_everything(self) -> None:
        await self._wait(is_read=False)
        self._truth.write("asked for all", self._process.name)
        if self._truth.is_down:
            raise NotSent("connection refused")
        self._process.step("cancel of everything written")
        self._check_doors()
        if self._faults.strikes("cancel.lost_before"):
            await self._silence()
        for order in self._truth.open_orders():
            # One that fails shows in no status but its own.
            if not self._faults.strikes("cancel.refused"):
                self._truth.ask_cancel(order.broker_id)
        if self._faults.strikes("cancel.lost_after"):
            await self._silence()
        self._check_reader()

    async def set_suspended(self, *, is_suspended: bool) -> bool:
        await self._wait(is_read=False)
        if self._truth.is_down or self._faults.strikes("cancel.lost_before"):
            raise OutcomeUnknown("no answer in time")
        self._process.step("lock written")
        self._check_doors()
        self._truth.suspend(is_suspended=is_suspended)
        if is_suspended:
            self._check_reader()
        return self._truth.is_suspended

    async def is_shorting_forbidden(self) -> bool | None:
        await self._read("account")
        return self._truth.is_shorting_forbidden

    async def set_shorting_forbidden(self, *, is_forbidden: bool) -> bool:
        await self._wait(is_read=False)
        if self._truth.is_down or self._faults.strikes("cancel.lost_before"):
            raise OutcomeUnknown("no answer in time")
        self._process.step("ban on short sales written")
        self._check_doors()
        self._truth.forbid_shorting(is_forbidden=is_forbidden)
        if is_forbidden:
            self._check_reader()
        return self._truth.is_shorting_forbidden


def _error(refused: Refused) -> Exception:
    if "unique" in str(refused):
        return DuplicateOrder(str(refused))
    return OrderRejected(str(refused), code=refused.code)
