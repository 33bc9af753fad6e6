"""Networks that turn a window of features into quantiles of the returns that follow.

All share one head: it moves and stretches a base distribution that is given in units of
volatility, so quantiles cannot cross, and a network that has learnt nothing answers the
base distribution.  The base is replaced after training by the conformal one.  The scaler
is part of the network: an exported model takes raw features and answers log returns.
"""

import torch
from torch import Tensor, nn

from domain.errors import ConfigError
from forecasts.features import SCALE_FEATURE
from forecasts.training.config import TrainingConfig

LARGEST_SHIFT = 1.0


class QuantileHead(nn.Module):
    """From a hidden state to cumulative log returns: (n, horizon, levels)."""

    base: Tensor
    root: Tensor

    def __init__(self, hidden: int, base: Tensor) -> None:
        super().__init__()
        horizon = base.shape[0]
        self.linear = nn.Linear(hidden, 2 * horizon)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.horizon = horizon
        self.register_buffer("base", base)
        self.register_buffer("root", torch.sqrt(torch.arange(1.0, horizon + 1.0)))

    def shift_and_stretch(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the head does to the base, each (n, horizon)."""
        # tanh keeps both within bounds: no input can make a forecast explode.
        raw = torch.tanh(self.linear(state))
        return LARGEST_SHIFT * raw[:, : self.horizon], torch.exp(raw[:, self.horizon :])

    def scaled(self, state: Tensor) -> Tensor:
        """Answer quantiles in units of volatility."""
        shift, stretch = self.shift_and_stretch(state)
        return shift[:, :, None] + stretch[:, :, None] * self.base

    def forward(self, state: Tensor, log_volatility: Tensor) -> Tensor:
        """Answer quantiles as log returns."""
        unit = torch.exp(log_volatility)[:, None] * self.root
        return self.scaled(state) * unit[:, :, None]


class Body(nn.Module):
    """Base of the bodies: (n, lookback, features), standardized, to (n, width)."""

    width: int


class LastStateBody(Body):
    """A recurrent network whose last hidden state speaks."""

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.width = recurrent.hidden_size

    def forward(self, window: Tensor) -> Tensor:
        """Return the last hidden state."""
        output, _ = self.recurrent(window)
        last: Tensor = output[:, -1]
        return last


class QuantileNetwork(nn.Module):
    """Scaler, body, dropout, head."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, body: Body, *, mean: Tensor, deviation: Tensor, base: Tensor, dropout: float
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.head = QuantileHead(body.width, base)

    def state(self, context: Tensor) -> Tensor:
        """Return the hidden state behind each forecast."""
        state: Tensor = self.dropout(self.body((context - self.mean) / self.deviation))
        return state

    def scaled_quantiles(self, context: Tensor) -> Tensor:
        """Answer quantiles in units of volatility: (n, horizon, levels)."""
        return self.head.scaled(self.state(context))

    def forward(self, context: Tensor) -> Tensor:
        """Answer quantiles of cumulative log returns: (n, horizon, levels)."""
        answer: Tensor = self.head(self.state(context), context[:, -1, SCALE_FEATURE])
        return answer

    @property
    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())


def build_network(
    config: TrainingConfig, *, mean: Tensor, deviation: Tensor, base: Tensor
) -> QuantileNetwork:
    """Build the untrained network of a configuration.

    Raises:
        ConfigError: no model of that name.
    """
    body = _body(config, mean.numel())
    return QuantileNetwork(body, mean=mean, deviation=deviation, base=base, dropout=config.dropout)


def _body(config: TrainingConfig, inputs: int) -> Body:
    dropout = config.dropout if config.layers > 1 else 0.0
    if config.model == "lstm":
        return LastStateBody(
            nn.LSTM(inputs, config.hidden, config.layers, batch_first=True, dropout=dropout)
        )
    raise ConfigError(f"no model is called {config.model!r}; models: lstm")
