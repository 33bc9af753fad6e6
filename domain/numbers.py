"""Guards for floats that come from models, files or people, and their text beside a bound.

Guards run before any min, max or clip: those let NaN through as the cap itself.
"""

import math

_MOST_DIGITS = 16


def finite(value: float, name: str, error: type[Exception]) -> float:
    """Return ``value``, or raise ``error`` naming it when it is NaN or infinite."""
    if not math.isfinite(value):
        raise error(f"{name} = {value} is not a finite number")
    return value


def positive(value: float, name: str, error: type[Exception]) -> float:
    """Return ``value``, or raise ``error`` naming it when it is not finite and above 0."""
    if not finite(value, name, error) > 0:
        raise error(f"{name} = {value} must be above 0")
    return value


def told_apart(value: float, bound: float) -> tuple[str, str]:
    """Return both as text, with two digits or as many as tell them apart."""
    for digits in range(2, _MOST_DIGITS):
        texts = f"{value:.{digits}f}", f"{bound:.{digits}f}"
        if texts[0] != texts[1]:
            return texts
    return f"{value:.2f}", f"{bound:.2f}"
