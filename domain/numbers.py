"""Guards for floats that come from models, files or people.

They run before any min, max or clip: those let NaN through as the cap itself.
"""

import math


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
