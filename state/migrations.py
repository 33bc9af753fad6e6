"""Brings a database file to the schema of this code, one numbered step at a time."""

import sqlite3
from pathlib import Path

from domain.errors import StateError, StorageError

CREATE_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT
"""
LATEST = 7
"""Number of the newest migration; here so that the reader need not import the schema."""


def version(connection: sqlite3.Connection) -> int:
    """Return the number of the last migration applied; 0 for an empty database."""
    has_table = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"
    ).fetchone()
    if has_table is None:
        return 0
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()[0])


def migrate(connection: sqlite3.Connection, path: Path, *, at: str) -> int:
    """Apply what is missing; each migration and its bookkeeping row are one transaction.

    An existing database is copied beside itself first, as ``NAME.before-N``.

    Returns:
        How many migrations were applied.

    Raises:
        StateError: the file is newer than this code.
    """
    found = version(connection)
    if found > LATEST:
        raise StateError(
            f"{path} has schema {found} and this openbell knows {LATEST}: install the newer"
            " openbell"
        )
    if found == LATEST:
        return 0
    if found:
        _copy(connection, path.with_name(f"{path.name}.before-{found + 1}"))
    # Imported here: they bring pandas, which a start without migrations need not load.
    from sqlite_utils import Database  # noqa: PLC0415

    from state.schema import MIGRATIONS  # noqa: PLC0415

    db = Database(connection)
    # It asks by making a table, and takes a disk that refuses for an old SQLite; asked inside
    # a transaction, that would end it unseen, and the rest would stand alone.
    if not db.supports_strict:
        raise StorageError(f"{path} takes no new table: free the disk, or update SQLite to 3.37")
    for number, step in enumerate(MIGRATIONS[found:], start=found + 1):
        with db.atomic():
            connection.execute(CREATE_BOOKKEEPING)
            step(db)
            connection.execute(
                "INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)",
                (number, step.__name__, at),
            )
    return LATEST - found


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    target.chmod(0o600)
