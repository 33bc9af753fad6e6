"""The broker as it really is: orders and their executions, beside the account.

It knows nothing of the daemon's books, and none of its code is theirs.
"""

import datetime as dt
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from domain.account import Activity, ActivityKind
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.orders import Fill, Side, TradeUpdate
from tests.simulation.account import Account
from tests.simulation.broker_orders import Amendment, Execution, Order, Refused
from tests.simulation.faults import Faults
from tests.simulation.lasting import Lasting
from tests.simulation.loop import SimClock, SimLoop
from tests.simulation.market import Market
from tests.simulation.processes import Process
from tests.simulation.stories import Reacher

_ZERO = Decimal(0)
_ODD = ("pending_review", "suspended", "stopped", "calculated", "held_by_moon")


async def _nothing() -> None:
    """Nothing happens."""


class Truth(Account):
    """The account and the matching of its orders."""

    def __init__(self, market: Market, faults: Faults, clock: SimClock, loop: SimLoop) -> None:
        super().__init__(market, faults, clock, loop)
        self.orders: dict[str, Order] = {}
        self.executions: list[Execution] = []
        self.overfilled: set[str] = set()
        self.amendments: list[Amendment] = []
        self.answered: set[tuple[str, str]] = set()
        self.is_down = False
        self.lasting = Lasting()
        self.listeners: list[Callable[[TradeUpdate], None]] = []
        self.heard: Callable[[TradeUpdate], None] = lambda _update: None
        """Called when a program that is up takes an event of the stream."""
        self.streamed: set[tuple[str, Decimal]] = set()
        """Order and cumulative quantity of each execution that the stream told such a program."""
        self.reacher: Reacher | None = None
        self.while_read: Callable[[], Awaitable[None]] = _nothing
        """What happens between the look at the positions and the answer."""
        self.operated: Callable[[Process, bool], None] = lambda _process, _is_error: None
        """Told of each operation of the order path, and whether it surely failed."""
        self.busiest = 0

    def open_orders(self) -> list[Order]:
        """Return what can still fill."""
        return [order for order in self.orders.values() if order.is_open]

    def of_client(self, client_id: str) -> list[Order]:
        """Return every order that has an id, oldest first."""
        return [order for order in self.orders.values() if order.client_id == client_id]

    def first_written(self, client_id: str, limit: Decimal | None) -> dt.datetime:
        """Return when an order was first written to the broker with these terms.

        A resend has the same; what the broker refused and a later life decided anew has the id
        with others (found as seed 51000885).
        """
        terms = (client_id, str(limit))
        first = next(e[0] for e in self.log if e[1] == "wire" and (e[3], e[5]) == terms)
        return self.now() - dt.timedelta(seconds=self.loop.moment - first)

    def accept(
        self,
        client_id: str,
        symbol: Symbol,
        side: Side,
        quantity: Decimal,
        *,
        kind: str = "market",
        limit: Decimal | None = None,
        in_force: str = "day",
        is_amount: bool = False,
    ) -> Order:
        """Take an order, or refuse it."""
        self._check(client_id, symbol, side, quantity)
        now = self.now()
        order = Order(
            broker_id=f"b{self.number():06d}",
            client_id=client_id,
            symbol=symbol,
            side=side,
            quantity=quantity,
            kind=kind,
            limit=limit,
            in_force=in_force,
            submitted_at=now,
            updated_at=now,
            visible_at=self.loop.moment,
            is_amount=is_amount,
        )
        if self.faults.strikes("order.hidden"):
            order.visible_at += self.faults.span("order.hidden", 1, 30)
        self.orders[order.broker_id] = order
        self.write("accepted", order.broker_id, client_id, symbol, side.value, str(quantity))
        order.older = order.shown()
        self._publish("new", order)
        if self.faults.strikes("order.rejected_later"):
            self._later("rejected_later", 0.1, 30, self._reject, order)
        else:
            self._later("match", 0.1, 20, self._match, order)
        return order

    def _check(self, client_id: str, symbol: Symbol, side: Side, quantity: Decimal) -> None:
        twins = self.of_client(client_id)
        if twins and self.faults.has("broker.forgets_ids"):
            twins = [order for order in twins if order.is_open]
        if twins:
            raise Refused(422, "client_order_id must be unique")
        if self.is_suspended and not client_id.startswith("hand-"):
            raise Refused(403, "new orders are suspended by the user")
        if self.is_blocked:
            raise Refused(403, "the account is blocked")
        if symbol in self.market.ended:
            raise Refused(422, f"asset {symbol} is not tradable")
        if side is Side.BUY and quantity * self.price(symbol) > 2 * max(self.equity(), _ZERO):
            raise Refused(403, "insufficient buying power")
        if self.is_shorting_forbidden and side is Side.SELL and quantity > self._free(symbol):
            raise Refused(403, "insufficient qty available for order")

    def _free(self, symbol: Symbol) -> Decimal:
        """Return the shares that no open sale may still take."""
        sales = [o for o in self.open_orders() if o.symbol == symbol and o.side is Side.SELL]
        return self.positions.get(symbol, _ZERO) - sum((o.left for o in sales), _ZERO)

    def _later(self, name: str, low: float, high: float, call: Callable[..., Any], *a: Any) -> None:
        self.loop.call_later(self.faults.span(name, low, high), call, *a)

    def _reject(self, order: Order) -> None:
        if order.is_open and not order.filled:
            self.end(order, "rejected")

    def _match(self, order: Order) -> None:
        if not order.is_open:
            return
        if not self.is_market_open():
            session = self.hours.real
            if session is None or self.now() >= session.close:
                return
            # After the open it is a halt of the whole market that it waits for.
            left = (session.open - self.now()).total_seconds()
            wait = left if left > 0 else 60.0
            self._later("match", wait + 0.05, wait + 20, self._match, order)
            return
        price = self.price(order.symbol)
        is_crossed = order.limit is None or (
            price <= order.limit if order.side is Side.BUY else price >= order.limit
        )
        is_held_up = not is_crossed or self.is_untradable(order.symbol)
        if is_held_up or self.faults.strikes("fill.slow"):
            self._later("match", 60, 240, self._match, order)
            return
        if self.faults.strikes("order.odd_status"):
            order.word = self.faults.pick("order.odd_status", list(_ODD))
            self._publish("restated", order)
        quantity = order.left
        if quantity > 1 and self.faults.strikes("fill.partial"):
            quantity = Decimal(self.faults.dice("fill.share").randint(1, int(quantity) - 1))
        if quantity > 1 and self.faults.strikes("fill.twins"):
            # Two executions that differ in nothing but their ids.
            quantity = Decimal(int(quantity) // 2)
            self.execute(order, quantity, price)
        self.execute(order, quantity, price)
        if order.left:
            self._later("match", 0.5, 200, self._match, order)
        elif self.faults.strikes("fill.over"):
            self.overfilled.add(order.client_id)
            self.execute(order, Decimal(2), price)

    def execute(self, order: Order, quantity: Decimal, price: Decimal) -> None:
        """Fill some shares."""
        order.older, is_late = order.shown(), not order.is_open
        order.filled += quantity
        order.paid += quantity * price
        order.updated_at = self.now()
        if order.filled >= order.quantity:
            order.status, order.word = "filled", None
        elif order.status == "accepted":
            order.status = "partially_filled"
        execution = Execution(
            number=self.number(),
            broker_id=order.broker_id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=price,
            cumulative=order.filled,
            at=order.updated_at,
            is_late=is_late,
        )
        order.executions.append(execution)
        self.executions.append(execution)
        self.move(order.symbol, quantity * order.side.sign, price)
        self.cash -= quantity * price * order.side.sign
        self.write("executed", order.broker_id, order.client_id, str(quantity), str(price))
        self._post_fill(execution)
        event = "fill" if order.status == "filled" else "partial_fill"
        self._publish(event, order, execution)

    def _post_fill(self, execution: Execution) -> None:
        lag = 0.0
        if self.faults.strikes("fill.late_activity"):
            lag = self.faults.span("fill.late_activity", 1, 600)
        self.post_late(
            Activity(
                activity_id=self.execution_id(execution, channel="log"),
                kind=ActivityKind.FILL,
                at=execution.at,
                net_amount=_ZERO,
                symbol=execution.symbol,
                broker_order_id=BrokerOrderId(execution.broker_id),
                client_order_id=None,
                side=execution.side.value,
                quantity=execution.quantity,
                price=execution.price,
                cumulative_quantity=execution.cumulative,
            ),
            lag=lag,
        )

    def execution_id(self, execution: Execution, *, channel: str) -> str:
        """Return the id that a channel gives an execution."""
        prefix = "e" if channel == "log" and self.faults.has("fill.other_ids") else "x"
        return f"{prefix}{execution.number:06d}"

    def end(self, order: Order, status: str) -> None:
        """End an order for good."""
        order.older = order.shown()
        order.status, order.word = status, None
        order.updated_at = self.now()
        self.write("ended", order.broker_id, order.client_id, status)
        self._publish(status, order)

    def ask_cancel(self, broker_id: str) -> None:
        """Take a cancel request, or refuse it."""
        order = self.orders.get(broker_id)
        if order is None:
            raise Refused(404, "order not found")
        if not order.is_open:
            raise Refused(422, f"order is {order.status}")
        self.write("cancel", broker_id)
        is_new = order.status != "pending_cancel"
        order.status, order.word = "pending_cancel", None
        if is_new and self.faults.strikes("cancel.stuck"):
            order.is_stuck = True
            return
        if is_new or order.is_stuck:
            order.is_stuck = False
            if self.is_market_open() and self.faults.strikes("fill.while_canceling"):
                self._later("fill.while_canceling", 0.01, 1, self._fill_rest, order)
            self._later("cancel", 0.05, 3, self._cancel, order)

    def _fill_rest(self, order: Order) -> None:
        if order.is_open and self.is_market_open():
            quantity = Decimal(self.faults.dice("fill.rest").randint(1, max(int(order.left), 1)))
            if quantity <= order.left:
                self.execute(order, quantity, order.limit or self.price(order.symbol))

    def _cancel(self, order: Order) -> None:
        if not order.is_open:
            return
        self.end(order, "canceled")
        if self.is_market_open() and self.faults.strikes("fill.after_cancel"):
            self._later("fill.after_cancel", 1, 900, self._fill_late, order)

    def _fill_late(self, order: Order) -> None:
        price = order.limit or self.price(order.symbol)
        if order.left >= 1 and order.symbol not in self.market.ended:
            self.execute(order, Decimal(1), price)

    def match_all(self) -> None:
        """Let what rests from another day meet this day's market."""
        for order in self.open_orders():
            self._later("match", 0.1, 20, self._match, order)

    def expire_all(self) -> None:
        """End every day order at the close."""
        for order in self.open_orders():
            self.end(order, "expired")

    # The stream

    def _publish(self, event: str, order: Order, execution: Execution | None = None) -> None:
        fill = None
        if execution is not None:
            fill = Fill(
                execution_id=ExecutionId(self.execution_id(execution, channel="stream")),
                broker_order_id=BrokerOrderId(execution.broker_id),
                client_order_id=ClientOrderId(execution.client_id),
                symbol=execution.symbol,
                side=execution.side,
                quantity=execution.quantity,
                price=execution.price,
                cumulative_quantity=execution.cumulative,
                at=execution.at,
            )
        self.tell(TradeUpdate(event=event, order=order.shown(), fill=fill, at=self.now()))

    def tell(self, update: TradeUpdate) -> None:
        """Let everybody hear who is connected."""
        for listener in tuple(self.listeners):
            listener(update)
