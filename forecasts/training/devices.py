"""Which devices this machine can train on."""

import torch

from domain.errors import BadArgument


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        BadArgument: unknown, or torch cannot use it here.
    """
    if device not in {"cpu", "cuda"}:
        raise BadArgument(f"--device {device}: choose cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadArgument("--device cuda: torch finds no CUDA device here; use cpu")
