"""NHITS: stacks that see the window at several rates and forecast with as many knots.

Challu, Olivares, Oreshkin, Garza, Mergenthaler-Canseco, Dubrawski (2023), AAAI 37(6).  Each
stack explains part of the returns and passes on the rest; interpolation is a constant
matrix, because that is what exports with a dynamic batch.
"""

import math

import torch
from torch import Tensor, nn

from forecasts.training.bodies import Body, zero_linear

POOLING = (10, 5, 1)
# Knots per stack are the steps of the horizon over these.
COARSENESS = (20, 5, 1)
RETURN_FEATURE = 0


class NhitsBody(Body):
    """Stacks from the slowest to the fastest."""

    def __init__(
        self, *, inputs: int, lookback: int, horizon: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        pairs = zip(POOLING, COARSENESS, strict=True)
        self.stacks = nn.ModuleList(
            NhitsStack(
                inputs=inputs,
                lookback=lookback,
                horizon=horizon,
                hidden=hidden,
                dropout=dropout,
                pooling=min(pooling, lookback),
                coarseness=coarseness,
            )
            for pooling, coarseness in pairs
        )

    def forward(self, window: Tensor) -> Tensor:
        """Answer the raw shift and stretch: the sum over the stacks."""
        rest = window[:, :, RETURN_FEATURE]
        parts = []
        for stack in self.stacks:
            explained, part = stack(window, rest)
            rest = rest - explained
            parts.append(part)
        return torch.stack(parts).sum(dim=0)


class NhitsStack(nn.Module):
    """One rate: pool, two layers, knots of the past and of the future."""

    past: Tensor
    future: Tensor

    def __init__(
        self,
        *,
        inputs: int,
        lookback: int,
        horizon: int,
        hidden: int,
        dropout: float,
        pooling: int,
        coarseness: int,
    ) -> None:
        super().__init__()
        past_knots = max(1, math.ceil(lookback / pooling))
        knots = max(1, math.ceil(horizon / coarseness))
        self.pooling, self.knots = pooling, knots
        pooled = lookback // pooling * (inputs + 1)
        self.layers = nn.Sequential(
            nn.Linear(pooled, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.backcast = zero_linear(hidden, past_knots)
        self.forecast = zero_linear(hidden, 2 * knots)
        self.register_buffer("past", interpolation(past_knots, lookback))
        self.register_buffer("future", interpolation(knots, horizon))

    def forward(self, window: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Return what it explains of the past and its part of the forecast."""
        seen = torch.cat((window, rest[:, :, None]), dim=2)
        groups = seen.shape[1] // self.pooling
        # The newest sessions are kept whole; max pooling keeps the extremes of each group.
        pooled = (
            seen[:, -groups * self.pooling :]
            .reshape(-1, groups, self.pooling, seen.shape[2])
            .amax(2)
        )
        state = self.layers(pooled.flatten(1))
        knots = self.forecast(state)
        shift, stretch = knots[:, : self.knots], knots[:, self.knots :]
        future = torch.cat((shift @ self.future, stretch @ self.future), dim=1)
        return self.backcast(state) @ self.past, future


def interpolation(knots: int, steps: int) -> Tensor:
    """Return the (knots, steps) matrix of linear interpolation between evenly spaced knots."""
    if knots == 1:
        return torch.ones(1, steps)
    place = torch.linspace(0, knots - 1, steps)
    distance = (place[None, :] - torch.arange(knots)[:, None]).abs()
    return torch.clamp(1 - distance, min=0.0)
