"""Outcomes in units of volatility, and the quantile loss of a network on them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecasts.training.dataset import Samples
from forecasts.training.networks import QuantileNetwork

Floats = NDArray[np.float64]
_PREDICT_BATCH = 512


def scaled_targets(samples: Samples) -> Floats:
    """Return the outcomes in units of volatility: (n, horizon)."""
    steps = np.sqrt(np.arange(1, samples.targets.shape[1] + 1))
    return samples.targets / (samples.scale[:, None] * steps)


def shift_and_stretch(network: QuantileNetwork, samples: Samples) -> tuple[Floats, Floats]:
    """Return what the network does to its base for each sample, each (n, horizon)."""
    network.eval()
    device = network.base.device
    shifts, stretches = [], []
    with torch.no_grad():
        for batch in batches(np.arange(samples.size), _PREDICT_BATCH):
            context = torch.from_numpy(samples.contexts(batch)).to(device)
            shift, stretch = network.shift_and_stretch(context)
            shifts.append(shift.cpu().numpy().astype(np.float64))
            stretches.append(stretch.cpu().numpy().astype(np.float64))
    return np.concatenate(shifts), np.concatenate(stretches)


def pinball_loss(targets: Tensor, quantiles: Tensor, levels: Tensor) -> Tensor:
    """Return the mean quantile loss over samples, steps and levels."""
    error = targets[:, :, None] - quantiles
    return torch.maximum(levels * error, (levels - 1) * error).mean()


def network_loss(network: QuantileNetwork, samples: Samples, levels: Tensor) -> float:
    """Return the loss of a network on samples it is not being fitted to."""
    shift, stretch = shift_and_stretch(network, samples)
    base = network.base.cpu().numpy()
    return _loss(samples, shift[:, :, None] + stretch[:, :, None] * base, levels)


def baseline_loss(network: QuantileNetwork, samples: Samples, levels: Tensor) -> float:
    """Return the loss of the base distribution, whatever the window shows."""
    return _loss(samples, network.base.cpu().numpy()[None].astype(np.float64), levels)


def batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut an order of samples into batches."""
    return [order[start : start + size] for start in range(0, order.size, size)]


def _loss(samples: Samples, quantiles: Floats, levels: Tensor) -> float:
    targets = torch.from_numpy(scaled_targets(samples))
    return float(pinball_loss(targets, torch.from_numpy(quantiles), levels.cpu().double()).item())
