"""The local model's process, seen from the daemon: start, ask with a deadline, end.

Everything here blocks and belongs in an executor thread.  The child is a real process, so
its deadline is real time, also when the daemon's time is simulated.
"""

import contextlib
import fcntl
import hashlib
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.clock import Clock, SystemClock
from domain.errors import ProviderUnavailable
from forecasts.local_worker import (
    CONTEXT,
    FAILED,
    FLOAT_BYTES,
    HEADER,
    LARGEST_FRAME_BYTES,
    MODEL,
    QUANTILES,
    READY,
)

Array = NDArray[np.float32]

_CHUNK_BYTES = 1024 * 1024
_ERROR_BYTES = 2000
# One thread each: more of them fight over the cores that the daemon needs.
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ModelProcess:
    """One child process that holds one model."""

    def __init__(self, model: bytes, *, clock: Clock | None = None) -> None:
        self._model = model
        self._clock = SystemClock() if clock is None else clock
        self._child: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._number = 0

    @property
    def pid(self) -> int | None:
        """Process id while the child runs."""
        return None if self._child is None else self._child.pid

    def run(self, contexts: Array, deadline_seconds: float) -> Array:
        """Ask for the quantiles of some contexts: (n, horizon, levels).

        Raises:
            ProviderUnavailable: no usable answer in time; the child is gone then, and the
                next call starts another.
        """
        with self._lock:
            until = self._clock.monotonic() + deadline_seconds
            try:
                self._ensure_started(until)
                self._number += 1
                body = np.ascontiguousarray(contexts, dtype="<f4")
                self._send(HEADER.pack(CONTEXT, self._number, *body.shape), until)
                self._send(body.tobytes(), until)
                return self._answer(until)
            except (OSError, ProviderUnavailable) as exc:
                self._kill()
                raise ProviderUnavailable(f"the local model gave no answer: {exc}") from exc

    def close(self) -> None:
        """End the child, for good: a thread that comes late must not start another."""
        with self._lock:
            self._is_closed = True
            self._kill()

    def _ensure_started(self, until: float) -> None:
        if self._is_closed:
            raise ProviderUnavailable("it was closed")
        if self._child is not None and self._child.poll() is None:
            return
        self._kill()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "forecasts.local_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            bufsize=0,
            # Ctrl-C at a terminal is for the daemon; it ends the child in its own order.
            start_new_session=True,
        )
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                _prepare(stream.fileno())
        digest = hashlib.sha256(self._model).digest()
        self._send(HEADER.pack(MODEL, 0, len(self._model), len(digest), 0), until)
        self._send(self._model + digest, until)
        self._expect(READY, 0, until)

    def _answer(self, until: float) -> Array:
        shape = self._expect(QUANTILES, self._number, until)
        size = shape[0] * shape[1] * shape[2] * FLOAT_BYTES
        if size > LARGEST_FRAME_BYTES:
            raise ProviderUnavailable("its answer is too large")
        return np.frombuffer(self._receive(size, until), dtype="<f4").reshape(shape)

    def _expect(self, kind: bytes, number: int, until: float) -> tuple[int, int, int]:
        found, answered, *shape = HEADER.unpack(self._receive(HEADER.size, until))
        if found == FAILED:
            text = self._receive(min(shape[0], _ERROR_BYTES), until).decode(errors="replace")
            raise ProviderUnavailable(text)
        if found != kind or answered != number:
            raise ProviderUnavailable("its answer belongs to another request")
        return shape[0], shape[1], shape[2]

    def _send(self, data: bytes, until: float) -> None:
        stream = None if self._child is None else self._child.stdin
        if stream is None:
            raise ProviderUnavailable("it is not running")
        view = memoryview(data)
        while view:
            self._wait(stream.fileno(), select.POLLOUT, until)
            view = view[os.write(stream.fileno(), view[:_CHUNK_BYTES]) :]

    def _receive(self, size: int, until: float) -> bytes:
        stream = None if self._child is None else self._child.stdout
        if stream is None:
            raise ProviderUnavailable("it is not running")
        data = bytearray()
        while len(data) < size:
            self._wait(stream.fileno(), select.POLLIN, until)
            part = os.read(stream.fileno(), min(_CHUNK_BYTES, size - len(data)))
            if not part:
                raise ProviderUnavailable("its process ended")
            data += part
        return bytes(data)

    def _wait(self, descriptor: int, event: int, until: float) -> None:
        left = until - self._clock.monotonic()
        poll = select.poll()
        poll.register(descriptor, event)
        if not left > 0 or not poll.poll(left * 1000):
            raise ProviderUnavailable("its deadline passed")

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()


def _prepare(descriptor: int) -> None:
    os.set_blocking(descriptor, False)
    # A whole chunk of symbols then crosses at once instead of in turns of 64 KiB.
    widen = getattr(fcntl, "F_SETPIPE_SZ", None)
    if widen is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, widen, _CHUNK_BYTES)


def _environment() -> dict[str, str]:
    # No secret of the daemon reaches the process that runs a model file.
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    root = str(Path(__file__).resolve().parent.parent)
    return {**keep, **_THREADS, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
