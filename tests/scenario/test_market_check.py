"""The broker's calendar and clock against ours: a doubt blocks entries, a closure skips runs."""

import asyncio
import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any, cast

import pytest

from daemon.config import Schedule
from daemon.schedule import DueRun, RunKind, day_plan
from daemon.session.stops import Stops
from daemon.session.trading_day import TradingDay
from daemon.session.watch import Watch
from daemon.telemetry.hub import URGENT
from domain.clock import sleep_until
from domain.errors import BrokerUnavailable, RunSkipped
from domain.market import Session
from domain.trading_state import TradingState
from state.reader import Reader
from tests.support.schedule_scene import CALENDAR, Days, at
from tests.support.virtual_time import virtual

MORNING = "2022-12-14T08:29:00"


def session_on(date: str) -> Session:
    session = CALENDAR.session_on(dt.date.fromisoformat(date))
    assert session is not None
    return session


SESSION = session_on("2022-12-14")


def due(kind: RunKind) -> DueRun:
    return next(run for run in day_plan(SESSION, Schedule()) if run.kind is kind)


async def judge(days: Days) -> None:
    await days.monitor.check(SESSION, seen=await days.scene.reconciler.run("periodic"))


async def state_after_check(days: Days) -> TradingState:
    await days.market.compare(SESSION)
    await judge(days)
    return days.scene.desk.effective_state()


async def skipped(days: Days, kind: RunKind) -> str:
    with pytest.raises(RunSkipped) as caught:
        await TradingDay(days.trade({})).do(due(kind), f"2022-12-14-{kind.value}")
    return str(caught.value)


@virtual
async def test_calendars_and_clocks_that_agree_block_nothing(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at(MORNING))

    assert await state_after_check(days) is TradingState.ACTIVE
    assert days.market.problem is None
    assert days.facts.get("market_check") == "agrees"
    assert days.incidents() == []


@virtual
async def test_f06_an_unscheduled_closure_skips_the_runs_and_is_told_everywhere(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path, start=at(MORNING))
    days.exchange.closed.add(SESSION.date)

    why = await skipped(days, RunKind.PREMARKET)

    assert why.startswith("closed: the broker ")
    assert days.scene.desk.effective_state() is TradingState.REDUCING
    with Reader(tmp_path) as reader:
        status = reader.status()
        told = " ".join(row["text"] for row in reader.incidents())
    assert status["trading_state"] == "REDUCING"
    assert "2022-12-14 (ours 09:30-16:00, theirs closed)" in status["trading_state_reason"]
    assert "2022-12-14 (ours 09:30-16:00, theirs closed)" in told
    kinds = {kind for kind, _ in days.scene.alerts}
    assert {"market.closed", "calendar.disagrees"} <= kinds <= URGENT
    assert (await skipped(days, RunKind.SUBMIT)).startswith("closed: ")
    assert days.exchange.posts == []


@virtual
async def test_f06_a_session_that_the_broker_does_not_know_gets_no_report(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at(MORNING))
    days.exchange.closed.add(SESSION.date)
    await skipped(days, RunKind.PREMARKET)

    assert await skipped(days, RunKind.END_OF_DAY) == (
        "closed: the broker's calendar has no session on 2022-12-14"
    )


@virtual
async def test_f06_a_closure_that_only_the_clock_knows_of_skips_too(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at("2022-12-14T09:35:00"))
    days.exchange.halted = True

    why = await skipped(days, RunKind.SUBMIT)

    assert why == "closed: the broker's clock says that the market is closed"
    # The day was a session all the same, so it gets its report.
    assert await TradingDay(days.trade({})).do(due(RunKind.END_OF_DAY), "x") == "reported"


@virtual
async def test_f13_a_market_wide_halt_in_session_blocks_entries_until_it_is_over(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path, start=at("2022-12-14T11:00:00"))
    assert await state_after_check(days) is TradingState.ACTIVE

    days.exchange.halted = True
    await days.market.look(SESSION)
    # Found as seed 5041636: an entry left again between this and the monitor's next check.
    assert days.scene.desk.effective_state() is TradingState.REDUCING
    await judge(days)
    assert days.scene.desk.effective_state() is TradingState.REDUCING
    assert not days.scene.latch.read().is_engaged

    days.exchange.halted = False
    await days.market.look(SESSION)
    await judge(days)
    assert days.scene.desk.effective_state() is TradingState.ACTIVE
    assert days.facts.get("market_check") == "agrees"
    assert days.incidents().count("market.closed") == 1


@pytest.mark.parametrize(
    ("start", "change", "text"),
    [
        (MORNING, {"open": at("2022-12-14T10:30:00")}, "the broker opens at 10:30, not 09:30"),
        (
            "2022-12-14T11:00:00",
            {"close": at("2022-12-14T13:00:00")},
            "the broker closes at 13:00, not 16:00",
        ),
    ],
)
def test_f13_other_hours_than_ours_block_entries_and_skip_nothing(
    tmp_path: Path, start: str, change: dict[str, Any], text: str
) -> None:
    @virtual
    async def scenario() -> None:
        days = Days(tmp_path, start=at(start))
        days.exchange.changed[SESSION.date] = dataclasses.replace(SESSION, **change)

        assert await state_after_check(days) is TradingState.REDUCING
        assert text in (days.market.problem or "")
        days.market.require_open()

    scenario()


@virtual
async def test_f05_a_half_day_that_only_the_broker_knows_blocks_entries_days_ahead(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path, start=at(MORNING))
    early = session_on("2022-12-23")
    days.exchange.changed[early.date] = dataclasses.replace(
        early, close=at("2022-12-23T13:00:00"), is_half_day=True
    )

    assert await state_after_check(days) is TradingState.REDUCING
    assert "2022-12-23 (ours 09:30-16:00, theirs 09:30-13:00)" in (days.market.problem or "")


@virtual
async def test_f07_without_the_calendar_one_that_agreed_this_week_is_believed(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path, start=at(MORNING))
    await state_after_check(days)
    days.exchange.read_faults["calendar"].extend([BrokerUnavailable("away")] * 2)

    # The exchange goes by the same clock, so nothing is skewed.
    days.wall.jump(dt.timedelta(days=6, hours=23))
    await days.market._compare_calendars(SESSION)
    assert days.market.problem is None
    days.wall.jump(dt.timedelta(hours=2))
    await days.market._compare_calendars(SESSION)
    assert "could not be read since 2022-12-14" in str(days.market.problem)


@virtual
async def test_f07_a_calendar_that_never_answered_blocks_entries_until_it_does(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path, start=at(MORNING))
    days.exchange.read_faults["calendar"].append(BrokerUnavailable("away"))

    assert await state_after_check(days) is TradingState.REDUCING
    assert await state_after_check(days) is TradingState.ACTIVE


@virtual
async def test_f07_without_the_clock_the_last_verdict_stands(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at("2022-12-14T11:00:00"))
    days.exchange.halted = True
    await days.market.compare(SESSION)
    days.exchange.read_faults["clock"].append(BrokerUnavailable("away"))

    await days.market.look(SESSION)

    assert "market is closed" in (days.market.problem or "")


@virtual
async def test_f01_a_clock_two_seconds_off_blocks_entries_and_heals(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at(MORNING))
    days.exchange.skew = dt.timedelta(seconds=5)

    assert await state_after_check(days) is TradingState.REDUCING
    assert days.incidents() == ["clock.skewed"]
    days.exchange.skew = dt.timedelta(seconds=-1.5)
    assert await state_after_check(days) is TradingState.ACTIVE


@virtual
async def test_f01_a_clock_that_jumped_two_hours_halts(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at(MORNING))
    days.wall.jump(dt.timedelta(hours=2))
    days.exchange.skew = dt.timedelta(hours=-2)

    assert await state_after_check(days) is TradingState.HALTED
    assert days.scene.latch.read().reason.startswith("clock: this machine's clock is 7200.0 s")


@pytest.mark.parametrize(
    ("seconds", "state"),
    [
        (1.9, TradingState.ACTIVE),
        (2.1, TradingState.REDUCING),
        (29.0, TradingState.REDUCING),
        (31.0, TradingState.HALTED),
        (-31.0, TradingState.HALTED),
    ],
)
def test_f01_two_seconds_block_entries_and_thirty_halt(
    tmp_path: Path, seconds: float, state: TradingState
) -> None:
    @virtual
    async def scenario() -> None:
        days = Days(tmp_path, start=at(MORNING))
        days.exchange.skew = dt.timedelta(seconds=seconds)

        assert await state_after_check(days) is state

    scenario()


@virtual
async def test_the_clock_of_a_replay_is_nobodys_and_is_not_compared(tmp_path: Path) -> None:
    from daemon.session.market_check import MarketCheck

    days = Days(tmp_path, start=at("2022-12-14T11:00:00"))
    days.exchange.skew = dt.timedelta(minutes=5)
    check = MarketCheck(
        days.scene.desk, calendar=days.calendar, facts=days.facts, is_clock_compared=False
    )

    await check.compare(SESSION)

    assert check.problem is None


@virtual
async def test_f13_the_watch_asks_the_clock_every_five_minutes(tmp_path: Path) -> None:
    class NoStops:
        async def look(self, *_: object) -> None:
            return None

    days = Days(tmp_path, start=at("2022-12-14T15:00:00"))
    watch = Watch(
        reconciler=days.scene.reconciler,
        monitor=days.monitor,
        stops=cast(Stops, NoStops()),
        clock=days.wall,
        market=days.market,
    )
    seen: dict[str, TradingState] = {}

    async def meanwhile() -> None:
        for moment, is_halted in (("15:10", True), ("15:16", True), ("15:20", False)):
            await sleep_until(days.wall, at(f"2022-12-14T{moment}:30"))
            seen[moment] = days.scene.desk.effective_state()
            days.exchange.halted = is_halted
        await sleep_until(days.wall, at("2022-12-14T15:26:00"))
        seen["15:26"] = days.scene.desk.effective_state()

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch.over(SESSION))
        await meanwhile()
        watching.cancel()

    assert seen == {
        "15:10": TradingState.ACTIVE,
        "15:16": TradingState.REDUCING,
        "15:20": TradingState.REDUCING,
        "15:26": TradingState.ACTIVE,
    }


@virtual
async def test_f07_a_day_missing_from_the_calendar_is_closed_also_while_the_clock_is_silent(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path, start=at(MORNING))
    days.exchange.closed.add(SESSION.date)
    days.exchange.read_faults["clock"].append(BrokerUnavailable("away"))

    why = await skipped(days, RunKind.PREMARKET)

    assert why == "closed: the broker's calendar has no session on 2022-12-14"


@virtual
async def test_f13_a_late_open_told_before_the_bell_holds_through_it(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at("2022-12-14T09:20:00"))
    late = dataclasses.replace(SESSION, open=at("2022-12-14T10:30:00"))
    days.exchange.changed[SESSION.date] = late
    seen = []

    for minutes in (0, 10, 2, 60):
        days.wall.jump(dt.timedelta(minutes=minutes))
        await days.market.look(SESSION)
        await judge(days)
        seen.append(days.scene.desk.effective_state())

    assert seen == [*[TradingState.REDUCING] * 3, TradingState.ACTIVE]
