"""A model's process that computes with torch: ``python -m modelserver.torch_worker cuda``.

It speaks the frames of ``forecasts.local_worker``; what it is given as a model are the
weights beside the ONNX file, which say which network they are of.  A batch goes through in
one pass, for a GPU is quickest with all of it.
"""

import sys

import numpy as np
import torch
from numpy.typing import NDArray

from forecasts.local_worker import Compute, serve
from forecasts.training.weights import network_of

ROWS_AT_ONCE = 1024


def main(arguments: list[str]) -> int:
    """Serve the standard input and output on the device named."""
    device = arguments[0] if arguments else "cuda"
    serve(
        sys.stdin.buffer,
        sys.stdout.buffer,
        load=lambda weights: computing(weights, device),
        rows_at_once=ROWS_AT_ONCE,
    )
    return 0


def computing(weights: bytes, device: str) -> Compute:
    """Rebuild a network on a device and return what computes with it.

    Raises:
        StateError: not weights of ours.
        RuntimeError: torch has no such device here.
    """
    torch.set_num_threads(1)
    # Rounded to ten bits, products would differ from those of the local twin.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    network = network_of(weights).to(device)

    def compute(context: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            answer = network(torch.from_numpy(context).to(device)).cpu()
        return np.asarray(answer.numpy(), dtype=np.float32)

    return compute


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
