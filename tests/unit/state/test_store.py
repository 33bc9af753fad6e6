import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from domain.clock import ManualClock
from domain.errors import StateError, StorageError
from state.checks import differing_tables
from state.events import verified_events
from state.files import DATABASE, MARK
from state.journal import Journal
from state.latch import Latch
from state.mark import Mark, read_mark
from state.store import Store
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


def test_new_directory_is_private_and_begins_armed(directory: Path) -> None:
    store = open_store(directory)

    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / DATABASE).stat().st_mode & 0o777 == 0o600
    assert not Latch(directory).read().is_engaged
    assert not store.sync_latch(Latch(directory)).is_engaged
    store.close()


def test_database_runs_with_wal_and_full_sync(store: Store) -> None:
    assert store.rows("PRAGMA journal_mode")[0][0] == "wal"
    assert store.rows("PRAGMA synchronous")[0][0] == 2
    assert store.rows("PRAGMA foreign_keys")[0][0] == 1
    assert store.rows("PRAGMA busy_timeout")[0][0] == 5000


def test_epoch_rises_with_every_opening(directory: Path) -> None:
    first = open_store(directory)
    first.close()
    second = open_store(directory)

    assert (first.epoch, second.epoch) == (1, 2)
    second.close()


def test_closing_twice_is_allowed_and_writing_after_it_is_not(directory: Path) -> None:
    store = open_store(directory)
    store.close()
    store.close()

    with pytest.raises(StateError, match="closed"):
        store.bind_account("PA1")


def test_second_writer_is_refused(store: Store, directory: Path) -> None:
    with pytest.raises(StateError, match="in use by another openbell"):
        open_store(directory)


def test_lock_of_a_killed_process_is_free_again(directory: Path) -> None:
    program = (
        "import sys, os, datetime as dt, pathlib; from domain.clock import ManualClock;"
        "from state.store import Store;"
        "Store.open(pathlib.Path(sys.argv[1]), clock=ManualClock(dt.datetime(2022, 1, 3,"
        " tzinfo=dt.UTC))); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(directory)], check=False, timeout=60)

    assert ended.returncode == -9
    open_store(directory).close()


def test_frozen_writer_may_not_write_after_another_took_over(store: Store, directory: Path) -> None:
    journal = Journal(store)
    journal.record_plan([approved()], "run")
    # The lock of the frozen process was lost, say with its network file system.
    (directory / "openbell.lock").unlink()
    thief = open_store(directory)

    assert thief.epoch == store.epoch + 1
    assert not store.is_writer()
    assert thief.is_writer()
    with pytest.raises(StateError, match="taken over"):
        journal.mark_sending(approved().request.client_order_id)
    thief.close()


def test_account_is_bound_once_and_another_is_refused(store: Store) -> None:
    store.bind_account("PA1")
    store.bind_account("PA1")

    assert store.account() == "PA1"
    with pytest.raises(StateError, match="belongs to account PA1"):
        store.bind_account("PA2")


def test_failed_transaction_leaves_no_trace(store: Store) -> None:
    before = store.rows("SELECT count(*), max(seq) FROM events")[0]

    def fail() -> None:
        with store.transaction():
            store.append("account.bound", {"account": "PA1"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert store.account() is None
    assert tuple(store.rows("SELECT count(*), max(seq) FROM events")[0]) == tuple(before)
    store.bind_account("PA2")
    assert store.account() == "PA2"


def test_failed_inner_transaction_leaves_the_outer_one_whole(store: Store, directory: Path) -> None:
    def fail() -> None:
        with store.transaction():
            store.append("symbol.locked", {"symbol": "MSFT", "reason": "inner"})
            raise RuntimeError

    with store.transaction():
        store.append("symbol.locked", {"symbol": "AAPL", "reason": "outer"})
        with pytest.raises(RuntimeError):
            fail()
        store.append("symbol.locked", {"symbol": "TSLA", "reason": "outer"})
    store.close()

    again = open_store(directory)
    assert [row["symbol"] for row in again.rows("SELECT symbol FROM symbol_locks")] == [
        "AAPL",
        "TSLA",
    ]
    again.close()


def test_event_outside_a_transaction_needs_append(store: Store) -> None:
    with pytest.raises(StateError, match="use append"):
        store.append_within("account.bound", {"account": "PA1"})


def test_every_commit_tells_how_long_it_took(store: Store) -> None:
    took: list[float] = []
    store.on_commit = took.append

    store.bind_account("PA1")
    with store.transaction():
        store.append("symbol.locked", {"symbol": "AAPL", "reason": "break"})
        store.append("symbol.unlocked", {"symbol": "AAPL"})

    assert len(took) == 2
    assert all(seconds > 0 for seconds in took)


def test_events_are_gapless_and_chained(store: Store) -> None:
    store.bind_account("PA1")
    Journal(store).record_plan([approved("ob-1"), approved("ob-2")], "run")

    events = list(verified_events(store._connected()))

    assert [event.sequence for event in events] == [1, 2, 3]
    assert [event.kind for event in events] == [
        "store.opened",
        "account.bound",
        "orders.planned",
    ]


def test_events_cannot_be_changed_or_removed_by_statement(store: Store) -> None:
    for statement in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
        with pytest.raises(StateError, match="append-only"), store.transaction() as connection:
            connection.execute(statement)


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


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_mark_that_cannot_be_created_is_told_and_does_not_hinder_the_next_start(
    directory: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    directory.mkdir(mode=0o700)
    Latch(directory).arm_new(START)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, call, refuse)
        with pytest.raises(StorageError, match=r"openbell\.hwm.* cannot be written"):
            open_store(directory)

    open_store(directory).close()


def crashed_copy(store: Store, directory: Path, target: Path) -> None:
    """Copy the files as a SIGKILL would leave them."""
    shutil.copytree(directory, target)


def test_e08_deleted_wal_refuses_to_start(directory: Path, tmp_path: Path) -> None:
    store = open_store(directory)
    store.checkpoint()
    store.bind_account("PA1")
    crashed = tmp_path / "crashed"
    crashed_copy(store, directory, crashed)
    store.close()
    (crashed / f"{DATABASE}-wal").unlink()

    with pytest.raises(StateError, match="was committed"):
        open_store(crashed)


def test_crash_without_loss_starts_again(directory: Path, tmp_path: Path) -> None:
    store = open_store(directory)
    store.bind_account("PA1")
    crashed = tmp_path / "crashed"
    crashed_copy(store, directory, crashed)
    store.close()

    again = open_store(crashed)
    assert again.account() == "PA1"
    again.close()


def test_e09_old_copy_over_a_newer_database_refuses_to_start(
    directory: Path, tmp_path: Path
) -> None:
    open_store(directory).close()
    old = tmp_path / "old.db"
    shutil.copy(directory / DATABASE, old)
    open_store(directory).close()
    shutil.copy(old, directory / DATABASE)

    with pytest.raises(StateError, match="was committed"):
        open_store(directory)


def test_database_of_another_history_refuses_to_start(directory: Path, tmp_path: Path) -> None:
    open_store(directory).close()
    other = tmp_path / "other"
    Store.open(other, clock=ManualClock(START.replace(year=2021))).close()
    Store.open(other, clock=ManualClock(START.replace(year=2021))).close()
    shutil.copy(other / DATABASE, directory / DATABASE)

    with pytest.raises(StateError, match="another history"):
        open_store(directory)


def test_mark_behind_the_database_is_harmless(directory: Path) -> None:
    store = open_store(directory)
    early = (directory / MARK).read_bytes()
    store.bind_account("PA1")
    store.close()
    (directory / MARK).write_bytes(early)

    again = open_store(directory)
    assert again.account() == "PA1"
    again.close()


def test_lost_mark_refuses_to_start(directory: Path) -> None:
    open_store(directory).close()
    (directory / MARK).unlink()

    with pytest.raises(StateError, match="is missing"):
        open_store(directory)


def test_damaged_mark_refuses_to_start(directory: Path) -> None:
    open_store(directory).close()
    (directory / MARK).write_bytes(b"\x00" * 256)

    with pytest.raises(StateError, match="is damaged"):
        open_store(directory)


def test_lost_database_refuses_to_start(directory: Path) -> None:
    open_store(directory).close()
    (directory / DATABASE).unlink()

    with pytest.raises(StateError, match="restore a backup"):
        open_store(directory)


def test_torn_write_of_the_mark_falls_back_to_the_one_before(tmp_path: Path) -> None:
    mark = Mark(tmp_path / MARK)
    mark.write(1, "a" * 64)
    mark.write(2, "b" * 64)
    mark.close()
    mark.close()
    content = bytearray((tmp_path / MARK).read_bytes())
    content[128 + 30 : 256] = b"\x00" * 98
    (tmp_path / MARK).write_bytes(bytes(content))

    assert read_mark(tmp_path / MARK) == (1, "a" * 64)


def test_mark_is_synced_every_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    mark = Mark(tmp_path / MARK)

    for sequence in range(1, 65):
        mark.write(sequence, "a" * 64)

    assert len(synced) == 2
    mark.close()


def test_mark_that_cannot_be_written_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = Mark(tmp_path / MARK)

    def refuse(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", refuse)

    with pytest.raises(StorageError, match="Input/output error"):
        mark.write(1, "a" * 64)
    mark.close()


def test_unreadable_mark_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / MARK).mkdir()

    with pytest.raises(StateError, match="cannot be read"):
        read_mark(tmp_path / MARK)


def test_database_without_a_latch_counts_as_engaged(directory: Path) -> None:
    open_store(directory).close()
    (directory / "KILL").unlink()

    store = open_store(directory)
    assert store.sync_latch(Latch(directory)).is_engaged
    assert store.latch_row().is_engaged
    store.close()


def test_latch_engaged_before_the_first_start_stays_engaged(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    Latch(directory).engage("kill before the first start", START)

    store = open_store(directory)
    assert store.sync_latch(Latch(directory)).is_engaged
    store.close()


def test_row_keeps_what_the_file_forgot(store: Store, directory: Path) -> None:
    latch = Latch(directory)
    armed = latch.path.read_bytes()
    latch.engage("drawdown", START)
    store.sync_latch(latch)
    latch.path.write_bytes(armed)

    state = store.sync_latch(latch)

    assert state.is_engaged
    assert state.reason == "drawdown"


def test_row_follows_a_later_release_of_the_file(store: Store, directory: Path) -> None:
    latch = Latch(directory)
    latch.engage("drawdown", START)
    store.sync_latch(latch)
    latch.release("checked", START)

    assert not store.sync_latch(latch).is_engaged
    assert not store.latch_row().is_engaged


def test_unchanged_latch_is_not_written_again(store: Store, directory: Path) -> None:
    latch = Latch(directory)
    latch.path.unlink()
    store.sync_latch(latch)
    before = store.rows("SELECT max(seq) FROM events")[0][0]

    store.sync_latch(latch)

    assert store.rows("SELECT max(seq) FROM events")[0][0] == before


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


def test_rebuild_gives_the_same_tables(store: Store) -> None:
    store.bind_account("PA1")
    Journal(store).record_plan([approved()], "run")

    assert store.rebuild() == 3
    assert differing_tables(store._connected()) == []


def test_a_nested_transaction_opens_no_file(store: Store) -> None:
    # Found in a daemon without a free file descriptor: a merge of fills ended it.
    def lock_all(reason: str) -> None:
        for number in range(100):
            fields = {"symbol": f"S{number}", "reason": reason * 1000}
            store.append_within("symbol.locked", fields)

    with store.transaction():
        lock_all("a")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with store.transaction(), store.transaction():
            lock_all("b")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    reasons = {row["reason"][0] for row in store.rows("SELECT reason FROM symbol_locks")}
    assert reasons == {"b"}
