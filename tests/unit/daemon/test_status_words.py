"""What ``openbell status`` says of a daemon: what it wrote last looks the same after it died."""

import datetime as dt
from pathlib import Path

import pytest

from daemon.commands.reading import sign_of_life
from state.facts import STOPPED, Facts
from state.reader import Reader
from tests.support.state_builders import START, open_store


@pytest.mark.parametrize(
    ("phase", "silence", "told"),
    [
        ("cutoff", 9, "heard of at 2022-12-14 13:00:00 UTC"),
        ("cutoff", 7200, "NOT HEARD OF since 2022-12-14 13:00:00 UTC"),
        (STOPPED, 7200, "stopped"),
    ],
    ids=["alive", "dead", "stopped"],
)
def test_a_daemon_that_is_not_heard_of_is_not_told_as_one_that_lives(
    tmp_path: Path, phase: str, silence: int, told: str
) -> None:
    Facts(open_store(tmp_path)).put(heartbeat_at=START.isoformat(), session_phase=phase)
    with Reader(tmp_path) as reader:
        status = reader.status()

    assert str(sign_of_life(status, START + dt.timedelta(seconds=silence))).startswith(told)


def test_replayed_time_tells_nothing_of_how_long_a_daemon_is_silent(tmp_path: Path) -> None:
    Facts(open_store(tmp_path)).put(heartbeat_at=START.isoformat(), session_phase="cutoff")
    with Reader(tmp_path) as reader:
        assert sign_of_life(reader.status(), None) == "heard of at 2022-12-14 13:00:00 UTC"


def test_who_never_wrote_a_sign_of_life_is_told_nothing_of(tmp_path: Path) -> None:
    open_store(tmp_path)
    with Reader(tmp_path) as reader:
        assert sign_of_life(reader.status(), START) is None
