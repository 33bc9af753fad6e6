"""Backup and restore of the state directory's database.

The event log's mark and the latch stay out of a backup: a restore makes a new mark and
engages the latch, because what happened after the backup is known to the broker only.
"""

import contextlib
import sqlite3
from pathlib import Path

from domain.clock import Clock
from domain.errors import StateError, StorageError
from state.checks import check_database
from state.database import connect_read_only, connect_unwritten, file_uri, translated
from state.durable import sync_file
from state.events import Head
from state.files import DATABASE, LOCK, MARK, WriterLock, prepare_directory, prepare_file
from state.latch import Latch
from state.mark import Mark
from state.migrations import LATEST, version

_WAL, _SHM = "-wal", "-shm"
_SIDE_FILES = (_WAL, _SHM)


def back_up(directory: Path, target: Path) -> Path:
    """Copy a database, open or not, by SQLite's online backup; then open and check the copy.

    It reads through a connection of its own, so any thread may call it.

    Raises:
        StateError: the copy does not verify; it is removed.
        StorageError: the disk refused; nothing is left behind.
    """
    partial = target.with_name(f"{target.name}.partial")
    _remove(partial)
    try:
        with translated(partial):
            _copy(directory / DATABASE, partial)
        verify(partial)
        partial.replace(target)
    except OSError as exc:
        raise StorageError(f"{target} cannot be written: {exc.strerror}") from exc
    finally:
        _remove(partial)
    return target


def verify(path: Path) -> Head:
    """Open a copy on its own and check pages, schema, chain and every derived table.

    Raises:
        StateError: it is damaged, or of another schema than this code's.
    """
    with translated(path):
        connection = connect_unwritten(path)
        try:
            found = version(connection)
            if not 0 < found <= LATEST:
                raise StateError(
                    f"{path} has schema {found} and this openbell knows {LATEST}: take another"
                    " backup"
                )
            return check_database(connection, path, None, is_thorough=found == LATEST)
        finally:
            connection.close()


def restore(backup: Path, directory: Path, *, clock: Clock, reason: str) -> None:
    """Put a verified backup in the place of the database; the latch is engaged first.

    The database that was there stays beside it as ``openbell.db.replaced``, and a later one
    as ``openbell.db.replaced.2``.  Start the daemon, let it reconcile, then resume.

    Raises:
        StateError: the backup does not verify, or a daemon is running.
        StorageError: the disk refused.
    """
    head = verify(backup)
    prepare_directory(directory)
    lock = WriterLock(directory / LOCK)
    try:
        Latch(directory).engage(f"restored from a backup: {reason}", clock.now())
        _put(backup, directory / DATABASE)
        _set_mark(directory / MARK, head)
    except OSError as exc:
        raise StorageError(f"{directory} could not be restored: {exc.strerror}") from exc
    finally:
        lock.release()


def accept_rollback(directory: Path, *, clock: Clock, reason: str) -> Head:
    """Go on with the database as it is, although it is behind its mark; the latch is engaged.

    For a lost WAL without a newer backup: what is missing comes back by a reconcile with
    the broker.

    Raises:
        StateError: the log itself is damaged, there is none, or a daemon is running.
        StorageError: the disk refused.
    """
    path = directory / DATABASE
    if not path.is_file():
        raise StateError(f"{path} does not exist: there is nothing to keep, restore a backup")
    lock = WriterLock(directory / LOCK)
    try:
        Latch(directory).engage(f"rollback accepted: {reason}", clock.now())
        head = verify(path)
        _set_mark(directory / MARK, head)
    except OSError as exc:
        raise StorageError(f"{directory} cannot be written: {exc.strerror}") from exc
    finally:
        lock.release()
    return head


def _copy(path: Path, target: Path) -> None:
    # Before the first page is in it: the folder may be one that others read too.
    prepare_file(target)
    source, copy = connect_read_only(path), sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        copy.close()
        source.close()


def _put(backup: Path, path: Path) -> None:
    partial = _beside(path, ".partial")
    _remove(partial)
    prepare_file(partial)
    with translated(partial):
        source = connect_unwritten(backup)
        try:
            # Not page by page: what retention emptied stays behind, so that a backup and its
            # restore make the file as small as its rows are.
            source.execute("VACUUM INTO ?", (file_uri(partial),))
        finally:
            source.close()
    sync_file(partial)
    _set_aside(path)
    partial.replace(path)


def _set_aside(path: Path) -> None:
    """Keep the old database whole: its newest rows may be in its WAL alone.

    Nor may that WAL be played into the new one.  It goes first: should the machine die between
    the two, the next restore brings the database after it.
    """
    aside, wal = _free_name(path), _beside(path, _WAL)
    if wal.exists():
        wal.replace(_beside(aside, _WAL))
    _beside(path, _SHM).unlink(missing_ok=True)
    if path.exists():
        path.replace(aside)


def _free_name(path: Path) -> Path:
    """Return a name that nothing has: what an earlier restore set aside may be the better one."""
    has_wal = _beside(path, _WAL).exists()
    aside, number = path.with_name(f"{path.name}.replaced"), 1
    while aside.exists() or (has_wal and _beside(aside, _WAL).exists()):
        number += 1
        aside = path.with_name(f"{path.name}.replaced.{number}")
    return aside


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def _set_mark(path: Path, head: Head) -> None:
    path.unlink(missing_ok=True)
    mark = Mark(path)
    mark.write(head.sequence, head.digest)
    mark.close()


def _remove(path: Path) -> None:
    for suffix in ("", *_SIDE_FILES):
        with contextlib.suppress(OSError):
            _beside(path, suffix).unlink(missing_ok=True)
