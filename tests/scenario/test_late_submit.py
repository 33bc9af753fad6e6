"""The run that sends, later than it was due: what may have changed until it does."""

import asyncio
import dataclasses
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from daemon.config import Schedule
from daemon.schedule import DueRun, RunKind, day_plan
from daemon.session.stops import Stops
from daemon.session.trading_day import TradingDay
from domain.errors import BrokerUnavailable, StateError
from domain.ids import Symbol
from domain.orders import OrderRequest, Side
from execution.cycle import Decision
from execution.gathering import Gathered
from risk.settings import RiskLimits
from risk.sizing import SizingPlan
from tests.support.decisions import combined, view
from tests.support.order_scene import hold, request
from tests.support.schedule_scene import CALENDAR, Days, Exchange, at
from tests.support.virtual_time import virtual

RUN = "2022-12-14-submit"
AAPL = Symbol("AAPL")
LIMITS = RiskLimits(stop_loss_pct=Decimal(10))


def due() -> DueRun:
    session = CALENDAR.session_on(dt.date(2022, 12, 14))
    assert session is not None
    return next(run for run in day_plan(session, Schedule()) if run.kind is RunKind.SUBMIT)


class Cycle:
    """Decides the same each time, and counts how often the services that cost were asked."""

    def __init__(self, broker: Exchange, *wished: OrderRequest) -> None:
        self.paid = 0
        self._broker = broker
        self._wished = wished

    async def decide(self, *_: object) -> Decision:
        self.paid += 1
        # A broker that is away is silent for longer than the others take to answer.
        await self._broker.account()
        symbols = [one.symbol for one in self._wished]
        seen = dataclasses.replace(view(symbols), session=due().session)
        return Decision(
            run_id=RUN,
            session=due().session,
            gathered=Gathered(view=seen, headlines=(), shortfalls=()),
            signals=(),
            sized=SizingPlan(
                combined=tuple(map(combined, symbols)), requests=self._wished, remarks={}
            ),
            problems=(),
        )

    def doubts(self) -> dict[Symbol, str]:
        return {}


class Morning:
    """A day at 09:20 whose decision is to be made, or was."""

    def __init__(self, directory: Path, *wished: OrderRequest) -> None:
        self.days = Days(directory, start=at("2022-12-14T09:20:00"))
        self.days.scene.broker = self.days.exchange
        self.days.exchange.on_update = self.days.scene.stream.append
        self.cycle = Cycle(self.days.exchange, *wished)
        self.restart()

    def restart(self) -> None:
        """Begin a new process; the books stay."""
        trade = dataclasses.replace(self.days.trade({}), cycle=cast(Any, self.cycle))
        self.day = TradingDay(trade)

    async def begin(self) -> None:
        """Look at the account, as the pre-market run does."""
        seen = await self.days.scene.reconciler.run("run")
        await self.days.monitor.check(due().session, seen=seen)

    async def submit(self) -> str:
        return await self.day.do(due(), RUN)

    async def look_for_stops(self) -> None:
        judged = await self.days.monitor.check(due().session)
        await Stops(self.days.scene.desk, self.days.scene.path, LIMITS).look(due().session, judged)


@virtual
async def test_d11_settings_that_change_before_anything_was_sent_keep_no_plan_back(
    tmp_path: Path,
) -> None:
    morning = Morning(tmp_path, request())
    morning.days.exchange.is_down = True
    with pytest.raises(BrokerUnavailable):
        await morning.submit()
    morning.days.exchange.is_down = False

    morning.days.scene.desk.made_by = morning.days.code_on_disk = "other-settings"
    morning.restart()

    assert await morning.submit() == "1 live, 0 denied"


@virtual
async def test_d11_a_plan_that_was_begun_is_not_added_to_under_other_settings(
    tmp_path: Path,
) -> None:
    morning = Morning(tmp_path, request())
    await morning.submit()

    morning.days.scene.desk.made_by = morning.days.code_on_disk = "other-settings"
    morning.restart()

    with pytest.raises(StateError, match="changed after this plan was begun"):
        await morning.submit()


@virtual
async def test_what_a_stop_sold_a_plan_from_before_does_not_buy_back(tmp_path: Path) -> None:
    morning = Morning(tmp_path, request("AAPL"), request("MSFT"))
    days, scene = morning.days, morning.days.scene
    await hold(scene, "AAPL", 10)
    await days.wall.sleep(1800)
    days.exchange.prices[AAPL] = Decimal(89)

    await morning.look_for_stops()
    (sale,) = days.exchange.working()
    days.exchange.fill(sale, 10, "89")
    scene.merge_stream()
    told = await morning.submit()

    assert (sale.side, told) == (Side.SELL, "1 live, 1 denied")
    assert [order.symbol for order in days.exchange.working()] == ["MSFT"]


@virtual
async def test_nothing_is_paid_for_while_a_decision_could_not_be_sent(tmp_path: Path) -> None:
    morning = Morning(tmp_path, request())
    morning.days.exchange.is_down = True

    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            await morning.submit()
    assert morning.cycle.paid == 0
    morning.days.exchange.is_down = False

    assert await morning.submit() == "1 live, 0 denied"
    assert morning.cycle.paid == 1


@virtual
async def test_k11_an_equity_that_one_look_cannot_use_costs_a_look_and_not_the_day(
    tmp_path: Path,
) -> None:
    morning = Morning(tmp_path, request())
    await morning.begin()
    exchange = morning.days.exchange
    odd = dataclasses.replace(await exchange.account(), equity=Decimal("NaN"))
    exchange.read_faults["account"].extend([None, None, odd])

    assert await morning.submit() == "1 live, 0 denied"

    assert morning.days.wall.now() - at("2022-12-14T09:20:00") < dt.timedelta(minutes=1)


@virtual
async def test_a_first_look_that_finds_new_cash_costs_a_look_and_not_the_day(
    tmp_path: Path,
) -> None:
    morning = Morning(tmp_path, request())
    yesterday = CALENDAR.previous_session(due().session.date)
    await morning.days.monitor.check(yesterday, seen=await morning.days.scene.reconciler.run("x"))
    # A dividend that is posted later; no run of the morning came before this one.
    morning.days.exchange.cash += 12

    assert await morning.submit() == "1 live, 0 denied"


@virtual
async def test_a_clock_that_is_set_right_meanwhile_costs_a_look_and_not_the_day(
    tmp_path: Path,
) -> None:
    morning = Morning(tmp_path, request())
    await morning.begin()
    exchange = morning.days.exchange
    exchange.skew = dt.timedelta(seconds=4)

    async def set_right() -> None:
        await morning.days.wall.sleep(20)
        exchange.skew = dt.timedelta(0)

    told, _ = await asyncio.gather(morning.submit(), set_right())

    assert told == "1 live, 0 denied"


@virtual
async def test_what_stays_unclear_keeps_entries_back_and_nothing_waits_past_the_cut_off(
    tmp_path: Path,
) -> None:
    morning = Morning(tmp_path, request())
    await morning.begin()
    exchange = morning.days.exchange
    exchange.skew = dt.timedelta(seconds=4)

    assert await morning.submit() == "nothing to send, 1 denied"
    await morning.days.wall.sleep((due().latest - morning.days.wall.now()).total_seconds() - 10)
    before = morning.days.wall.now()
    assert await morning.submit() == "nothing to send, 1 denied"

    assert morning.days.wall.now() - before < dt.timedelta(seconds=10)


@virtual
async def test_an_exit_does_not_miss_the_cut_off_for_a_second_look_at_what_entries_wait_for(
    tmp_path: Path,
) -> None:
    morning = Morning(tmp_path, request("AAPL", Side.SELL, leg="exit"))
    await hold(morning.days.scene, "AAPL", 10)
    await morning.begin()
    exchange, wall = morning.days.exchange, morning.days.wall
    exchange.skew = dt.timedelta(seconds=4)
    exchange.on_read = lambda _operation: wall.jump(dt.timedelta(seconds=2))
    await wall.sleep((due().latest - wall.now()).total_seconds() - 60)

    assert await morning.submit() == "1 live, 0 denied"


@virtual
async def test_an_exit_of_the_plan_that_a_stop_sent_meanwhile_is_no_exit_that_was_denied(
    tmp_path: Path,
) -> None:
    morning = Morning(tmp_path, request("AAPL", Side.SELL, leg="exit"))
    await hold(morning.days.scene, "AAPL", 10)
    await morning.days.wall.sleep(1800)
    morning.days.exchange.prices[AAPL] = Decimal(89)
    await morning.look_for_stops()

    assert await morning.submit() == "nothing to send, 1 denied"

    assert morning.days.scene.alert_kinds()["stop.reached"] == 1
    assert morning.days.scene.alert_kinds()["exit.denied"] == 0
