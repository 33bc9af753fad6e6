"""The local model's own process: reads frames, runs ONNX Runtime, writes frames.

It is started by ``forecasts.local`` and talks over its standard input and output only.  A
frame is a header and raw little-endian float32; nothing that could carry code is read.  It
ends when its input ends, so it cannot outlive the daemon.
"""

import hashlib
import math
import struct
import sys
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


def main() -> int:
    """Serve the standard input and output."""
    serve(sys.stdin.buffer, sys.stdout.buffer)
    return 0


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer frames until the input ends or one of them fails."""
    session: _Session | None = None
    while header := source.read(HEADER.size):
        kind, number, *shape = HEADER.unpack(header)
        try:
            if kind == MODEL:
                session = _load(_exactly(source, shape[0]), _exactly(source, shape[1]))
                _write(sink, READY, number, (0, 0, 0), b"")
            elif kind == CONTEXT and session is not None:
                answer = _infer(session, source, shape)
                _write(sink, QUANTILES, number, answer.shape, answer.tobytes())
            else:
                raise ValueError("a frame that has no place here")
        except Exception as exc:  # noqa: BLE001 -- the answer to anything is a FAILED frame
            text = f"{type(exc).__name__}: {exc}".encode()[:2000]
            _write(sink, FAILED, number, (len(text), 0, 0), text)
            # Where the next frame begins is not known any more.
            return


def _load(model: bytes, digest: bytes) -> _Session:
    if hashlib.sha256(model).digest() != digest:
        raise ValueError("the model changed on its way")
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
    return session


def _infer(session: _Session, source: BinaryIO, shape: list[int]) -> Array:
    size = shape[0] * shape[1] * shape[2] * FLOAT_BYTES
    if not 0 < size <= LARGEST_FRAME_BYTES:
        raise ValueError(f"a frame of {size} bytes")
    context = np.frombuffer(_exactly(source, size), dtype="<f4").reshape(shape)
    # Equal parts that stay in the cache; a hundred symbols at once take a third longer.
    parts = np.array_split(context, math.ceil(shape[0] / CHUNK))
    answers = [session.run(None, {"context": part})[0] for part in parts]
    return np.ascontiguousarray(np.concatenate(answers), dtype="<f4")


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise EOFError("the input ended inside a frame")
    return data


def _write(
    sink: BinaryIO, kind: bytes, number: int, shape: tuple[int, ...], payload: bytes
) -> None:
    sink.write(HEADER.pack(kind, number, *shape))
    sink.write(payload)
    sink.flush()


if __name__ == "__main__":
    sys.exit(main())
