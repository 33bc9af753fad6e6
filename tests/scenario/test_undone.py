"""What a plan leaves undone: the day's run is done, and a person hears of the rest."""

import dataclasses
import datetime as dt
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daemon.config import Schedule
from daemon.schedule import DueRun, RunKind, day_plan
from daemon.session.trading_day import TradingDay
from daemon.telemetry.hub import URGENT
from domain.account import Asset, Position
from domain.decisions import GateResult
from domain.errors import NotSent, RateLimited
from domain.ids import Symbol
from domain.orders import OrderState, Side
from tests.support.fake_broker import refused
from tests.support.order_scene import approved, denied, hold, request
from tests.support.schedule_scene import CALENDAR, Days, at
from tests.support.virtual_time import virtual


def run_of(kind: RunKind) -> DueRun:
    session = CALENDAR.session_on(dt.date(2022, 12, 14))
    assert session is not None
    return next(due for due in day_plan(session, Schedule()) if due.kind is kind)


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
    return await day.do(run_of(RunKind.SUBMIT), "2022-12-14-submit")


def told(days: Days, wanted: str = "orders.unsent") -> list[str]:
    return [text for kind, text in days.scene.alerts if kind == wanted]


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


@virtual
async def test_an_exit_that_the_gate_denied_is_told_and_an_entry_is_not(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at("2022-12-14T09:20:00"))
    exit_ = request("MSFT", Side.SELL, 10, leg="exit")

    outcome = await submitted(days, denied(request()), denied(exit_))

    assert outcome == "nothing to send, 2 denied"
    assert told(days, "exit.denied") == [
        "nothing sells or buys back what was decided: sell 10 MSFT (max_order_notional)"
    ]
    assert "exit.denied" in URGENT


@virtual
async def test_an_exit_that_a_kill_denies_is_told_by_the_kill(tmp_path: Path) -> None:
    days = Days(tmp_path, start=at("2022-12-14T09:20:00"))
    days.scene.desk.halt("a person said so")

    await submitted(days, denied(request("MSFT", Side.SELL, 10, leg="exit")))

    assert told(days, "exit.denied") == []


def position(symbol: str, quantity: int) -> Position:
    return Position(
        symbol=Symbol(symbol),
        quantity=Decimal(quantity),
        avg_entry_price=Decimal(100),
        market_price=Decimal(90),
    )


def asset(symbol: str, *, is_tradable: bool) -> Asset:
    return Asset(
        symbol=Symbol(symbol), is_tradable=is_tradable, is_shortable=False, is_fractionable=False
    )


class SeenCycle:
    """A decision that wishes nothing, on a view of five symbols."""

    async def decide(self, *_: object) -> Any:
        view = SimpleNamespace(
            history=dict.fromkeys(("AAPL", "MSFT", "NFLX"), ()),
            excluded={"GONE": "no bars", "IDLE": "no bars"},
            forecasts={},
            positions={
                name: position(name, held)
                for name, held in (("AAPL", 10), ("GONE", 7), ("MSFT", 3), ("XHAND", 1))
            },
            assets={
                "AAPL": asset("AAPL", is_tradable=True),
                "MSFT": asset("MSFT", is_tradable=False),
                "NFLX": asset("NFLX", is_tradable=False),
            },
        )
        sized = SimpleNamespace(combined=(), requests=())
        gathered = SimpleNamespace(headlines=())
        return SimpleNamespace(view=view, sized=sized, gathered=gathered, problems=())


@virtual
async def test_g08_a_holding_that_the_broker_does_not_trade_any_more_is_told(
    tmp_path: Path,
) -> None:
    days = Days(tmp_path, start=at("2022-12-14T08:30:00"))
    trade = dataclasses.replace(
        days.trade({}), cycle=cast(Any, SeenCycle()), min_symbols_fraction=0.5
    )

    await TradingDay(trade).do(run_of(RunKind.PREMARKET), "2022-12-14-premarket")

    # Nobody asked about XHAND, which is not ours to trade; NFLX is not held.
    assert told(days, "position.stuck") == [
        "held, and the broker does not trade it now, so nothing here sells it: 7 GONE, 3 MSFT"
    ]
    assert "position.stuck" in URGENT
