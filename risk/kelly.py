"""Kelly sizing: probabilities or moments in, fractions of equity out.

Pure arithmetic on floats.  Nothing here is capped: a fraction may exceed 1.  Every refusal
is a SizingError, and then the caller trades nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.errors import SizingError
from domain.numbers import finite, positive

Array = NDArray[np.float64]

# A smaller share than this of the largest eigenvalue counts as singular: solving would
# still give numbers, and they would be noise.
MIN_EIGENVALUE_RATIO = 1e-12
# Enough for correlations up to 0.99; beyond, the result is short of the optimum, never past it.
MAX_SWEEPS = 500
SWEEP_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryKelly:
    """Fraction for a bet with two outcomes, and its growth per bet at the long-only fraction."""

    f_raw: float
    f_long_only: float
    log_growth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousKelly:
    """Leverage for one asset; growth rates are per period of mu and sigma."""

    f_star: float
    f: float
    g_star: float
    g: float
    excess_growth_ratio: float | None
    growth_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiKelly:
    """Weights of several assets; ``condition`` is that of the covariance matrix."""

    f_full: Array
    f: Array
    g_full: float
    g: float
    gross: float
    condition: float


def kelly_binary(p: float, b: float, a: float = 1.0) -> BinaryKelly:
    """Size a bet that wins ``b`` per unit with probability ``p``, else loses ``a``.

    Source: Kelly (1956), Thorp (2006) sec. 2: f = p/a - (1-p)/b.
    """
    finite(p, "p", SizingError)
    positive(b, "payoff b", SizingError)
    positive(a, "loss a", SizingError)
    if not 0 <= p <= 1:
        raise SizingError(f"p = {p} must be in [0, 1]")
    q = 1 - p
    raw = p / a - q / b
    chosen = max(0.0, raw)
    win = p * math.log1p(b * chosen) if p > 0 else 0.0
    loss = q * math.log1p(-a * chosen) if q > 0 else 0.0
    return BinaryKelly(f_raw=raw, f_long_only=chosen, log_growth=win + loss)


def kelly_continuous(mu: float, r: float, sigma: float, c: float = 1.0) -> ContinuousKelly:
    """Size one asset with arithmetic mean ``mu`` and volatility ``sigma`` of one period.

    Args:
        mu: arithmetic mean return (a log mean needs + sigma^2/2).
        r: risk-free rate of the same period.
        sigma: volatility of the same period, > 0.
        c: share of full Kelly; 2 has no growth left, above 2 it is negative.

    Source: Merton (1969), Thorp (2006) sec. 7: f* = (mu - r) / sigma^2.
    """
    finite(mu, "mu", SizingError)
    finite(r, "r", SizingError)
    finite(c, "c", SizingError)
    variance = positive(sigma, "sigma", SizingError) ** 2
    # A denormal sigma squares to 0.
    positive(variance, "sigma^2", SizingError)
    excess = mu - r
    f_star = finite(excess / variance, "f*", SizingError)
    best = excess**2 / (2 * variance)
    gained = (2 * c - c * c) * best
    return ContinuousKelly(
        f_star=f_star,
        f=c * f_star,
        g_star=r + best,
        g=r + gained,
        excess_growth_ratio=gained / best if best > 0 else None,
        growth_loss=best - gained,
    )


def kelly_multi(mu: Array, cov: Array, c: float = 1.0) -> MultiKelly:
    """Size several assets with mean excess returns ``mu`` and covariance ``cov``.

    Raises:
        SizingError: shapes disagree, a value is not finite, or ``cov`` is not symmetric
            positive definite.

    Source: Thorp (2006) sec. 8: f* = cov^-1 mu, growth mu'f*/2.
    """
    finite(c, "c", SizingError)
    mu, cov = require_moments(mu, cov)
    eigenvalues = np.linalg.eigvalsh(cov)
    full: Array = np.linalg.solve(cov, mu).astype(np.float64)
    if not np.isfinite(full).all():
        raise SizingError("Kelly weights are not finite; the covariance is near singular")
    growth = float(mu @ full) / 2
    fraction: Array = (c * full).astype(np.float64)
    return MultiKelly(
        f_full=full,
        f=fraction,
        g_full=growth,
        g=(2 * c - c * c) * growth,
        gross=float(np.abs(fraction).sum()),
        condition=float(eigenvalues[-1] / eigenvalues[0]),
    )


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
