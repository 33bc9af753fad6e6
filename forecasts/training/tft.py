"""A temporal fusion transformer, cut to what these inputs need.

Lim, Arik, Loeff, Pfister (2021), International Journal of Forecasting 37(4): variable
selection, an LSTM over the window, gated residuals, and attention over the whole window.  Only
the last session asks: the head forecasts every step from its state, and the attention of
sessions whose answer nobody reads is what makes the full form slow.
"""

import torch
from torch import Tensor, nn

from forecasts.training.bodies import Body, zero_linear


class GatedResidual(nn.Module):
    """Two layers, a gate, and the way around them."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(inputs, width), nn.ELU(), nn.Linear(width, width))
        self.gate = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 2 * width), nn.GLU(-1))
        self.around = nn.Linear(inputs, width) if inputs != width else nn.Identity()
        self.norm = nn.LayerNorm(width)

    def forward(self, value: Tensor) -> Tensor:
        """Answer a state of the given width."""
        state: Tensor = self.norm(self.around(value) + self.gate(self.inner(value)))
        return state


class VariableSelection(nn.Module):
    """Weigh the features of each session against each other."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(inputs, width) / width**0.5)
        self.offset = nn.Parameter(torch.zeros(inputs, width))
        self.weigh = nn.Sequential(GatedResidual(inputs, width, dropout), nn.Linear(width, inputs))

    def forward(self, window: Tensor) -> Tensor:
        """Answer (n, lookback, width)."""
        weight = torch.softmax(self.weigh(window), dim=-1)
        # The same as embedding each feature and averaging, without the tensor of every
        # feature's embedding, which is what costs the memory bandwidth.
        return (weight * window) @ self.scale + weight @ self.offset


class TftBody(Body):
    """Selection, LSTM, attention of the last session, readout."""

    def __init__(
        self, *, inputs: int, outputs: int, hidden: int, dropout: float, heads: int = 4
    ) -> None:
        super().__init__()
        self.selection = VariableSelection(inputs, hidden, dropout)
        self.encoder = nn.LSTM(hidden, hidden, batch_first=True)
        self.encoded = GatedResidual(hidden, hidden, dropout)
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.heads = heads
        self.attended = GatedResidual(hidden, hidden, dropout)
        self.final = GatedResidual(hidden, hidden, dropout)
        self.linear = zero_linear(hidden, outputs)

    def forward(self, window: Tensor) -> Tensor:
        """Answer the raw shift and stretch."""
        selected = self.selection(window)
        output, _ = self.encoder(selected)
        states = self.encoded(selected + output)
        last = states[:, -1]
        attended = self.attended(last + self._attend(last, states))
        raw: Tensor = self.linear(self.final(attended))
        return raw

    def _attend(self, last: Tensor, states: Tensor) -> Tensor:
        query = self.query(last).unflatten(-1, (self.heads, -1))
        key = self.key(states).unflatten(-1, (self.heads, -1))
        value = self.value(states).unflatten(-1, (self.heads, -1))
        weight = torch.einsum("nhd,nthd->nht", query, key) / query.shape[-1] ** 0.5
        found = torch.einsum("nht,nthd->nhd", torch.softmax(weight, dim=-1), value)
        return found.flatten(1)
