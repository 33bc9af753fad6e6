"""Figures of a fitted model on outcomes it has not seen, each beside its baseline.

Errors of prices flatter every model: "tomorrow's price is today's" explains 99.9 % of the
variance of prices.  So they stand beside that guess, and beside the errors of returns.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from forecasts.distribution import probability_above_zero
from forecasts.scoring import brier_parts, calibration_error, newey_west_error, pinball
from forecasts.training.baselines import Baselines, recent_quantiles
from forecasts.training.dataset import Samples
from forecasts.training.losses import scaled_targets

Floats = NDArray[np.float64]
Figures = dict[str, float]

REPORTED_STEPS = (1, 5, 20, 40)
CONFIDENCE_GATE = 0.60
EVEN_CHANCE = 0.5


def figures(
    samples: Samples, quantiles: Floats, baselines: Baselines, levels: tuple[float, ...]
) -> Mapping[str, Mapping[str, float]]:
    """Return the figures of the steps 1, 5, 20 and 40 that the model reaches.

    Args:
        samples: what happened.
        quantiles: (n, horizon, levels) forecasts, in units of volatility.
        baselines: guesses known before these samples.
        levels: levels of both.
    """
    outcomes = scaled_targets(samples)
    steps = [step for step in REPORTED_STEPS if step <= outcomes.shape[1]]
    return {
        str(step): {
            name: round(value, 6)
            for name, value in (
                _direction(samples, outcomes[:, step - 1], quantiles, baselines, levels, step)
                | _distribution(samples, outcomes[:, step - 1], quantiles, baselines, levels, step)
                | _point(samples, quantiles[:, step - 1, len(levels) // 2], step)
            ).items()
        }
        for step in steps
    }


def _direction(
    samples: Samples,
    outcomes: Floats,
    quantiles: Floats,
    baselines: Baselines,
    levels: tuple[float, ...],
    step: int,
) -> Figures:
    rose = (outcomes > 0).astype(np.float64)
    chances = _chances(quantiles[:, step - 1], levels)
    right = ((chances >= EVEN_CHANCE) == (rose == 1)).astype(np.float64)
    score = brier_parts(chances, rose).brier
    base_score = float(np.mean((baselines.base_rates[step - 1] - rose) ** 2))
    passing = np.maximum(chances, 1 - chances) >= CONFIDENCE_GATE
    return {
        "samples": float(rose.size),
        "accuracy": float(right.mean()),
        "accuracy_always_up": float(rose.mean()),
        "accuracy_error": _clustered_error(samples, right, step),
        "advantage_error": _clustered_error(samples, right - rose, step),
        "brier": score,
        "brier_base_rate": base_score,
        "brier_skill": 1 - score / base_score,
        "calibration_error": calibration_error(chances, rose),
        "mean_probability_up": float(chances.mean()),
        "base_rate": float(baselines.base_rates[step - 1]),
        "share_above_gate": float(passing.mean()),
        "accuracy_above_gate": float(right[passing].mean()) if passing.any() else 0.0,
    }


def _distribution(
    samples: Samples,
    outcomes: Floats,
    quantiles: Floats,
    baselines: Baselines,
    levels: tuple[float, ...],
    step: int,
) -> Figures:
    ours = quantiles[:, step - 1]
    unconditional = np.broadcast_to(baselines.unconditional[step - 1], ours.shape)
    unit = (samples.scale * np.sqrt(step))[:, None]
    recent = recent_quantiles(samples, step, levels) / unit
    recent = np.where(np.isfinite(recent), recent, unconditional)
    inside = (outcomes >= ours[:, 1]) & (outcomes <= ours[:, -2])
    below = {
        f"share_below_{level:g}": float((outcomes <= ours[:, place]).mean())
        for place, level in enumerate(levels)
    }
    return below | {
        "pinball": _mean_pinball(outcomes, ours, levels),
        "pinball_unconditional": _mean_pinball(outcomes, unconditional, levels),
        "pinball_last_168": _mean_pinball(outcomes, recent, levels),
        "coverage_of_80_band": float(inside.mean()),
    }


def _point(samples: Samples, center: Floats, step: int) -> Figures:
    actual = samples.targets[:, step - 1].astype(np.float64)
    guess = center * samples.scale * np.sqrt(step)
    error = actual - guess
    price = np.exp(samples.level[samples.ends])
    later, guessed = price * np.exp(actual), price * np.exp(guess)
    return {
        "mse_return": float(np.mean(error**2)),
        "rmse_return": float(np.sqrt(np.mean(error**2))),
        "mae_return": float(np.mean(np.abs(error))),
        "mae_return_last_price": float(np.mean(np.abs(actual))),
        "r2_return": 1 - float(np.mean(error**2) / np.var(actual)),
        "r2_return_last_price": 1 - float(np.mean(actual**2) / np.var(actual)),
        "mape_price_pct": 100 * float(np.mean(np.abs(later - guessed) / later)),
        "mape_price_pct_last_price": 100 * float(np.mean(np.abs(later - price) / later)),
        "r2_price": 1 - float(np.mean((later - guessed) ** 2) / np.var(later)),
        "r2_price_last_price": 1 - float(np.mean((later - price) ** 2) / np.var(later)),
    }


def _chances(quantiles: Floats, levels: tuple[float, ...]) -> Floats:
    grid = np.asarray(levels)
    return np.array([probability_above_zero(grid, row) for row in quantiles])


def _mean_pinball(outcomes: Floats, quantiles: Floats, levels: tuple[float, ...]) -> float:
    losses = [
        pinball(outcomes, quantiles[:, place], level).mean() for place, level in enumerate(levels)
    ]
    return float(np.mean(losses))


def _clustered_error(samples: Samples, values: Floats, step: int) -> float:
    # Symbols of one day move together: their mean is one observation.
    _, day = np.unique(samples.dates, return_inverse=True)
    by_day = np.bincount(day, weights=values) / np.bincount(day)
    return newey_west_error(by_day, lag=max(step - 1, 5))
