"""The bridge from equity to equity closes to the cent, or says what it cannot explain."""

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daemon.after_close.report_dates import next_session
from domain.account import Activity, ActivityKind, Position
from domain.clock import ManualClock
from domain.errors import DataError
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.market import Session
from domain.orders import Fill, Side
from marketdata.session_calendar import NyseCalendar, day_start
from reports.build import build
from reports.model import EndOfDayReport
from state.equity import EquityCurve
from state.incidents import Incidents
from state.ledger import Ledger
from state.reader import Reader
from state.reports import Reports
from state.retention import Retention
from state.risk_state import RiskState
from state.runs import Runs
from state.store import Store
from tests.support.state_builders import pruned

DATE = dt.date(2026, 6, 4)
BEFORE = dt.datetime(2026, 6, 3, 20, 5, tzinfo=dt.UTC)
AFTER = dt.datetime(2026, 6, 4, 20, 5, tzinfo=dt.UTC)
NOON = dt.datetime(2026, 6, 4, 16, 0, tzinfo=dt.UTC)


CALENDAR = NyseCalendar()


def session_on(date: dt.date) -> Session:
    found = CALENDAR.session_on(date)
    assert found is not None
    return found


class Books:
    """A state directory that a test fills the way the daemon does."""

    def __init__(self, directory: Path, start: dt.datetime = BEFORE) -> None:
        self.directory = directory
        self.clock = ManualClock(start)
        self.store = Store.open(directory, clock=self.clock)
        self.ledger = Ledger(self.store)
        self.curve = EquityCurve(self.store)
        self.count = 0

    def snapshot(self, at: dt.datetime, equity: str, cash: str, **held: tuple[str, str]) -> None:
        self.curve.record(
            at,
            session_date=at.date(),
            equity=Decimal(equity),
            cash=Decimal(cash),
            positions=[
                Position(
                    symbol=Symbol(symbol),
                    quantity=Decimal(quantity),
                    avg_entry_price=Decimal(price),
                    market_price=Decimal(price),
                )
                for symbol, (quantity, price) in held.items()
            ],
        )

    def fill(self, symbol: str, side: Side, quantity: str, price: str, at: dt.datetime) -> None:
        self.count += 1
        self.ledger.apply_fill(
            Fill(
                execution_id=ExecutionId(f"x{self.count}"),
                broker_order_id=BrokerOrderId(f"b{self.count}"),
                client_order_id=ClientOrderId(f"c{self.count}"),
                symbol=Symbol(symbol),
                side=side,
                quantity=Decimal(quantity),
                price=Decimal(price),
                cumulative_quantity=Decimal(quantity),
                at=at,
            ),
            origin="test",
        )

    def split(self, symbol: str, added: str, at: dt.datetime) -> None:
        self.count += 1
        self.ledger.apply_activity(
            Activity(
                activity_id=f"a{self.count}",
                kind=ActivityKind.SPLIT,
                at=at,
                net_amount=Decimal(0),
                symbol=Symbol(symbol),
                quantity=Decimal(added),
            )
        )

    def activity(self, kind: ActivityKind, amount: str, at: dt.datetime = NOON) -> None:
        self.count += 1
        self.ledger.apply_activity(
            Activity(activity_id=f"a{self.count}", kind=kind, at=at, net_amount=Decimal(amount))
        )

    def report(self, date: dt.date = DATE, *, closed: Collection[dt.date] = ()) -> EndOfDayReport:
        with Reader(self.directory) as reader:
            following = next_session(CALENDAR, session_on(date))
            return build(reader, date, next_session=following, revision=1, closed=closed)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "var")


def test_a_worked_day_closes_with_every_part_named(books: Books) -> None:
    # Held 400 AAA at 38.10 and short 80 BBB at 42.60; 30 BBB are covered at 42.05, one cent
    # of fees is posted; the marks end at 38.25 and 41.75.
    books.fill("AAA", Side.BUY, "400", "37.00", BEFORE - dt.timedelta(hours=1))
    books.fill("BBB", Side.SELL, "80", "42.125", BEFORE - dt.timedelta(hours=1))
    books.snapshot(BEFORE, "55280.48", "43448.48", AAA=("400", "38.10"), BBB=("-80", "42.60"))
    books.fill("BBB", Side.BUY, "30", "42.05", NOON)
    books.activity(ActivityKind.FEE, "-0.01")
    books.snapshot(AFTER, "55399.47", "42186.97", AAA=("400", "38.25"), BBB=("-50", "41.75"))

    bridge = books.report().bridge

    assert bridge.change == Decimal("118.99")
    assert bridge.fees == Decimal("0.01")
    assert bridge.realized_pnl == Decimal("2.25")
    assert bridge.unrealized_pnl_change == Decimal("116.75")
    assert bridge.residual == 0
    assert bridge.is_reconciled


def test_a_report_reads_the_holdings_of_its_own_session_only(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in range(2, 40):
        books.snapshot(BEFORE - dt.timedelta(days=days), "1000", "900", AAA=("1", "100"))
    books.fill("AAA", Side.BUY, "1", "100", BEFORE - dt.timedelta(hours=1))
    books.snapshot(BEFORE, "1000", "900", AAA=("1", "100"))
    books.snapshot(AFTER, "1005", "900", AAA=("1", "105"))
    read: list[str] = []
    position_curve = Reader.position_curve

    def counted(reader: Reader, *bounds: dt.datetime) -> list[dict[str, Any]]:
        points = position_curve(reader, *bounds)
        read.extend(str(point["at"]) for point in points)
        return points

    monkeypatch.setattr(Reader, "position_curve", counted)

    report = books.report()

    # The readings at both ends: years of the others would not fit into memory.
    assert len(read) == 2
    assert report.bridge.unrealized_pnl_change == 5
    assert report.is_reconciled


def test_deposits_dividends_and_interest_are_named_and_a_deposit_is_not_earned(
    books: Books,
) -> None:
    books.snapshot(BEFORE, "50000", "50000")
    books.activity(ActivityKind.TRANSFER, "5000")
    books.activity(ActivityKind.DIVIDEND, "24")
    books.activity(ActivityKind.INTEREST, "-1.37")
    books.snapshot(AFTER, "55022.63", "55022.63")

    bridge = books.report().bridge

    assert (bridge.transfers, bridge.dividends, bridge.interest) == (
        Decimal(5000),
        Decimal(24),
        Decimal("-1.37"),
    )
    assert bridge.pnl == Decimal("22.63")
    assert bridge.is_reconciled


@pytest.mark.parametrize("amount", [-20_000, 20_000])
def test_k12_a_transfer_is_no_drawdown_though_it_is_dated_at_the_midnight_before(
    books: Books, amount: int
) -> None:
    whole, rest = "100000", str(100_000 + amount)
    books.snapshot(BEFORE, whole, whole)
    books.snapshot(NOON, whole, whole)
    books.clock.advance(NOON + dt.timedelta(hours=1) - BEFORE)
    books.activity(ActivityKind.TRANSFER, str(amount), at=day_start(DATE))
    books.snapshot(AFTER, rest, rest)
    following = AFTER + dt.timedelta(days=1)
    books.snapshot(following, rest, rest)

    for date in (DATE, following.date()):
        assert {point.value for point in books.report(date).drawdown_curve} == {0}


@pytest.mark.parametrize("amount", [-20_000, 20_000])
def test_k12_a_transfer_that_is_posted_the_day_after_is_no_drawdown_on_any_day(
    books: Books, amount: int
) -> None:
    whole, rest = "100000", str(100_000 + amount)
    books.snapshot(BEFORE, whole, whole)
    books.snapshot(NOON, rest, rest)
    books.activity(ActivityKind.FEE, "-0.01", at=day_start(DATE))
    books.snapshot(AFTER, rest, str(Decimal(rest) - Decimal("0.01")))
    books.clock.advance(AFTER + dt.timedelta(hours=16) - BEFORE)
    books.activity(ActivityKind.TRANSFER, str(amount), at=day_start(DATE))
    following, later = (AFTER + dt.timedelta(days=days) for days in (1, 4))
    for at in (following, later):
        books.snapshot(at, rest, str(Decimal(rest) - Decimal("0.01")))

    for date in (DATE, following.date(), later.date()):
        assert {point.value for point in books.report(date).drawdown_curve} == {0}


def test_k12_of_two_deposits_posted_together_each_counts_since_its_cash_came(books: Books) -> None:
    books.snapshot(BEFORE, "100000", "100000")
    books.snapshot(NOON, "107500", "107500")
    books.snapshot(AFTER, "115000", "115000")
    books.clock.advance(AFTER + dt.timedelta(hours=16) - BEFORE)
    for _ in range(2):
        books.activity(ActivityKind.TRANSFER, "7500", at=day_start(DATE))
    following = AFTER + dt.timedelta(days=1)
    books.snapshot(following, "115000", "115000")

    for date in (DATE, following.date()):
        assert {point.value for point in books.report(date).drawdown_curve} == {0}


def test_k12_cash_that_a_purchase_has_not_taken_yet_is_no_deposit_come_early(books: Books) -> None:
    # The broker answered a moment before the execution, and the reading is stamped after it.
    stamped, later = NOON + dt.timedelta(seconds=1), NOON + dt.timedelta(hours=1)
    books.snapshot(BEFORE, "100000", "100000")
    books.fill("AAA", Side.BUY, "100", "93.926", NOON)
    books.snapshot(stamped, "100000", "100000")
    books.clock.advance(later - dt.timedelta(minutes=1) - BEFORE)
    books.activity(ActivityKind.TRANSFER, "7500", at=day_start(DATE))
    books.snapshot(later, "107500", "98107.4", AAA=("100", "93.926"))

    assert {point.value for point in books.report().drawdown_curve} == {0}


def test_k12_the_highest_equity_is_not_forgotten_with_the_readings_that_saw_it(
    books: Books,
) -> None:
    risk, long_ago = RiskState(books.store), BEFORE - dt.timedelta(days=60)
    books.snapshot(long_ago, "150000", "150000")
    risk.record_equity(Decimal(150_000), long_ago, session_date=long_ago.date())
    books.activity(ActivityKind.TRANSFER, "-50000", at=day_start(BEFORE.date()))
    risk.record_cash_flow(Decimal(-50_000), "a1")
    pruned(books.store, Retention(curve_days=30), BEFORE)
    books.clock.advance(dt.timedelta(seconds=1))
    books.snapshot(books.clock.now(), "96000", "96000")
    books.snapshot(AFTER, "97000", "97000")

    report = books.report()

    assert [point.value for point in report.drawdown_curve] == [Decimal("0.04"), Decimal("0.03")]


def test_a_report_tells_its_incidents_however_many_came_after(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.snapshot(BEFORE, "100000", "100000")
    books.snapshot(AFTER, "100000", "100000")
    monkeypatch.setattr("reports.build._LONGEST_LIST", 3)
    Incidents(books.store).record("order.found", "it was sent once", NOON)
    for number in range(1, 5):
        Incidents(books.store).record("later", "another day", AFTER + dt.timedelta(days=number))

    assert [row["kind"] for row in books.report().incidents] == ["order.found"]


def test_a_session_whose_reading_before_is_gone_is_not_told_anew(books: Books) -> None:
    # Begun with its own first reading it would lack what moved overnight, and balance.
    books.snapshot(BEFORE, "100000", "100000")
    Reports(books.store).record(
        BEFORE.date(), is_reconciled=True, residual=Decimal(0), digest="a", at=BEFORE
    )
    books.snapshot(NOON, "101000", "101000")
    books.snapshot(AFTER, "101000", "101000")
    pruned(books.store, Retention(curve_days=40), NOON + dt.timedelta(days=40))

    with pytest.raises(DataError, match=r"no longer kept .* lies in reports/2026-06-04"):
        books.report()


def test_books_that_began_on_a_closed_day_are_told_by_the_next_session_from_then_on(
    books: Books,
) -> None:
    # Found as seed 45000007 of the simulation: its report was refused, day after day.
    books.snapshot(BEFORE, "100000", "100000")
    Reports(books.store).record(
        BEFORE.date(), is_reconciled=True, residual=Decimal(0), digest="a", at=BEFORE
    )
    books.clock.advance(NOON - BEFORE)
    books.activity(ActivityKind.INTEREST, "7")
    books.snapshot(AFTER, "100007", "100007")

    bridge = books.report(closed=[BEFORE.date()]).bridge

    assert (bridge.equity_start, bridge.interest) == (Decimal(100_000), Decimal(7))


def test_a_loss_beside_a_transfer_that_is_posted_late_is_still_a_drawdown(books: Books) -> None:
    books.snapshot(BEFORE, "100000", "100000")
    books.snapshot(NOON, "120000", "120000")
    books.snapshot(AFTER, "114000", "120000", AAA=("-10", "600"))
    books.clock.advance(AFTER + dt.timedelta(hours=16) - BEFORE)
    books.activity(ActivityKind.TRANSFER, "20000", at=day_start(DATE))
    following = AFTER + dt.timedelta(days=1)
    books.snapshot(following, "114000", "120000", AAA=("-10", "600"))

    report = books.report(following.date())

    assert [point.value for point in report.drawdown_curve] == [Decimal("0.05")] * 2


def test_f08_a_day_whose_close_nobody_read_ends_where_the_next_begins(tmp_path: Path) -> None:
    # Down from 19:55 UTC until the next session runs: what fell there is no loss of this day.
    start = BEFORE - dt.timedelta(hours=10)
    books = Books(tmp_path / "other", start)
    books.fill("AAA", Side.BUY, "10", "100", start)
    books.snapshot(BEFORE, "10000", "9000", AAA=("10", "100"))
    books.snapshot(AFTER - dt.timedelta(minutes=10), "10010", "9000", AAA=("10", "101"))
    back = AFTER + dt.timedelta(hours=19, minutes=50)
    runs = Runs(books.store)
    books.clock.advance(back - start)
    runs.begin(DATE, "eod", back)
    books.snapshot(back, "9800", "9000", AAA=("10", "80"))
    evening = AFTER + dt.timedelta(days=1)
    books.snapshot(evening, "9820", "9000", AAA=("10", "82"))

    late, following = books.report(), books.report(evening.date())

    assert (late.bridge.pnl, following.bridge.pnl) == (10, -190)
    assert late.bridge.equity_end == following.bridge.equity_start
    assert late.is_provisional
    (told,) = late.doubts
    assert "Nobody read the close: the day is told as of 19:55 UTC" in told


def test_r02_one_cent_that_nothing_explains_is_not_reconciled(books: Books) -> None:
    books.snapshot(BEFORE, "50000", "50000")
    books.snapshot(AFTER, "50000.01", "50000.01")

    report = books.report()

    assert report.bridge.residual == Decimal("0.01")
    assert not report.is_reconciled
    assert report.activities == ()


def test_r02_a_booking_as_large_as_the_residual_is_named_as_its_likely_cause(
    books: Books,
) -> None:
    books.snapshot(BEFORE, "50000", "50000")
    books.activity(ActivityKind.INTEREST, "-0.01")
    books.snapshot(AFTER, "49999.98", "49999.98")

    (booked,) = books.report().activities

    assert (booked["kind"], booked["cash"], booked["may_explain"]) == ("interest", "-0.01", True)


def test_a_fill_that_the_books_lack_shows_in_the_residual(books: Books) -> None:
    books.snapshot(BEFORE, "50000", "50000")
    books.snapshot(AFTER, "50000", "49000", AAA=("10", "100"))

    report = books.report()

    assert report.bridge.residual == Decimal(-1000)
    assert not report.is_reconciled


def test_a_split_that_is_told_after_the_sale_leaves_no_loss_that_nobody_made(books: Books) -> None:
    # Ten at 100, two for one, and twenty sold at 50 before the books knew of the split.
    books.fill("AAA", Side.BUY, "10", "100", BEFORE - dt.timedelta(hours=1))
    books.snapshot(BEFORE, "10000", "9000", AAA=("10", "100"))
    books.fill("AAA", Side.SELL, "20", "50", NOON)
    books.split("AAA", "10", NOON - dt.timedelta(hours=8))
    books.snapshot(AFTER, "10000", "10000")

    report = books.report()

    (symbol,) = report.by_symbol
    assert books.ledger.position(Symbol("AAA")).realized_pnl == 0
    assert (symbol.realized_pnl, symbol.unrealized_pnl_change) == (0, 0)
    assert report.is_reconciled


def test_a_split_that_is_told_a_day_late_takes_the_loss_of_its_sale_back(books: Books) -> None:
    books.fill("AAA", Side.BUY, "10", "100", BEFORE - dt.timedelta(hours=4))
    books.fill("AAA", Side.SELL, "20", "50", BEFORE - dt.timedelta(hours=1))
    books.snapshot(BEFORE, "10000", "10000")
    books.clock.advance(dt.timedelta(hours=20))
    books.split("AAA", "10", BEFORE - dt.timedelta(hours=3))
    books.snapshot(AFTER, "10000", "10000")

    bridge = books.report().bridge

    assert (bridge.realized_pnl, bridge.unrealized_pnl_change) == (500, -500)
    assert bridge.pnl == 0


def test_pnl_by_symbol_adds_up_to_the_bridge(books: Books) -> None:
    books.snapshot(BEFORE, "50000", "50000")
    books.fill("AAA", Side.BUY, "10", "100.10", NOON)
    books.fill("BBB", Side.BUY, "3", "33.333", NOON)
    books.snapshot(AFTER, "50001.00", "48899.001", AAA=("10", "100.20"), BBB=("3", "33.333"))

    report = books.report()

    assert sum(one.pnl for one in report.by_symbol) == Decimal("1.00")
    assert [one.symbol for one in report.by_symbol] == ["AAA", "BBB"]
    assert report.is_reconciled


def test_an_execution_that_is_told_after_a_later_split_leaves_each_session_its_own_profit(
    books: Books,
) -> None:
    # Two of ten sold at 110 in the first session; two for one, and 16 sold at 60 in the second.
    start = BEFORE - dt.timedelta(days=1)
    books.fill("AAA", Side.BUY, "10", "100", start - dt.timedelta(hours=1))
    books.snapshot(start, "50000", "49000", AAA=("10", "100"))
    books.snapshot(BEFORE, "50100", "49220", AAA=("8", "110"))
    books.clock.advance(NOON - BEFORE)
    books.split("AAA", "8", NOON - dt.timedelta(hours=8))
    books.fill("AAA", Side.SELL, "16", "60", NOON)
    books.fill("AAA", Side.SELL, "2", "110", BEFORE - dt.timedelta(hours=1))
    books.snapshot(AFTER, "50180", "50180")

    first, second = (books.report(date) for date in (DATE - dt.timedelta(days=1), DATE))

    assert (first.bridge.realized_pnl, second.bridge.realized_pnl) == (20, 160)
    assert first.is_reconciled
    assert second.is_reconciled


@pytest.mark.parametrize("fraction", [Decimal("0.5"), None], ids=["told", "untold"])
def test_b14_cash_for_the_fraction_of_a_split_is_profit_of_its_symbol(
    books: Books, fraction: Decimal | None
) -> None:
    books.fill("AAA", Side.BUY, "25", "10", BEFORE - dt.timedelta(hours=1))
    books.snapshot(BEFORE, "50025", "49750", AAA=("25", "11"))
    for kind, amount, added, rest in (
        (ActivityKind.SPLIT, "0", Decimal(-23), fraction),
        (ActivityKind.OTHER, "55", None, None),
    ):
        books.ledger.apply_activity(
            Activity(
                activity_id=f"a-{kind}",
                kind=kind,
                at=NOON,
                net_amount=Decimal(amount),
                symbol=Symbol("AAA"),
                quantity=added,
                fraction=rest,
            )
        )
    books.snapshot(AFTER, "50045", "49805", AAA=("2", "120"))

    report = books.report()

    (held,) = report.by_symbol
    assert (held.pnl, held.realized_pnl) == (20, 5 if fraction else 0)
    assert (report.bridge.other, report.bridge.residual) == (0, 0)
    assert report.is_reconciled


def test_the_curve_of_a_holding_begins_and_ends_at_nothing(books: Books) -> None:
    bought, sold = NOON - dt.timedelta(hours=1), NOON + dt.timedelta(hours=1)
    books.snapshot(BEFORE, "10000", "10000")
    books.fill("AAA", Side.BUY, "10", "100", bought)
    books.snapshot(NOON, "10000", "9000", AAA=("10", "100"))
    books.fill("AAA", Side.SELL, "10", "100", sold)
    books.snapshot(AFTER, "10000", "10000")

    (curve,) = books.report().position_curves.values()

    assert [(point.at, point.value) for point in curve] == [(BEFORE, 0), (NOON, 1000), (AFTER, 0)]


def test_a_session_without_books_names_those_that_have_some(books: Books) -> None:
    books.snapshot(BEFORE, "50000", "50000")

    with pytest.raises(DataError, match="2026-06-03 to 2026-06-03"):
        books.report()
