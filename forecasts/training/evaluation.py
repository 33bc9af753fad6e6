"""Figures of a fitted model on outcomes it has not seen, each beside its baseline."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from forecasts.distribution import probability_above_zero
from forecasts.scoring import brier_parts, calibration_error, newey_west_error, pinball
from forecasts.training.dataset import Samples
from forecasts.training.fitting import scaled_targets

Floats = NDArray[np.float64]

REPORTED_STEPS = (1, 5, 20, 40)
CONFIDENCE_GATE = 0.60
EVEN_CHANCE = 0.5


def figures(
    samples: Samples,
    quantiles: Floats,
    *,
    baseline: Floats,
    base_rates: Floats,
    levels: tuple[float, ...],
) -> Mapping[str, Mapping[str, float]]:
    """Return the figures of the steps 1, 5, 20 and 40 that the model reaches.

    Args:
        samples: what happened.
        quantiles: (n, horizon, levels) forecasts, in units of volatility.
        baseline: (horizon, levels) the unconditional distribution, same units.
        base_rates: (horizon,) share of rises known before these samples.
        levels: levels of both.
    """
    outcomes = scaled_targets(samples)
    grid = np.asarray(levels)
    steps = [step for step in REPORTED_STEPS if step <= outcomes.shape[1]]
    return {
        str(step): _figures_of(
            samples,
            outcomes[:, step - 1],
            quantiles[:, step - 1],
            baseline[step - 1],
            float(base_rates[step - 1]),
            grid,
            step,
        )
        for step in steps
    }


def _figures_of(
    samples: Samples,
    outcomes: Floats,
    quantiles: Floats,
    baseline: Floats,
    base_rate: float,
    levels: Floats,
    step: int,
) -> Mapping[str, float]:
    rose = (outcomes > 0).astype(np.float64)
    chances = np.array([probability_above_zero(levels, row) for row in quantiles])
    right = ((chances >= EVEN_CHANCE) == (rose == 1)).astype(np.float64)
    parts = brier_parts(chances, rose)
    base_brier = float(np.mean((base_rate - rose) ** 2))
    passing = np.maximum(chances, 1 - chances) >= CONFIDENCE_GATE
    by_level = zip(levels, range(levels.size), strict=True)
    losses = [
        (pinball(outcomes, quantiles[:, i], t).mean(), pinball(outcomes, baseline[i], t).mean())
        for t, i in by_level
    ]
    model_loss, base_loss = np.mean(losses, axis=0)
    inside = (outcomes >= quantiles[:, 1]) & (outcomes <= quantiles[:, -2])
    figures = {
        "samples": float(rose.size),
        "accuracy": float(right.mean()),
        "accuracy_always_up": float(rose.mean()),
        "accuracy_error": _day_clustered_error(samples, right, step),
        "brier": parts.brier,
        "brier_base_rate": base_brier,
        "brier_skill": 1 - parts.brier / base_brier,
        "calibration_error": calibration_error(chances, rose),
        "pinball": float(model_loss),
        "pinball_unconditional": float(base_loss),
        "coverage_of_80_band": float(inside.mean()),
        "mean_probability_up": float(chances.mean()),
        "share_above_gate": float(passing.mean()),
        "accuracy_above_gate": float(right[passing].mean()) if passing.any() else 0.0,
    }
    return {name: round(value, 6) for name, value in figures.items()}


def _day_clustered_error(samples: Samples, right: Floats, step: int) -> float:
    _, day = np.unique(samples.dates, return_inverse=True)
    by_day = np.bincount(day, weights=right) / np.bincount(day)
    return newey_west_error(by_day, lag=max(step - 1, 5))
