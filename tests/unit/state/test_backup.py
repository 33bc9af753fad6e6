import datetime as dt
import errno
import os
import shutil
import sqlite3
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.clock import ManualClock
from domain.errors import StateError, StorageError
from domain.ids import ClientOrderId
from state.backup import accept_rollback, back_up, restore, verify
from state.backup_folder import newest, prune
from state.costs import Costs
from state.decisions import Decisions
from state.equity import EquityCurve
from state.files import DATABASE, MARK
from state.incidents import Incidents
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.mark import Mark
from state.retention import Retention
from state.store import Store
from tests.support.recorded_day import a_combined, a_signal, a_view
from tests.support.state_builders import (
    AAPL,
    SESSION,
    START,
    a_fill,
    approved,
    open_store,
    pruned,
)

CLOCK = ManualClock(START)


def a_book(store: Store) -> None:
    Journal(store).record_plan([approved("ob-1")], "run")
    Ledger(store).apply_fill(a_fill(), origin="stream")


def test_backup_is_taken_while_the_store_is_open_and_verifies(store: Store, tmp_path: Path) -> None:
    a_book(store)

    target = back_up(store.directory, tmp_path / "2022-12-14.db")

    assert verify(target).sequence == 3
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob("2022*")] == ["2022-12-14.db"]


def test_a_backup_is_private_before_anything_is_in_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `--out` names any folder, also one that others read: a large copy takes its time.
    target, real = tmp_path / "2022-12-14.db", sqlite3.connect
    modes: list[int] = []

    def connect(path: Any, **options: Any) -> sqlite3.Connection:
        if str(path).endswith(".partial"):
            modes.append(Path(path).stat().st_mode & 0o777)
        opened: sqlite3.Connection = real(path, **options)
        return opened

    monkeypatch.setattr(sqlite3, "connect", connect)
    back_up(store.directory, target)

    assert modes[0] == 0o600


def test_restore_brings_the_books_back_and_engages_the_latch(
    directory: Path, tmp_path: Path
) -> None:
    store = open_store(directory)
    a_book(store)
    backup = back_up(store.directory, tmp_path / "backup.db")
    Ledger(store).lock(AAPL, "after the backup")
    store.close()

    restore(backup, directory, clock=CLOCK, reason="disk failed")

    again = open_store(directory)
    assert Ledger(again).position(AAPL).quantity == 100
    assert Ledger(again).locks() == {}
    assert Journal(again).get(ClientOrderId("ob-1")) is not None
    latch = again.sync_latch(Latch(directory))
    assert latch.is_engaged
    assert latch.reason == "restored from a backup: disk failed"
    again.close()
    assert (directory / f"{DATABASE}.replaced").exists()


def left_by_a_crash(store: Store, directory: Path) -> Path:
    """Copy a directory as a power cut leaves it: half of the rows are in the WAL only."""
    Journal(store).record_plan([approved("ob-1")], "run")
    store.checkpoint()
    Ledger(store).apply_fill(a_fill(), origin="stream")
    shutil.copytree(store.directory, directory)
    return directory


def test_what_a_restore_replaces_is_kept_whole_with_what_only_its_wal_holds(
    store: Store, tmp_path: Path
) -> None:
    backup = back_up(store.directory, tmp_path / "backup.db")
    crashed = left_by_a_crash(store, tmp_path / "crashed")

    restore(backup, crashed, clock=CLOCK, reason="the wrong one")

    assert verify(crashed / f"{DATABASE}.replaced").sequence == 3
    restore(crashed / f"{DATABASE}.replaced", crashed, clock=CLOCK, reason="back again")
    again = open_store(crashed)
    assert Ledger(again).position(AAPL).quantity == 100
    again.close()


def test_a_second_restore_does_not_write_over_what_the_first_set_aside(
    store: Store, tmp_path: Path
) -> None:
    first = back_up(store.directory, tmp_path / "first.db")
    a_book(store)
    second = back_up(store.directory, tmp_path / "second.db")
    Ledger(store).lock(AAPL, "after both")
    crashed = tmp_path / "crashed"
    shutil.copytree(store.directory, crashed)

    for backup in (first, second):
        restore(backup, crashed, clock=CLOCK, reason="drill")

    assert verify(crashed / f"{DATABASE}.replaced").sequence == 4
    assert verify(crashed / f"{DATABASE}.replaced.2").sequence == 1


def test_a_restore_that_a_crash_cut_off_keeps_the_database_with_its_wal(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = back_up(store.directory, tmp_path / "backup.db")
    crashed = left_by_a_crash(store, tmp_path / "crashed")
    replace = Path.replace

    def die(self: Path, target: Path) -> Path:
        if self.name == DATABASE:
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", die)
        with pytest.raises(StorageError):
            restore(backup, crashed, clock=CLOCK, reason="drill")
    with pytest.raises(StateError, match="restore the newest backup"):
        open_store(crashed)

    restore(backup, crashed, clock=CLOCK, reason="drill")

    assert len(list(crashed.glob(f"{DATABASE}.replaced*"))) == 2


def test_a_copy_of_a_whole_directory_is_restored_with_its_wal(
    store: Store, directory: Path, tmp_path: Path
) -> None:
    crashed = left_by_a_crash(store, tmp_path / "crashed")

    restore(crashed / DATABASE, tmp_path / "new", clock=CLOCK, reason="a snapshot of the disk")

    again = open_store(tmp_path / "new")
    assert Ledger(again).position(AAPL).quantity == 100
    again.close()


def test_a_backup_and_its_restore_give_back_the_room_of_records_that_went(
    directory: Path, tmp_path: Path
) -> None:
    store = open_store(directory)
    a_book(store)
    for number in range(300):
        Incidents(store).record("x", "text " * 500, START - dt.timedelta(days=number))
    pruned(store, Retention(incident_days=30), START)
    store.close()
    before = (directory / DATABASE).stat().st_size
    # A folder may have any name.
    odd = tmp_path / os.fsdecode(b"caf\xe9 ?%20#")
    odd.mkdir()

    for target in (directory, odd / "state"):
        backup = back_up(directory, odd / "backup.db")
        restore(backup, target, clock=CLOCK, reason="it had grown")

        assert (target / DATABASE).stat().st_size < before / 2
        assert (target / DATABASE).stat().st_mode & 0o777 == 0o600
        again = open_store(target)
        assert Ledger(again).position(AAPL).quantity == 100
        assert again.rows("PRAGMA journal_mode")[0][0] == "wal"
        again.close()


def test_where_there_is_no_database_no_rollback_is_accepted_and_none_is_made(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o700)

    with pytest.raises(StateError, match="nothing to keep"):
        accept_rollback(tmp_path, clock=CLOCK, reason="x")

    assert list(tmp_path.iterdir()) == []


def test_restore_onto_a_fresh_machine(directory: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "old")
    a_book(store)
    backup = back_up(store.directory, tmp_path / "backup.db")
    store.close()

    restore(backup, directory, clock=CLOCK, reason="new machine")

    again = open_store(directory)
    assert Ledger(again).position(AAPL).quantity == 100
    assert again.sync_latch(Latch(directory)).is_engaged
    again.close()


def test_restore_beside_a_running_daemon_is_refused(
    store: Store, directory: Path, tmp_path: Path
) -> None:
    backup = back_up(store.directory, tmp_path / "backup.db")

    with pytest.raises(StateError, match="in use by another openbell"):
        restore(backup, directory, clock=CLOCK, reason="x")
    assert not Latch(directory).read().is_engaged


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE positions SET quantity = '99'",
        "DROP TRIGGER events_never_vanish; DELETE FROM events WHERE seq = 2",
        "DELETE FROM migrations",
        "INSERT INTO migrations VALUES (99, 'm', 'x')",
    ],
)
def test_damaged_backup_is_never_restored(
    store: Store, directory: Path, tmp_path: Path, statement: str
) -> None:
    a_book(store)
    backup = back_up(store.directory, tmp_path / "backup.db")
    connection = sqlite3.connect(backup)
    connection.executescript(statement)
    connection.close()
    store.close()

    with pytest.raises(StateError):
        restore(backup, directory, clock=CLOCK, reason="x")
    again = open_store(directory)
    assert Ledger(again).position(AAPL).quantity == 100
    again.close()


def test_e06_copy_of_a_damaged_database_is_refused_and_removed(
    directory: Path, tmp_path: Path
) -> None:
    store = open_store(directory)
    a_book(store)
    store.checkpoint()
    store.close()
    with (directory / DATABASE).open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"half a page" * 100)

    with pytest.raises(StateError):
        back_up(directory, tmp_path / "backup.db")
    assert not list(tmp_path.glob("backup*"))


def test_backup_onto_a_full_disk_leaves_nothing_behind(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)

    with pytest.raises(StorageError, match="No space left"):
        back_up(store.directory, tmp_path / "backup.db")
    assert not list(tmp_path.glob("backup*"))


@pytest.mark.parametrize("call", ["restore", "accept"])
def test_recovery_onto_a_broken_disk_is_told(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = open_store(directory)
    backup = back_up(store.directory, tmp_path / "backup.db")
    store.close()

    def refuse(self: Mark) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Mark, "sync", refuse)

    def recover() -> None:
        if call == "restore":
            restore(backup, directory, clock=CLOCK, reason="x")
        else:
            accept_rollback(directory, clock=CLOCK, reason="x")

    with pytest.raises(StorageError, match="Input/output error"):
        recover()
    assert Latch(directory).read().is_engaged


def test_rollback_can_be_accepted_by_a_person_and_leaves_the_latch_engaged(
    directory: Path,
) -> None:
    store = open_store(directory)
    store.close()
    mark = (directory / MARK).read_bytes()
    store = open_store(directory)
    store.close()
    newer = (directory / MARK).read_bytes()
    assert newer != mark
    ahead = f"{99:020d}".encode() + newer[20:]
    (directory / MARK).write_bytes(ahead)
    with pytest.raises(StateError):
        open_store(directory)
    (directory / MARK).unlink()

    head = accept_rollback(directory, clock=CLOCK, reason="the WAL was lost")

    again = open_store(directory)
    assert head.sequence == 2
    assert again.epoch == 3
    assert again.sync_latch(Latch(directory)).reason == "rollback accepted: the WAL was lost"
    again.close()


def test_only_the_newest_backups_are_kept(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in range(1, 6):
        back_up(store.directory, folder / f"2022-12-0{day}.db")

    removed = prune(folder, keep=2)

    assert [path.name for path in removed] == ["2022-12-01.db", "2022-12-02.db", "2022-12-03.db"]
    assert sorted(os.listdir(folder)) == ["2022-12-04.db", "2022-12-05.db"]
    assert prune(folder, keep=2) == []


def test_the_newest_backup_is_the_one_that_goes_furthest_whatever_its_name(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    # By name the nightly copy of a session would come before one that was made in it.
    names = ("before-upgrade.db", "2022-12-14T130000.db", "2022-12-14.db")
    for name in names:
        store.append("symbol.locked", {"symbol": "AAPL", "reason": name})
        back_up(store.directory, folder / name)
    (folder / "2022-12-14T130000.db").touch()

    assert newest(folder) == folder / "2022-12-14.db"
    assert [path.name for path in prune(folder, keep=1)] == ["2022-12-14T130000.db"]
    assert sorted(os.listdir(folder)) == ["2022-12-14.db", "before-upgrade.db"]


def test_a_backup_that_cannot_be_read_is_neither_passed_over_nor_removed(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    assert newest(folder) is None
    back_up(store.directory, folder / "2022-12-13.db")
    (folder / "2022-12-14.db").write_text("half a copy")

    with pytest.raises(StateError, match=r"2022-12-14.db cannot be read, so the newest"):
        newest(folder)
    assert prune(folder, keep=1) == []


def test_old_service_records_go_and_the_books_stay(store: Store) -> None:

    a_book(store)
    Decisions(store).record("run-1", a_view(), [a_signal()], [a_combined()])
    for at in (START, START + dt.timedelta(days=1000)):
        EquityCurve(store).record(at, session_date=SESSION, equity=Decimal(1), cash=Decimal(1))
        Costs(store).book("gpu", Decimal(1), at)
        Incidents(store).record("x", "x", at)
    events = store.rows("SELECT count(*) FROM events")[0][0]

    deleted = pruned(store, Retention(), START + dt.timedelta(days=1000))

    assert deleted == Counter(equity=1, decisions=1, incidents=1, costs=1)
    assert store.rows("SELECT count(*) FROM forecasts")[0][0] == 0
    assert store.rows("SELECT count(*) FROM events")[0][0] == events
    assert Ledger(store).position(AAPL).quantity == 100
    assert Costs(store).spent(None, START, START + dt.timedelta(days=2000)) == 1
