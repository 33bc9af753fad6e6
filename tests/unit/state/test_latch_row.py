"""The latch in the file and in the database: the stricter one counts."""

from pathlib import Path

from state.latch import Latch
from state.store import Store
from tests.support.state_builders import START, open_store


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


def test_a_reason_that_no_database_takes_is_harmless_in_the_file(
    store: Store, directory: Path
) -> None:
    latch = Latch(directory)
    latch.engage("stop, caf\udce9", START)

    assert store.sync_latch(latch).reason == "stop, caf"
    assert store.latch_row().reason == "stop, caf"


def test_a_latch_in_a_folder_with_a_name_that_is_not_utf_8_is_synced(
    store: Store, tmp_path: Path
) -> None:
    missing = Latch(tmp_path / "caf\udce9")

    assert "is missing" in store.sync_latch(missing).reason
    assert store.latch_row().is_engaged
