"""The training loop: pinball loss in units of volatility, early stopping, one seed."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from domain.errors import ConfigError, DataError
from forecasts.training.checkpoint import (
    Checkpoint,
    member_checkpoint,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from forecasts.training.config import ENSEMBLE, TrainingConfig
from forecasts.training.dataset import Samples
from forecasts.training.losses import (
    baseline_loss,
    batches,
    network_loss,
    pinball_loss,
    scaled_targets,
)
from forecasts.training.networks import QuantileNetwork, build_network, joined

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
    epochs: tuple[Epoch, ...]
    best_epoch: int


Progress = Callable[[Epoch], None]


def fit(
    training: Samples,
    validation: Samples,
    config: TrainingConfig,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Fit:
    """Fit a network, keep the weights of its best epoch.

    Args:
        training: samples to fit to.
        validation: samples to stop on.
        config: everything that changes the result.
        progress: called after each epoch.
        checkpoint: file written after each epoch; if it is there already, training goes
            on from it and ends with the weights it would have ended with.

    Raises:
        ConfigError: the checkpoint is of another configuration or of other bars.
        DataError: a span holds no sample, or the loss is not finite.
    """
    if not (training.size and validation.size):
        raise DataError("a training span holds no sample; check the spans against the data")
    if config.model == ENSEMBLE:
        return _fit_ensemble(training, validation, config, progress, checkpoint)
    run = _Run(training, validation, config, checkpoint)
    while not run.is_over:
        epoch = run.advance()
        if progress is not None:
            progress(epoch)
    return run.result()


class _Run:
    def __init__(
        self,
        training: Samples,
        validation: Samples,
        config: TrainingConfig,
        checkpoint: Path | None,
    ) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(1)
        self._config, self._checkpoint = config, checkpoint
        self._fingerprint = _fingerprint(config, (training, validation)) if checkpoint else ""
        self._training = training
        self._held_out = validation.every(config.validation_stride)
        self._network = _new_network(training, config).to(config.device)
        self._levels = torch.tensor(config.levels, device=config.device)
        self._targets = torch.from_numpy(scaled_targets(training).astype(np.float32))
        self._optimizer = torch.optim.Adam(
            self._network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer, factor=0.5, patience=2
        )
        self._generator = np.random.default_rng(config.seed)
        self._baseline = baseline_loss(self._network, self._held_out, self._levels)
        self._epochs: list[Epoch] = []
        self._best_epoch = 0
        self._best = self._weights()
        stored = read_checkpoint(checkpoint) if checkpoint is not None else None
        if stored is not None:
            self._restore(stored)

    @property
    def is_over(self) -> bool:
        done = len(self._epochs)
        if done >= self._config.max_epochs:
            return True
        return done > 0 and done - 1 - self._best_epoch >= self._config.patience

    def advance(self) -> Epoch:
        config, number = self._config, len(self._epochs)
        drawn = max(1, int(self._training.size * config.samples_per_epoch_fraction))
        order = self._generator.permutation(self._training.size)[:drawn]
        self._network.train()
        losses = [self._step(batch) for batch in batches(order, config.batch_size)]
        loss = network_loss(self._network, self._held_out, self._levels)
        self._schedule.step(loss)
        if not np.isfinite(loss):
            raise DataError(f"training diverged in epoch {number}; lower the learning rate")
        epoch = Epoch(
            number=number,
            training_loss=float(np.mean(losses)),
            validation_loss=loss,
            baseline_loss=self._baseline,
        )
        self._epochs.append(epoch)
        if loss < self._epochs[self._best_epoch].validation_loss or number == 0:
            self._best_epoch, self._best = number, self._weights()
        if self._checkpoint is not None:
            write_checkpoint(self._checkpoint, self._stored())
        return epoch

    def result(self) -> Fit:
        self._network.load_state_dict(self._best)
        self._network.to("cpu").eval()
        return Fit(network=self._network, epochs=tuple(self._epochs), best_epoch=self._best_epoch)

    def _step(self, batch: NDArray[np.int64]) -> float:
        device = self._config.device
        context = torch.from_numpy(self._training.contexts(batch)).to(device)
        targets = self._targets[torch.from_numpy(batch)].to(device)
        loss = pinball_loss(targets, self._network.scaled_quantiles(context), self._levels)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), self._config.gradient_clip)
        self._optimizer.step()
        return float(loss.item())

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self._network.state_dict().items()}

    def _stored(self) -> Checkpoint:
        tensors = {
            **{f"network.{name}": value for name, value in self._weights().items()},
            **{f"best.{name}": value for name, value in self._best.items()},
            **optimizer_tensors(self._optimizer),
            "generator": torch.get_rng_state(),
        }
        story = {
            "config": self._fingerprint,
            "epochs": [dataclasses.asdict(epoch) for epoch in self._epochs],
            "best_epoch": self._best_epoch,
            "schedule": _plain(self._schedule.state_dict()),
            "rates": [group["lr"] for group in self._optimizer.param_groups],
            "order": self._generator.bit_generator.state,
        }
        return Checkpoint(tensors=tensors, story=story)

    def _restore(self, stored: Checkpoint) -> None:
        story = stored.story
        if story["config"] != self._fingerprint:
            raise ConfigError(
                f"checkpoint {self._checkpoint} is of another configuration or of other bars; "
                "remove it to start over"
            )
        self._network.load_state_dict(_part(stored.tensors, "network."))
        self._best = _part(stored.tensors, "best.")
        restore_optimizer(self._optimizer, stored.tensors)
        for group, rate in zip(self._optimizer.param_groups, story["rates"], strict=True):
            group["lr"] = rate
        self._schedule.load_state_dict(story["schedule"])
        self._generator.bit_generator.state = story["order"]
        torch.set_rng_state(stored.tensors["generator"])
        self._epochs = [Epoch(**values) for values in story["epochs"]]
        self._best_epoch = story["best_epoch"]


def _fit_ensemble(
    training: Samples,
    validation: Samples,
    config: TrainingConfig,
    progress: Progress | None,
    checkpoint: Path | None,
) -> Fit:
    members = [
        fit(
            training,
            validation,
            dataclasses.replace(config, model="lstm", seed=config.seed + number),
            progress,
            None if checkpoint is None else member_checkpoint(checkpoint, number),
        )
        for number in range(config.members)
    ]
    network = joined([member.network for member in members])
    network.eval()
    epochs = tuple(epoch for member in members for epoch in member.epochs)
    return Fit(network=network, epochs=epochs, best_epoch=members[0].best_epoch)


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


def _part(tensors: Any, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    # The mode of comparison is a function in some versions; it is rebuilt, not stored.
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, int | float | str | bool | list) or value is None
    }


def _fingerprint(config: TrainingConfig, spans: Sequence[Samples]) -> str:
    told = json.dumps(dataclasses.asdict(config), default=str, sort_keys=True)
    digest = hashlib.sha256()
    for samples in spans:
        for values in (samples.table, samples.ends, samples.targets):
            digest.update(np.ascontiguousarray(values).data)
    return f"{told} {digest.hexdigest()}"
