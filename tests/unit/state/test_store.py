"""The store: one writer, whole transactions, a chain of events."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import StateError
from state.checks import differing_tables
from state.events import verified_events
from state.files import DATABASE
from state.journal import Journal
from state.latch import Latch
from state.store import Store
from tests.support.state_builders import approved, open_store


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
