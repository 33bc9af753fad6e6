"""Fields of Alpaca's JSON: taken one by one, strictly, with the field named in the error."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

from domain.errors import DataError
from domain.money import decimal

Row = Mapping[str, object]

_LARGEST_MAGNITUDE = 15
_SMALLEST_EXPONENT = -30
_LONGEST_WORD = 128


def row(raw: object, *, what: str) -> Row:
    """Return a JSON object."""
    if not isinstance(raw, dict):
        raise DataError(f"{what}: a JSON object was expected, not {type(raw).__name__}")
    return raw


def rows(raw: object, *, what: str) -> tuple[Row, ...]:
    """Return a JSON array of objects."""
    if not isinstance(raw, list):
        raise DataError(f"{what}: a JSON array was expected, not {type(raw).__name__}")
    return tuple(row(item, what=what) for item in raw)


def word(data: Row, key: str) -> str:
    """Return a required short text."""
    value = data.get(key)
    if not (isinstance(value, str) and value and len(value) <= _LONGEST_WORD):
        raise DataError(f"{key} is missing or not a short text")
    return value


def text(data: Row, key: str) -> str:
    """Return a text, or nothing where there is none."""
    value = data.get(key)
    return value if isinstance(value, str) else ""


def amount(data: Row, key: str) -> Decimal:
    """Return a required number, finite and of a sane size."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise DataError(f"{key} is missing or not a number")
    try:
        number = decimal(value)
    except DataError as exc:
        raise DataError(f"{key}: {exc}") from exc
    exponent = number.as_tuple().exponent
    if number.adjusted() > _LARGEST_MAGNITUDE or not (
        isinstance(exponent, int) and exponent >= _SMALLEST_EXPONENT
    ):
        raise DataError(f"{key} is out of range")
    return number


def amount_or(data: Row, key: str, default: Decimal) -> Decimal:
    """Return a number, or ``default`` where there is none."""
    return default if data.get(key) is None else amount(data, key)


def amount_or_none(data: Row, key: str) -> Decimal | None:
    """Return a number, or None where there is none."""
    return None if data.get(key) is None else amount(data, key)


def moment(data: Row, key: str) -> dt.datetime:
    """Return a required time, in UTC."""
    try:
        parsed = dt.datetime.fromisoformat(word(data, key))
        is_aware = parsed.tzinfo is not None
        parsed = parsed.astimezone(dt.UTC)
    except (ValueError, OverflowError) as exc:
        raise DataError(f"{key} is not a time") from exc
    if not is_aware:
        raise DataError(f"{key} has no time zone")
    return parsed


def moment_of(data: Row, *keys: str, default: dt.datetime | None = None) -> dt.datetime:
    """Return the time of the first key that has one."""
    for key in keys:
        if data.get(key) is not None:
            return moment(data, key)
    if default is None:
        raise DataError(f"{keys[0]} is missing")
    return default
