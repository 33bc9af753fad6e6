"""Reading requests: JSON bodies and query strings become tickets, never floats."""

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from brokers.exchange.orders import Amendment, StopLoss, Ticket
from brokers.exchange.refusal import malformed
from brokers.exchange.words import Kind, OrderClass, Tif
from domain.ids import Symbol
from domain.orders import Side

Word = TypeVar("Word", bound=StrEnum)

_LARGEST_MAGNITUDE = 15


def read_json(body: bytes) -> Mapping[str, Any]:
    """Parse a body as a JSON object with exact decimals."""
    try:
        parsed = json.loads(body or b"{}", parse_float=Decimal, parse_int=Decimal)
    except ValueError as exc:
        raise malformed("request body format is invalid") from exc
    if not isinstance(parsed, dict):
        raise malformed("request body format is invalid")
    return parsed


def read_decimal(fields: Mapping[str, Any], name: str) -> Decimal | None:
    """Read a number that may be a JSON number or a string."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(value) if not isinstance(value, bool) else None
    except (InvalidOperation, TypeError, ValueError):
        number = None
    if number is None or not number.is_finite() or number.adjusted() > _LARGEST_MAGNITUDE:
        raise malformed(f"invalid {name}")
    return number


def read_count(fields: Mapping[str, Any], name: str, *, default: int, most: int) -> int:
    """Read a number of rows, from one to ``most``."""
    number = read_decimal(fields, name)
    count = default if number is None else int(number)
    if not 1 <= count <= most:
        raise malformed(f"{name} must be between 1 and {most}")
    return count


def read_bool(fields: Mapping[str, Any], name: str) -> bool:
    """Read a flag: a JSON boolean, or any spelling of true in a query."""
    value = fields.get(name)
    return value if isinstance(value, bool) else str(value).lower() in ("true", "1")


def read_moment(fields: Mapping[str, Any], name: str) -> dt.datetime | None:
    """Read an RFC 3339 moment or a date, which means midnight UTC."""
    value = fields.get(name)
    if value in (None, ""):
        return None
    try:
        # A plus sign that was not encoded arrives as a blank.
        moment = dt.datetime.fromisoformat(str(value).strip().replace(" ", "+"))
    except ValueError as exc:
        raise malformed(f"invalid {name}: {value}") from exc
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def read_ticket(fields: Mapping[str, Any]) -> Ticket:
    """Read the body of POST /v2/orders."""
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise malformed("symbol is required")
    profit, loss = _part(fields, "take_profit"), _part(fields, "stop_loss")
    stop_price = read_decimal(loss, "stop_price")
    if loss and stop_price is None:
        raise malformed("stop_loss.stop_price is required")
    client_order_id = fields.get("client_order_id") or None
    if client_order_id is not None and not isinstance(client_order_id, str):
        raise malformed("invalid client_order_id")
    return Ticket(
        symbol=Symbol(symbol),
        side=_word(Side, fields, "side"),
        kind=_word(Kind, fields, "type"),
        tif=_word(Tif, fields, "time_in_force"),
        quantity=read_decimal(fields, "qty"),
        notional=read_decimal(fields, "notional"),
        limit_price=read_decimal(fields, "limit_price"),
        stop_price=read_decimal(fields, "stop_price"),
        trail_price=read_decimal(fields, "trail_price"),
        trail_percent=read_decimal(fields, "trail_percent"),
        is_extended_hours=read_bool(fields, "extended_hours"),
        client_order_id=client_order_id,
        order_class=_order_class(fields),
        take_profit=read_decimal(profit, "limit_price"),
        stop_loss=None
        if stop_price is None
        else StopLoss(stop_price=stop_price, limit_price=read_decimal(loss, "limit_price")),
        position_intent=fields.get("position_intent") or None,
    )


def _part(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = fields.get(name) or {}
    if not isinstance(part, dict):
        raise malformed(f"invalid {name}")
    return part


def read_amendment(fields: Mapping[str, Any]) -> Amendment:
    """Read the body of PATCH /v2/orders/ID."""
    has_tif = fields.get("time_in_force") is not None
    return Amendment(
        quantity=read_decimal(fields, "qty"),
        tif=_word(Tif, fields, "time_in_force") if has_tif else None,
        limit_price=read_decimal(fields, "limit_price"),
        stop_price=read_decimal(fields, "stop_price"),
        trail=read_decimal(fields, "trail"),
        client_order_id=fields.get("client_order_id") or None,
    )


def _order_class(fields: Mapping[str, Any]) -> OrderClass:
    name = fields.get("order_class") or ""
    if name == "simple":
        return OrderClass.SIMPLE
    return _word(OrderClass, {"order_class": name}, "order_class")


def _word(kind: type[Word], fields: Mapping[str, Any], name: str) -> Word:
    value = fields.get(name)
    if value is None:
        raise malformed(f"{name} is required")
    try:
        return kind(str(value))
    except ValueError as exc:
        raise malformed(f"invalid {name} {value}") from exc
