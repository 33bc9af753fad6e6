"""Files that are damaged, foreign or in the way: the store does not open on them."""

import os
import sqlite3
from pathlib import Path

import pytest

from domain.errors import StateError, StorageError
from state.files import DATABASE
from state.journal import Journal
from state.latch import Latch
from tests.support.state_builders import START, a_fill, approved, open_store


def raw(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(directory / DATABASE, isolation_level=None)


def rot(directory: Path, statement: str) -> None:
    """Change a value behind the store's back, triggers and all."""
    connection = raw(directory)
    connection.executescript(
        "DROP TRIGGER events_never_change; DROP TRIGGER events_never_vanish;" + statement
    )
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET payload = replace(payload, 'PA1', 'PA2') WHERE seq = 2",
        "UPDATE events SET at = '2022-12-14T13:00:01.000000+00:00' WHERE seq = 2",
        "UPDATE events SET kind = 'account.bounD' WHERE seq = 2",
        "UPDATE events SET hash = replace(hash, 'a', 'b') WHERE seq = 2",
        "DELETE FROM events WHERE seq = 2",
        "DELETE FROM events WHERE seq = 1",
    ],
)
def test_e07_changed_or_removed_event_refuses_to_start(directory: Path, statement: str) -> None:
    store = open_store(directory)
    store.bind_account("PA1")
    store.append("symbol.locked", {"symbol": "AAPL", "reason": "break"})
    store.close()
    rot(directory, statement)

    with pytest.raises(StateError, match="event log is damaged"):
        open_store(directory)


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE orders SET quantity = '101'", "orders"),
        ("UPDATE fills SET price = '143.21'", "fills"),
        ("UPDATE positions SET quantity = '99'", "positions"),
        ("UPDATE ledger_entries SET cash = '0'", "ledger_entries"),
        ("DELETE FROM balances", "balances"),
        ("UPDATE writer SET epoch = 7", "writer"),
    ],
)
def test_e07_changed_derived_table_refuses_to_start(
    directory: Path, statement: str, table: str
) -> None:
    from state.ledger import Ledger

    store = open_store(directory)
    Journal(store).record_plan([approved()], "run")
    Ledger(store).apply_fill(a_fill(), origin="stream")
    store.close()
    rot(directory, statement)

    with pytest.raises(StateError, match=f"{table}.* differ"):
        open_store(directory)


def test_e06_damaged_page_refuses_to_start(directory: Path) -> None:
    store = open_store(directory)
    Journal(store).record_plan([approved(f"ob-{n}") for n in range(50)], "run")
    store.close()
    content = bytearray((directory / DATABASE).read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    (directory / DATABASE).write_bytes(bytes(content))

    with pytest.raises(StateError):
        open_store(directory)


def test_e06_file_that_is_no_database_refuses_to_start(directory: Path) -> None:
    open_store(directory).close()
    (directory / DATABASE).write_bytes(b"this is not a database" * 400)

    with pytest.raises(StateError, match="restore the newest backup"):
        open_store(directory)


def test_e06_damaged_index_refuses_to_start(directory: Path) -> None:
    open_store(directory).close()
    # A second index entry for the same table makes quick_check count more rows in it.
    connection = raw(directory)
    connection.executescript(
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master"
        " WHERE name = 'orders_working') WHERE name = 'fills_by_time';"
    )
    connection.close()

    with pytest.raises(StateError, match="restore the newest backup"):
        open_store(directory)


def test_start_that_cannot_take_over_gives_everything_back(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> int:
            raise OSError(28, "No space left on device")

        open_store(directory).close()
        patch.setattr(os, "pwrite", refuse)
        with pytest.raises(StorageError, match="No space left"):
            open_store(directory)

    open_store(directory).close()


def test_new_directory_on_a_full_disk_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(mode=0o700)
    Latch(directory).arm_new(START)
    real_open = os.open

    def full(path: object, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return real_open(path, flags, mode)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)

    with pytest.raises(StorageError, match="cannot be created: No space left"):
        open_store(directory)


def test_e14_directory_that_others_may_write_refuses_to_start(directory: Path) -> None:
    open_store(directory).close()
    directory.chmod(0o770)

    with pytest.raises(StateError, match="chmod go-w"):
        open_store(directory)


def test_e14_linked_database_refuses_to_start(directory: Path, tmp_path: Path) -> None:
    open_store(directory).close()
    (directory / DATABASE).rename(tmp_path / "elsewhere.db")
    (directory / DATABASE).symlink_to(tmp_path / "elsewhere.db")

    with pytest.raises(StateError, match="symbolic link"):
        open_store(directory)


def test_e14_folder_in_place_of_the_lock_refuses_to_start(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    (directory / "openbell.lock").mkdir()

    with pytest.raises(StateError, match="is not a file"):
        open_store(directory)


def test_e14_foreign_owner_refuses_to_start(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(directory).close()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    with pytest.raises(StateError, match="another user"):
        open_store(directory)


def test_state_directory_that_is_a_file_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")

    with pytest.raises(StateError, match="not a directory"):
        open_store(tmp_path / "var")


def test_directory_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot be created"):
        open_store(tmp_path / "file" / "var")


def test_unwritable_directory_refuses_to_start(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(directory).close()
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(StateError, match="not writable"):
        open_store(directory)
