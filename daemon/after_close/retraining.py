"""Once a week a candidate is trained in a process of its own, and judged against the model in use.

The daemon only starts that process, bounds it and reads what came of it: torch is never
loaded here, and a training that hangs, grows or crashes costs one run.
"""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.after_close.nightly import NightJob
from daemon.after_close.retraining_child import Request
from daemon.after_close.training_data import FILES, bar_folder
from daemon.config import Config, state_directory
from daemon.schedule import DueRun, RunKind, training_ends_by
from domain.clock import Clock, SystemClock
from domain.errors import ProviderUnavailable, RunSkipped
from transport.replay_loop import ReplayLoop

MODELS = "models"
_VARIABLES = ("PATH", "LANG", "TMPDIR", "HOME")
_NICE = 10
_GIB = 1024**3
_LOOK_SECONDS = 0.5
_TOLD_BYTES = 500

Note = Callable[[str, str], None]


class Retraining:
    """The weekly run; ``is_stopping`` tells that the daemon wants to end, ``now`` its time.

    ``recipe`` replaces values of the training recipe, ``child`` is what Python runs.
    """

    def __init__(
        self,
        config: Config,
        *,
        note: Note,
        is_stopping: Callable[[], bool],
        now: Callable[[], dt.datetime],
        recipe: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        child: Sequence[str] = ("-m", "daemon.after_close.retraining_child"),
    ) -> None:
        self._config = config
        self._command = (sys.executable, *child)
        self._settings = config.forecasts.retraining
        self._note = note
        self._is_stopping = is_stopping
        self._now = now
        self._recipe = dict(recipe or {})
        # The process lives in real time, also when the daemon's time is simulated.
        self._clock = SystemClock() if clock is None else clock

    def jobs(self) -> Mapping[RunKind, NightJob]:
        """Return the run, where it is switched on."""
        return {RunKind.RETRAINING: self._retrain} if self._settings.enabled else {}

    async def _retrain(self, due: DueRun, run_id: str) -> str:
        del run_id
        if importlib.util.find_spec("torch") is None:
            raise RunSkipped("torch is not installed; install openbell[train]")
        with self._standing_still():
            ends_by = training_ends_by(due, self._config.schedule)
            request = self._request(due)
            try:
                found = await asyncio.to_thread(self._run, request, ends_by)
            except OSError as exc:
                # No memory, no file descriptor, no room: of this run, not of the daemon.
                why = exc.strerror or exc
                raise ProviderUnavailable(
                    f"training {request.model} could not be started: {why}"
                ) from exc
        if found["champion"] is None:
            self._note("model.promoted", f"{found['candidate']} is the first of its name in use")
            return f"{found['candidate']} is the first of its name in use"
        if found["is_promoted"]:
            text = f"{found['candidate']} is in use, before it {found['champion']}"
            self._note("model.promoted", f"{text}; `openbell models rollback` takes it back")
            return text + _margin(found)
        if found["is_better"]:
            return f"{found['candidate']} is better than {found['champion']}" + _margin(found)
        return f"{found['candidate']} does not replace {found['champion']}: " + "; ".join(
            found["reasons"]
        )

    @contextlib.contextmanager
    def _standing_still(self) -> Iterator[None]:
        """Keep a replayed night from passing while the process works in real time."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, ReplayLoop):
            yield
            return
        longest = self._settings.max_minutes * 60 + _LOOK_SECONDS
        with loop.hold(longest), loop.real_time(longest):
            yield

    def _request(self, due: DueRun) -> Request:
        config, directory = self._config, state_directory(self._config)
        is_recorded = config.marketdata.provider == "sample"
        return Request(
            models=str(directory / MODELS),
            bars=None if is_recorded else str(bar_folder(config)),
            are_files=config.marketdata.provider == FILES,
            symbols=config.universe.symbols,
            model=self._settings.model,
            # The session itself is known, what follows it is not.
            until=(due.session.date + dt.timedelta(days=1)).isoformat(),
            step=config.forecasts.horizon,
            promote=self._settings.promote,
            recipe=self._recipe,
        )

    def _run(self, request: Request, ends_by: dt.datetime) -> dict[str, Any]:
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as answered:
            child = subprocess.Popen(  # noqa: S603 - a module of ours
                self._command,
                stdin=subprocess.PIPE,
                stdout=answered,
                stderr=told,
                env=_environment(),
                # Ctrl-C at a terminal is for the daemon; it ends the child in its own order.
                start_new_session=True,
            )
            try:
                self._bound(child.pid)
                if child.stdin is not None:
                    child.stdin.write(json.dumps(dataclasses.asdict(request)).encode())
                    child.stdin.close()
                status = self._wait(child, ends_by)
            except BrokenPipeError:
                status = child.wait()
            finally:
                _end(child)
            if status != 0:
                raise ProviderUnavailable(f"training {request.model}: {_reason(told, status)}")
            return _outcome(request, answered)

    def _bound(self, pid: int) -> None:
        seconds = int(self._settings.max_minutes * 60)
        memory = int(self._settings.max_memory_gib * _GIB)
        # A sandbox may forbid each of these, and then has bounds of its own; so does the
        # deadline.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, _NICE)
        # Only Linux bounds another process.
        if hasattr(resource, "prlimit"):
            with contextlib.suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_AS, (memory, memory))
                resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))

    def _wait(self, child: subprocess.Popen[bytes], ends_by: dt.datetime) -> int:
        until = self._clock.monotonic() + self._settings.max_minutes * 60
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(_LOOK_SECONDS)
            if self._is_stopping():
                raise RunSkipped("the daemon was told to stop")
            # Whenever it began, and however long the host slept meanwhile: the day comes first.
            if not self._now() < ends_by:
                raise RunSkipped("the pre-market run of the next session is due, and comes first")
            if not self._clock.monotonic() < until:
                raise ProviderUnavailable(
                    f"training {self._settings.model} took longer than"
                    f" forecasts.retraining.max_minutes = {self._settings.max_minutes:g}"
                )


def _outcome(request: Request, answered: Any) -> dict[str, Any]:
    answered.seek(0)
    try:
        found: dict[str, Any] = json.load(answered)
    except ValueError as exc:
        raise ProviderUnavailable(
            f"training {request.model}: its process answered something else than an outcome; "
            "see `openbell models`"
        ) from exc
    return found


def _margin(found: Mapping[str, Any]) -> str:
    return f": its loss is {found['gain']:.5f} lower, by chance at most {found['margin']:.5f}"


def _environment() -> dict[str, str]:
    # No secret of the daemon reaches the process; one thread leaves it the other cores.
    keep = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    root = str(Path(__file__).resolve().parents[2])
    return {**keep, **threads, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}


def _end(child: subprocess.Popen[bytes]) -> None:
    # Its own children too: the models that it measures run in processes.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _reason(told: Any, status: int) -> str:
    told.seek(0)
    lines = told.read().decode(errors="replace").strip().splitlines()
    if lines:
        return str(lines[-1])[:_TOLD_BYTES]
    return f"its process ended with status {status}"
