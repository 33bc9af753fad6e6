"""The daemon's day with a model server beside it, each a process of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
