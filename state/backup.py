"""Backup and restore of the state directory's database."""

from pathlib import Path

from domain.clock import Clock
from state.store import Store


def back_up(store: Store, target: Path) -> Path:
    """Copy the open database by SQLite's online backup, then open and check the copy.

    Raises:
        StateError: the copy does not verify; it is removed.
        StorageError: the disk refused.
    """
    raise NotImplementedError


def restore(backup: Path, directory: Path, *, clock: Clock, reason: str) -> None:
    """Put a verified backup in the place of the database; the latch is engaged first.

    Events after the backup are unknown to the copy, so a person resumes only after a
    reconcile.
    """
    raise NotImplementedError


def prune(folder: Path, *, keep: int) -> list[Path]:
    """Remove all but the newest ``keep`` backups; return what was removed."""
    raise NotImplementedError
