"""Estimation error: how much of a measured edge to believe.

A plug-in Kelly fraction overbets, since E[SR_hat^2] is about SR^2 + 1/n.  ``n`` is the
effective sample size: correlated or overlapping observations count for less.
"""

import math
from dataclasses import dataclass

import numpy as np

from domain.errors import SizingError
from domain.numbers import finite, positive
from risk.kelly import Array, require_moments

MIN_OBSERVATIONS = 2
MIN_MEANS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrunkKelly:
    """One edge with its error: plug-in fraction, and two fractions that allow for it."""

    sharpe_per_period: float
    t_stat: float
    edge_factor: float
    f_plugin: float
    f_edge_shrunk: float
    bayes_weight: float
    posterior_mean: float
    posterior_var_of_mean: float
    f_bayes_predictive: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JamesStein:
    """Means shrunk towards 0 (positive part), and towards the minimum-variance mean."""

    js_positive_part_factor: float
    js_means: Array
    jorion_target: float
    jorion_weight_on_target: float
    jorion_means: Array


def kelly_shrunk(mu_hat: float, sigma: float, n: float, tau: float) -> ShrunkKelly:
    """Shrink one measured mean by its t statistic, and by a N(0, tau^2) prior.

    Source: edge factor max(0, 1 - 1/t^2); Bayes as in MacLean, Thorp, Ziemba (2010).
    """
    finite(mu_hat, "mu_hat", SizingError)
    positive(sigma, "sigma", SizingError)
    positive(tau, "tau", SizingError)
    if not finite(n, "n", SizingError) >= MIN_OBSERVATIONS:
        raise SizingError(f"n = {n}: at least {MIN_OBSERVATIONS} observations are needed")
    sharpe = mu_hat / sigma
    t_stat = sharpe * math.sqrt(n)
    edge_factor = max(0.0, 1 - 1 / t_stat**2) if abs(t_stat) > 1 else 0.0
    plugin = mu_hat / sigma**2
    noise = sigma**2 / n
    weight = tau**2 / (tau**2 + noise)
    return ShrunkKelly(
        sharpe_per_period=sharpe,
        t_stat=t_stat,
        edge_factor=edge_factor,
        f_plugin=plugin,
        f_edge_shrunk=edge_factor * plugin,
        bayes_weight=weight,
        posterior_mean=weight * mu_hat,
        posterior_var_of_mean=weight * noise,
        f_bayes_predictive=weight * mu_hat / (sigma**2 + weight * noise),
    )


def james_stein(means: Array, cov: Array, n: float) -> JamesStein:
    """Shrink several means at once.

    Source: Stein (1956), positive part; Jorion (1986), weight (p+2)/((p+2) + n d'S^-1 d).
    """
    means, cov = require_moments(means, cov)
    p = means.size
    if p < MIN_MEANS:
        raise SizingError(f"{p} means: James-Stein needs at least {MIN_MEANS}")
    positive(n, "n", SizingError)
    distance = n * float(means @ np.linalg.solve(cov, means))
    factor = max(0.0, 1 - (p - 2) / distance) if distance > 0 else 0.0
    ones = np.ones(p)
    least = np.linalg.solve(cov, ones)
    target = float(least @ means / least.sum())
    apart = means - target
    spread = n * float(apart @ np.linalg.solve(cov, apart))
    weight = (p + 2) / (p + 2 + spread)
    return JamesStein(
        js_positive_part_factor=factor,
        js_means=factor * means,
        jorion_target=target,
        jorion_weight_on_target=weight,
        jorion_means=weight * target + (1 - weight) * means,
    )
