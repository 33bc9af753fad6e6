"""Kelly sizing: moments in, fractions of equity out.

Pure arithmetic on floats.  Nothing here is capped: a fraction may exceed 1.  Every refusal
is a SizingError, and then the caller trades nothing.
"""

import numpy as np
from numpy.typing import NDArray

from domain.errors import SizingError

Array = NDArray[np.float64]

# A smaller share than this of the largest eigenvalue counts as singular: solving would
# still give numbers, and they would be noise.
MIN_EIGENVALUE_RATIO = 1e-12
# Enough for correlations up to 0.99; beyond, the result is short of the optimum, never past it.
MAX_SWEEPS = 500
SWEEP_TOLERANCE = 1e-10


def kelly_signed(mu: Array, cov: Array, signs: Array) -> Array:
    """Maximize mu'f - f'cov f/2 over weights whose sign is ``signs`` (+1 or -1) or 0.

    An unconstrained solution hedges by shorting what is expected to rise; where only the
    wished direction may be held, its hedges have to be solved for, not cut off.  Coordinate
    descent on a strictly concave problem: it converges to the one optimum.
    """
    mu, cov = require_moments(mu, cov)
    if signs.shape != mu.shape or not np.isin(signs, (-1.0, 1.0)).all():
        raise SizingError("signs must be +1 or -1, one for each mean")
    # Overflow is caught below, as a result that is not finite.
    with np.errstate(all="ignore"):
        free = _ascend(signs * mu, cov * np.outer(signs, signs))
    if not np.isfinite(free).all():
        raise SizingError("Kelly weights are not finite; the covariance is near singular")
    return free * signs


def _ascend(wanted: Array, cov: Array) -> Array:
    free = np.zeros(wanted.size)
    diagonal = np.diag(cov)
    scale = float(np.abs(wanted / diagonal).max())
    for _ in range(MAX_SWEEPS):
        moved = 0.0
        for i in range(wanted.size):
            best = max(0.0, float(free[i] + (wanted[i] - cov[i] @ free) / diagonal[i]))
            moved = max(moved, abs(best - float(free[i])))
            free[i] = best
        if moved <= SWEEP_TOLERANCE * scale:
            break
    return free


def require_moments(mu: Array, cov: Array) -> tuple[Array, Array]:
    """Return means and covariance as arrays, or refuse them."""
    mu = np.asarray(mu, dtype=np.float64)
    cov = np.asarray(cov, dtype=np.float64)
    if mu.ndim != 1 or mu.size == 0 or cov.shape != (mu.size, mu.size):
        raise SizingError(f"shapes disagree: means {mu.shape}, covariance {cov.shape}")
    if not (np.isfinite(mu).all() and np.isfinite(cov).all()):
        raise SizingError("means or covariance are not finite")
    # Solvers read one triangle only, so an asymmetric matrix would pass unseen.
    if not np.allclose(cov, cov.T, rtol=1e-10, atol=0):
        raise SizingError("covariance is not symmetric")
    eigenvalues = np.linalg.eigvalsh(cov)
    if not eigenvalues[0] > MIN_EIGENVALUE_RATIO * eigenvalues[-1]:
        raise SizingError("covariance is not positive definite")
    return mu, cov
