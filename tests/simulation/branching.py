"""Try every step without playing the way to it again: the world is forked there.

The process that plays a day forks at each step; the child takes a copy of the files, meets
what that step has in store for it, lives to the end of the day and hands back its verdict.
The parent waits and goes on as if nothing had been.  A child may fork again.
"""

import asyncio
import gc
import os
import pickle
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from tests.simulation.disk import in_another_world
from tests.simulation.processes import Process, outside
from tests.simulation.trouble import Trouble

_LASTING_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What came of one branch; ``path`` names the steps at which it left."""

    path: tuple[str, ...]
    violations: list[tuple[str, str]]
    trace: str


class Explorer(Protocol):
    """Somebody who wants to know what else may happen."""

    def attach(self, process: Process) -> None:
        """Watch a process, or not."""
        ...


class Branches:
    """Forks, and collects what comes back."""

    def __init__(self) -> None:
        self.endings: list[Ending] = []
        self.path: tuple[str, ...] = ()
        self.only: tuple[str, ...] = ()
        """Where this is not empty: the one path that is played again."""
        self.every = 1
        """Above 1: leave out most of them."""
        self._asked = 0
        self.moved: Callable[[], None] = lambda: None
        """Called in a new world once it has its own files."""
        self._pipe: int | None = None

    def fork(self, label: str) -> bool:
        """Return True in a new world, and False in this one once the new one has ended."""
        if self.only and self.only[len(self.path) :][:1] != (label,):
            return False
        self._asked += 1
        if self._asked % self.every:
            return False
        with outside():
            place = tempfile.mkdtemp(prefix="openbell-branch-", dir=Path.cwd().parent)
            reading, writing = os.pipe()
            sys.stdout.flush()
            sys.stderr.flush()
            child = os.fork()
            if child == 0:
                os.close(reading)
                self._become(label, writing, Path(place))
                return True
            os.close(writing)
            self._collect(child, reading, label)
            shutil.rmtree(place)
        return False

    def _become(self, label: str, pipe: int, place: Path) -> None:
        # Sweeping memory would copy every page that the worlds share.
        gc.disable()
        # asyncio forgets the running loop in a child.
        asyncio._set_running_loop(asyncio.get_event_loop_policy().get_event_loop())
        self._pipe, self.endings, self.path = pipe, [], (*self.path, label)
        shutil.copytree("state", place / "state", ignore=shutil.ignore_patterns("*-shm"))
        os.chdir(place)
        in_another_world()
        self.moved()

    def _collect(self, child: int, reading: int, label: str) -> None:
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        os.waitpid(child, 0)
        if content:
            self.endings += pickle.loads(content)  # noqa: S301 - from our own child
        else:
            said = [("X04", "this branch ended without a word")]
            self.endings.append(Ending(path=(*self.path, label), violations=said, trace=""))

    def deliver(self, violations: Sequence[tuple[str, str]], trace: str) -> None:
        """Hand the verdict to the parent and end; return where this is no branch."""
        if self._pipe is not None:
            self._end(Ending(path=self.path, violations=list(violations), trace=trace))

    def fail(self) -> None:
        """Tell the parent of an error in the simulation itself, and end."""
        if self._pipe is not None:
            said = [("X04", traceback.format_exc()[-1500:])]
            self._end(Ending(path=self.path, violations=said, trace=""))

    def _end(self, ending: Ending) -> NoReturn:
        assert self._pipe is not None
        with os.fdopen(self._pipe, "wb") as pipe:
            pickle.dump([ending, *self.endings], pipe)
        # Nothing is tidied up: the open files are those of another world.
        os._exit(0)


class Crashes:
    """Die after each step; ``deaths`` is how often at most, each in the life after the last."""

    def __init__(self, branches: Branches, deaths: int) -> None:
        self._branches = branches
        self._left = deaths
        self._next: str | None = None

    def attach(self, process: Process) -> None:
        """Watch every life; after a death the next one of that program."""
        is_wanted = self._next is None or process.name.split()[0] == self._next
        if is_wanted and self._next is not None:
            self._next = ""
        if is_wanted and self._left:
            process.watcher = self

    def dies(self, process: Process, what: str) -> bool:
        """Die in a branch."""
        is_again = self._next is not None
        if not self._left or (is_again and process.has_recovered()):
            return False
        if not self._branches.fork(f"{process.name} step {process.steps} {what}"):
            return False
        self._left -= 1
        self._next = process.name.split()[0]
        return True

    def trouble(
        self, _process: Process, _what: str, _among: tuple[Trouble, ...]
    ) -> tuple[Trouble, float] | None:
        """Leave the disk alone."""
        return None


class Troubles:
    """Let each operation of the disk fail in each way, once and for ten minutes."""

    def __init__(self, branches: Branches) -> None:
        self._branches = branches
        self._is_over = False
        self.operations: dict[str, int] = {}

    def attach(self, process: Process) -> None:
        """Watch every life of the daemon and of a kill."""
        if not self._is_over and process.name.startswith(("daemon", "kill")):
            process.watcher = self

    def dies(self, _process: Process, _what: str) -> bool:
        """Let it live."""
        return False

    def trouble(
        self, process: Process, what: str, among: tuple[Trouble, ...]
    ) -> tuple[Trouble, float] | None:
        """Fail in a branch for each way to fail."""
        if self._is_over:
            return None
        number = self.operations[process.name] = self.operations.get(process.name, 0) + 1
        for trouble in among:
            for seconds in (0.0,) if trouble is Trouble.KEPT else (0.0, _LASTING_SECONDS):
                word = f"{trouble.name} for {seconds:.0f} s" if seconds else f"{trouble.name} once"
                if self._branches.fork(f"{process.name} operation {number} {what}: {word}"):
                    self._is_over = True
                    return trouble, seconds
        return None
