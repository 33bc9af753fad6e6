"""The files of a state directory before the database is opened.

Their order of creation matters: a crash between two of them must leave a directory that
the next start still takes for new, and never one that looks robbed.
"""

from pathlib import Path

from domain.clock import Clock
from domain.errors import StateError, StorageError
from state.events import GENESIS
from state.files import DATABASE, LOCK, MARK, is_ours, prepare_file
from state.latch import Latch
from state.mark import Mark, MarkPoint, read_mark


def prepare_files(directory: Path, clock: Clock) -> None:
    """Create latch, mark and database of a new directory, or check that an old one is whole.

    Raises:
        StateError: one of them is missing beside the others, or others may write to it.
        StorageError: the disk refused.
    """
    check_files(directory)
    path = directory / DATABASE
    latch = Latch(directory)
    if not path.exists():
        if not latch.path.exists():
            latch.arm_new(clock.now())
        _begin_mark(directory / MARK)
    prepare_file(path)
    prepare_file(directory / MARK)


def check_files(directory: Path) -> MarkPoint | None:
    """Check that database and mark are there together and ours; return the mark.

    Raises:
        StateError: one of them is missing beside the other, or others may write to it.
    """
    path = directory / DATABASE
    mark = read_mark(directory / MARK)
    for name in (DATABASE, MARK, LOCK):
        is_ours(directory / name)
    if path.exists() and mark is None:
        raise StateError(
            f"{directory / MARK} is missing, so a rollback of {path} would go unseen: restore"
            " the whole state directory from a backup"
        )
    if not path.exists() and mark is not None and mark.sequence:
        raise StateError(
            f"{path} is missing although {directory / MARK} knows event {mark.sequence}:"
            " restore a backup"
        )
    return mark


def _begin_mark(path: Path) -> None:
    # Before the database: from its first event on, a database without a mark is suspect.
    # Whole or not at all: an empty mark would look damaged to the next start.
    fresh = path.with_name(f"{path.name}.new")
    mark = Mark(fresh)
    try:
        mark.write(0, GENESIS)
    finally:
        mark.close()
    try:
        fresh.replace(path)
    except OSError as exc:
        raise StorageError(f"{path} cannot be written ({exc.strerror}): check the disk") from exc
