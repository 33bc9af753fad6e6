"""What the head of the page says of the days around now."""

from pathlib import Path

import pytest

from daemon.config import load
from daemon.telemetry.vitals import Vitals
from daemon.web.overview import Overview
from domain.clock import ManualClock
from marketdata.session_calendar import NyseCalendar
from tests.support.running import REPOSITORY
from tests.support.schedule_scene import at
from tests.support.state_builders import open_store


@pytest.mark.parametrize(
    ("now", "next_run", "after"),
    [
        ("2022-12-14T07:00:00", ("premarket", "2022-12-14T08:30:00"), "2022-12-15"),
        ("2022-12-14T12:00:00", ("eod", "2022-12-14T16:05:00"), "2022-12-15"),
        # The next session is the one after it: no other line of the page names it.
        ("2022-12-14T16:02:00", ("eod", "2022-12-14T16:05:00"), "2022-12-15"),
        ("2022-12-14T16:30:00", ("backup", "2022-12-14T17:00:00"), "2022-12-15"),
        ("2022-12-16T16:30:00", ("retraining", "2022-12-16T17:00:00"), "2022-12-19"),
        ("2022-12-14T18:00:00", ("premarket", "2022-12-15T08:30:00"), "2022-12-16"),
    ],
)
def test_the_session_after_that_of_the_next_run_is_named(
    tmp_path: Path, now: str, next_run: tuple[str, str], after: str
) -> None:
    clock = ManualClock(at(now))
    open_store(tmp_path, clock)
    overview = Overview(
        load(REPOSITORY / "config.toml", {"OPENBELL__STATE__DIRECTORY": str(tmp_path)}),
        clock=clock,
        calendar=NyseCalendar(),
        vitals=Vitals(next_run=(next_run[0], at(next_run[1]))),
        time_scale=1,
        is_control=False,
    )

    assert overview.document()["tomorrow"]["date"] == after
