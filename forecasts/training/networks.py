"""Networks that turn a window of features into quantiles of the returns that follow.

All share one head: it moves and stretches a base distribution that is given in units of
volatility, so quantiles cannot cross, and a network that has learnt nothing answers the
base distribution.  The base is replaced after training by the conformal one.  The scaler
is part of the network: an exported model takes raw features and answers log returns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from domain.errors import ConfigError
from forecasts.bar_features import SCALE_FEATURE
from forecasts.training.bodies import AttentionBody, Body, RecurrentBody
from forecasts.training.config import ENSEMBLE, TrainingConfig
from forecasts.training.nhits import NhitsBody
from forecasts.training.tft import TftBody

LARGEST_SHIFT = 1.0
MODELS = ("rnn", "gru", "lstm", "attention-lstm", "nhits", "tft", ENSEMBLE)


class QuantileNetwork(nn.Module):
    """Scaler, one body or several of equal weight, head."""

    mean: Tensor
    deviation: Tensor
    base: Tensor
    root: Tensor

    def __init__(
        self, bodies: Sequence[Body], *, mean: Tensor, deviation: Tensor, base: Tensor
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("base", base)
        self.horizon = base.shape[0]
        self.register_buffer("root", torch.sqrt(torch.arange(1.0, self.horizon + 1.0)))
        self.bodies = nn.ModuleList(bodies)

    def shift_and_stretch(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network does to the base, each (n, horizon)."""
        window = (context - self.mean) / self.deviation
        answers = [self._bounded(body(window)) for body in self.bodies]
        shift = torch.stack([shift for shift, _ in answers]).mean(dim=0)
        stretch = torch.stack([stretch for _, stretch in answers]).mean(dim=0)
        return shift, stretch

    def scaled_quantiles(self, context: Tensor) -> Tensor:
        """Answer quantiles in units of volatility: (n, horizon, levels)."""
        shift, stretch = self.shift_and_stretch(context)
        return shift[:, :, None] + stretch[:, :, None] * self.base

    def forward(self, context: Tensor) -> Tensor:
        """Answer quantiles of cumulative log returns: (n, horizon, levels)."""
        unit = torch.exp(context[:, -1, SCALE_FEATURE])[:, None] * self.root
        return self.scaled_quantiles(context) * unit[:, :, None]

    @property
    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _bounded(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        # tanh keeps both within bounds: no input can make a forecast explode.
        bounded = torch.tanh(raw)
        return LARGEST_SHIFT * bounded[:, : self.horizon], torch.exp(bounded[:, self.horizon :])


def build_network(
    config: TrainingConfig, *, mean: Tensor, deviation: Tensor, base: Tensor
) -> QuantileNetwork:
    """Build the untrained network of a configuration.

    Raises:
        ConfigError: no model of that name.
    """
    body = _body(config, mean.numel())
    return QuantileNetwork([body], mean=mean, deviation=deviation, base=base)


def joined(networks: Sequence[QuantileNetwork]) -> QuantileNetwork:
    """Join networks that were fitted to the same samples into one that averages them."""
    first = networks[0]
    bodies = [body for network in networks for body in network.bodies]
    return QuantileNetwork(
        bodies,  # type: ignore[arg-type]
        mean=first.mean,
        deviation=first.deviation,
        base=first.base,
    )


def _body(config: TrainingConfig, inputs: int) -> Body:
    outputs = 2 * config.horizon
    between_layers = config.dropout if config.layers > 1 else 0.0
    recurrent = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
    if config.model in recurrent:
        cell = recurrent[config.model](
            inputs, config.hidden, config.layers, batch_first=True, dropout=between_layers
        )
        return RecurrentBody(cell, outputs=outputs, dropout=config.dropout)
    if config.model == "attention-lstm":
        both_ways = nn.LSTM(inputs, config.hidden, batch_first=True, bidirectional=True)
        return AttentionBody(both_ways, outputs=outputs, dropout=config.dropout)
    if config.model == "nhits":
        return NhitsBody(
            inputs=inputs,
            lookback=config.lookback,
            horizon=config.horizon,
            hidden=config.hidden,
            dropout=config.dropout,
        )
    if config.model == "tft":
        return TftBody(inputs=inputs, outputs=outputs, hidden=config.hidden, dropout=config.dropout)
    raise ConfigError(f"no model is called {config.model!r}; models: {', '.join(MODELS)}")
