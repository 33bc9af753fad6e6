"""A backup that was restored once, on trial, before it counts as one.

A copy that nobody ever opened is a hope.  Here each one is put into an empty state
directory by the same code that a person would call, opened by the same code that a start
would run, and compared with the database that it came from.
"""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from domain.clock import Clock
from domain.errors import StateError, StorageError
from state.backup import back_up, restore, verify
from state.database import connect_read_only, translated
from state.events import Head
from state.files import DATABASE
from state.store import Store

# None of these ever shrinks, so a copy lies between what was there before and after it.
_COUNTED = ("events", "orders", "fills", "ledger_entries", "positions", "runs")
# The copy, the copy restored, and the one that a restore keeps aside.
_ROOM_FACTOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A copy that was restored and opened; ``rows`` counts its main tables."""

    path: Path
    head: Head
    rows: dict[str, int]
    size: int


def back_up_and_rehearse(directory: Path, target: Path, *, clock: Clock) -> Backup:
    """Copy the database of a state directory, restore the copy on trial, keep it if it holds.

    Any thread may call it, while the store is open.

    Raises:
        StateError: the copy does not restore, or is not what the database holds.
        StorageError: the disk refused; no backup is left behind.
    """
    draft = target.with_name(f"{target.name}.untested")
    scratch = target.with_name(f"{target.name}.rehearsal")
    _require_room(directory, target.parent)
    try:
        before = _counts(directory / DATABASE)
        back_up(directory, draft)
        after = _counts(directory / DATABASE)
        made = _rehearsed(draft, scratch, clock=clock)
        _compare(made, directory / DATABASE, before, after)
        draft.replace(target)
    except OSError as exc:
        raise StorageError(f"{target} cannot be written: {exc.strerror}") from exc
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
    return Backup(path=target, head=made.head, rows=made.rows, size=target.stat().st_size)


def room_needed(directory: Path) -> int:
    """Return how many bytes a backup of this directory needs while it is tested."""
    with contextlib.suppress(OSError):
        return (directory / DATABASE).stat().st_size * _ROOM_FACTOR
    return 0


def _require_room(directory: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):
        needed, free = room_needed(directory), shutil.disk_usage(folder).free
        if free < needed:
            raise StorageError(
                f"{folder} has {free >> 20} MB free and a tested backup needs {needed >> 20}:"
                " free the disk, or keep fewer with retention.backups"
            )


def _rehearsed(draft: Path, scratch: Path, *, clock: Clock) -> Backup:
    shutil.rmtree(scratch, ignore_errors=True)
    head = verify(draft)
    restore(draft, scratch, clock=clock, reason="rehearsal")
    rows = _counts(scratch / DATABASE)
    # As a start does it: pages, chain, mark and derived tables once more, then the writer's turn.
    Store.open(scratch, clock=clock).close()
    return Backup(path=draft, head=head, rows=rows, size=draft.stat().st_size)


def _compare(made: Backup, path: Path, before: dict[str, int], after: dict[str, int]) -> None:
    for table in _COUNTED:
        if not before[table] <= made.rows[table] <= after[table]:
            raise StateError(
                f"{path}: the restored copy has {made.rows[table]} {table}, the database had"
                f" {before[table]} to {after[table]}; check the disk and back up again"
            )
    with translated(path):
        connection = connect_read_only(path)
        try:
            row = connection.execute(
                "SELECT hash FROM events WHERE seq = ?", (made.head.sequence,)
            ).fetchone()
        finally:
            connection.close()
    if row is None or row[0] != made.head.digest:
        raise StateError(
            f"{path}: event {made.head.sequence} of the restored copy is another one than here;"
            " check the disk and back up again"
        )


def _counts(path: Path) -> dict[str, int]:
    with translated(path):
        connection = connect_read_only(path)
        try:
            connection.execute("BEGIN")
            return {
                table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in _COUNTED
            }
        finally:
            connection.close()
