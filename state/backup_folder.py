"""The folder of the backups: which is the newest, and which are old enough to go.

What a backup holds tells its age.  Its name may be a person's, and of a session's nightly
copy and one that was made by hand that day the name does not tell the later; the time of the
file is that of its last copying.
"""

import contextlib
import datetime as dt
import re
import sqlite3
from pathlib import Path

from domain.errors import StateError
from state.database import connect_unwritten
from state.durable import write_durably
from state.rows import stamp

DIRECTORY = "backups"

# Made by openbell: one a session, and what `openbell backup` names by the moment.
_OURS = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{6})?\.db")
_TESTED = "TESTED"
_LAST_EVENT = "SELECT at, seq FROM events ORDER BY seq DESC LIMIT 1"


def newest(folder: Path) -> Path | None:
    """Return the backup that goes furthest; None when there is none.

    Raises:
        StateError: the age of one is not known, and it may be the newest.
    """
    ages: dict[Path, tuple[str, int]] = {}
    for path in sorted(folder.glob("*.db")):
        found = last_event(path)
        if found is None:
            raise StateError(
                f"{path} cannot be read, so the newest backup is not known: name the one to"
                " restore, or move this file away"
            )
        ages[path] = found
    return max(ages, key=lambda path: (ages[path], path.name), default=None)


def prune(folder: Path, *, keep: int) -> list[Path]:
    """Remove all but the newest ``keep`` backups; return what was removed.

    Those that a person named, and files that cannot be read, are not touched.
    """
    ages = {
        path: age
        for path in folder.glob("*.db")
        if _OURS.fullmatch(path.name) and (age := last_event(path)) is not None
    }
    by_age = sorted(ages, key=lambda path: (ages[path], path.name))
    surplus = by_age[: max(0, len(by_age) - keep)]
    for path in surplus:
        path.unlink()
    return surplus


def note_tested(folder: Path, at: dt.datetime) -> None:
    """Note when a backup passed its test that is no run of the schedule.

    A file, as the database belongs to the daemon.  A backup that holds is worth more than the
    note of it: a disk that refuses this only leaves the former moment.
    """
    fresh = folder / f"{_TESTED}.new"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        write_durably(fresh, f"{stamp(at)}\n".encode())
        fresh.replace(folder / _TESTED)


def noted(folder: Path) -> str | None:
    """Return the moment that ``note_tested`` wrote last; None where there is none to be read."""
    try:
        return stamp(dt.datetime.fromisoformat((folder / _TESTED).read_text("ascii").strip()))
    except (OSError, ValueError):
        return None


def last_event(path: Path) -> tuple[str, int] | None:
    """Return moment and number of the last event; None where that cannot be read."""
    try:
        connection = connect_unwritten(path)
        try:
            row = connection.execute(_LAST_EVENT).fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return None
    return (str(row["at"]), int(row["seq"])) if row is not None else None
