"""The mark beside the database: lost, torn or ahead of it, and what a start makes of it."""

import os
import shutil
from pathlib import Path

import pytest

from domain.clock import ManualClock
from domain.errors import StateError, StorageError
from state.files import DATABASE, MARK
from state.latch import Latch
from state.mark import Mark, read_mark
from state.store import Store
from tests.support.state_builders import START, open_store


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
