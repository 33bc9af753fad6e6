"""The local model's own process: reads frames, runs ONNX Runtime, writes frames.

It is started by ``forecasts.local`` and talks over its standard input and output only.  A
frame is a header and raw little-endian float32; nothing that could carry code is read.  The
answer to one frame of contexts is as many frames of quantiles as it is computed in parts.  It
ends when its input ends, so it cannot outlive the daemon.
"""

import hashlib
import math
import struct
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

# Kind, number of the request, and the three dimensions of the array that follows.
HEADER = struct.Struct("<4sIIII")
MODEL = b"LOAD"
CONTEXT = b"CTXT"
READY = b"REDY"
QUANTILES = b"QNTL"
FAILED = b"FAIL"
LARGEST_FRAME_BYTES = 256 * 1024 * 1024
FLOAT_BYTES = 4
CHUNK = 64

Array = NDArray[np.float32]


class _Session(Protocol):
    def run(self, outputs: None, feeds: dict[str, Array]) -> list[Array]:
        """Run the model."""


Compute = Callable[[Array], Array]


def main() -> int:
    """Serve the standard input and output."""
    serve(sys.stdin.buffer, sys.stdout.buffer)
    return 0


def serve(
    source: BinaryIO,
    sink: BinaryIO,
    *,
    load: Callable[[bytes], Compute] | None = None,
    rows_at_once: int = CHUNK,
) -> None:
    """Answer frames until the input ends or one of them fails.

    Args:
        source: where frames come from.
        sink: where answers go.
        load: makes what computes from the bytes of a model; ONNX Runtime by default.
        rows_at_once: how many symbols are computed together.
    """
    compute: Compute | None = None
    while header := source.read(HEADER.size):
        kind, number, *shape = HEADER.unpack(header)
        try:
            if kind == MODEL:
                model = _verified(_exactly(source, shape[0]), _exactly(source, shape[1]))
                compute = (load or _onnx_runtime)(model)
                _write(sink, READY, number, (0, 0, 0), b"")
            elif kind == CONTEXT and compute is not None:
                for answer in _inferred(compute, source, shape, rows_at_once):
                    _write(sink, QUANTILES, number, answer.shape, answer.data.cast("B"))
            else:
                raise ValueError("a frame that has no place here")
        except Exception as exc:  # noqa: BLE001 -- the answer to anything is a FAILED frame
            text = f"{type(exc).__name__}: {exc}".encode()[:2000]
            _write(sink, FAILED, number, (len(text), 0, 0), text)
            # Where the next frame begins is not known any more.
            return


def _verified(model: bytes, digest: bytes) -> bytes:
    if hashlib.sha256(model).digest() != digest:
        raise ValueError("the model changed on its way")
    return model


def _onnx_runtime(model: bytes) -> Compute:
    # Imported here so that a bad frame is answered even where onnxruntime is missing.
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    session: _Session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"]
    )
    return lambda context: session.run(None, {"context": context})[0]


def _inferred(
    compute: Compute, source: BinaryIO, shape: list[int], rows_at_once: int
) -> Iterator[Array]:
    # Part by part as they arrive: the other end writes the next one meanwhile, and equal
    # parts of this size stay in the cache.
    rows, *rest = shape
    size = rows * math.prod(rest) * FLOAT_BYTES
    if not 0 < size <= LARGEST_FRAME_BYTES:
        raise ValueError(f"a frame of {size} bytes")
    done, parts = 0, math.ceil(rows / rows_at_once)
    for number in range(1, parts + 1):
        count = rows * number // parts - done
        context = np.empty((count, *rest), dtype="<f4")
        _fill(source, context.data.cast("B"))
        yield np.ascontiguousarray(compute(context), dtype="<f4")
        done += count


def _fill(source: BinaryIO, place: memoryview) -> None:
    while place:
        # BytesIO and BufferedReader have readinto; the type of binary files does not say so.
        got = source.readinto(place)  # type: ignore[attr-defined]
        if not got:
            raise EOFError("the input ended inside a frame")
        place = place[got:]


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise EOFError("the input ended inside a frame")
    return data


def _write(
    sink: BinaryIO, kind: bytes, number: int, shape: tuple[int, ...], payload: bytes | memoryview
) -> None:
    sink.write(HEADER.pack(kind, number, *shape))
    sink.write(payload)
    sink.flush()


if __name__ == "__main__":
    sys.exit(main())
