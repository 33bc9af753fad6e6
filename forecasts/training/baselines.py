"""What a model has to beat: guesses that need no model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasts.training.dataset import Samples
from forecasts.training.losses import scaled_targets

Floats = NDArray[np.float64]

RECENT_SESSIONS = 168
_BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Guesses for every step, from what was known before the samples they are used on.

    ``unconditional`` is (horizon, levels) in units of volatility, ``base_rates`` the share
    of rises, (horizon,).
    """

    unconditional: Floats
    base_rates: Floats


def baselines_of(known: list[Samples], levels: tuple[float, ...]) -> Baselines:
    """Learn the baselines from the samples that a model knew."""
    outcomes = np.concatenate([scaled_targets(samples) for samples in known])
    return Baselines(
        unconditional=np.quantile(outcomes, levels, axis=0).T,
        base_rates=(outcomes > 0).mean(axis=0),
    )


def recent_quantiles(samples: Samples, step: int, levels: tuple[float, ...]) -> Floats:
    """Return the quantiles of each symbol's last 168 returns of ``step`` sessions.

    Shape (n, levels), log returns; NaN where the symbol has fewer.
    """
    found = np.full((samples.size, len(levels)), np.nan)
    enough = np.flatnonzero(samples.ends - samples.first_row >= RECENT_SESSIONS + step - 1)
    for start in range(0, enough.size, _BATCH):
        part = enough[start : start + _BATCH]
        last = samples.ends[part][:, None] - np.arange(RECENT_SESSIONS)
        returns = samples.level[last] - samples.level[last - step]
        found[part] = np.quantile(returns, levels, axis=1).T
    return found
