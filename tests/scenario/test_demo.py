"""The demo as a newcomer meets it: real processes, real sockets, one recorded day."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from domain.clock import SystemClock
from state.latch import Latch
from state.latch_record import KillAction

REPOSITORY = Path(__file__).parents[2]


def openbell(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "daemon", *arguments]


def environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OPENBELL__")}
    return {**clean, "PYTHONPATH": str(REPOSITORY)}


def read(home: Path, *arguments: str) -> Any:
    done = openbell(home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def new_home(path: Path) -> Path:
    path.mkdir()
    shutil.copy(REPOSITORY / "config.toml", path)
    return path


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = new_home(tmp_path_factory.mktemp("demo") / "home")
    done = openbell(home, "demo")
    assert done.returncode == 0, done.stderr
    return home, done.stdout


def test_the_screen_has_at_most_25_lines_and_ends_with_a_command(lived: tuple[Path, str]) -> None:
    _, screen = lived
    lines = screen.splitlines()

    assert len(lines) <= 25
    assert max(map(len, lines)) <= 100
    assert lines[-1].startswith("Next: ")
    assert "openbell explain" in lines[-1]


@pytest.mark.parametrize(
    "part",
    [
        "companies that survived",
        "no news of that day is recorded",
        "breaker open, the local LSTM answers",
        "accepted, but the answer was lost; UNKNOWN",
        "one order, not two",
        "the trade stream broke",
        "its fill came while the stream was down; found by comparing",
        "residual 0.00 (balances)",
        "stopped for good (SIGKILL)",
        "kill --flatten: QUEUED FOR OPEN, latched",
        "verified yes",
    ],
)
def test_the_screen_tells_each_fear_in_a_plain_line(lived: tuple[Path, str], part: str) -> None:
    assert part in lived[1]


def test_the_order_whose_answer_was_lost_is_at_the_broker_once(lived: tuple[Path, str]) -> None:
    home, _ = lived
    journal = home / "var" / "paper" / "exchange.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    theirs = {
        event["order"]["id"] for event in events if "-AMZN-entry-" in json.dumps(event.get("order"))
    }
    orders = [order for order in read(home, "orders") if order["symbol"] == "AMZN"]

    assert len(orders) == 1
    assert orders[0]["state"] == "filled"
    assert len(theirs) == 1


def test_every_fill_is_in_the_ledger_once_and_adds_up(lived: tuple[Path, str]) -> None:
    home, _ = lived
    fills = read(home, "fills")
    orders = {order["client_order_id"]: order for order in read(home, "orders")}
    filled: dict[str, float] = {}
    for fill in fills:
        filled[fill["client_order_id"]] = filled.get(fill["client_order_id"], 0) + float(
            fill["quantity"]
        )

    assert len({fill["execution_id"] for fill in fills}) == len(fills) > 0
    assert filled == {name: float(order["filled_quantity"]) for name, order in orders.items()}


def test_the_report_ties_to_the_broker_to_the_cent(lived: tuple[Path, str]) -> None:
    home, _ = lived
    report = read(home, "report")

    assert report["reconciled"] is True
    assert report["residual"] == "0.00"
    assert report["session_date"] == "2022-11-14"
    folder = home / "var" / "reports" / "2022-11-14"
    assert {path.name for path in folder.iterdir()} == {
        f"report.{form}" for form in ("html", "md", "json", "csv")
    }


def test_making_the_report_again_gives_the_same_bytes(lived: tuple[Path, str]) -> None:
    home, _ = lived
    folder = home / "var" / "reports" / "2022-11-14"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    assert openbell(home, "report").returncode == 0

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_status_shows_the_engaged_latch(lived: tuple[Path, str]) -> None:
    status = read(lived[0], "status")

    assert status["kill"]["engaged"] is True
    assert status["are_positions_closed_by_kill"] is True
    assert "closing orders" in openbell(lived[0], "status").stdout
    assert status["trading_state"] == "HALTED"
    assert status["breakers"] == {"forecasts.remote": "open"}
    assert status["forecast_source"] == "local"
    assert status["last_run"]["kind"] == "eod"


def test_explain_retells_forecast_limits_order_and_fills(lived: tuple[Path, str]) -> None:
    story = read(lived[0], "explain", "amzn")

    assert story["decision"]["forecast"]["source"] == "local"
    assert story["decision"]["data_cutoff"] == "2022-11-11"
    assert len(story["orders"]) == 1
    assert all(check["passed"] for check in story["orders"][0]["checks"])
    assert story["orders"][0]["fills"]


def test_no_decision_saw_a_bar_of_its_own_day(lived: tuple[Path, str]) -> None:
    forecasts = read(lived[0], "forecasts")

    assert {forecast["data_cutoff"] for forecast in forecasts} == {"2022-11-11"}


def test_the_same_demo_twice_gives_the_same_orders_fills_and_report_bytes(
    lived: tuple[Path, str], tmp_path: Path
) -> None:
    first, _ = lived
    second = new_home(tmp_path / "again")
    assert openbell(second, "demo").returncode == 0

    for name in ("orders", "fills"):
        assert openbell(second, name, "--json").stdout == openbell(first, name, "--json").stdout
    for path in sorted((first / "var" / "reports").rglob("report.*")):
        again = second / path.relative_to(first)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_resume_after_the_demo_needs_the_right_account(lived: tuple[Path, str]) -> None:
    home, _ = lived
    refused = openbell(home, "resume", "--reason", "test", "--confirm", "0000")

    assert refused.returncode == 78
    assert "--confirm is not the last four characters" in refused.stderr
    assert read(home, "status")["kill"]["engaged"] is True


def test_k09_a_kill_as_before_leaves_what_a_flatten_has_queued_for_the_open(
    lived: tuple[Path, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(lived[0], home)
    plain = tmp_path / "plain"
    shutil.copytree(lived[0], plain)

    as_before = openbell(home, "--json", "kill", "--as-before")
    canceled = openbell(plain, "--json", "kill")
    # A plain one after it took the flatten back: nobody is there to want the positions closed.
    after = openbell(plain, "--json", "kill", "--as-before")

    assert (as_before.returncode, canceled.returncode) == (0, 0)
    assert json.loads(as_before.stdout)["open_orders"] == json.loads(as_before.stdout)["positions"]
    assert json.loads(as_before.stdout)["open_orders"] > 0
    for plainly in (canceled, after):
        assert json.loads(plainly.stdout)["open_orders"] == 0
        assert json.loads(plainly.stdout)["positions"] > 0
    assert read(plain, "status")["are_positions_closed_by_kill"] is False


def test_k09_a_kill_as_before_closes_nothing_where_no_kill_did(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    (home / "var").mkdir(mode=0o700)
    Latch(home / "var").engage("earlier", SystemClock().now(), pending=KillAction.CANCEL)

    done = openbell(home, "kill", "--as-before")

    assert done.returncode == 0
    assert Latch(home / "var").read().closings == 0


# A job started in the background inherits an ignored Ctrl-C; a terminal never does.
AS_FROM_A_TERMINAL = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["openbell", "demo"]
runpy.run_module("daemon", run_name="__main__")
"""


def test_ctrl_c_leaves_nothing_running_and_nothing_half_written(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    process = subprocess.Popen(
        [sys.executable, "-c", AS_FROM_A_TERMINAL],
        cwd=home,
        env=environment(),
        stdout=subprocess.DEVNULL,
    )
    workplaces: list[Path] = []
    deadline = time.monotonic() + 60
    while not workplaces and time.monotonic() < deadline:
        workplaces = [p for p in home.glob(".openbell-demo-*") if (p / "openbell.db").exists()]
        time.sleep(0.05)
    assert workplaces, "the demo never began"

    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=30) == 130
    assert [path.name for path in home.iterdir()] == ["config.toml"]
    assert str(workplaces[0]) not in _environments_of_all_processes()


def _environments_of_all_processes() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)
