"""The daemon's day with a model server beside it, each a process of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from state.reader import Reader
from tests.support.model_server import CARD, REPOSITORY, TOKEN, environment, served_by_a_process


def openbell(home: Path, *arguments: str, **environ: str) -> Any:
    """Run a command in a directory; return its JSON document."""
    done = subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        cwd=home,
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout) if done.stdout.lstrip().startswith(("{", "[")) else None


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copy(REPOSITORY / "config.toml", tmp_path)
    return tmp_path


def test_a_day_with_a_model_server_is_decided_by_remote_forecasts(home: Path) -> None:
    with served_by_a_process(home) as announced:
        assert announced["needs_token"] is True
        openbell(
            home,
            "run",
            "--once",
            OPENBELL__FORECASTS__REMOTE__URL=announced["url"],
            OPENBELL_FORECAST_TOKEN=TOKEN,
        )

    forecasts = openbell(home, "forecasts", "--json")
    status = openbell(home, "status", "--json")
    assert len(forecasts) == 25
    assert {forecast["source"] for forecast in forecasts} == {"remote"}
    assert {forecast["model_hash"] for forecast in forecasts} == {CARD.sha256}
    assert status["forecast_source"] == "remote"
    assert status["breakers"]["forecasts.remote"] == "closed"


@pytest.mark.parametrize(
    ("budget", "why"),
    [
        ("GPU_DAILY_BUDGET_USD", "today's GPU cost would be 60.00 USD, the budget is 50"),
        pytest.param(
            "MONTHLY_BUDGET_USD",
            "this month's cost would be 60.00 USD, the budget is 50",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_budget_by_day_and_by_month_stops_the_remote_source_and_tells(
    home: Path, budget: str, why: str
) -> None:
    # Nobody listens there: a call that is not made cannot fail either.
    openbell(
        home,
        "run",
        "--once",
        OPENBELL__FORECASTS__REMOTE__URL="http://127.0.0.1:9",
        OPENBELL__CLOCK__START="2022-11-25T08:20:00-05:00",
        OPENBELL__COSTS__GPU_USD_PER_CALL="60",
        **{f"OPENBELL__COSTS__{budget}": "50"},
    )

    with Reader(home / "var") as reader:
        (told,) = [row for row in reader.incidents() if row["kind"] == "budget.exhausted"]
        assert {row["source"] for row in reader.forecasts()} == {"local"}
        assert reader.costs() == []
    assert why in told["text"]
