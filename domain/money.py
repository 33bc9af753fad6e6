"""Decimal arithmetic for prices, quantities and cash.  Floats are refused, not rounded."""

from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    Decimal,
    InvalidOperation,
)

from domain.errors import DataError

ZERO = Decimal(0)
CENT = Decimal("0.01")
_SUB_DOLLAR_TICK = Decimal("0.0001")


def decimal(value: str | int | Decimal) -> Decimal:
    """Parse a finite number.

    Raises:
        DataError: the text is not a number, or is NaN or infinite.
    """
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as exc:
        raise DataError(f"{value!r} is not a decimal number") from exc
    if not number.is_finite():
        raise DataError(f"{value!r} is not a finite number")
    return number


def text(value: Decimal) -> str:
    """Write a number without exponent or trailing zeros: ``10``, ``189.25``, ``0``."""
    if not value:
        return "0"
    written = str(value)
    if "E" in written:
        written = format(value, "f")
    return written.rstrip("0").rstrip(".") if "." in written else written


def cents(value: Decimal) -> Decimal:
    """Round to the cent, half to even: for display and for posted amounts only."""
    return value.quantize(CENT, rounding=ROUND_HALF_EVEN)


def whole_shares(value: Decimal) -> Decimal:
    """Drop the fraction of a share, towards zero."""
    return value.quantize(Decimal(1), rounding=ROUND_DOWN)


def tick(price: Decimal) -> Decimal:
    """Return the price grid: a cent from one dollar up, a hundredth of a cent below."""
    return CENT if price >= 1 else _SUB_DOLLAR_TICK


def round_price(price: Decimal, *, is_buy: bool) -> Decimal:
    """Put a limit price on the grid, never to a worse price: buys down, sells up.

    Raises:
        DataError: the price is not finite, or rounds to 0.
    """
    if not price.is_finite():
        raise DataError(f"price {price} is not a finite number")
    rounding = ROUND_FLOOR if is_buy else ROUND_CEILING
    rounded = price.quantize(tick(price), rounding=rounding)
    # Rounding up may cross one dollar, where the grid gets coarser.
    rounded = rounded.quantize(tick(rounded), rounding=rounding)
    if not rounded > 0:
        raise DataError(f"price {price} rounds to 0 on the tick grid")
    return rounded
