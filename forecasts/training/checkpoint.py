"""Checkpoints: a training run that was interrupted goes on as if it had not been.

Tensors are in a safetensors file, the rest in JSON inside it; nothing is pickled.  The file is
replaced in one step, so an interruption leaves the old one or the new one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from domain.errors import StateError

_STORY = "story"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Everything that the next epoch depends on.

    ``tensors`` by name; ``story`` is plain data: the configuration, epochs, generators.
    """

    tensors: Mapping[str, Tensor]
    story: Mapping[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint."""
    draft = path.with_suffix(".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    save_file(tensors, draft, metadata={_STORY: json.dumps(checkpoint.story)})
    draft.replace(path)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint, or None when there is none.

    Raises:
        StateError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            story = json.loads(file.metadata()[_STORY])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as exc:
        raise StateError(f"checkpoint {path} cannot be read; remove it to start over") from exc
    return Checkpoint(tensors=tensors, story=story)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and those of an ensemble's members beside it."""
    for one in (path, *path.parent.glob(f"{path.name}.*")):
        one.unlink(missing_ok=True)


def member_checkpoint(path: Path, number: int) -> Path:
    """Return where one member of an ensemble has its own."""
    return path.with_name(f"{path.name}.{number}")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as named tensors."""
    state: Mapping[int, Mapping[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": tensor
        for number, values in state.items()
        for name, tensor in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".")
            state.setdefault(int(number), {})[name] = tensor
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)
