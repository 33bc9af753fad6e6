"""Caps on weights: per name and gross, and the bounded tilt of news within them."""

import numpy as np

from domain.errors import SizingError
from domain.numbers import positive
from risk.kelly import Array

TOLERANCE = 1e-12


def cap_weights(weights: Array, *, cap: float, gross: float) -> tuple[Array, float]:
    """Cut each weight to ``cap``, then scale all to ``sum|w| <= gross``.

    Name by name first: scaling the whole book for one bold forecast would let that one
    forecast decide the size of all others.

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
    w = np.clip(w, -cap, cap)
    scale = gross / max(float(np.abs(w).sum()), gross)
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
