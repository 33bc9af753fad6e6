"""A life of a program, its durable steps, and its death at the one that was chosen.

Counting shims stand where bytes become durable or leave the machine: every COMMIT, every
write and directory sync of the latch, every request that changes something at the broker.
"""

import contextvars
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import state.latch
import state.store
from state.database import connect as _plain_connect
from tests.simulation.faults import Faults


class Crash(BaseException):
    """The program died here; nothing of it runs any more."""


class Process:
    """One life: the daemon's or a command's."""

    def __init__(self, name: str, faults: Faults, *, crash_at: int | None = None) -> None:
        self.name = name
        self.crash_at = crash_at
        self.is_dead = False
        self.steps = 0
        self.died_at: str | None = None
        self.disk_faults = 0
        self._faults = faults

    def alive(self) -> None:
        """Raise when the process is dead: a dead one does nothing."""
        if self.is_dead:
            raise Crash(self.name)

    def step(self, what: str) -> None:
        """Count something that became durable or left; die here when it is the chosen one."""
        self.alive()
        self.steps += 1
        if self.steps == self.crash_at:
            self.died_at = what
            self.is_dead = True
            raise Crash(f"{self.name} died after step {self.steps}, {what}")

    def disk(self) -> None:
        """Refuse a commit now and then, as a full or failing disk does."""
        if self._faults.strikes("disk.refused"):
            self.disk_faults += 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error


_current: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def current() -> Process | None:
    """Return the process that the running code belongs to."""
    return _current.get()


def enter(process: Process) -> None:
    """Make everything that this task does and starts belong to a process."""
    _current.set(process)


class _CountingConnection(sqlite3.Connection):
    _changes = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # type: ignore[override]
        process = _current.get()
        if process is None or sql.startswith("SELECT"):
            return super().execute(sql, *parameters)
        if sql == "COMMIT":
            process.alive()
            process.disk()
            cursor = super().execute(sql, *parameters)
            # Nothing became durable where nothing changed.
            if self.total_changes != self._changes:
                process.step("commit")
            return cursor
        if sql.startswith("BEGIN"):
            process.alive()
            self._changes = self.total_changes
        return super().execute(sql, *parameters)


def _counted(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        process = _current.get()
        if process is None:
            return function(*args)
        process.alive()
        result = function(*args)
        process.step(what)
        return result

    return call


def _connect(path: Path) -> sqlite3.Connection:
    connect = sqlite3.connect

    def counting(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, factory=_CountingConnection, **kwargs)

    sqlite3.connect = counting  # type: ignore[assignment]
    try:
        return _plain_connect(path)
    finally:
        sqlite3.connect = connect


@contextmanager
def shims() -> Iterator[None]:
    """Stand between the product and the disk."""
    latch: Any = state.latch
    store: Any = state.store
    kept = (latch._write, latch._sync_directory)
    latch._write = _counted(kept[0], "latch file written")
    latch._sync_directory = _counted(kept[1], "latch file in place")
    store.connect = _connect
    try:
        yield
    finally:
        latch._write, latch._sync_directory = kept
        store.connect = _plain_connect
