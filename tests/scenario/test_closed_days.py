"""A day on which the exchange stays closed without a word, and what is left of it afterwards."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest

from daemon.config import Schedule
from daemon.schedule import DueRun, RunKind, day_plan
from daemon.session.broker_calendar import sessions_beside
from daemon.session.trading_day import TradingDay
from domain.errors import BrokerUnavailable, RunSkipped
from domain.market import Session
from tests.support.schedule_scene import CALENDAR, DAY_KINDS, Days, at
from tests.support.virtual_time import virtual

BEFORE, DAY, AFTER, LATER = (dt.date(2022, 12, number) for number in (13, 14, 15, 16))


def session_of(date: dt.date) -> Session:
    session = CALENDAR.session_on(date)
    assert session is not None
    return session


def due(kind: RunKind, date: dt.date = DAY) -> DueRun:
    return next(run for run in day_plan(session_of(date), Schedule()) if run.kind is kind)


def closed(tmp_path: Path, start: str) -> Days:
    days = Days(tmp_path, start=at(start))
    days.exchange.closed.add(DAY)
    return days


async def outcome(days: Days, kind: RunKind, date: dt.date = DAY) -> str:
    try:
        return await TradingDay(days.trade({})).do(due(kind, date), f"{date}-{kind.value}")
    except RunSkipped as exc:
        return str(exc)


@virtual
async def test_f06_a_closed_day_gets_no_report_from_the_next_process_either(tmp_path: Path) -> None:
    days = closed(tmp_path, "2022-12-14T08:29:00")
    await outcome(days, RunKind.PREMARKET)
    days.restart()
    # Not even where nobody can be asked: it was written down.
    days.exchange.read_faults["calendar"].append(BrokerUnavailable("away"))

    assert await outcome(days, RunKind.END_OF_DAY) == (
        "closed: the broker's calendar has no session on 2022-12-14"
    )


@pytest.mark.parametrize("was_up", [True, False], ids=["told_on_the_day", "told_the_day_after"])
def test_f06_after_a_closure_the_last_bar_is_of_the_session_before_it(
    tmp_path: Path, *, was_up: bool
) -> None:
    @virtual
    async def scenario() -> None:
        days = closed(tmp_path, "2022-12-14T08:29:00")
        if was_up:
            await outcome(days, RunKind.PREMARKET)
        days.wall.jump(dt.timedelta(days=1))
        days.restart()

        await days.market.compare(session_of(AFTER))

        assert days.market.problem is None
        assert days.calendar.previous_session(AFTER).date == BEFORE
        assert days.calendar.session_on(DAY) is None
        days.restart()
        days.wall.jump(dt.timedelta(days=1))
        known = [one.date for one in days.calendar.sessions(BEFORE, LATER)]
        assert known == [BEFORE, AFTER, LATER]
        assert sessions_beside(CALENDAR, tmp_path, days.wall).closed == {DAY}

    scenario()


@virtual
async def test_f06_a_closed_day_is_a_session_until_it_is_over(tmp_path: Path) -> None:
    days = closed(tmp_path, "2022-12-14T08:29:00")
    await outcome(days, RunKind.PREMARKET)

    # Its later runs, also those of the next process, ask again.
    assert days.calendar.next_session(days.wall.now()).date == DAY
    days.exchange.closed.clear()
    days.restart()
    await days.market.compare(session_of(DAY))
    days.market.require_open()
    assert await outcome(days, RunKind.END_OF_DAY) == "reported"


def wrong(how: str, true: Sequence[Session]) -> Sequence[Session]:
    return {
        "empty": (),
        "ends_before_the_day": [one for one in true if one.date < DAY],
        "begins_after_the_day": [one for one in true if one.date > DAY],
        "every_third": true[::3],
    }[how]


@pytest.mark.parametrize(
    "how", ["empty", "ends_before_the_day", "begins_after_the_day", "every_third"]
)
def test_f07_a_list_that_is_empty_or_cut_short_closes_no_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    @virtual
    async def scenario() -> None:
        days = Days(tmp_path, start=at("2022-12-14T08:29:00"))

        async def listed(start: dt.date, end: dt.date) -> Sequence[Session]:
            return wrong(how, CALENDAR.sessions(start, end))

        monkeypatch.setattr(days.exchange, "calendar", listed)

        await days.market.compare(session_of(DAY))

        assert days.market.problem is not None
        assert days.calendar.closed == frozenset()
        assert await outcome(days, RunKind.END_OF_DAY) == "reported"

    scenario()


@virtual
async def test_f07_a_session_that_one_answer_left_out_is_back_with_the_next(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at("2022-12-15T08:29:00"))
    long_ago = dt.date(2022, 9, 22)
    days.exchange.closed.update({DAY, long_ago})
    await days.market.compare(session_of(AFTER))
    assert days.calendar.closed == {DAY, long_ago}

    # By then the older one is further behind than anybody looks.
    days.wall.jump(dt.timedelta(days=60))
    days.exchange.closed.clear()
    days.restart()
    await days.market.compare(session_of(dt.date(2023, 2, 13)))

    assert days.calendar.closed == frozenset()
    assert sessions_beside(CALENDAR, tmp_path, days.wall).closed == frozenset()


@virtual
async def test_f06_f08_sessions_slept_through_with_a_closed_day_get_the_report_of_the_last(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path, start=at("2022-12-12T08:00:00"), kinds=DAY_KINDS[:3])
    await days.live(until=at("2022-12-12T12:00:00"))
    days.exchange.closed.add(DAY)
    days.restart()
    days.wall.jump(at("2022-12-15T07:00:00") - days.wall.now())

    await days.live(until=at("2022-12-15T07:05:00"))

    states = {run: state for run, state in days.states().items() if run.endswith("eod")}
    assert states == {
        "2022-12-12-eod": "SKIPPED",
        "2022-12-13-eod": "DONE",
        "2022-12-14-eod": "SKIPPED",
    }
    assert [run for run, _ in days.done if "report" in run] == ["2022-12-13-report"]
    why = days.records()["2022-12-14-eod"].reason
    assert why == "closed: the broker's calendar has no session on 2022-12-14"


@virtual
async def test_commands_beside_an_empty_directory_know_of_no_closed_day(tmp_path: Path) -> None:
    days = Days(tmp_path / "state", start=at("2022-12-14T08:29:00"))

    assert sessions_beside(CALENDAR, tmp_path, days.wall).closed == frozenset()
