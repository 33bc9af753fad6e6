"""Errors are one sentence and an exit status; options may stand anywhere."""

import datetime as dt
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from rich.text import Text

from daemon import cli
from daemon.command_line import Options, hoist
from daemon.commands import output, reading, stopping
from daemon.commands.reading import COLUMNS
from domain.clock import SystemClock
from execution.kill_report import KillReport, Proof
from state.reader import Reader
from state.reports import Reports
from state.store import Store
from tests.support.state_builders import open_store

REPOSITORY = Path(__file__).parents[3]


def openbell(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OPENBELL__")}
    return subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(REPOSITORY), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text((REPOSITORY / "config.toml").read_text())
    return tmp_path


def test_global_options_may_stand_anywhere_on_the_line() -> None:
    assert hoist(["status", "--json", "--config", "a.toml"]) == [
        "--json",
        "--config",
        "a.toml",
        "status",
    ]
    assert hoist(["kill", "--config=a.toml", "--", "--json"]) == [
        "--config=a.toml",
        "kill",
        "--",
        "--json",
    ]


def test_no_word_of_the_help_is_taken_for_markup() -> None:
    # Typer hands it to Rich: of "State directory [state.directory]" the brackets were left out.
    told = list(_help_of(typer.main.get_command(cli.app)))

    assert len(told) > 60
    assert [text for text in told if Text.from_markup(text).plain != text] == []


def _help_of(command: Any) -> Iterator[str]:
    yield command.help or ""
    yield from (getattr(each, "help", None) or "" for each in command.params)
    for inner in getattr(command, "commands", {}).values():
        yield from _help_of(inner)


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["frobnicate"], 64, "No such command"),
        (["demo", "--days", "many"], 64, "--days"),
        (["demo", "--date", "yesterday"], 64, "--date yesterday: not a date"),
        (["demo", "--date", "2022-11-13"], 64, "the exchange was closed; try 2022-11-11"),
        (["demo", "--date", "2031-01-02"], 64, "outside the recording; choose a session from"),
        (["demo", "--date", "2013-09-29"], 64, "choose a session from 2013-09-30 to 2022-12-28"),
        (["report", "--from-broker", "--week"], 64, "choose one of them"),
        (["forecasts", "--scores", "--date", "2022-11-14"], 64, "--scores and --date: choose one"),
        (["models", "show", "nosuch"], 78, "; `openbell train --help` names those that can be"),
        (["status", "--config", "nowhere.toml"], 78, "nowhere.toml: no such file"),
        (["status"], 78, "does not exist: start openbell run or openbell demo first"),
        (["explain", "not-a-symbol"], 64, "not a US equity symbol"),
        (["report", "--format", "pdf"], 64, "--format pdf: unknown"),
        (["report", "--format", ""], 64, "--format: names no format"),
        (["report", "--week", "--date", "9999-12-31"], 64, "a date from 1990-01-01 to 2035-12-31"),
    ],
)
def test_an_error_is_one_sentence_and_the_right_exit_status(
    home: Path, arguments: list[str], status: int, part: str
) -> None:
    done = openbell(*arguments, cwd=home)

    assert done.returncode == status
    assert part in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_unknown_symbol_in_the_universe_is_named(home: Path) -> None:
    done = openbell("demo", cwd=home, OPENBELL__UNIVERSE__SYMBOLS='["AAPL", "ZZZZ"]')

    assert done.returncode == 78
    assert "universe.symbols: ZZZZ is not recorded" in done.stderr


def test_a_misspelt_key_leaves_nothing_behind(home: Path) -> None:
    text = (home / "config.toml").read_text().replace("max_drawdown_pct", "max_drawdwon_pct")
    (home / "config.toml").write_text(text)

    done = openbell("demo", cwd=home)

    assert done.returncode == 78
    assert "did you mean `max_drawdown_pct`?" in done.stderr
    assert sorted(path.name for path in home.iterdir()) == ["config.toml"]


def test_an_unreadable_state_directory_is_named(home: Path) -> None:
    (home / "var").write_text("a file where a directory should be")

    done = openbell("run", "--once", cwd=home)

    assert done.returncode == 78
    assert "var" in done.stderr
    assert "Traceback" not in done.stderr


def test_kill_without_anything_latches_and_says_what_is_not_verified(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[universe]\nsymbols = ["AAPL"]\n[broker]\nkind = "alpaca"\n'
        '[broker.alpaca]\ntrading_url = "http://127.0.0.1:9"\n'
    )

    done = openbell("kill", "--json", cwd=tmp_path)

    document = json.loads(done.stdout)
    assert done.returncode == 2
    assert document["latched"] is True
    assert document["verified"] is False
    assert (tmp_path / "var" / "KILL").exists()


def test_a_flatten_that_is_not_verified_asks_for_a_flatten_again(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[universe]\nsymbols = ["AAPL"]\n[broker]\nkind = "alpaca"\n'
        '[broker.alpaca]\ntrading_url = "http://127.0.0.1:9"\n'
    )

    done = openbell("kill", "--flatten", cwd=tmp_path)

    assert done.returncode == 2
    assert "Not verified: run `openbell kill --flatten` again" in done.stdout


@pytest.mark.parametrize(
    ("proof", "had_flatten", "positions", "is_told"),
    [
        (Proof.CANCELED, True, 4, True),
        (Proof.CANCELED, False, 4, False),
        (Proof.CANCELED, True, 0, False),
        # Of one that closes positions, also where a plain kill went on as that.
        (Proof.QUEUED_FOR_OPEN, True, 4, False),
    ],
)
def test_a_plain_kill_says_that_it_takes_a_flatten_back_with_what_waits_for_the_open(
    capsys: pytest.CaptureFixture[str],
    *,
    proof: Proof,
    had_flatten: bool,
    positions: int,
    is_told: bool,
) -> None:
    report = KillReport(
        latched=True,
        open_orders=0,
        positions=positions,
        verified=True,
        elapsed_seconds=0.7,
        proof=proof,
        suspended=True,
        problems=(),
    )

    options = Options(config=None, json=False)
    stopping.show(report, options, flatten=False, had_flatten=had_flatten)

    assert ("taken back with its closing orders" in capsys.readouterr().out) is is_told


def test_help_and_reading_start_without_heavy_packages() -> None:
    code = (
        "import sys; sys.argv = ['openbell', '--help']\n"
        "from daemon.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "import daemon.commands.reading\n"
        "heavy = {'pandas', 'numpy', 'torch', 'sqlite_utils', 'alpaca', 'matplotlib'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_corrupt_model_file_is_named_and_nothing_is_begun(home: Path) -> None:
    models = home / "var" / "models"
    shutil.copytree(REPOSITORY / "forecasts" / "registry" / "lstm", models / "lstm")
    with (models / "lstm" / "1" / "model.onnx").open("ab") as file:
        file.write(b"x")

    done = openbell("run", "--once", cwd=home)

    assert done.returncode == 78
    assert "model.onnx does not match its card" in done.stderr
    assert [path.name for path in (home / "var").iterdir()] == ["models"]


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "fiancé ☃"), ("ascii", r"fianc\u00e9 \u2603")]
)
def test_json_can_be_read_whatever_characters_the_terminal_knows(
    home: Path, encoding: str, shown: str
) -> None:
    (home / "var").mkdir()

    done = openbell("pause", "--json", "--reason", "fiancé ☃", cwd=home, PYTHONIOENCODING=encoding)

    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert json.loads(done.stdout)["reason"] == "fiancé ☃"


@pytest.mark.parametrize(("pct", "told"), [(0.0, "0.00 (0 %)"), (None, "0.00 (- %)")])
def test_a_day_without_profit_or_loss_is_not_told_as_unknown(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pct: float | None,
    told: str,
) -> None:
    Store.open(home / "var", clock=SystemClock()).close()
    with Reader(home / "var") as reader:
        document = {**reader.status(), "daily_pnl": "0", "daily_pnl_pct": pct}
    monkeypatch.setattr(Reader, "status", lambda _: document)
    monkeypatch.chdir(home)

    reading.status(Options(config=None, json=False))

    assert told in capsys.readouterr().out


def test_a_number_is_not_broken_over_two_lines_of_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(output, "console", lambda: Console(file=screen, width=60))
    row = {
        "session_date": "2022-11-14",
        "symbol": "AMZN",
        "side": "buy",
        "quantity": "42",
        "limit_price": "102.81",
        "state": "filled",
        "filled_quantity": "42",
        "filled_avg_price": "98.779524",
        "client_order_id": "ob-20221114-AMZN-entry-0-8f5166bfbfdb",
    }

    output.print_table("", COLUMNS["orders"], [row], empty="")

    assert {"102.81", "98.779524"} <= set(screen.getvalue().split())


def test_no_number_of_a_table_is_cut_where_the_terminal_is_too_narrow_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(output, "console", lambda: Console(file=screen, width=40))
    row = {
        "symbol": "GOOGL",
        "quantity": "1234",
        "avg_entry_price": "101.123456",
        "market_value": "126485.00",
        "unrealized_pnl": "-1698.66",
    }

    output.print_table("", COLUMNS["positions"], [row], empty="")

    assert set(row.values()) <= set(screen.getvalue().split())


def test_a_table_shows_what_the_terminal_does_not_know_in_another_way(home: Path) -> None:
    (home / "var").mkdir()
    openbell("pause", "--reason", "fiancé ☃", cwd=home)
    openbell("kill", "--reason", "fiancé ☃", cwd=home, PYTHONIOENCODING="ascii")

    done = openbell("doctor", cwd=home, PYTHONIOENCODING="ascii")

    assert "Traceback" not in done.stderr
    assert r"fianc\xe9 \u2603" in done.stdout


@pytest.mark.parametrize("lost", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full", ">/dev/full"])
def test_the_exit_status_does_not_depend_on_who_listens(home: Path, lost: str) -> None:
    commands = {"pause --json": 1 if lost == ">/dev/full" else 0, "frobnicate": 64, "status": 78}
    (home / "var").mkdir()

    for command, status in commands.items():
        done = subprocess.run(
            ["/bin/sh", "-c", f'"{sys.executable}" -m daemon {command} {lost}'],
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (command, done.returncode) == (command, status)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "name"), [("--week", "2022-W40"), ("--month", "2022-10"), (None, "no report")]
)
def test_a_period_without_a_report_names_those_that_are_there(
    home: Path, kind: str | None, name: str
) -> None:
    store = open_store(home / "var")
    for day in (14, 15):
        Reports(store).record(
            dt.date(2022, 11, day),
            is_reconciled=True,
            residual=Decimal(0),
            digest="",
            at=dt.datetime(2022, 11, day, 22, tzinfo=dt.UTC),
        )
    store.close()

    done = openbell("report", *filter(None, [kind]), "--date", "2022-10-05", cwd=home)

    assert done.returncode == 64
    assert f"--date 2022-10-05: {name}" in done.stderr
    assert "there are 2022-11-14 to 2022-11-15" in done.stderr


def test_a_broker_that_is_away_leads_to_the_doctor(home: Path) -> None:
    done = openbell(
        "reconcile",
        cwd=home,
        OPENBELL__BROKER__KIND="alpaca",
        OPENBELL__BROKER__ALPACA__TRADING_URL="http://127.0.0.1:9",
        OPENBELL__CLOCK__KIND="system",
        APCA_API_KEY_ID="PKTEST",
        APCA_API_SECRET_KEY="test",
    )

    assert done.returncode == 75
    assert done.stderr.endswith("; try again, `openbell doctor` tells what can be reached\n")
    assert done.stderr.count("\n") == 1
