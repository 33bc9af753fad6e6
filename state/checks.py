"""Checks of a database before it is trusted."""

import sqlite3
from pathlib import Path

from domain.errors import StateError
from state.events import GENESIS, Head, verified_events, verify_chain
from state.mark import MarkPoint
from state.projection import DERIVED_TABLES, apply_event, begin_tables

DERIVED_CHECK_MAX_EVENTS = 20_000
"""Beyond this a start checks the chain only, to be quick; backups compare everything."""


def check_database(
    connection: sqlite3.Connection, path: Path, mark: MarkPoint | None, *, is_thorough: bool = False
) -> Head:
    """Check pages, chain, mark and derived tables; return the head of the log.

    Args:
        connection: the open database.
        path: its name, for the error.
        mark: how far the log had come; None where that is not known.
        is_thorough: compare the derived tables also where the log is long.

    Raises:
        StateError: something is damaged, or rows that were committed are gone.
    """
    answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise StateError(f"{path} is damaged ({answer}): restore the newest backup")
    head = verify_chain(connection)
    if mark is not None:
        _check_mark(connection, path, head, mark)
    if head.sequence and (is_thorough or head.sequence <= DERIVED_CHECK_MAX_EVENTS):
        differing = differing_tables(connection)
        if differing:
            raise StateError(
                f"{path} was changed outside openbell: {', '.join(differing)} differ from the"
                " event log; restore the newest backup"
            )
    return head


def differing_tables(connection: sqlite3.Connection) -> list[str]:
    """Rebuild the derived tables in memory; return the names of those that differ.

    Raises:
        StateError: the log itself is damaged.
    """
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        memory.execute("BEGIN")
        _copy_schema(connection, memory)
        begin_tables(memory)
        for event in verified_events(connection):
            apply_event(memory, event)
        return [
            table
            for table in DERIVED_TABLES
            if _content(connection, table) != _content(memory, table)
        ]
    finally:
        memory.close()


def _check_mark(connection: sqlite3.Connection, path: Path, head: Head, mark: MarkPoint) -> None:
    if mark.sequence > head.sequence:
        raise StateError(
            f"{path} ends at event {head.sequence} although event {mark.sequence} was committed:"
            " an old copy was put back or its -wal file was lost; restore the newest backup,"
            " then reconcile"
        )
    row = connection.execute("SELECT hash FROM events WHERE seq = ?", (mark.sequence,)).fetchone()
    if mark.digest != (row[0] if row is not None else GENESIS):
        raise StateError(
            f"{path} has another event {mark.sequence} than the one committed: it belongs to"
            " another history; restore the newest backup, then reconcile"
        )


def _copy_schema(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    statements = source.execute(
        "SELECT sql, tbl_name FROM sqlite_master WHERE type IN ('table', 'index')"
        " AND sql IS NOT NULL ORDER BY type DESC, name"
    ).fetchall()
    for sql, table in statements:
        if table in DERIVED_TABLES:
            target.execute(sql)


def _content(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    # Every derived table has its key in front and is stored in that order.
    return [tuple(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608
