"""Recurrent bodies: a standardized window in, what the head does to its base out.

Every body starts at zero, so that an untrained network answers the base distribution.
"""

import torch
from torch import Tensor, nn


class Body(nn.Module):
    """From (n, lookback, features) to the raw shift and stretch of each step: (n, 2 * horizon)."""


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer that answers zero until it is trained."""
    linear = nn.Linear(inputs, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class RecurrentBody(Body):
    """A recurrent network whose last hidden state speaks."""

    def __init__(self, recurrent: nn.RNNBase, *, outputs: int, dropout: float) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.dropout = nn.Dropout(dropout)
        self.linear = zero_linear(recurrent.hidden_size, outputs)

    def forward(self, window: Tensor) -> Tensor:
        """Answer the raw shift and stretch."""
        output, _ = self.recurrent(window)
        raw: Tensor = self.linear(self.dropout(output[:, -1]))
        return raw


class AttentionBody(Body):
    """A bidirectional LSTM; attention weighs the sessions before the readout."""

    def __init__(self, recurrent: nn.LSTM, *, outputs: int, dropout: float) -> None:
        super().__init__()
        width = 2 * recurrent.hidden_size
        self.recurrent = recurrent
        self.key = nn.Linear(width, recurrent.hidden_size)
        self.score = nn.Linear(recurrent.hidden_size, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.linear = zero_linear(width, outputs)

    def forward(self, window: Tensor) -> Tensor:
        """Answer the raw shift and stretch."""
        output, _ = self.recurrent(window)
        weight = torch.softmax(self.score(torch.tanh(self.key(output))), dim=1)
        raw: Tensor = self.linear(self.dropout((weight * output).sum(dim=1)))
        return raw
