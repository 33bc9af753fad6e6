"""The control endpoints under /_openbell: faults, time and what happens by hand, for tests."""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from brokers.exchange import by_hand, corporate
from brokers.exchange.by_hand import HandPrices
from brokers.exchange.closures import WithClosures
from brokers.exchange.events import ActivityPosted
from brokers.exchange.prices import Quote
from brokers.exchange.refusal import Refusal, malformed, not_found
from brokers.exchange.windows import new_york
from brokers.paper_server import requests
from brokers.paper_server.answers import refusal_body
from brokers.paper_server.faults import FaultBox, parse_fault
from brokers.paper_server.gate import Gate
from brokers.paper_server.venue import Venue
from domain.errors import ConfigError
from domain.ids import Symbol
from domain.money import ZERO

Command = Callable[[Mapping[str, Any]], Any]


class ControlApi:
    """Arms faults, moves time, and does what people and companies do by hand."""

    def __init__(
        self,
        venue: Venue,
        prices: HandPrices,
        faults: FaultBox,
        gate: Gate,
        calendar: WithClosures,
    ) -> None:
        self._calendar = calendar
        self._venue = venue
        self._prices = prices
        self._faults = faults
        self._gate = gate

    def routes(self) -> list[Route]:
        """Return the routes."""
        commands: dict[str, Command] = {
            "faults": self.arm,
            "clock": self.move_clock,
            "prices": self.set_price,
            "hand-fills": self.fill_by_hand,
            "hand-trades": self.trade_by_hand,
            "activities": self.post_activity,
            "splits": self.split,
            "busts": self.bust,
            "account": self.configure,
            "closures": self.close_day,
        }
        posts = [
            Route(f"/_openbell/{name}", self._endpoint(command), methods=["POST"])
            for name, command in commands.items()
        ]
        return [
            *posts,
            Route("/_openbell/log", self._log, methods=["GET"]),
            Route("/_openbell/truth", self._truth, methods=["GET"]),
        ]

    def arm(self, fields: Mapping[str, Any]) -> Any:
        """Arm the faults of ``{"faults": [text, ...]}``; ``"clear": true`` disarms first."""
        parsed = [parse_fault(str(text)) for text in fields.get("faults", [])]
        if fields.get("clear"):
            self._faults.clear()
        for fault in parsed:
            self._faults.arm(fault)
        return {"armed": [str(fault.kind) for fault in self._faults.armed]}

    def move_clock(self, fields: Mapping[str, Any]) -> Any:
        """Move time ahead: ``{"to": RFC 3339}`` or ``{"advance_seconds": n}``."""
        seconds = requests.read_decimal(fields, "advance_seconds")
        moment = requests.read_moment(fields, "to")
        if moment is None:
            moment = self._venue.now() + dt.timedelta(seconds=float(seconds or 0))
        self._venue.jump(moment)
        return {"now": self._venue.now().isoformat()}

    def close_day(self, fields: Mapping[str, Any]) -> Any:
        """Take ``{"date": "2022-11-14"}`` out of the calendar: the market stays closed."""
        try:
            date = dt.date.fromisoformat(str(fields.get("date")))
        except ValueError:
            raise malformed("date must be like 2022-11-14") from None
        self._calendar.close(date)
        return {"closed": date.isoformat()}

    def set_price(self, fields: Mapping[str, Any]) -> Any:
        """Hold ``{"symbol": ..., "last": ..., "bid": ..., "ask": ...}``; no price lets it go."""
        symbol = Symbol(str(fields.get("symbol")))
        last = requests.read_decimal(fields, "last")
        quote = None
        if last is not None:
            bid = requests.read_decimal(fields, "bid")
            ask = requests.read_decimal(fields, "ask")
            quote = Quote(bid=bid or last, ask=ask or last, last=last)
        self._prices.set(symbol, quote)
        by_hand.reconsider(self._venue.exchange.desk, symbol, self._venue.now())
        return {}

    def fill_by_hand(self, fields: Mapping[str, Any]) -> Any:
        """Fill ``{"client_order_id": ..., "qty": ..., "price": ...}`` in whatever state it is."""
        order = self._venue.exchange.book.find(str(fields.get("client_order_id")))
        if order is None:
            raise not_found("order not found")
        quantity = requests.read_decimal(fields, "qty") or ZERO
        price = requests.read_decimal(fields, "price") or ZERO
        by_hand.force_fill(self._venue.exchange.desk, order, quantity, price, self._venue.now())
        return {"id": order.id}

    def trade_by_hand(self, fields: Mapping[str, Any]) -> Any:
        """Send an order as somebody else with the same account would."""
        ticket = requests.read_ticket({"type": "market", "time_in_force": "day", **fields})
        order = self._venue.exchange.submit(ticket, self._venue.now())
        return {"id": order.id}

    def post_activity(self, fields: Mapping[str, Any]) -> Any:
        """Post ``{"kind": "DIV", "net_amount": "1.23", "symbol": ...}`` (also FEE, INT, CSD)."""
        kind, symbol = str(fields.get("kind", "")), fields.get("symbol")
        if not kind:
            raise malformed("kind is required")
        now = self._venue.now()
        event = ActivityPosted(
            at=now,
            id=corporate.activity_id(self._venue.exchange.desk, kind, now),
            kind=kind,
            date=new_york(now).date(),
            net_amount=requests.read_decimal(fields, "net_amount") or ZERO,
            symbol=Symbol(str(symbol)) if symbol else None,
            per_share=requests.read_decimal(fields, "per_share_amount"),
            description=str(fields.get("description", "")),
        )
        self._venue.exchange.post(event, now)
        return {"id": event.id}

    def split(self, fields: Mapping[str, Any]) -> Any:
        """Split ``{"symbol": ..., "ratio": "4"}``."""
        ratio = requests.read_decimal(fields, "ratio") or Decimal(0)
        self._venue.exchange.split(Symbol(str(fields.get("symbol"))), ratio, self._venue.now())
        return {}

    def bust(self, fields: Mapping[str, Any]) -> Any:
        """Undo the execution ``{"execution_id": ...}``."""
        execution_id = str(fields.get("execution_id"))
        order = corporate.bust(self._venue.exchange.desk, execution_id, self._venue.now())
        return {"id": order.id}

    def configure(self, fields: Mapping[str, Any]) -> Any:
        """Set account flags: ``{"is_blocked": true}``."""
        names = ("is_suspended", "is_blocked", "is_shorting_forbidden")
        changes = {name: requests.read_bool(fields, name) for name in names if name in fields}
        self._venue.exchange.configure(self._venue.now(), **changes)
        return {}

    def _endpoint(self, command: Command) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                fields = json.loads(await request.body() or b"{}", parse_float=Decimal)
                return JSONResponse(command(fields))
            except Refusal as refusal:
                return JSONResponse(refusal_body(refusal), refusal.http_status)
            except (ConfigError, ValueError) as exc:
                return JSONResponse({"code": 40010001, "message": str(exc)}, 422)
            finally:
                self._venue.commit()

        return endpoint

    async def _log(self, request: Request) -> Response:
        wanted = dict(request.query_params)
        rows = [
            row
            for row in self._gate.log
            if all(str(row.get(name)) == value for name, value in wanted.items())
        ]
        return JSONResponse(rows)

    async def _truth(self, request: Request) -> Response:
        del request
        self._venue.settle()
        book = self._venue.exchange.book
        return JSONResponse(
            {
                "now": self._venue.now().isoformat(),
                "orders": {
                    order.client_order_id: {
                        "status": str(order.status),
                        "filled_quantity": str(order.filled_quantity),
                    }
                    for order in book.orders.values()
                },
                "executions": [
                    {
                        "id": one.id,
                        "client_order_id": book.orders[one.order_id].client_order_id,
                        "quantity": str(one.quantity),
                        "price": str(one.price),
                    }
                    for one in book.executions
                ],
                "cash": str(book.cash),
                "positions": {
                    symbol: str(holding.quantity)
                    for symbol, holding in sorted(book.holdings.items())
                },
            }
        )
