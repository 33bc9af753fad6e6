"""Forecasts of several days, locked, scored and shown, with a restart in between."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domain.clock import SystemClock
from forecasts.tracking import verify_answer, verify_chain
from state.store import Store
from state.track_record import TrackRecord

REPOSITORY = Path(__file__).parents[2]


def openbell(home: Path, *arguments: str) -> str:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("OPENBELL__")}
    done = subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        cwd=home,
        env={**clean, "PYTHONPATH": str(REPOSITORY), "OPENBELL__FORECASTS__HORIZON": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def document(home: Path, *arguments: str) -> Any:
    return json.loads(openbell(home, *arguments, "--json"))


@pytest.mark.slow
def test_forecasts_are_locked_scored_and_shown_across_a_restart(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "config.toml", tmp_path)
    openbell(tmp_path, "run", "--sessions", "2")
    openbell(tmp_path, "run", "--sessions", "1")

    scores = document(tmp_path, "forecasts", "--scores")

    assert (scores["locked"], scores["matured"]) == (75, 75)
    (source,) = scores["groups"]["source"]
    assert (source["name"], source["count"]) == ("local", 75)
    assert [one["is_demoted"] for one in scores["standings"]] == [False]
    assert len({row["session_date"] for row in scores["history"]}) == 2
    report = tmp_path / "var" / "reports" / scores["session_date"] / "report.json"
    assert len(json.loads(report.read_text())["matured"]) == 25
    store = Store.open(tmp_path / "var", clock=SystemClock())
    rows = store.rows("SELECT seq FROM events WHERE kind = 'forecasts.locked' ORDER BY seq")
    answers = [TrackRecord(store).answer(row["seq"]) for row in rows]
    store.close()
    for answer in answers:
        verify_answer(answer.records, first=answer.first, digest=answer.digest)
    verify_chain([record for answer in answers for record in answer.records])
