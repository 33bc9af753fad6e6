"""A few sessions of the soak: nothing missed, nothing left open; `make soak` lives thirty."""

import json
import subprocess
import sys

import pytest

from bench.soak import Lag
from tests.support.running import REPOSITORY


@pytest.mark.slow
def test_three_sessions_under_faults_miss_nothing_and_leave_nothing_open() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", "--sessions", "3", "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    found = json.loads(done.stdout)

    first, last = found["samples"][0], found["samples"][-1]
    assert found["missed"] == []
    assert found["runs"] == {"DONE": 4 * 3 + 2 * 2}
    assert last["descriptors"] <= first["descriptors"]
    assert last["tasks"] <= first["tasks"] + 1


def test_spans_are_counted_by_their_length() -> None:
    lag = Lag()
    for _ in range(99):
        lag.add(0.001)
    lag.add(0.4)

    assert lag.quantile(0.5) == pytest.approx(0.001, rel=0.25)
    assert lag.quantile(0.999) == pytest.approx(0.4, rel=0.3)
    assert (lag.worst, lag.over(0.25)) == (0.4, 1)
