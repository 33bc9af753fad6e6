"""JSON from outside: exact numbers, no NaN, whole characters, no depth or size that hurts."""

import json
import re
from decimal import Decimal
from typing import NoReturn

from domain.errors import DataError

# The range of a double; beyond it a number is a mistake or an attack on formatting.
_LARGEST_EXPONENT = 400
# Half of a character that UTF-16 writes in two: what cuts texts to a length leaves such.
_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED_HALVES = (rb"\ud", rb"\uD")
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def parse(body: bytes, *, what: str, is_exact: bool = True) -> object:
    """Parse a JSON document; numbers with a fraction or exponent become Decimal.

    Half a character becomes the sign for an unknown one: no database, file or hash takes it.

    Args:
        body: UTF-8 text.
        what: names the document in an error.
        is_exact: False gives floats instead, several times faster; for bars by the
            hundred thousand, whose reader must still refuse what is not finite.

    Raises:
        DataError: not JSON, not UTF-8, NaN or Infinity, or nested too deeply.
    """
    try:
        document = json.loads(
            body.decode("utf-8"),
            parse_float=_exact if is_exact else None,
            parse_constant=_refuse_constant,
        )
        is_whole = not any(half in body for half in _ESCAPED_HALVES)
        return document if is_whole else _mended(document)
    except RecursionError as exc:
        raise DataError(f"{what}: JSON is nested too deeply") from exc
    except ValueError as exc:
        raise DataError(f"{what}: not usable as JSON ({exc})") from exc


def _mended(value: object) -> object:
    if isinstance(value, str):
        return _HALF.sub(_UNKNOWN, value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {_HALF.sub(_UNKNOWN, key): _mended(one) for key, one in value.items()}
    return value


def _exact(text: str) -> Decimal:
    number = Decimal(text)
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError("a number is out of range")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
