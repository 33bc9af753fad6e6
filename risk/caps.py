"""Caps on weights: per name and gross, and the bounded tilt of news within them."""

from enum import StrEnum, unique

import numpy as np

from domain.errors import SizingError
from domain.numbers import positive
from risk.kelly import Array

TOLERANCE = 1e-12


@unique
class CapMethod(StrEnum):
    """SCALAR keeps proportions of the whole vector; CLIP cuts names, then scales for gross."""

    SCALAR = "scalar"
    CLIP = "clip"


def cap_weights(
    weights: Array, *, cap: float, gross: float, method: CapMethod = CapMethod.SCALAR
) -> tuple[Array, float]:
    """Bring weights inside ``max|w| <= cap`` and ``sum|w| <= gross``.

    Returns:
        The weights, and the factor of the last scaling (1 when none was needed).

    Raises:
        SizingError: a weight or a cap is not finite, or a cap is below 0.
    """
    w = np.array(weights, dtype=np.float64)
    if not np.isfinite(w).all():
        raise SizingError("weights are not finite")
    positive(cap, "cap", SizingError)
    positive(gross, "gross", SizingError)
    scale = 1.0
    if method is CapMethod.CLIP:
        w = np.clip(w, -cap, cap)
    else:
        scale = min(1.0, cap / max(float(np.abs(w).max(initial=0.0)), cap))
    total = float(np.abs(w).sum())
    scale = min(scale, gross / max(total, gross))
    capped = w * scale
    # Checked again, since a limit that is only believed is not a limit.
    if not (np.abs(capped).max(initial=0.0) <= cap + TOLERANCE):
        raise SizingError("a weight is above its cap after capping")
    if not (np.abs(capped).sum() <= gross + TOLERANCE):
        raise SizingError("weights are above the gross cap after capping")
    return capped, scale


def tilt_weights(
    weights: Array, tilts: Array, *, max_tilt: float, cap: float, gross: float
) -> Array:
    """Scale capped weights by news multipliers, each result within +-``max_tilt`` of its weight.

    Increases share what the caps leave; a name without news does not move at all, signs and
    zeros stay, so news can only lean on a decision that stands without it.
    """
    if not 0 <= max_tilt < 1:
        raise SizingError(f"max_tilt = {max_tilt} must be in [0, 1)")
    if not np.isfinite(weights).all():
        raise SizingError("weights are not finite")
    bounded = np.clip(np.where(np.isfinite(tilts), tilts, 1.0), 1 - max_tilt, 1 + max_tilt)
    sizes = np.abs(weights)
    lowered = sizes * np.minimum(bounded, 1.0)
    room = np.maximum(cap - sizes, 0.0)
    wanted = np.minimum(sizes * (np.maximum(bounded, 1.0) - 1.0), room)
    budget = max(0.0, gross - float(lowered.sum()))
    total = float(wanted.sum())
    share = budget / max(total, budget) if total > 0 else 0.0
    tilted: Array = np.sign(weights) * (lowered + wanted * share)
    return tilted
