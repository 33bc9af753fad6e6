"""The night's jobs on real files."""

import asyncio
import datetime as dt
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.after_close.nightly import Nightly, backup_folder
from daemon.config import RetentionConfig, Schedule
from daemon.schedule import DueRun, RunKind, night_plan
from domain.clock import UTC, ManualClock
from domain.errors import StateError, StorageError
from marketdata.session_calendar import NyseCalendar
from state.backup import verify
from state.equity import EquityCurve
from state.files import DATABASE
from state.incidents import Incidents
from state.journal import Journal
from state.ledger import Ledger
from state.rehearsal import back_up_and_rehearse
from state.store import Store
from tests.support.state_builders import START, a_fill, approved, open_store

CALENDAR = NyseCalendar()
SCHEDULE = Schedule()
EVERY_KIND = (RunKind.BACKUP, RunKind.RETENTION, RunKind.RETRAINING)


def night(date: str) -> tuple[DueRun, ...]:
    session = CALENDAR.session_on(dt.date.fromisoformat(date))
    assert session is not None
    return night_plan(session, CALENDAR.next_session(session.close), SCHEDULE, EVERY_KIND)


def due(kind: RunKind, date: str = "2022-12-14") -> DueRun:
    return next(run for run in night(date) if run.kind is kind)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store(tmp_path / "state")
    Journal(opened).record_plan([approved("ob-1")], "run")
    Ledger(opened).apply_fill(a_fill(), origin="stream")
    return opened


def nightly(store: Store, **keep: int) -> Nightly:
    return Nightly(store, retention=RetentionConfig(**keep), clock=ManualClock(START))


async def test_the_backup_is_restored_on_trial_and_says_what_it_holds(store: Store) -> None:
    told = await nightly(store).jobs()[RunKind.BACKUP](due(RunKind.BACKUP), "run")

    backup = store.directory / "backups" / "2022-12-14.db"
    assert told == "2022-12-14.db: 3 events, 1 orders, 1 fills; restored on trial and equal"
    assert verify(backup).sequence == 3
    assert backup.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in backup.parent.iterdir()] == ["2022-12-14.db"]


async def test_a_backup_of_the_same_session_takes_the_place_of_the_first(store: Store) -> None:
    job = nightly(store).jobs()[RunKind.BACKUP]
    await job(due(RunKind.BACKUP), "run")
    Ledger(store).lock(approved("ob-1").request.symbol, "later")
    await job(due(RunKind.BACKUP), "run")

    backups = list((store.directory / "backups").iterdir())
    assert len(backups) == 1
    assert verify(backups[0]).sequence == 4


async def test_e06_a_damaged_database_fails_the_backup_and_keeps_the_one_before(
    store: Store,
) -> None:
    job = nightly(store).jobs()[RunKind.BACKUP]
    await job(due(RunKind.BACKUP, "2022-12-13"), "run")
    store.checkpoint()
    with sqlite3.connect(store.directory / DATABASE) as stranger:
        stranger.execute("UPDATE orders SET quantity = '999'")
    stranger.close()

    with pytest.raises(StateError, match="orders differ from the"):
        await job(due(RunKind.BACKUP), "run")

    assert [path.name for path in backup_folder(store.directory).iterdir()] == ["2022-12-13.db"]


def test_a_copy_of_another_history_is_no_backup(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store(tmp_path / "other")
    Journal(other).record_plan([approved("ob-1")], "run")
    Ledger(other).apply_fill(a_fill(price="99"), origin="stream")
    other.close()

    def copy_of_another(directory: Path, target: Path) -> Path:
        from state.backup import back_up

        return back_up(other.directory, target)

    monkeypatch.setattr("state.rehearsal.back_up", copy_of_another)

    with pytest.raises(StateError, match="is another one than here"):
        back_up_and_rehearse(store.directory, tmp_path / "b.db", clock=ManualClock(START))
    assert not list(tmp_path.glob("b.db*"))


def test_a_disk_without_room_for_the_trial_is_told_before_anything_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))

    with pytest.raises(StorageError, match=r"0 MB free .* retention\.backups"):
        back_up_and_rehearse(store.directory, tmp_path / "b.db", clock=ManualClock(START))
    assert not list(tmp_path.glob("b.db*"))


async def test_e15_old_records_and_backups_go_and_the_log_and_the_books_stay(
    store: Store,
) -> None:
    old = START - dt.timedelta(days=41)
    Incidents(store).record("old", "text", old)
    Incidents(store).record("new", "text", START)
    curve = EquityCurve(store)
    for at in (old, START):
        curve.record(at, session_date=at.date(), equity=Decimal(1), cash=Decimal(1), positions=())
    before = {
        table: store.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]  # noqa: S608
        for table in ("events", "orders", "fills", "ledger_entries", "runs")
    }
    jobs = nightly(store, backups=2, curve_days=40, incident_days=30).jobs()
    for date in ("2022-12-12", "2022-12-13", "2022-12-14"):
        await jobs[RunKind.BACKUP](due(RunKind.BACKUP, date), "run")

    told = await jobs[RunKind.RETENTION](due(RunKind.RETENTION), "run")

    assert told == "2 old rows and 1 old backups removed"
    kept = sorted(path.name for path in (store.directory / "backups").iterdir())
    assert kept == ["2022-12-13.db", "2022-12-14.db"]
    assert [row["kind"] for row in store.rows("SELECT kind FROM incidents")] == ["new"]
    for table, count in before.items():
        assert store.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] == count  # noqa: S608


async def test_years_of_records_that_go_at_once_leave_the_event_loop_its_turns(
    store: Store,
) -> None:
    curve = EquityCurve(store)
    for days in range(31, 731):
        at = START - dt.timedelta(days=days)
        curve.record(at, session_date=at.date(), equity=Decimal(1), cash=Decimal(1), positions=())
    turns = 0

    async def beat() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    heart = asyncio.create_task(beat())
    told = await nightly(store, curve_days=30).jobs()[RunKind.RETENTION](
        due(RunKind.RETENTION), "run"
    )
    heart.cancel()

    assert told == "700 old rows and 0 old backups removed"
    # A step is a day of records at the most.
    assert turns >= 350


async def test_a_backup_folder_that_cannot_be_made_fails_in_one_sentence(store: Store) -> None:
    (store.directory / "backups").write_text("in the way")

    with pytest.raises(StorageError, match="backups cannot be made"):
        await nightly(store).jobs()[RunKind.BACKUP](due(RunKind.BACKUP), "run")


def test_the_night_follows_the_close_on_half_days_too() -> None:
    assert due(RunKind.BACKUP, "2022-11-25").at == dt.datetime(2022, 11, 25, 19, 0, tzinfo=UTC)
    assert due(RunKind.BACKUP, "2022-11-23").at == dt.datetime(2022, 11, 23, 22, 0, tzinfo=UTC)


def test_models_are_trained_after_the_last_session_of_a_week_only() -> None:
    days = ("2022-11-21", "2022-11-22", "2022-11-23", "2022-11-25", "2022-12-30")
    trained = [day for day in days if RunKind.RETRAINING in {run.kind for run in night(day)}]

    assert trained == ["2022-11-25", "2022-12-30"]
    # Until four hours before the next open.
    assert due(RunKind.RETRAINING, "2022-11-25").latest == dt.datetime(
        2022, 11, 28, 10, 30, tzinfo=UTC
    )
