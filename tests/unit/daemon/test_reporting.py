"""The reporter over several days: a late fee, a later revision, a week at its end."""

import asyncio
import datetime as dt
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daemon.after_close import reporting
from daemon.after_close.report_dates import ending_with, next_session, yardsticks_of
from daemon.after_close.reporting import Reporter, read_report, read_roll_up
from daemon.schedule import RunKind
from domain.account import Activity, ActivityKind, Position
from domain.clock import ManualClock
from domain.errors import StorageError
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.market import Session
from domain.orders import Fill, Side
from marketdata.session_calendar import NyseCalendar
from marketdata.traded_sessions import TradedSessions
from reports.model import EndOfDayReport, Yardsticks
from reports.render import render
from state.equity import EquityCurve
from state.facts import Facts
from state.incidents import Incidents
from state.ledger import Ledger
from state.reader import Reader
from state.reports import Reports
from state.runs import Runs, RunState
from state.store import Store

CALENDAR = NyseCalendar()
TUESDAY = dt.datetime(2026, 6, 2, 20, 5, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


class Live:
    """The books of a live account, read once a day."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(TUESDAY)
        self.store = Store.open(directory, clock=self.clock)
        Facts(self.store).put(mode="live")
        self.ledger = Ledger(self.store)
        self.delivered: list[str] = []
        self.sessions = TradedSessions(CALENDAR, clock=self.clock)
        self.reporter = Reporter(
            self.store,
            calendar=self.sessions,
            clock=self.clock,
            yardsticks=Yardsticks(),
            deliver=self._deliver,
        )

    async def _deliver(self, made: Any) -> None:
        self.delivered += [getattr(one, "name", None) or str(one.session_date) for one in made]

    def read(self, equity: str, cash: str, *held: Position) -> None:
        EquityCurve(self.store).record(
            self.clock.now(),
            session_date=self.clock.now().date(),
            equity=Decimal(equity),
            cash=Decimal(cash),
            positions=held,
        )

    def fill(self, side: Side, price: str, *, at: dt.datetime | None = None) -> None:
        self.ledger.apply_fill(
            Fill(
                execution_id=ExecutionId(f"x-{side}"),
                broker_order_id=BrokerOrderId(f"b-{side}"),
                client_order_id=ClientOrderId(f"c-{side}"),
                symbol=Symbol("AAA"),
                side=side,
                quantity=Decimal(200),
                price=Decimal(price),
                cumulative_quantity=Decimal(200),
                at=at or self.clock.now() - dt.timedelta(hours=3),
            ),
            origin="test",
        )

    async def write(self) -> dict[str, Any]:
        session = self.session
        await self.reporter.write(session)
        return self.report(session.date)

    async def fail(self) -> None:
        """Do the end-of-day run of this session in vain."""
        runs = Runs(self.store)
        run_id = runs.begin(self.session.date, "eod", self.clock.now())
        assert run_id is not None
        with pytest.raises(StorageError, match="could not be written"):
            await self.write()
        runs.finish(run_id, RunState.FAILED, "the disk was full", self.clock.now())

    @property
    def session(self) -> Session:
        found = CALENDAR.session_on(self.clock.now().date())
        assert found is not None
        return found

    def report(self, date: dt.date) -> dict[str, Any]:
        path = self.directory / "reports" / date.isoformat() / "report.json"
        document: dict[str, Any] = json.loads(path.read_text())
        return document


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    books = Live(tmp_path)
    yield books
    books.store.close()


async def test_a_report_says_where_the_close_gave_no_usable_equity(live: Live) -> None:
    live.read("10000", "10000")
    live.clock.advance(dt.timedelta(minutes=9))
    Runs(live.store).begin(live.session.date, RunKind.END_OF_DAY.value, live.clock.now())

    early = await live.write()
    live.read("10010", "10010")
    closed = await live.write()

    assert early["doubts"] == ["The close gave no usable equity: the day is told as of 20:05 UTC."]
    assert closed["doubts"] == []


async def test_r01_a_late_fee_revises_the_day_and_is_in_the_bridge_of_the_next(live: Live) -> None:
    live.fill(Side.BUY, "38.00")
    held = Position(
        symbol=Symbol("AAA"),
        quantity=Decimal(200),
        avg_entry_price=Decimal(38),
        market_price=Decimal("38.10"),
    )
    live.read("10020", "2400", held)
    live.clock.advance(DAY)
    live.fill(Side.SELL, "38.55")
    live.read("10110", "10110")

    first = await live.write()

    assert (first["revision"], first["reconciled"], first["provisional"]) == (1, True, True)
    assert "0.21 USD are due, 0.00 are posted" in first["doubts"][0]

    live.clock.advance(DAY)
    # Dated the day of the sale, and in the account only now.
    midnight = dt.datetime(2026, 6, 3, 4, tzinfo=dt.UTC)
    live.ledger.apply_activity(
        Activity(
            activity_id="fee-1", kind=ActivityKind.FEE, at=midnight, net_amount=Decimal("-0.21")
        )
    )
    live.read("10109.79", "10109.79")

    second = await live.write()

    assert (second["fees"], second["residual"], second["provisional"]) == ("0.21", "0.00", False)
    again = live.report(dt.date(2026, 6, 3))
    assert (again["revision"], again["reconciled"], again["provisional"]) == (2, True, False)
    assert "were posted later" in str(again["notes"])
    folder = live.directory / "reports" / "2026-06-03"
    assert json.loads((folder / "report.1.json").read_text()) == first

    live.clock.advance(DAY)
    live.read("10109.79", "10109.79")
    await live.write()
    week = json.loads((live.directory / "reports" / "2026-W23" / "report.json").read_text())
    assert (week["pnl"], week["fees"], week["reconciled"]) == ("89.79", "0.21", True)
    assert [day["revision"] for day in week["sessions"]] == [2, 1, 1]
    assert live.delivered == ["2026-06-03", "2026-06-04", "2026-06-05", "2026-W23"]


async def test_r01_a_report_that_the_disk_refused_is_made_with_the_next(live: Live) -> None:
    friday = dt.date(2026, 6, 5)
    live.clock.advance(3 * DAY)
    live.read("10020", "10020")
    blocked = live.directory / "reports"
    blocked.write_text("not a directory")
    await live.fail()
    blocked.unlink()

    live.clock.advance(3 * DAY)
    live.read("10030", "10030")
    await live.write()

    assert live.report(friday)["revision"] == 1
    assert live.delivered == ["2026-06-05", "2026-W23", "2026-06-08"]


async def test_r01_what_the_disk_refused_is_made_after_days_away(live: Live) -> None:
    # Found as seed 3000770: only the session right before was looked at, and nobody ran on it.
    tuesday = TUESDAY.date()
    live.read("10020", "10020")
    await live.write()
    live.clock.advance(DAY)
    midnight = dt.datetime(2026, 6, 2, 4, tzinfo=dt.UTC)
    fee = Decimal("-0.21")
    live.ledger.apply_activity(
        Activity(activity_id="fee-1", kind=ActivityKind.FEE, at=midnight, net_amount=fee)
    )
    live.read("10030", "10030")
    in_the_way = live.directory / "reports" / "2026-06-02" / ".report.html.part"
    in_the_way.mkdir()
    await live.fail()
    in_the_way.rmdir()

    live.clock.advance(5 * DAY)
    live.read("10040", "10040")
    await live.write()

    assert live.report(tuesday)["revision"] == 2
    assert live.delivered == ["2026-06-02", "2026-06-03", "2026-06-08"]


async def test_r01_a_report_of_a_session_without_figures_hinders_no_other(live: Live) -> None:
    runs = Runs(live.store)
    run_id = runs.begin(TUESDAY.date(), "eod", live.clock.now())
    assert run_id is not None
    runs.finish(run_id, RunState.FAILED, "no usable answer", live.clock.now())
    live.clock.advance(DAY)
    live.read("10030", "10030")

    await live.write()

    assert live.delivered == ["2026-06-03"]


async def test_a_week_whose_last_day_was_closed_gets_its_report_with_the_next_session(
    live: Live,
) -> None:
    live.clock.advance(2 * DAY)
    live.read("10000", "10000")
    await live.write()

    # Friday is closed without a word; on Monday that is known.
    live.sessions.closed = frozenset({dt.date(2026, 6, 5)})
    live.clock.advance(4 * DAY)
    live.read("10010", "10010")
    await live.write()
    await live.write()

    week = json.loads((live.directory / "reports" / "2026-W23" / "report.json").read_text())
    assert (week["last"], week["complete"], week["missing"]) == ("2026-06-04", True, [])
    assert live.delivered == ["2026-06-04", "2026-W23", "2026-06-08", "2026-06-08"]


async def test_the_loop_goes_on_while_the_readings_of_years_are_read(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.read("10000", "10000")
    longest = 0.0

    def slow(*values: Any, **names: Any) -> EndOfDayReport:
        time.sleep(1.5)
        return read_report(*values, **names)

    async def tick() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - began)

    monkeypatch.setattr(reporting, "read_report", slow)
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    await live.write()
    ticking.cancel()

    assert longest < 1.5


async def test_a_report_tells_one_moment_though_the_daemon_goes_on_while_it_is_read(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.read("10000", "10000")
    loop, entries = asyncio.get_running_loop(), Reader.entries

    async def happen() -> None:
        Incidents(live.store).record("order.found", "in between", live.clock.now())

    def while_something_happens(reader: Reader) -> Any:
        asyncio.run_coroutine_threadsafe(happen(), loop).result(10)
        return entries(reader)

    monkeypatch.setattr(Reader, "entries", while_something_happens)

    assert (await live.write())["incidents"] == []


async def test_what_moved_on_a_closed_day_is_told_by_the_next_session(live: Live) -> None:
    live.clock.advance(DAY)
    live.read("10000", "10000")
    await live.write()

    # Thursday is closed without a word; it was read all day, and a dividend came.
    live.clock.advance(DAY)
    live.ledger.apply_activity(
        Activity(
            activity_id="a1",
            kind=ActivityKind.DIVIDEND,
            at=live.clock.now() - dt.timedelta(hours=9),
            net_amount=Decimal(7),
            symbol=Symbol("AAA"),
        )
    )
    live.read("10007", "10007")
    Facts(live.store).put(closed_days="2026-06-04")
    live.sessions.closed = frozenset({dt.date(2026, 6, 4)})
    live.clock.advance(DAY)
    live.read("10007", "10007")

    friday = await live.write()

    assert (friday["equity_start"], friday["dividends"]) == ("10000", "7")
    week = json.loads((live.directory / "reports" / "2026-W23" / "report.json").read_text())
    assert (week["dividends"], week["reconciled"]) == ("7", True)


def test_the_next_session_and_the_end_of_a_period_follow_the_calendar() -> None:
    thursday = CALENDAR.session_on(dt.date(2026, 7, 2))
    tuesday = CALENDAR.session_on(dt.date(2026, 6, 30))
    wednesday = CALENDAR.session_on(dt.date(2026, 11, 25))
    assert thursday is not None
    assert tuesday is not None
    assert wednesday is not None

    assert next_session(CALENDAR, thursday).closed_between == (dt.date(2026, 7, 3),)
    assert ending_with(CALENDAR, thursday) == ("week",)
    assert ending_with(CALENDAR, tuesday) == ("month",)
    assert ending_with(CALENDAR, wednesday) == ()
    assert next_session(CALENDAR, wednesday).is_half_day


def test_a_report_keeps_its_own_yardsticks(tmp_path: Path) -> None:
    date, today = dt.date(2026, 6, 3), Yardsticks(slippage_bps=Decimal(9))
    assert yardsticks_of(tmp_path, date, today) is today

    folder = tmp_path / "reports" / "2026-06-03"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text('{"yardsticks": {"slippage_bps": "2.5"}}')
    assert yardsticks_of(tmp_path, date, today).slippage_bps == Decimal("2.5")

    (folder / "report.json").write_text('{"yardsticks": {"unknown": 1}}')
    assert yardsticks_of(tmp_path, date, today) is today


def waiting(live: Live) -> str | None:
    found = Reports(live.store).unbalanced()
    return found.difference if found is not None else None


async def test_a_fill_that_is_told_overnight_balances_the_report_before_the_next_session(
    live: Live,
) -> None:
    held = Position(
        symbol=Symbol("AAA"),
        quantity=Decimal(200),
        avg_entry_price=Decimal(38),
        market_price=Decimal("38.10"),
    )
    live.read("10000", "10000")
    live.clock.advance(dt.timedelta(minutes=1))
    live.read("10020", "2400", held)
    first = await live.write()
    assert (first["reconciled"], first["residual"]) == (False, "-7600.00")
    assert waiting(live) == "2026-06-02 -7600"
    live.clock.advance(DAY)

    live.reporter.look_again(live.session)
    assert waiting(live) is not None
    live.fill(Side.BUY, "38.00", at=TUESDAY + dt.timedelta(seconds=30))
    live.reporter.look_again(live.session)

    assert waiting(live) is None
    # Once it balances nobody looks again, and the files come with the next end of day.
    live.reporter.look_again(live.session)
    assert live.report(TUESDAY.date())["revision"] == 1
    live.read("10020", "2400", held)
    await live.write()
    assert live.report(TUESDAY.date())["revision"] == 2
    assert live.report(TUESDAY.date())["reconciled"] is True


async def test_a_report_that_failed_says_before_the_next_session_whether_it_balances(
    live: Live,
) -> None:
    live.read("10000", "10000")
    live.clock.advance(dt.timedelta(minutes=1))
    live.read("10007", "10007")
    runs = Runs(live.store)
    run_id = runs.begin(live.session.date, "eod", live.clock.now())
    assert run_id is not None
    runs.finish(run_id, RunState.FAILED, "the broker did not answer", live.clock.now())
    live.clock.advance(DAY)

    live.reporter.look_again(live.session)

    assert waiting(live) == "2026-06-02 7"


async def test_a_report_that_cannot_be_made_keeps_nobody_out(live: Live) -> None:
    runs = Runs(live.store)
    run_id = runs.begin(live.session.date, "eod", live.clock.now())
    assert run_id is not None
    runs.finish(run_id, RunState.FAILED, "nothing to report on", live.clock.now())
    live.clock.advance(DAY)

    live.reporter.look_again(live.session)

    assert waiting(live) is None


async def test_f08_a_session_that_was_read_and_never_reported_on_is_in_its_week(live: Live) -> None:
    # Read on Wednesday, then down beyond Thursday's close: only Thursday still gets a report.
    live.read("10000", "10000")
    await live.write()
    live.clock.advance(DAY)
    live.fill(Side.BUY, "38.00")
    for price, equity in (("38.50", "10100"), ("38.60", "10120")):
        live.read(
            equity,
            "2400",
            Position(
                symbol=Symbol("AAA"),
                quantity=Decimal(200),
                avg_entry_price=Decimal(38),
                market_price=Decimal(price),
            ),
        )
        live.clock.advance(DAY)
    live.clock.advance(-DAY)
    await live.write()

    week = read_roll_up(
        live.directory, "week", live.session.date, calendar=CALENDAR, yardsticks=Yardsticks()
    )

    assert (week.bridge.pnl, week.bridge.residual, week.missing) == (120, 0, ())
    assert week.is_reconciled
    assert "No report was made of 03 Jun" in render(week, "md")


async def test_a_week_ends_with_its_last_report_though_a_session_runs(live: Live) -> None:
    live.read("10000", "10000")
    await live.write()
    live.clock.advance(DAY)
    live.read("10100", "10100")

    week = read_roll_up(
        live.directory, "week", live.session.date, calendar=CALENDAR, yardsticks=Yardsticks()
    )

    assert [day.session_date for day in week.days] == [TUESDAY.date()]
