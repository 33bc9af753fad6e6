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
from state.database import connect_read_only, translated
from state.events import Head
from state.files import DATABASE, LOCK, MARK, WriterLock, prepare_directory
from state.latch import Latch
from state.mark import Mark
from state.migrations import LATEST, version

_SIDE_FILES = ("-wal", "-shm")


def back_up(directory: Path, target: Path) -> Path:
    """Copy a database, open or not, by SQLite's online backup; then open and check the copy.

    It reads through a connection of its own, so any thread may call it.

    Raises:
        StateError: the copy does not verify; it is removed.
        StorageError: the disk refused; nothing is left behind.
    """
    partial = target.with_name(f"{target.name}.partial")
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
        connection = connect_read_only(path, is_immutable=True)
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

    The database that was there stays beside it as ``openbell.db.replaced``.  Start the
    daemon, let it reconcile, then resume.

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
        StateError: the log itself is damaged, or a daemon is running.
        StorageError: the disk refused.
    """
    lock = WriterLock(directory / LOCK)
    try:
        Latch(directory).engage(f"rollback accepted: {reason}", clock.now())
        path = directory / DATABASE
        with translated(path):
            connection = sqlite3.connect(path)
            try:
                head = check_database(connection, path, None, is_thorough=True)
            finally:
                connection.close()
        _set_mark(directory / MARK, head)
    except OSError as exc:
        raise StorageError(f"{directory} cannot be written: {exc.strerror}") from exc
    finally:
        lock.release()
    return head


def backups_in(folder: Path) -> list[Path]:
    """Return the backups of a folder, oldest first: by when each was written.

    A name tells a day: of one taken by hand before the close it would make the last of its day.
    """
    return sorted(folder.glob("*.db"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def prune(folder: Path, *, keep: int) -> list[Path]:
    """Remove all but the newest ``keep`` backups; return what was removed."""
    backups = backups_in(folder)
    surplus = backups[: max(0, len(backups) - keep)]
    for path in surplus:
        path.unlink()
    return surplus


def _copy(path: Path, target: Path) -> None:
    source, copy = connect_read_only(path), sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        copy.close()
        source.close()
    target.chmod(0o600)


def _put(backup: Path, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with translated(partial):
        source = connect_read_only(backup, is_immutable=True)
        target = sqlite3.connect(partial)
        try:
            source.backup(target)
            # A pristine file without a WAL of its own: the next opening turns WAL on again.
            target.execute("PRAGMA journal_mode = DELETE")
        finally:
            target.close()
            source.close()
    partial.chmod(0o600)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.replaced"))
    # The WAL of the old database must not be played into the new one.
    for suffix in _SIDE_FILES:
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    partial.replace(path)


def _set_mark(path: Path, head: Head) -> None:
    path.unlink(missing_ok=True)
    mark = Mark(path)
    mark.write(head.sequence, head.digest)
    mark.close()


def _remove(path: Path) -> None:
    for name in (path.name, *(f"{path.name}{suffix}" for suffix in _SIDE_FILES)):
        with contextlib.suppress(OSError):
            path.with_name(name).unlink(missing_ok=True)
