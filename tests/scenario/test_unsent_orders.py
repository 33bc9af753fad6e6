"""A plan of which some orders never left: the day's run is done, and a person hears of the rest."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Schedule
from daemon.schedule import DueRun, RunKind, day_plan
from daemon.session.trading_day import TradingDay
from daemon.telemetry.hub import URGENT
from domain.decisions import GateResult
from domain.errors import NotSent, RateLimited
from domain.orders import OrderState, Side
from tests.support.fake_broker import refused
from tests.support.order_scene import approved, hold, request
from tests.support.schedule_scene import CALENDAR, Days, at
from tests.support.virtual_time import virtual


def submit_run() -> DueRun:
    session = CALENDAR.session_on(dt.date(2022, 12, 14))
    assert session is not None
    return next(due for due in day_plan(session, Schedule()) if due.kind is RunKind.SUBMIT)


class Planned(TradingDay):
    """A day whose decision is made already."""

    plan: tuple[GateResult, ...] = ()

    async def _decide(self, *_: object) -> Any:
        return None

    async def _gate(self, *_: object) -> tuple[GateResult, ...]:
        return self.plan


async def submitted(days: Days, *plan: GateResult) -> str:
    day = Planned(days.trade({}))
    day.plan = plan
    return await day.do(submit_run(), "2022-12-14-submit")


def told(days: Days) -> list[str]:
    return [text for kind, text in days.scene.alerts if kind == "orders.unsent"]


@pytest.mark.parametrize("no", [RateLimited("429", retry_after_seconds=0), NotSent("no route")])
def test_a08_a31_orders_that_the_broker_did_not_take_are_told_by_name(
    tmp_path: Path, no: Exception
) -> None:
    @virtual
    async def scenario() -> None:
        days = Days(tmp_path, start=at("2022-12-14T09:20:00"))
        days.scene.desk.clock = days.wall
        days.scene.broker = days.exchange
        days.exchange.on_update = days.scene.stream.append
        await hold(days.scene, "MSFT", 10)
        days.exchange.submit_faults.extend([refused(no)] * 1000)
        entry, exit_ = request("AAPL"), request("MSFT", Side.SELL, 10, leg="exit")

        outcome = await submitted(days, approved(entry), approved(exit_))

        assert outcome == "2 skipped, 0 denied"
        (text,) = told(days)
        assert text.startswith("2 of 2 orders were not sent and nothing sends them again: ")
        assert "buy 10 AAPL" in text
        assert "sell 10 MSFT" in text
        assert "the broker did not take it in 8 tries" in text
        assert "orders.unsent" in URGENT
        assert "orders.unsent" in days.incidents()

    scenario()


@virtual
async def test_a_plan_that_left_is_nothing_to_tell(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at("2022-12-14T09:20:00"))

    assert await submitted(days, approved(request())) == "1 live, 0 denied"

    assert told(days) == []


@virtual
async def test_what_a_kill_kept_back_is_told_by_the_kill(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at("2022-12-14T09:20:00"))
    days.scene.desk.halt("a person said so")

    assert await submitted(days, approved(request())) == "1 skipped, 0 denied"

    assert days.scene.state_of(request()) is OrderState.SKIPPED
    assert told(days) == []
