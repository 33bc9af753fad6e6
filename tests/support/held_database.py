"""A database that another program keeps to itself."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def held_by_another_program(directory: Path) -> Iterator[None]:
    """Let nobody else write, as a browser of SQLite files does in the middle of an edit."""
    other = sqlite3.connect(directory / "openbell.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
