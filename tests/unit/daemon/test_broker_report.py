"""The report without the database tells one day, on its evening and on the days after."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from brokers.alpaca import AlpacaBroker, AlpacaSettings
from brokers.exchange.events import ActivityPosted
from brokers.exchange.settings import ExchangeSettings
from brokers.paper_server import PaperServer
from daemon.after_close import broker_report
from daemon.config import Config
from domain.account import Account
from domain.clock import LoopClock
from domain.errors import DataError
from domain.ids import ClientOrderId
from domain.market import Session
from domain.orders import Side
from domain.secrets import Secret
from marketdata.session_calendar import NyseCalendar
from reports.model import EndOfDayReport
from tests.support.alpaca_words import request, simulated
from tests.support.exchange_world import AAPL, DAY, MSFT, calendar, feed, moment

BEFORE, HALF_DAY, MONDAY = (dt.date(2022, 11, day) for day in (22, 25, 28))
WEDNESDAY = dt.date(2022, 11, 23)
CALENDAR = NyseCalendar()
CONFIG = cast(Config, SimpleNamespace(mode="paper"))


class Desk:
    """An account at the paper server."""

    def __init__(self, server: PaperServer, broker: AlpacaBroker, clock: LoopClock) -> None:
        self.server, self.broker, self.clock = server, broker, clock

    async def at(self, time: str, date: dt.date) -> None:
        await self.clock.sleep((moment(time, date) - self.clock.now()).total_seconds())

    async def trade(self, side: Side, quantity: int, name: str, symbol: Any = AAPL) -> None:
        order = request(
            client_order_id=ClientOrderId(name),
            symbol=symbol,
            side=side,
            quantity=Decimal(quantity),
            limit_price=Decimal(300 if side is Side.BUY else 50),
            session_date=DAY,
        )
        await self.broker.submit(order, guard=lambda: None)
        await self.clock.sleep(5)

    async def report(self) -> EndOfDayReport:
        return await broker_report.report_from_broker(CONFIG, None, calendar=CALENDAR)


@contextlib.asynccontextmanager
async def a_desk(directory: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    clock = LoopClock(moment("10:00"), asyncio.get_running_loop())
    async with PaperServer(
        directory, feed=feed(), calendar=calendar(), clock=clock, settings=ExchangeSettings()
    ) as server:
        broker = AlpacaBroker.connect(
            AlpacaSettings(trading_url=server.base_url),
            key_id=Secret(server.keys.key_id),
            secret_key=Secret(server.keys.secret_key),
            clock=clock,
        )

        @contextlib.asynccontextmanager
        async def connect(_config: Config) -> AsyncIterator[Any]:
            yield SimpleNamespace(broker=broker)

        patch.setattr(broker_report, "connect", connect)
        yield Desk(server, broker, clock)
        await broker.aclose()


@simulated
async def test_a_day_has_the_same_result_on_its_evening_and_on_the_mornings_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_desk(tmp_path, monkeypatch) as desk:
        await desk.trade(Side.BUY, 100, "first")
        await desk.at("10:00", WEDNESDAY)
        await desk.trade(Side.SELL, 40, "second")
        await desk.trade(Side.BUY, 10, "third", MSFT)
        told = []
        # Thursday is a holiday, and Friday's prices move before its open.
        for time, date in (
            ("17:00", WEDNESDAY),
            ("08:00", dt.date(2022, 11, 24)),
            ("08:00", HALF_DAY),
        ):
            await desk.at(time, date)
            told.append(await desk.report())

    evening, *later = told
    # Forty sold below the close before; ten bought that closed below what they cost.
    assert evening.bridge.pnl == Decimal("-193.70")
    for report in later:
        assert report.session_date == WEDNESDAY
        assert (report.bridge.equity_start, report.bridge.equity_end) == (
            evening.bridge.equity_start,
            evening.bridge.equity_end,
        )
        assert report.bridge.pnl == evening.bridge.pnl
        assert [one.pnl for one in report.by_symbol] == [one.pnl for one in evening.by_symbol]
        assert report.doubts == ()
        assert "as of the close" in report.notes[0]
        assert any("no price of the close before for AAPL" in one for one in report.unknown)


@simulated
async def test_what_moved_since_the_close_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_desk(tmp_path, monkeypatch) as desk:
        await desk.trade(Side.BUY, 100, "first")
        await desk.at("17:00", WEDNESDAY)
        evening = await desk.report()
        await desk.at("08:00", HALF_DAY)
        row = ActivityPosted(
            at=desk.clock.now(),
            id="20221125::d",
            kind="CSD",
            date=HALF_DAY,
            net_amount=Decimal(5000),
        )
        desk.server.venue.exchange.post(row, desk.clock.now())
        morning = await desk.report()

    assert morning.bridge == evening.bridge
    assert (morning.doubts, morning.activities) == ((), ())


@simulated
async def test_a_close_before_that_nobody_tells_is_refused_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_desk(tmp_path, monkeypatch) as desk:
        await desk.trade(Side.BUY, 100, "first")
        await desk.at("08:00", WEDNESDAY)

        with pytest.raises(DataError, match="of 2022-11-21 reliably: ask on the evening"):
            await desk.report()


def session_on(date: dt.date) -> Session:
    found = CALENDAR.session_on(date)
    assert found is not None
    return found


def account(last_close: dt.date | None) -> Account:
    return Account(
        account_number="PA3TEST0001",
        status="ACTIVE",
        equity=Decimal(10_100),
        last_equity=Decimal(10_100),
        cash=Decimal(9000),
        buying_power=Decimal(0),
        is_trading_blocked=False,
        is_suspended_by_user=False,
        last_close=last_close,
    )


@pytest.mark.parametrize(
    ("last_close", "asked_at", "is_own"),
    [
        (BEFORE, moment("17:00", WEDNESDAY), False),
        # Hours after midnight some accounts still have the close of the day before yesterday.
        (BEFORE, moment("02:00", HALF_DAY), False),
        (WEDNESDAY, moment("08:00", HALF_DAY), True),
        (None, moment("17:00", WEDNESDAY), False),
        (None, moment("08:00", HALF_DAY), True),
    ],
)
def test_whose_close_the_last_equity_is_follows_from_the_account_or_else_the_date(
    last_close: dt.date | None, asked_at: dt.datetime, is_own: bool
) -> None:
    session, before = session_on(WEDNESDAY), session_on(BEFORE)

    found = broker_report.is_own_close(account(last_close), session, before, asked_at)

    assert found is is_own


def test_a_last_equity_of_another_session_is_refused() -> None:
    session, before = session_on(WEDNESDAY), session_on(BEFORE)

    with pytest.raises(DataError, match="last_equity is of 2022-11-28, not of 2022-11-22"):
        broker_report.is_own_close(account(MONDAY), session, before, moment("08:00", MONDAY))


@pytest.mark.parametrize(
    "history",
    [
        {},
        {WEDNESDAY: Decimal(10_100)},
        # The broker's record repeats the day before for hours.
        {BEFORE: Decimal(10_000), WEDNESDAY: Decimal(10_000)},
    ],
)
def test_a_history_that_does_not_know_the_close_itself_is_not_believed(
    history: dict[dt.date, Decimal],
) -> None:
    session, before = session_on(WEDNESDAY), session_on(BEFORE)

    with pytest.raises(DataError, match="restore a backup"):
        broker_report.equity_before(history, account(WEDNESDAY), session, before)
