"""Handlers of the trading API: orders and positions."""

from collections.abc import Iterable, Mapping
from typing import Any

from brokers.exchange import by_hand
from brokers.exchange.orders import Order
from brokers.exchange.refusal import Refusal, malformed, not_found
from brokers.paper_server import requests, wire
from brokers.paper_server.account_wire import position_json
from brokers.paper_server.answers import Answer, Call, Handler, json_answer, refusal_body
from brokers.paper_server.faults import FaultBox, FaultKind
from brokers.paper_server.venue import Venue
from domain.ids import Symbol

_DEFAULT_LIMIT, _LARGEST_LIMIT = 50, 500
_CANCEL_FAILED = {"code": 50010000, "message": "failed to cancel order"}

Routes = Iterable[tuple[str, str, Handler]]


class TradingApi:
    """Orders and positions over the venue."""

    def __init__(self, venue: Venue, faults: FaultBox) -> None:
        self._venue = venue
        self._faults = faults

    def routes(self) -> Routes:
        """Return method, path and handler of each endpoint."""
        yield "POST", "/v2/orders", self.submit
        yield "GET", "/v2/orders", self.list_orders
        yield "DELETE", "/v2/orders", self.cancel_all
        yield "GET", "/v2/orders:by_client_order_id", self.find
        yield "GET", "/v2/orders/{order_id}", self.get
        yield "PATCH", "/v2/orders/{order_id}", self.replace
        yield "DELETE", "/v2/orders/{order_id}", self.cancel
        yield "GET", "/v2/positions", self.positions
        yield "DELETE", "/v2/positions", self.close_all
        yield "GET", "/v2/positions/{symbol}", self.position
        yield "DELETE", "/v2/positions/{symbol}", self.close

    def submit(self, call: Call) -> Answer:
        """Take an order."""
        ticket = requests.read_ticket(requests.read_json(call.body))
        order = self._venue.exchange.submit(ticket, self._venue.now())
        if self._strikes(FaultKind.REJECT_AFTER_ACCEPT, order):
            by_hand.reject_later(self._venue.exchange.desk, order, self._venue.now())
        return json_answer(self._order(order, is_nested=True))

    def get(self, call: Call) -> Answer:
        """Read one order by its id."""
        order = self._venue.exchange.order(call.parts["order_id"])
        return json_answer(self._order(order, is_nested=_is_nested(call)))

    def find(self, call: Call) -> Answer:
        """Read one order by its client id."""
        wanted = call.query.get("client_order_id", "")
        order = self._venue.exchange.book.find(wanted)
        if order is None:
            raise not_found(f"order not found for {wanted}")
        return json_answer(self._order(order, is_nested=_is_nested(call)))

    def list_orders(self, call: Call) -> Answer:
        """List orders, as the filters say."""
        is_nested = _is_nested(call)
        orders = [
            order
            for order in self._venue.exchange.book.orders.values()
            if not (is_nested and order.parent_id is not None) and _matches(order, call.query)
        ]
        is_ascending = call.query.get("direction") == "asc"
        orders.sort(key=_submission, reverse=not is_ascending)
        orders = _cut(orders, call.query, self._venue.exchange.book.orders)
        return json_answer([self._order(order, is_nested=is_nested) for order in orders])

    def cancel(self, call: Call) -> Answer:
        """Ask for a cancel of one order."""
        self._cancel(call.parts["order_id"])
        return Answer(status=204)

    def cancel_all(self, call: Call) -> Answer:
        """Ask for a cancel of every open order."""
        del call
        return json_answer(self._cancel_each(), 207)

    def replace(self, call: Call) -> Answer:
        """Ask to replace one order."""
        amendment = requests.read_amendment(requests.read_json(call.body))
        order = self._venue.exchange.replace(call.parts["order_id"], amendment, self._venue.now())
        return json_answer(self._order(order, is_nested=True))

    def positions(self, call: Call) -> Answer:
        """List all positions."""
        del call
        exchange = self._venue.exchange
        return json_answer([position_json(exchange, s) for s in sorted(exchange.book.holdings)])

    def position(self, call: Call) -> Answer:
        """Read one position."""
        symbol = self._held_symbol(call.parts["symbol"])
        return json_answer(position_json(self._venue.exchange, symbol))

    def close(self, call: Call) -> Answer:
        """Close a position, or a part of it."""
        order = self._venue.exchange.close_position(
            self._held_symbol(call.parts["symbol"]),
            self._venue.now(),
            quantity=requests.read_decimal(call.query, "qty"),
            percentage=requests.read_decimal(call.query, "percentage"),
        )
        return json_answer(self._order(order))

    def close_all(self, call: Call) -> Answer:
        """Close every position; cancels are only asked for, so some may be refused."""
        if requests.read_bool(call.query, "cancel_orders"):
            self._cancel_each()
        exchange = self._venue.exchange
        rows = []
        for symbol in sorted(exchange.book.holdings):
            try:
                order = exchange.close_position(symbol, self._venue.now())
                row = {"symbol": symbol, "status": 200, "body": self._order(order)}
            except Refusal as refusal:
                row = {
                    "symbol": symbol,
                    "status": refusal.http_status,
                    "body": refusal_body(refusal),
                }
            rows.append(row)
        return json_answer(rows, 207)

    def _cancel_each(self) -> list[dict[str, Any]]:
        exchange = self._venue.exchange
        rows: list[dict[str, Any]] = []
        for order in sorted(exchange.book.open_orders.values(), key=_submission):
            if order.cancel_at is not None:
                continue
            if self._strikes(FaultKind.MIXED_207, order):
                rows.append({"id": order.id, "status": 500, "body": _CANCEL_FAILED})
                continue
            try:
                self._cancel(order.id)
                rows.append({"id": order.id, "status": 200})
            except Refusal:
                rows.append({"id": order.id, "status": 500, "body": _CANCEL_FAILED})
        return rows

    def _cancel(self, order_id: str) -> None:
        exchange = self._venue.exchange
        order = exchange.cancel(order_id, self._venue.now())
        if not order.status.is_terminal and self._strikes(FaultKind.STUCK_PENDING_CANCEL, order):
            by_hand.stick(exchange.desk, order, self._venue.now())

    def _strikes(self, kind: FaultKind, order: Order) -> bool:
        text = f"{order.symbol} {order.client_order_id}"
        return self._faults.strike(kind, text=text) is not None

    def _held_symbol(self, name: str) -> Symbol:
        for symbol in self._venue.exchange.book.holdings:
            if name in (symbol, wire.asset_id(symbol)):
                return symbol
        raise not_found("position does not exist")

    def _order(self, order: Order, *, is_nested: bool = False) -> dict[str, Any]:
        return wire.order_json(order, self._venue.exchange.book, is_nested=is_nested)


def _is_nested(call: Call) -> bool:
    return requests.read_bool(call.query, "nested")


def _submission(order: Order) -> tuple[Any, str]:
    return order.submitted_at, order.client_order_id


def _matches(order: Order, query: Mapping[str, str]) -> bool:
    status = query.get("status", "open")
    if status not in ("open", "closed", "all"):
        raise malformed(f"invalid status {status}")
    if status != "all" and order.status.is_terminal != (status == "closed"):
        return False
    after = requests.read_moment(query, "after")
    until = requests.read_moment(query, "until")
    if after is not None and not order.submitted_at > after:
        return False
    if until is not None and not order.submitted_at < until:
        return False
    symbols = query.get("symbols")
    if symbols and order.symbol not in symbols.split(","):
        return False
    side = query.get("side")
    return not side or order.side == side


def _cut(orders: list[Order], query: Mapping[str, str], known: Mapping[str, Order]) -> list[Order]:
    """Apply the id cursors and the limit; the order of a cursor need not be in the list."""
    for name, keeps_later in (("after_order_id", True), ("before_order_id", False)):
        cursor = query.get(name)
        if cursor is None:
            continue
        if cursor not in known:
            raise not_found(f"order not found for {cursor}")
        place = _submission(known[cursor])
        orders = [
            order
            for order in orders
            if (_submission(order) > place if keeps_later else _submission(order) < place)
        ]
    count = requests.read_count(query, "limit", default=_DEFAULT_LIMIT, most=_LARGEST_LIMIT)
    return orders[:count]
