"""A disk that loses, tears or refuses what was not synced yet: what was acknowledged is there."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from domain.errors import StorageError
from state.files import DATABASE, MARK
from state.ledger import Ledger
from state.mark import SYNC_EVERY
from tests.support.state_builders import AAPL, open_store

WAL = f"{DATABASE}-wal"


def wrote(number: int) -> str:
    return f"reason {number}"


def copy_without_memory(source: Path, target: Path) -> Path:
    """Copy what is on the disk; shared memory does not survive a power cut."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*-shm", "*.lock"))
    return target


def test_d14_a_commit_torn_at_any_byte_leaves_the_one_before_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state")
    Ledger(store).lock(AAPL, wrote(1))
    acknowledged = copy_without_memory(store.directory, tmp_path / "acknowledged")
    before = (acknowledged / WAL).stat().st_size
    Ledger(store).lock(AAPL, wrote(2))
    whole = (store.directory / WAL).read_bytes()
    store.close()
    cuts = sorted({*range(before, len(whole), 509), before + 1, len(whole) - 1, len(whole)})
    assert len(cuts) > 10

    found = []
    for cut in cuts:
        directory = copy_without_memory(acknowledged, tmp_path / "again")
        # The tail of a torn write is whatever was on the disk there.
        (directory / WAL).write_bytes(whole[:cut] + b"\xa5" * 64)
        again = open_store(directory)
        found.append(Ledger(again).locks()[AAPL])
        again.close()
        shutil.rmtree(directory)

    assert set(found[:-1]) == {wrote(1)}
    assert found[-1] == wrote(2)


@pytest.mark.parametrize("slot", [0, 1])
def test_d14_a_torn_record_of_the_mark_leaves_the_other_one(tmp_path: Path, slot: int) -> None:
    store = open_store(tmp_path / "state")
    Ledger(store).lock(AAPL, wrote(1))
    store.close()
    mark = store.directory / MARK
    content = bytearray(mark.read_bytes())
    content[slot * 128 + 30 : slot * 128 + 60] = b"\x00" * 30
    mark.write_bytes(bytes(content))

    again = open_store(store.directory)

    assert Ledger(again).locks() == {AAPL: wrote(1)}
    again.close()


def test_e12_a_sync_that_fails_is_told_and_the_books_open_again_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "state")

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def write_on() -> None:
        for number in range(SYNC_EVERY + 1):
            Ledger(store).lock(AAPL, wrote(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match="Input/output error"):
            write_on()
        store.close()

    again = open_store(store.directory)
    assert Ledger(again).locks()[AAPL].startswith("reason ")
    again.close()
