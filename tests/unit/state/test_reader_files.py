"""What a reader makes of the files: missing, foreign, unwritable, beside a writer."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import StateError
from state.files import DATABASE
from state.reader import Reader
from state.store import Store
from tests.support.recorded_day import a_day
from tests.support.state_builders import (
    open_store,
)


def test_missing_database_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="openbell demo first"):
        Reader(tmp_path)


def test_reader_cannot_write(day: Reader) -> None:
    with day, pytest.raises(sqlite3.OperationalError, match="readonly"):
        day._connection.execute("DELETE FROM costs")


def test_closed_store_is_read_in_a_directory_that_allows_no_writing(directory: Path) -> None:
    store = open_store(directory)
    a_day(store)
    store.close()
    assert not (directory / f"{DATABASE}-wal").exists()
    before = sorted(os.listdir(directory))

    with Reader(directory) as reader:
        assert reader.status()["positions"] == 1
    assert set(os.listdir(directory)) >= set(before)


@pytest.mark.parametrize(("change", "text"), [(1, "install the newer"), (-1, "start openbell run")])
def test_other_schema_is_refused(directory: Path, change: int, text: str) -> None:
    open_store(directory).close()
    connection = sqlite3.connect(directory / DATABASE)
    connection.execute("UPDATE migrations SET number = number + 1000")
    connection.execute("UPDATE migrations SET number = number - 1000 + ?", (change,))
    connection.commit()
    connection.close()

    with pytest.raises(StateError, match=text):
        Reader(directory)


def test_file_that_is_no_database_is_refused(directory: Path) -> None:
    directory.mkdir()
    (directory / DATABASE).write_bytes(b"nonsense" * 1000)

    with pytest.raises(StateError, match="cannot be used"):
        Reader(directory)


class UnopenableConnection(sqlite3.Connection):
    """A database in a folder that does not let SQLite create its side files."""

    def execute(self, *_: object) -> sqlite3.Cursor:
        raise sqlite3.OperationalError("unable to open database file")


def only_immutable(monkeypatch: pytest.MonkeyPatch) -> None:
    from state import database, reader

    real = database.connect_read_only

    def connect(path: Path, *, is_immutable: bool = False) -> sqlite3.Connection:
        if is_immutable:
            return real(path, is_immutable=True)
        return sqlite3.connect(":memory:", factory=UnopenableConnection)

    monkeypatch.setattr(reader, "connect_read_only", connect)


def test_folder_that_allows_no_side_files_is_read_all_the_same(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(directory).close()
    only_immutable(monkeypatch)

    with Reader(directory) as reader:
        assert reader.status()["open_orders"] == 0


def test_unreadable_database_beside_a_wal_is_refused(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.bind_account("PA1")
    only_immutable(monkeypatch)

    with pytest.raises(StateError, match="unable to open database file"):
        Reader(directory)


def test_reader_loads_nothing_heavy(directory: Path) -> None:
    open_store(directory).close()
    program = (
        "import sys, pathlib; from state.reader import Reader;"
        "Reader(pathlib.Path(sys.argv[1])).status();"
        "heavy = {'pandas', 'numpy', 'sqlite_utils', 'pydantic', 'asyncio'} & set(sys.modules);"
        "print(sorted(heavy)); sys.exit(1 if heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_folder_whose_name_is_not_utf8_is_read(directory: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(directory) + b"-\xe9"))
    store = open_store(folder)
    a_day(store)
    store.close()

    with Reader(folder) as reader:
        assert reader.status()["positions"] == 1
