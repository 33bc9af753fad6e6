"""``openbell backup`` and ``openbell restore``, as commands."""

import contextlib
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.cli import _run as command_line
from domain.errors import StateError
from state.journal import Journal
from state.ledger import Ledger
from tests.support.running import REPOSITORY
from tests.support.state_builders import AAPL, a_fill, approved, open_store


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Openbell = Callable[..., Done]


@pytest.fixture
def openbell(capsys: pytest.CaptureFixture[str]) -> Openbell:
    def run(home: Path, *arguments: str) -> Done:
        with contextlib.chdir(home):
            code = command_line(["--config", str(REPOSITORY / "config.toml"), *arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    store = open_store(tmp_path / "var")
    Journal(store).record_plan([approved("ob-1")], "run")
    Ledger(store).apply_fill(a_fill(), origin="stream")
    store.close()
    return tmp_path


def test_a_backup_comes_back_with_the_latch_engaged(home: Path, openbell: Openbell) -> None:
    made = json.loads(openbell(home, "--json", "backup").stdout)
    store = open_store(home / "var")
    Ledger(store).lock(AAPL, "after the backup")
    store.close()

    done = openbell(home, "restore", "--reason", "drill")

    assert made["rows"]["fills"] == 1
    assert done.returncode == 0, done.stderr
    assert "openbell resume" in done.stdout
    # How old it is decides what a person looks at next.
    assert "It ends with event 3, of 2022-12-14T13:00:00.000000+00:00." in done.stdout
    status = json.loads(openbell(home, "--json", "status").stdout)
    assert status["kill"]["reason"] == "restored from a backup: drill"
    assert status["locked_symbols"] == []


def test_a_restore_takes_the_last_backup_also_after_one_by_hand_on_the_same_day(
    home: Path, openbell: Openbell
) -> None:
    folder = home / "var" / "backups"
    folder.mkdir()
    openbell(home, "backup", "--out", str(folder / "2026-11-20T140000.db"))
    store = open_store(home / "var")
    Ledger(store).lock(AAPL, "in the session")
    store.close()
    # The night's, which has the name of its day.
    openbell(home, "backup", "--out", str(folder / "2026-11-20.db"))

    done = openbell(home, "restore", "--reason", "drill")

    assert "Restored var/backups/2026-11-20.db;" in done.stdout
    store = open_store(home / "var")
    assert AAPL in Ledger(store).locks()
    store.close()


def test_beside_a_running_daemon_a_backup_works_and_a_restore_is_refused(
    home: Path, openbell: Openbell
) -> None:
    running = open_store(home / "var")
    made = openbell(home, "backup", "--out", str(home / "mine.db"))
    refused = openbell(home, "restore", str(home / "mine.db"), "--reason", "drill")
    running.close()

    assert made.returncode == 0, made.stderr
    assert (home / "mine.db").is_file()
    assert refused.returncode == 78
    assert "restored from" not in openbell(home, "status").stdout


def test_a_file_that_is_there_is_not_overwritten(home: Path, openbell: Openbell) -> None:
    (home / "mine.db").write_text("mine")

    done = openbell(home, "backup", "--out", "mine.db")

    assert (done.returncode, (home / "mine.db").read_text()) == (64, "mine")


def test_without_any_backup_restore_says_so(home: Path, openbell: Openbell) -> None:
    done = openbell(home, "restore", "--reason", "drill")

    assert done.returncode == 64
    assert "holds no backup" in done.stderr


def test_a_backup_that_is_not_there_is_named(home: Path, openbell: Openbell) -> None:
    done = openbell(home, "restore", "nothing.db", "--reason", "drill")

    assert done.returncode == 64
    assert "nothing.db is no file; backups are in" in done.stderr


def test_without_a_database_backup_says_so(tmp_path: Path, openbell: Openbell) -> None:
    done = openbell(tmp_path, "backup")

    assert done.returncode == 78
    assert "nothing to back up" in done.stderr


def test_e09_a_database_behind_its_mark_is_kept_only_on_demand(
    home: Path, openbell: Openbell
) -> None:
    database = home / "var" / "openbell.db"
    before = home / "before.db"
    assert openbell(home, "backup", "--out", str(before)).returncode == 0
    store = open_store(home / "var")
    Ledger(store).lock(AAPL, "later")
    store.close()
    for name in ("openbell.db-wal", "openbell.db-shm"):
        (home / "var" / name).unlink(missing_ok=True)
    database.write_bytes(before.read_bytes())
    with pytest.raises(StateError, match="restore the newest backup"):
        open_store(home / "var")

    done = openbell(home, "restore", "--accept-rollback", "--reason", "no newer one")

    assert done.returncode == 0, done.stderr
    open_store(home / "var").close()


def test_a_backup_by_hand_is_the_last_one_too(home: Path, openbell: Openbell) -> None:
    before = json.loads(openbell(home, "--json", "status").stdout)["backup_at"]
    openbell(home, "backup", "--out", "elsewhere.db")

    at = json.loads(openbell(home, "--json", "status").stdout)["backup_at"]

    assert before is None
    assert dt.datetime.fromisoformat(at).tzinfo is not None
    # No backup in itself: a restore takes none of it.
    assert "holds no backup" in openbell(home, "restore", "--reason", "drill").stderr


def test_a_moment_that_cannot_be_read_is_none(home: Path, openbell: Openbell) -> None:
    openbell(home, "backup")
    (home / "var" / "backups" / "TESTED").write_text("soon")

    assert json.loads(openbell(home, "--json", "status").stdout)["backup_at"] is None
