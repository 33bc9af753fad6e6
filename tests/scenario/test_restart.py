"""A daemon that is killed in the middle of a run takes the run up again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OPENBELL__")}
    return {**clean, "PYTHONPATH": str(REPOSITORY)}


def run_until_killed(home: Path, event: str) -> bool:
    """Run the daemon and kill it at the first log line of that event."""
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "run", "--once"],
        cwd=home,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        return any(json.loads(line).get("event") == event for line in process.stderr)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def read(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "--json", *arguments],
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("event", ["bars.read", "orders.sent"])
def test_d01_a_run_cut_off_by_sigkill_is_done_after_the_restart(tmp_path: Path, event: str) -> None:
    shutil.copy(REPOSITORY / "config.toml", tmp_path)
    assert run_until_killed(tmp_path, event)

    assert not run_until_killed(tmp_path, "never")

    runs = {run["kind"]: run["state"] for run in read(tmp_path, "runs")}
    assert runs == dict.fromkeys(("premarket", "submit", "cutoff", "eod"), "DONE")
    orders = read(tmp_path, "orders")
    assert {order["symbol"] for order in orders} == {"AAPL", "AMZN", "GOOG", "NFLX"}
    assert len(orders) == 4
    assert all(order["filled_quantity"] == order["quantity"] for order in orders)
    assert read(tmp_path, "report")["reconciled"] is True
