"""The local model's process, seen from the daemon: start, ask with a deadline, end.

Everything here blocks and belongs in an executor thread.  The child is a real process, so
its deadline is real time, also when the daemon's time is simulated.
"""

import contextlib
import fcntl
import hashlib
import math
import os
import select
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
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

LOCAL_WORKER = "forecasts.local_worker"

_VARIABLES = ("PATH", "LANG", "TMPDIR")
_PIPE_BYTES = 1024 * 1024
_ERROR_BYTES = 2000
# One thread each: more of them fight over the cores that the daemon needs.
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ModelProcess:
    """One child process that holds one model.

    ``worker`` is the module that runs there, with its arguments; ``variables`` names what it
    needs of our environment besides the usual.
    """

    def __init__(
        self,
        model: bytes,
        *,
        clock: Clock | None = None,
        worker: Sequence[str] = (LOCAL_WORKER,),
        variables: Collection[str] = (),
    ) -> None:
        self._model = model
        self._command = (sys.executable, "-m", *worker)
        self._variables = (*_VARIABLES, *variables)
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
                return self._exchange(np.ascontiguousarray(contexts, dtype="<f4"), until)
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
        self._child = subprocess.Popen(  # noqa: S603 -- a module of ours
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(self._variables),
            bufsize=0,
            # Ctrl-C at a terminal is for the daemon; it ends the child in its own order.
            start_new_session=True,
        )
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                _prepare(stream.fileno())
        digest = hashlib.sha256(self._model).digest()
        header = HEADER.pack(MODEL, 0, len(self._model), len(digest), 0)
        self._write_until_answered(_views(header, self._model, digest), until)
        self._expect(READY, 0, until)

    def _exchange(self, contexts: Array, until: float) -> Array:
        # The child answers part by part while later ones are still on their way to it: both
        # pipes have to move, or each end would wait for the other to read.
        header = HEADER.pack(CONTEXT, self._number, *contexts.shape)
        unsent = _views(header, contexts.data.cast("B") if contexts.size else b"")
        answer: Array | None = None
        done = 0
        while answer is None or done < answer.shape[0]:
            unsent = self._write_until_answered(unsent, until)
            rows, *rest = self._expect(QUANTILES, self._number, until)
            answer = _room_for((contexts.shape[0], *rest)) if answer is None else answer
            if not 0 < rows <= answer.shape[0] - done or answer.shape[1:] != tuple(rest):
                raise ProviderUnavailable("its answer has another shape")
            self._read(answer[done : done + rows].data.cast("B"), until)
            done += rows
        return answer

    def _write_until_answered(self, unsent: list[memoryview], until: float) -> list[memoryview]:
        sink, source = self._pipes()
        while unsent:
            try:
                unsent = _rest(unsent, os.writev(sink, unsent))
            except BlockingIOError:
                ready = self._wait({sink: select.POLLOUT, source: select.POLLIN}, until)
                if source in ready:
                    break
        return unsent

    def _expect(self, kind: bytes, number: int, until: float) -> tuple[int, int, int]:
        header = bytearray(HEADER.size)
        self._read(memoryview(header), until)
        found, answered, *shape = HEADER.unpack(header)
        if found == FAILED:
            text = bytearray(min(shape[0], _ERROR_BYTES))
            self._read(memoryview(text), until)
            raise ProviderUnavailable(text.decode(errors="replace"))
        if found != kind or answered != number:
            raise ProviderUnavailable("its answer belongs to another request")
        return shape[0], shape[1], shape[2]

    def _read(self, place: memoryview, until: float) -> None:
        _, source = self._pipes()
        while place:
            try:
                count = os.readv(source, [place])
            except BlockingIOError:
                self._wait({source: select.POLLIN}, until)
                continue
            if not count:
                raise ProviderUnavailable("its process ended")
            place = place[count:]

    def _wait(self, events: Mapping[int, int], until: float) -> set[int]:
        left = until - self._clock.monotonic()
        poll = select.poll()
        for descriptor, event in events.items():
            poll.register(descriptor, event)
        ready = {descriptor for descriptor, _ in poll.poll(left * 1000)} if left > 0 else set()
        if not ready:
            raise ProviderUnavailable("its deadline passed")
        return ready

    def _pipes(self) -> tuple[int, int]:
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise ProviderUnavailable("it is not running")
        return child.stdin.fileno(), child.stdout.fileno()

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
            fcntl.fcntl(descriptor, widen, _PIPE_BYTES)


def _views(*parts: bytes | memoryview) -> list[memoryview]:
    return [memoryview(part) for part in parts if len(part)]


def _rest(unsent: list[memoryview], written: int) -> list[memoryview]:
    left = []
    for view in unsent:
        if written < len(view):
            left.append(view[written:])
        written = max(0, written - len(view))
    return left


def _room_for(shape: tuple[int, ...]) -> Array:
    if not 0 < math.prod(shape) * FLOAT_BYTES <= LARGEST_FRAME_BYTES:
        raise ProviderUnavailable("its answer has an impossible size")
    return np.empty(shape, dtype="<f4")


def _environment(variables: Sequence[str]) -> dict[str, str]:
    # No secret of the daemon reaches the process that runs a model file.
    keep = {name: os.environ[name] for name in variables if name in os.environ}
    root = str(Path(__file__).resolve().parent.parent)
    return {**keep, **_THREADS, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
