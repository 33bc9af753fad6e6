"""The disk of the machine: operations that write are counted, and may fail.

Counting shims stand where bytes become durable: statements of SQLite that write, and the
calls of the system that latch, mark and lock are written by.  A statement that fails for
want of space or by an input/output error ends its transaction, as in SQLite itself.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import state.store
from state.database import connect as _plain_connect
from tests.simulation import after_hours
from tests.simulation.processes import Process, current
from tests.simulation.trouble import ANY, IN_PLACE, INSIDE, Trouble

_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLAC", "CREATE", "DROP T", "ALTER "})
_FILE_CALLS = ("write", "pwrite", "fsync", "replace", "link", "unlink")
BEGIN = "begin"
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Disk:
    """What the disk does to whoever writes; shared by all programs of the machine."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lasting: Trouble | None = None
        self._until = 0.0
        self._held_until = 0.0
        self.committing: Callable[[Process, Callable[[], Any]], Any] | None = None
        """Does a COMMIT instead, where somebody wants to see the files before and after."""
        self.synced: Callable[[int], None] | None = None
        """Told of each fsync, with the descriptor."""

    def fill(self, seconds: float) -> None:
        """Have no room for so long."""
        self._lasting, self._until = Trouble.FULL, self._now() + seconds

    def hold(self, seconds: float) -> None:
        """Have another program keep the database to itself for so long; files can be written."""
        self._held_until = self._now() + seconds

    def heal(self) -> None:
        """Work again."""
        self._lasting = None
        self._held_until = 0.0

    def check(self, process: Process, what: str, among: tuple[Trouble, ...]) -> Trouble | None:
        """Count an operation; return how it fails, None when it does not."""
        process.alive()
        if self._lasting in among and self._now() < self._until:
            process.disk_faults += 1
            return self._lasting
        if what == BEGIN and self._now() < self._held_until:
            process.disk_faults += 1
            return Trouble.BUSY
        found = process.trouble(what, among)
        if found is None:
            return None
        trouble, seconds = found
        if seconds:
            self._lasting, self._until = trouble, self._now() + seconds
        process.disk_faults += 1
        return trouble


class Inherited(RuntimeError):
    """A world that was forked used a connection of the world that it came from."""


_disk = Disk(lambda: 0.0)
_world = [0]


def in_another_world() -> None:
    """Forbid the connections that are open now: they lead to the files of another world."""
    _world[0] += 1


class _CountingConnection(sqlite3.Connection):
    _changes = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._world = _world[0]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # type: ignore[override]
        if sql.startswith("SELECT") or (process := current()) is None:
            return super().execute(sql, *parameters)
        word = sql.lstrip()[:6].upper()
        if word == "COMMIT":
            return self._commit(process)
        if word.startswith("BEGIN"):
            self._check(process, BEGIN, ANY)
            self._changes = self.total_changes
        elif word in _WRITES:
            self._check(process, word.strip().lower(), INSIDE)
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # type: ignore[override]
        process = current()
        if process is not None:
            self._check(process, "insert many", INSIDE)
        return super().executemany(sql, *parameters)

    def _commit(self, process: Process) -> sqlite3.Cursor:
        self._check(process, "commit", INSIDE)

        def commit() -> sqlite3.Cursor:
            return sqlite3.Connection.execute(self, "COMMIT")

        # Nothing becomes durable where nothing changed.
        if self.total_changes == self._changes:
            return commit()
        cursor = commit() if _disk.committing is None else _disk.committing(process, commit)
        self._check(process, "commit that was kept", (Trouble.KEPT,))
        process.step("commit")
        return cursor

    def _check(self, process: Process, what: str, among: tuple[Trouble, ...]) -> None:
        trouble = _disk.check(process, what, among)
        if trouble is not None:
            if trouble in INSIDE and self.in_transaction:
                sqlite3.Connection.execute(self, "ROLLBACK")
            raise trouble.of_sqlite()
        if self._world != _world[0]:
            raise Inherited("this connection leads to the files of another world")


def _connect(path: Path) -> sqlite3.Connection:
    connect = sqlite3.connect

    def counting(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, factory=_CountingConnection, **kwargs)

    sqlite3.connect = counting  # type: ignore[assignment]
    try:
        return _plain_connect(path)
    finally:
        sqlite3.connect = connect


def _grows(name: str, descriptor: int, content: bytes, *offset: int) -> bool:
    at = offset[0] if name == "pwrite" else os.lseek(descriptor, 0, os.SEEK_CUR)
    return at + len(content) > os.fstat(descriptor).st_size


def _counted(name: str) -> Callable[..., Any]:
    plain = getattr(os, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        process = current()
        if process is None:
            return plain(*args, **kwargs)
        is_longer = name in {"write", "pwrite"} and _grows(name, *args)
        trouble = _disk.check(process, name, ANY if is_longer else IN_PLACE)
        if trouble is not None:
            raise trouble.of_system()
        result = plain(*args, **kwargs)
        if name == "fsync" and _disk.synced is not None:
            _disk.synced(args[0])
        if name != "write":
            process.step(name)
        return result

    return call


def _opened() -> Callable[..., Any]:
    plain = os.open

    def call(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        process = current()
        if process is not None and flags & _FOR_WRITING:
            trouble = _disk.check(process, "open", ANY if flags & os.O_CREAT else IN_PLACE)
            if trouble is not None:
                raise trouble.of_system()
        return plain(path, flags, *args, **kwargs)

    return call


def _trouble_of(what: str) -> Trouble | None:
    process = current()
    return None if process is None else _disk.check(process, what, ANY)


@contextmanager
def shims(disk: Disk) -> Iterator[None]:
    """Stand between the product and the disk."""
    global _disk  # noqa: PLW0603 - one simulation at a time has the process for itself
    _disk = disk
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(state.store, "connect", _connect))
        stack.enter_context(mock.patch.object(os, "open", _opened()))
        stack.enter_context(after_hours.shims(_trouble_of))
        for name in _FILE_CALLS:
            stack.enter_context(mock.patch.object(os, name, _counted(name)))
        yield
