import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from domain.errors import StateError
from state import migrations, schema
from state.files import DATABASE
from state.migrations import LATEST, migrate, version
from tests.support.state_builders import START, open_store

AT = START.isoformat()


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def shape(path: Path) -> list[tuple[object, ...]]:
    connection = connect(path)
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
    found = [tuple(row) for row in rows]
    connection.close()
    return found


def apply_first(path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a database as an older openbell left it."""
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "LATEST", count)
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:count])
        connection = connect(path)
        migrate(connection, path, at=AT)
        connection.close()


def test_latest_is_the_number_of_migrations() -> None:
    assert len(schema.MIGRATIONS) == LATEST
    for number, step in enumerate(schema.MIGRATIONS, start=1):
        assert step.__name__.startswith(f"m{number:04d}_")
        assert step.__doc__


def test_every_table_is_strict(directory: Path) -> None:
    open_store(directory).close()

    tables = [row for row in shape(directory / DATABASE) if row[0] == "table"]

    assert len(tables) > 20
    for _, name, sql in tables:
        assert "STRICT" in str(sql), name


def test_migration_is_written_down(tmp_path: Path) -> None:
    connection = connect(tmp_path / DATABASE)

    assert migrate(connection, tmp_path / DATABASE, at=AT) == LATEST
    assert migrate(connection, tmp_path / DATABASE, at=AT) == 0
    rows = connection.execute("SELECT number, name, applied_at FROM migrations").fetchall()
    assert [row["number"] for row in rows] == list(range(1, LATEST + 1))
    assert rows[0]["name"] == "m0001_event_log"
    assert rows[0]["applied_at"] == AT
    connection.close()


def test_e11_newer_schema_refuses_to_start(directory: Path) -> None:
    open_store(directory).close()
    connection = connect(directory / DATABASE)
    connection.execute("INSERT INTO migrations VALUES (?, 'm_future', ?)", (LATEST + 1, AT))
    connection.close()

    with pytest.raises(StateError, match="install the newer openbell"):
        open_store(directory)


@pytest.mark.parametrize("count", range(1, LATEST))
def test_e10_older_schema_is_backed_up_and_brought_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    path = tmp_path / DATABASE
    apply_first(path, count, monkeypatch)
    old = shape(path)
    connection = connect(path)
    migrate(connection, path, at=AT)
    connection.close()

    fresh = tmp_path / "fresh.db"
    connection = connect(fresh)
    migrate(connection, fresh, at=AT)
    connection.close()
    assert shape(path) == shape(fresh)
    assert shape(tmp_path / f"{DATABASE}.before-{count + 1}") == old


def test_new_database_needs_no_copy(directory: Path) -> None:
    open_store(directory).close()

    assert not list(directory.glob("*.before-*"))


class CrashingConnection(sqlite3.Connection):
    """Dies at the k-th statement, as a SIGKILL would."""

    statements_left = 10**9

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if self.statements_left == 0:
            raise KeyboardInterrupt
        self.statements_left -= 1
        return super().execute(sql, parameters)


def test_e10_crash_at_every_statement_of_a_migration_is_safe(tmp_path: Path) -> None:
    clean = tmp_path / "clean.db"
    connection = connect(clean)
    migrate(connection, clean, at=AT)
    connection.close()

    for k in range(1000):
        path = tmp_path / f"{k}.db"
        crashing = sqlite3.connect(path, isolation_level=None, factory=CrashingConnection)
        crashing.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing that it wrote, so the disk need not be waited for.
        crashing.execute("PRAGMA synchronous = OFF")
        crashing.statements_left = k
        try:
            migrate(crashing, path, at=AT)
        except KeyboardInterrupt:
            is_done = False
        else:
            is_done = True
        # The files as they lie on the disk at that moment, the open transaction in the WAL.
        after = tmp_path / f"{k}-after.db"
        shutil.copy(path, after)
        if path.with_name(f"{path.name}-wal").exists():
            shutil.copy(f"{path}-wal", f"{after}-wal")
        crashing.statements_left = 10**9
        crashing.close()

        again = connect(after)
        again.execute("PRAGMA synchronous = OFF")
        assert 0 <= version(again) <= LATEST
        migrate(again, after, at=AT)
        again.close()
        assert shape(after) == shape(clean), k
        if is_done:
            break
    else:
        raise AssertionError("the migration never came to its end")
    assert k > 40
