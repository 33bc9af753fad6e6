"""Recorded sessions, one after another: at the end of the recording everything begins anew."""

from pathlib import Path

from tests.support.running import running_daemon


def test_at_the_end_of_the_recording_it_says_so_and_begins_with_a_fresh_account(
    tmp_path: Path,
) -> None:
    last_afternoon = "2023-09-21T15:50:00-04:00"
    with running_daemon(tmp_path, "run", speed=0, OPENBELL__CLOCK__START=last_afternoon) as one:
        one.wait_for("recording.ended", seconds=120)
        after = len(one.log)
        while "reconcile.finished" not in one.log[after:]:
            one.wait_for("daemon.started")

        archived = one.state / "archive" / "1"
        assert (archived / "openbell.db").is_file()
        assert (archived / "reports" / "2023-09-21" / "report.html").is_file()
        # The page is served again, on the same port, from the new books.
        assert one.json("/api/v1/status")["equity"] in {None, "100000"}


def test_a_killed_replay_does_not_begin_anew(tmp_path: Path) -> None:
    with running_daemon(
        tmp_path, "run", speed=0, OPENBELL__CLOCK__START="2023-09-21T15:30:00-04:00"
    ) as one:
        one.wait_for("dashboard.serving")
        while one.control("kill", "drill")[0] != 202:
            one.wait_for("dashboard.serving")

        assert one.process.wait(120) == 78
        assert "the recording has ended and the kill latch is engaged" in one.log
        assert not (one.state / "archive").exists()


def test_a_start_that_takes_longer_than_the_morning_does_not_skip_the_first_run(
    tmp_path: Path,
) -> None:
    # From the start to the entry cut-off are 91 minutes: less than a second at this speed.
    with running_daemon(
        tmp_path, "run", speed=6000, OPENBELL__CLOCK__START="2022-11-14T08:29:00-05:00"
    ) as one:
        one.wait_for('"kind": "premarket"')

        first = next(line for line in one.log.splitlines() if '"kind": "premarket"' in line)
        assert '"state": "DONE"' in first, one.log
        assert one.stop() == 0
