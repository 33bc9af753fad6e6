"""Opening the SQLite file, and its errors in our words."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from domain.errors import StateError, StorageError

BUSY_TIMEOUT_SECONDS = 5.0

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 2000",
    "PRAGMA journal_size_limit = 16777216",
    "PRAGMA cache_size = -16384",
    # A nested transaction keeps its journal in memory: a descriptor, or room in /tmp, may lack.
    "PRAGMA temp_store = MEMORY",
)
_STORAGE = (
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_READONLY",
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_NOMEM",
    "SQLITE_PERM",
    "SQLITE_AUTH",
)
_NEXT_STEP = {
    "SQLITE_FULL": "free space on the disk",
    "SQLITE_BUSY": "end the program that holds it",
    "SQLITE_READONLY": "make the disk and the file writable",
}


def connect(path: Path) -> sqlite3.Connection:
    """Open the database for writing; transactions are begun by hand."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path, *, is_immutable: bool = False) -> sqlite3.Connection:
    """Open the database for reading only; immutable promises that nobody is writing."""
    flags = "mode=ro&immutable=1" if is_immutable else "mode=ro"
    connection = sqlite3.connect(
        f"{file_uri(path)}?{flags}", uri=True, timeout=BUSY_TIMEOUT_SECONDS
    )
    connection.row_factory = sqlite3.Row
    return connection


def connect_unwritten(path: Path) -> sqlite3.Connection:
    """Open what nobody writes; a copy of a whole directory brings its WAL along, which counts."""
    with contextlib.suppress(FileNotFoundError):
        if path.with_name(f"{path.name}-wal").stat().st_size:
            return connect_read_only(path)
    return connect_read_only(path, is_immutable=True)


def file_uri(path: Path) -> str:
    """Return a file's name as SQLite takes it, whatever bytes are in it."""
    return f"file:{quote(os.fsencode(path))}"


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into StorageError (the disk refused) or StateError (damaged)."""
    try:
        yield
    except sqlite3.Error as exc:
        raise translate(exc, path) from exc


def translate(exc: sqlite3.Error, path: Path) -> StateError:
    """Return our error for one of SQLite's."""
    name = getattr(exc, "sqlite_errorname", "SQLITE_ERROR")
    if name.startswith(_STORAGE):
        step = next((step for code, step in _NEXT_STEP.items() if name.startswith(code)), None)
        return StorageError(f"{path} was refused by the disk ({exc}): {step or 'check the disk'}")
    return StateError(f"{path} cannot be used ({exc}): restore the newest backup")
