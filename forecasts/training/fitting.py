"""The training loop: pinball loss in units of volatility, early stopping, one seed."""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from domain.errors import DataError
from forecasts.training.config import ENSEMBLE, TrainingConfig
from forecasts.training.dataset import Samples
from forecasts.training.networks import QuantileNetwork, build_network, joined

Floats = NDArray[np.float64]
_PREDICT_BATCH = 512
_SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """Losses of one pass; lower is better."""

    number: int
    training_loss: float
    validation_loss: float
    baseline_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A fitted network and how it got there."""

    network: QuantileNetwork
    epochs: tuple[Epoch, ...] = field(default=())
    best_epoch: int = 0


Progress = Callable[[Epoch], None]


def scaled_targets(samples: Samples) -> Floats:
    """Return the outcomes in units of volatility: (n, horizon)."""
    steps = np.sqrt(np.arange(1, samples.targets.shape[1] + 1))
    return samples.targets / (samples.scale[:, None] * steps)


def fit(
    training: Samples,
    validation: Samples,
    config: TrainingConfig,
    progress: Progress | None = None,
) -> Fit:
    """Fit a network, keep the weights of its best epoch.

    Raises:
        DataError: a span holds no sample, or the loss is not finite.
    """
    if not (training.size and validation.size):
        raise DataError("a training span holds no sample; check the spans against the data")
    if config.model == ENSEMBLE:
        return _fit_ensemble(training, validation, config, progress)
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    network = _new_network(training, config)
    best = copy.deepcopy(network.state_dict())
    epochs: list[Epoch] = []
    best_epoch = 0
    for epoch in _epochs(network, training, validation, config):
        epochs.append(epoch)
        if progress is not None:
            progress(epoch)
        if epoch.validation_loss < epochs[best_epoch].validation_loss or epoch.number == 0:
            best_epoch, best = epoch.number, copy.deepcopy(network.state_dict())
        if epoch.number - best_epoch >= config.patience:
            break
    network.load_state_dict(best)
    network.eval()
    return Fit(network=network, epochs=tuple(epochs), best_epoch=best_epoch)


def _fit_ensemble(
    training: Samples, validation: Samples, config: TrainingConfig, progress: Progress | None
) -> Fit:
    members = [
        fit(
            training,
            validation,
            dataclasses.replace(config, model="lstm", seed=config.seed + number),
            progress,
        )
        for number in range(config.members)
    ]
    network = joined([member.network for member in members])
    network.eval()
    epochs = tuple(epoch for member in members for epoch in member.epochs)
    return Fit(network=network, epochs=epochs, best_epoch=members[0].best_epoch)


def shift_and_stretch(network: QuantileNetwork, samples: Samples) -> tuple[Floats, Floats]:
    """Return what the network does to its base for each sample, each (n, horizon)."""
    network.eval()
    shifts, stretches = [], []
    with torch.no_grad():
        for batch in _batches(np.arange(samples.size), _PREDICT_BATCH):
            context = torch.from_numpy(samples.contexts(batch))
            shift, stretch = network.shift_and_stretch(context)
            shifts.append(shift.numpy().astype(np.float64))
            stretches.append(stretch.numpy().astype(np.float64))
    return np.concatenate(shifts), np.concatenate(stretches)


def pinball_loss(targets: Tensor, quantiles: Tensor, levels: Tensor) -> Tensor:
    """Return the mean quantile loss over samples, steps and levels."""
    error = targets[:, :, None] - quantiles
    return torch.maximum(levels * error, (levels - 1) * error).mean()


def _new_network(training: Samples, config: TrainingConfig) -> QuantileNetwork:
    rows = training.table[training.ends]
    deviation = np.maximum(rows.std(axis=0), _SMALLEST_DEVIATION)
    base = np.quantile(scaled_targets(training), config.levels, axis=0).T
    return build_network(
        config,
        mean=torch.from_numpy(rows.mean(axis=0)),
        deviation=torch.from_numpy(deviation.astype(np.float32)),
        base=torch.from_numpy(base.astype(np.float32)),
    )


def _epochs(
    network: QuantileNetwork, training: Samples, validation: Samples, config: TrainingConfig
) -> Iterator[Epoch]:
    levels = torch.tensor(config.levels)
    targets = torch.from_numpy(scaled_targets(training).astype(np.float32))
    held_out = validation.every(config.validation_stride)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    generator = np.random.default_rng(config.seed)
    drawn = max(1, int(training.size * config.samples_per_epoch_fraction))
    baseline = _baseline_loss(network, held_out, levels)
    for number in range(config.max_epochs):
        order = generator.permutation(training.size)[:drawn]
        losses = [
            _step(network, optimizer, training, targets, batch, levels, config.gradient_clip)
            for batch in _batches(order, config.batch_size)
        ]
        loss = _loss(network, held_out, levels)
        schedule.step(loss)
        if not np.isfinite(loss):
            raise DataError(f"training diverged in epoch {number}; lower the learning rate")
        yield Epoch(
            number=number,
            training_loss=float(np.mean(losses)),
            validation_loss=loss,
            baseline_loss=baseline,
        )


def _step(
    network: QuantileNetwork,
    optimizer: torch.optim.Optimizer,
    training: Samples,
    targets: Tensor,
    batch: NDArray[np.int64],
    levels: Tensor,
    clip: float,
) -> float:
    network.train()
    context = torch.from_numpy(training.contexts(batch))
    quantiles = network.scaled_quantiles(context)
    loss = pinball_loss(targets[torch.from_numpy(batch)], quantiles, levels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimizer.step()
    return float(loss.item())


def _loss(network: QuantileNetwork, samples: Samples, levels: Tensor) -> float:
    shift, stretch = shift_and_stretch(network, samples)
    base = network.base.numpy()
    scaled = shift[:, :, None] + stretch[:, :, None] * base
    targets = torch.from_numpy(scaled_targets(samples))
    return float(pinball_loss(targets, torch.from_numpy(scaled), levels.double()).item())


def _baseline_loss(network: QuantileNetwork, samples: Samples, levels: Tensor) -> float:
    targets = torch.from_numpy(scaled_targets(samples))
    return float(pinball_loss(targets, network.base[None].double(), levels.double()).item())


def _batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [order[start : start + size] for start in range(0, order.size, size)]
