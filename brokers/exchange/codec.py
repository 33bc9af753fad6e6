"""Events as JSON and back, without losing a digit."""

import dataclasses
import datetime as dt
import functools
import json
import types
import typing
from decimal import Decimal
from enum import Enum
from typing import Any

from brokers.exchange.events import EVENT_TYPES, Event
from domain.errors import DataError
from domain.money import text

_TYPES = {kind.__name__: kind for kind in EVENT_TYPES}


def encode_event(event: Event) -> str:
    """Write one event as a line of JSON."""
    body = {"type": type(event).__name__, **_encode_fields(event)}
    return json.dumps(body, separators=(",", ":"))


def decode_event(line: str) -> Event:
    """Read one event.

    Raises:
        DataError: the line is not an event.
    """
    try:
        body = json.loads(line)
        event = _decode(_TYPES[body.pop("type")], body)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as exc:
        raise DataError(f"this is not an event of the exchange: {line[:80]!r}") from exc
    return typing.cast(Event, event)


def _encode_fields(value: Any) -> dict[str, Any]:
    fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    return {name: _encode(item) for name, item in fields if item is not None}


def _encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if dataclasses.is_dataclass(value):
        return _encode_fields(value)
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return {name: _plain(hint) for name, hint in typing.get_type_hints(kind).items()}


def _plain(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    if isinstance(hint, typing.NewType):
        return hint.__supertype__
    return typing.get_origin(hint) or hint


def _decode(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        return typing.cast(type, kind)(
            **{name: _decode(hints[name], item) for name, item in value.items()}
        )
    if kind in (dt.datetime, dt.date):
        return kind.fromisoformat(value)
    if kind in (bool, int, str):
        return value
    return kind(value)
