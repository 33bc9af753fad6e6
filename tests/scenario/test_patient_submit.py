"""The run that sends, while the broker does not answer: begun again until its cut-off."""

import datetime as dt
from pathlib import Path

import pytest

from daemon.after_close.nightly import NightJob
from daemon.schedule import DueRun, RunKind
from domain.errors import BrokerUnavailable, ProviderRefused, ProviderUnavailable
from state.runs import RunState
from tests.support.schedule_scene import Days, at
from tests.support.virtual_time import virtual

MORNING = "2022-12-14T07:00:00"
SUBMIT = "2022-12-14-submit"


class Away:
    """A run that the broker answers from a moment on, and every time that it was tried."""

    def __init__(self, until: str, error: Exception | None = None) -> None:
        self.tried: list[dt.datetime] = []
        self.days: Days | None = None
        self._until = at(until)
        self._error = error or BrokerUnavailable("the broker does not answer")

    async def __call__(self, due: DueRun, run_id: str) -> str:
        assert self.days is not None
        self.tried.append(self.days.wall.now())
        if self.days.wall.now() < self._until:
            raise self._error
        return "2 LIVE, 0 denied"


def days_with(directory: Path, away: Away, kind: RunKind = RunKind.SUBMIT) -> Days:
    jobs: dict[RunKind, NightJob] = {kind: away}
    away.days = Days(directory, start=at(MORNING), jobs=jobs)
    return away.days


@virtual
async def test_a31_a_broker_that_is_away_as_orders_are_due_gets_them_when_it_is_back(
    tmp_path: Path,
) -> None:
    away = Away("2022-12-14T09:41:10")
    days = days_with(tmp_path, away)

    await days.live(until=at("2022-12-14T17:00:00"))

    run = days.records()[SUBMIT]
    assert (run.state, run.reason) == (RunState.DONE, "2 LIVE, 0 denied")
    assert at("2022-12-14T09:41:10") <= away.tried[-1] <= at("2022-12-14T09:41:40")
    pauses = {later - earlier for earlier, later in zip(away.tried, away.tried[1:], strict=False)}
    assert pauses == {dt.timedelta(seconds=30)}
    assert days.incidents() == ["run.waiting"]


@virtual
async def test_a31_nothing_is_tried_after_the_cut_off_and_the_day_goes_on(tmp_path: Path) -> None:
    away = Away("2022-12-14T23:00:00")
    days = days_with(tmp_path, away)

    await days.live(until=at("2022-12-14T17:00:00"))

    run = days.records()[SUBMIT]
    assert (run.state, run.reason) == (RunState.FAILED, "the broker does not answer")
    assert at("2022-12-14T09:59:00") < away.tried[-1] < at("2022-12-14T10:00:00")
    assert days.incidents() == ["run.waiting", "run.failed"]
    assert days.states()["2022-12-14-cutoff"] == days.states()["2022-12-14-eod"] == "DONE"


@virtual
async def test_a31_a_stop_does_not_wait_for_it_and_the_next_process_goes_on(tmp_path: Path) -> None:
    away = Away("2022-12-14T09:40:00")
    days = days_with(tmp_path, away)

    await days.live(until=at("2022-12-14T09:30:10"))
    assert days.wall.now() == at("2022-12-14T09:30:10")
    assert days.states()[SUBMIT] == "RUNNING"
    await days.live(until=at("2022-12-14T09:50:00"))

    assert days.states()[SUBMIT] == "DONE"


@virtual
async def test_a31_a_stop_that_comes_while_it_asks_ends_it_after_that_answer(
    tmp_path: Path,
) -> None:
    class Slow(Away):
        async def __call__(self, due: DueRun, run_id: str) -> str:
            assert self.days is not None
            await self.days.wall.sleep(20)
            return await super().__call__(due, run_id)

    days = days_with(tmp_path, Slow("2022-12-14T23:00:00"))

    # Begun at 09:20:00, 09:20:50 and so on: at 09:30:10 it is asking.
    await days.live(until=at("2022-12-14T09:30:10"))

    assert days.wall.now() == at("2022-12-14T09:30:20")
    assert days.states()[SUBMIT] == "RUNNING"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (RunKind.SUBMIT, ProviderRefused("it does not take this key")),
        (RunKind.PREMARKET, ProviderUnavailable("no bars")),
    ],
)
@virtual
async def test_a_refusal_lasts_and_what_sends_nothing_is_done_by_the_run_that_does(
    tmp_path: Path, kind: RunKind, error: Exception
) -> None:
    away = Away("2022-12-14T23:00:00", error)
    days = days_with(tmp_path, away, kind)

    await days.live(until=at("2022-12-14T17:00:00"))

    assert len(away.tried) == 1
    assert days.states()[f"2022-12-14-{kind.value}"] == "FAILED"
