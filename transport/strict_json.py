"""JSON from outside: exact numbers, no NaN, no depth or size that hurts."""

import json
from decimal import Decimal
from typing import NoReturn

from domain.errors import DataError

# The range of a double; beyond it a number is a mistake or an attack on formatting.
_LARGEST_EXPONENT = 400


def parse(body: bytes, *, what: str, is_exact: bool = True) -> object:
    """Parse a JSON document; numbers with a fraction or exponent become Decimal.

    Args:
        body: UTF-8 text.
        what: names the document in an error.
        is_exact: False gives floats instead, several times faster; for bars by the
            hundred thousand, whose reader must still refuse what is not finite.

    Raises:
        DataError: not JSON, not UTF-8, NaN or Infinity, or nested too deeply.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=_exact if is_exact else None,
            parse_constant=_refuse_constant,
        )
    except RecursionError as exc:
        raise DataError(f"{what}: JSON is nested too deeply") from exc
    except ValueError as exc:
        raise DataError(f"{what}: not usable as JSON ({exc})") from exc


def _exact(text: str) -> Decimal:
    number = Decimal(text)
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError("a number is out of range")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
