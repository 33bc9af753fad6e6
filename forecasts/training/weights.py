"""The weights of a network as one file that says how to rebuild it; nothing is pickled.

The ONNX file folds constants into what ONNX Runtime likes, so it cannot be turned back into
torch.  This file can, for servers that compute with torch on a GPU.
"""

import dataclasses
import json
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from domain.errors import StateError
from forecasts.training.config import ENSEMBLE, TrainingConfig
from forecasts.training.networks import QuantileNetwork, build_network, joined

_STORY = "network"
_LENGTH_BYTES = 8
# What a network is built from; the rest of a configuration is about its training.
_SHAPE = ("model", "lookback", "horizon", "hidden", "layers")


def weights_of(network: QuantileNetwork, config: TrainingConfig) -> bytes:
    """Return a network as a safetensors file, the same bytes each time."""
    story = {name: getattr(config, name) for name in _SHAPE}
    story |= {"levels": list(config.levels), "members": len(network.bodies)}
    tensors = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    return bytes(save(tensors, metadata={_STORY: json.dumps(story, sort_keys=True)}))


def network_of(weights: bytes) -> QuantileNetwork:
    """Rebuild a network, ready to answer.

    Raises:
        StateError: not weights of ours.
    """
    try:
        length = int.from_bytes(weights[:_LENGTH_BYTES], "little")
        header = json.loads(weights[_LENGTH_BYTES : _LENGTH_BYTES + length])
        story = json.loads(header["__metadata__"][_STORY])
        members = int(story.pop("members"))
        config = dataclasses.replace(TrainingConfig(dropout=0.0), **_plain(story))
        tensors = load(weights)
        network = _unfitted(config, tensors, members)
        network.load_state_dict(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as exc:
        raise StateError(f"the weights of a model cannot be used: {exc}") from exc
    return network.eval()


def _plain(story: dict[str, Any]) -> dict[str, Any]:
    levels = story.pop("levels")
    if not isinstance(levels, list) or sorted(story) != sorted(_SHAPE):
        raise ValueError("they do not say which network they are of")
    return {**story, "levels": tuple(float(level) for level in levels)}


def _unfitted(
    config: TrainingConfig, tensors: dict[str, torch.Tensor], members: int
) -> QuantileNetwork:
    single = "lstm" if config.model == ENSEMBLE else config.model
    parts = [
        build_network(
            dataclasses.replace(config, model=single),
            mean=tensors["mean"].clone(),
            deviation=tensors["deviation"].clone(),
            base=tensors["base"].clone(),
        )
        for _ in range(members)
    ]
    return joined(parts)
