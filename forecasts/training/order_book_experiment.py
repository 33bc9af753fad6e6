"""The experiment on order books: RNN, GRU and LSTM guess the next price, beside the last one.

Windows of 12 bars, squared error, Adam at 1e-3 with weight decay 1e-5, batches of 32, dropout
0.2, gradients clipped at 1, the rate halved on a plateau, patience 15, split 70/15/15 in time.
The networks learn the change of the price: learning the price itself is learning to copy it.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor, nn

from domain.errors import DataError
from forecasts.training.losses import batches
from forecasts.training.order_book import BOOK_FEATURES, LONGEST_WINDOW, BookSnapshot, book_features

Floats = NDArray[np.float64]

WINDOW = 12
HIDDEN, LAYERS, DROPOUT = 64, 2, 0.2
BATCH, RATE, DECAY, CLIP, PATIENCE = 32, 1e-3, 1e-5, 1.0, 15
TRAINING_SHARE, VALIDATION_SHARE = 0.70, 0.15
Cell = type[nn.RNN | nn.GRU | nn.LSTM]
CELLS: Mapping[str, Cell] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceScores:
    """Errors of the next price on the last 15 % of the bars."""

    name: str
    parameters: int
    mse: float
    rmse: float
    mae: float
    mape_pct: float
    r2_price: float
    r2_change: float
    right_direction: float


class NextChange(nn.Module):
    """A recurrent network and one number out."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.recurrent = cell(len(BOOK_FEATURES), HIDDEN, LAYERS, batch_first=True, dropout=DROPOUT)
        self.linear = nn.Linear(HIDDEN, 1)

    def forward(self, window: Tensor) -> Tensor:
        """Answer the change of the log price, in units of its deviation."""
        output, _ = self.recurrent(window)
        change: Tensor = self.linear(output[:, -1]).squeeze(-1)
        return change


@dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    windows: Tensor
    changes: Tensor
    price: Floats
    deviation: float
    edges: tuple[int, int]


def run_experiment(
    book: Sequence[BookSnapshot], *, seed: int, max_epochs: int
) -> tuple[PriceScores, ...]:
    """Train the three networks and score them beside the last price.

    Raises:
        DataError: too few snapshots for a split.
    """
    data = _data(book)
    scores = [_scores("last price", 0, data, np.zeros(data.price.size - data.edges[1]))]
    for name, cell in CELLS.items():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        network = NextChange(cell)
        _fit(network, data, seed, max_epochs)
        with torch.no_grad():
            guess = network(data.windows[data.edges[1] :]).numpy().astype(np.float64)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        scores.append(_scores(name, parameters, data, guess * data.deviation))
    return tuple(scores)


def _data(book: Sequence[BookSnapshot]) -> _Data:
    table = book_features(book) if len(book) > LONGEST_WINDOW else np.empty((0, 0))
    count = table.shape[0] - WINDOW
    first, second = int(count * TRAINING_SHARE), int(count * (TRAINING_SHARE + VALIDATION_SHARE))
    if not 0 < first < second < count:
        raise DataError(f"{len(book)} snapshots are too few; collect some hundreds")
    known = table[: first + WINDOW]
    scaled = (table - known.mean(axis=0)) / np.maximum(known.std(axis=0), 1e-9)
    windows = sliding_window_view(scaled, WINDOW, axis=0)[:count].transpose(0, 2, 1)
    level = np.log([one.middle for one in book])[LONGEST_WINDOW + WINDOW - 1 :]
    changes = np.diff(level)
    deviation = float(changes[:first].std())
    return _Data(
        windows=torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32)),
        changes=torch.from_numpy((changes / deviation).astype(np.float32)),
        price=np.exp(level[:-1]),
        deviation=deviation,
        edges=(first, second),
    )


def _fit(network: NextChange, data: _Data, seed: int, max_epochs: int) -> None:
    first, second = data.edges
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
    generator = np.random.default_rng(seed)
    best, best_loss, since = copy.deepcopy(network.state_dict()), np.inf, 0
    for _ in range(max_epochs):
        network.train()
        for drawn in batches(generator.permutation(first), BATCH):
            batch = torch.from_numpy(drawn)
            loss = nn.functional.mse_loss(network(data.windows[batch]), data.changes[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
        network.eval()
        with torch.no_grad():
            held_out = network(data.windows[first:second])
            held_loss = float(nn.functional.mse_loss(held_out, data.changes[first:second]))
        schedule.step(held_loss)
        since += 1
        if held_loss < best_loss:
            best, best_loss, since = copy.deepcopy(network.state_dict()), held_loss, 0
        if since >= PATIENCE:
            break
    network.load_state_dict(best)
    network.eval()


def _scores(name: str, parameters: int, data: _Data, guess: Floats) -> PriceScores:
    price = data.price[data.edges[1] :]
    change = data.changes[data.edges[1] :].numpy().astype(np.float64) * data.deviation
    later, guessed = price * np.exp(change), price * np.exp(guess)
    error = later - guessed
    return PriceScores(
        name=name,
        parameters=parameters,
        mse=float(np.mean(error**2)),
        rmse=float(np.sqrt(np.mean(error**2))),
        mae=float(np.mean(np.abs(error))),
        mape_pct=100 * float(np.mean(np.abs(error) / later)),
        r2_price=1 - float(np.mean(error**2) / np.var(later)),
        r2_change=1 - float(np.mean((change - guess) ** 2) / np.var(change)),
        right_direction=float(np.mean(np.sign(guess) == np.sign(change))),
    )
