"""P&L by strategy, doubts, late fees, revisions on disk, and the roll-ups."""

import dataclasses
import datetime as dt
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import Position
from domain.clock import ManualClock
from domain.errors import DataError
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId
from domain.orders import OrderState, Side
from domain.signals import Action
from reports.attribution import NOBODY, by_strategy, shares
from reports.build import build
from reports.doubts import Closing, doubts
from reports.model import Bridge, EndOfDayReport, Point, StrategyPnl, SymbolPnl, Yardsticks
from reports.pnl import bridge, by_symbol, moved_at
from reports.render import FORMATS, render
from reports.roll_up import period_of, roll_up
from reports.trades import slippage_summary, trades, with_slippage
from reports.write import write
from risk.targets import CUT_FOR_SOURCE
from state.decisions import Decisions
from state.equity import EquityCurve
from state.journal import Journal
from state.ledger import Ledger
from state.reader import Reader
from state.store import Store
from tests.support.recorded_day import a_combined, a_signal, a_view
from tests.support.state_builders import AAPL, OB1, SESSION, START, a_broker_order, a_fill, approved

MONDAY = dt.date(2026, 6, 1)
AT = dt.datetime(2026, 6, 1, 20, 5, tzinfo=dt.UTC)
ZERO = Decimal(0)


def part(strategy: str, expected: float, action: str = "BUY", horizon: int = 10) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "expected_return": expected,
        "action": action,
        "horizon": horizon,
    }


def pnl_of(symbol: str, amount: str) -> SymbolPnl:
    return SymbolPnl(
        symbol=symbol,
        quantity=Decimal(1),
        value=ZERO,
        realized_pnl=ZERO,
        unrealized_pnl_change=Decimal(amount),
    )


def test_those_who_acted_share_by_what_they_expected_per_session() -> None:
    parts = [
        part("forecast", 0.06, horizon=20),
        part("momentum", 0.01),
        part("dissenter", -0.05, "SELL"),
        part("idle", 0.05, "HOLD"),
    ]

    assert shares(parts, 1) == {"forecast": Decimal("0.75"), "momentum": Decimal("0.25")}
    assert shares(parts, -1) == {"dissenter": 1}


def test_a_position_that_is_only_kept_belongs_to_who_leans_its_way() -> None:
    parts = [part("forecast", 0.06, "HOLD"), part("momentum", -0.01, "HOLD")]

    assert shares(parts, 1) == {"forecast": 1}
    assert shares([], 1) == {}


def test_without_a_wish_today_the_decision_of_the_last_entry_counts() -> None:
    before = [{"symbol": "AAA", "parts": [part("momentum", 0.02)]}]
    asked: list[dt.date] = []

    def signals_of(date: dt.date) -> list[dict[str, Any]]:
        asked.append(date)
        return before

    parts = by_strategy(
        [pnl_of("AAA", "10"), pnl_of("ZZZ", "-1")],
        signs={"AAA": 1, "ZZZ": 1},
        signals=[],
        entered_on={"AAA": MONDAY},
        signals_of=signals_of,
    )

    assert asked == [MONDAY]
    assert [(one.strategy, one.symbols, one.pnl) for one in parts] == [
        ("momentum", ("AAA",), Decimal("10.00")),
        (NOBODY, ("ZZZ",), Decimal("-1.00")),
    ]


def a_position(quantity: str, price: str) -> Position:
    return Position(
        symbol=AAPL,
        quantity=Decimal(quantity),
        avg_entry_price=Decimal(price),
        market_price=Decimal(price),
    )


MONEY = st.decimals(min_value=-100_000, max_value=100_000, places=6)


@given(
    st.lists(st.tuples(MONEY, st.lists(st.floats(-0.5, 0.5), max_size=4)), min_size=1, max_size=6)
)
def test_the_parts_of_the_strategies_are_the_whole_to_the_cent(
    book: list[tuple[Decimal, list[float]]],
) -> None:
    symbols = [pnl_of(f"S{n}", str(amount)) for n, (amount, _) in enumerate(book)]
    signals = [
        {"symbol": f"S{n}", "parts": [part(f"s{k}", value) for k, value in enumerate(wishes)]}
        for n, (_, wishes) in enumerate(book)
    ]

    parts = by_strategy(
        symbols, signs={}, signals=signals, entered_on={}, signals_of=lambda _date: []
    )

    whole = sum((one.pnl for one in symbols), ZERO)
    assert sum((one.pnl for one in parts), ZERO) == whole.quantize(Decimal("0.01"))


def test_a_trade_tells_signal_forecast_arrival_fill_and_slippage() -> None:
    order = {
        "client_order_id": "c1",
        "symbol": "AAA",
        "side": "sell",
        "leg": "exit",
        "decision_price": "100",
        "is_external": False,
        "sent_at": "2026-06-01T13:20:00+00:00",
    }
    fills = [
        {"client_order_id": "c1", "quantity": "60", "price": "99.94"},
        {"client_order_id": "c1", "quantity": "40", "price": "99.84"},
    ]
    signal = {
        "symbol": "AAA",
        "action": "SELL",
        "confidence": 0.6,
        "parts": [part("a", -0.1, "SELL"), part("b", 0.1)],
    }
    forecast = {
        "symbol": "AAA",
        "source": "local",
        "as_of": "2026-06-01T12:30:00+00:00",
        "confidence": 0.7,
    }
    report = a_report(MONDAY)

    (row,) = trades(
        [order], fills, signals=[signal], forecasts=[forecast], yardsticks=report.yardsticks
    )

    assert (row["quantity"], row["fill_price"], row["notional_usd"]) == ("100", "99.9", "9990")
    assert row["slippage_bps"] == "10.0"
    assert row["slippage_usd"] == "10"
    assert row["forecast_age_minutes"] == 50.0
    assert row["strategies"] == "a"
    summary = slippage_summary([row])
    assert summary is not None
    assert summary["cost_usd"] == 10
    assert slippage_summary([]) is None


def test_the_day_of_an_exit_belongs_to_who_entered(tmp_path: Path) -> None:
    # Bought on momentum's word at 143; the next day it says SELL, and 10 USD a share are lost.
    clock = ManualClock(START)
    store = Store.open(tmp_path, clock=clock)
    journal, ledger, decisions = Journal(store), Ledger(store), Decisions(store)
    curve, following = EquityCurve(store), SESSION + dt.timedelta(days=1)
    for number, (date, side, leg, action, expected, price) in enumerate(
        [
            (SESSION, Side.BUY, "entry", Action.BUY, 0.01, "143"),
            (following, Side.SELL, "exit", Action.SELL, -0.01, "133"),
        ]
    ):
        order, run = f"ob-{number}", f"{date}-premarket"
        session = dataclasses.replace(a_view().session, date=date)
        wish = a_signal(action=action, expected_return=expected)
        decisions.record(run, a_view(session=session, as_of=clock.now()), [wish], [a_combined()])
        journal.record_plan(
            [approved(order, session_date=date, side=side, leg=leg, limit_price=Decimal(price))],
            run,
        )
        ids = {
            "client_order_id": ClientOrderId(order),
            "broker_order_id": BrokerOrderId(f"b-{order}"),
        }
        fill = a_fill(f"x-{number}", "100", price, side=side, at=clock.now(), **ids)
        ledger.apply_fill(fill, origin="stream")
        clock.advance(dt.timedelta(hours=1))
        left = "14300" if side is Side.BUY else "13300"
        curve.record(
            clock.now(),
            session_date=date,
            equity=Decimal(left),
            cash=Decimal(left),
            positions=[] if side is Side.SELL else [a_position("100", "143")],
        )
        clock.advance(dt.timedelta(hours=23))

    with Reader(tmp_path) as reader:
        report = build(reader, following, next_session=None, revision=1)

    (only,) = report.by_strategy
    assert (only.strategy, only.pnl) == ("momentum", Decimal("-1000.00"))


def test_what_was_ordered_outside_is_told_in_the_session_that_executed_it(tmp_path: Path) -> None:
    # Placed by hand after the close, good till canceled, and executed the next morning.
    clock = ManualClock(START)
    store = Store.open(tmp_path, clock=clock)
    evening, morning = START + dt.timedelta(hours=9), START + dt.timedelta(hours=26)
    following = SESSION + dt.timedelta(days=1)
    EquityCurve(store).record(START, session_date=SESSION, equity=Decimal(1), cash=Decimal(1))
    Journal(store).adopt_external(a_broker_order(submitted_at=evening, time_in_force="gtc"))
    Ledger(store).apply_fill(a_fill(at=morning), origin="activities")
    clock.advance(dt.timedelta(hours=33))
    EquityCurve(store).record(
        clock.now(), session_date=following, equity=Decimal(1), cash=Decimal(1)
    )

    with Reader(tmp_path) as reader:
        placed, executed = (
            build(reader, date, next_session=None, revision=1) for date in (SESSION, following)
        )

    assert [len(report.fills) for report in (placed, executed)] == [0, 1]
    assert [len(report.trades) for report in (placed, executed)] == [0, 1]
    assert [len(report.orders) for report in (placed, executed)] == [1, 1]


@pytest.mark.parametrize(
    ("remark", "told"),
    [("", "Forecasts came from: local."), (CUT_FOR_SOURCE, "sizes cut for that: 1.")],
)
def test_the_report_says_that_sizes_were_cut_only_where_one_was(
    tmp_path: Path, remark: str, told: str
) -> None:
    store = Store.open(tmp_path, clock=ManualClock(START))
    wish = dataclasses.replace(a_combined(), reason=f"BUY; {remark}")
    Decisions(store).record("run-1", a_view(), [a_signal()], [wish])
    EquityCurve(store).record(START, session_date=SESSION, equity=Decimal(1), cash=Decimal(1))

    with Reader(tmp_path) as reader:
        report = build(reader, SESSION, next_session=None, revision=1)

    (note,) = report.notes
    assert note.endswith(told)


def test_an_order_from_outside_has_no_slippage_that_could_be_measured() -> None:
    # Sold by hand at the market: "a dollar or better" was never a price that was decided on.
    order = {
        "client_order_id": "c1",
        "symbol": "AAA",
        "side": "sell",
        "leg": "external",
        "decision_price": "1",
        "is_external": True,
        "sent_at": None,
    }
    fills = [{"client_order_id": "c1", "quantity": "100", "price": "143"}]

    (row,) = trades([order], fills, signals=[], forecasts=[], yardsticks=Yardsticks())
    (fill,) = with_slippage(fills, [order])

    assert (row["arrival_price"], row["slippage_bps"], row["slippage_usd"]) == (None, None, None)
    assert (fill["decision_price"], fill["slippage_bps"]) == (None, None)
    assert slippage_summary([row]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"leg": "exit", "run_id": "2026-06-01-watch"},
        {"leg": "flatten"},
        {"leg": "external", "is_external": True},
    ],
    ids=["a stop", "a kill", "a person"],
)
def test_a_sale_that_no_decision_is_behind_is_not_told_as_one_of_the_purchases_signal(
    changes: dict[str, Any],
) -> None:
    order = {
        "client_order_id": "c1",
        "symbol": "AAA",
        "side": "sell",
        "decision_price": "143",
        "is_external": False,
        "sent_at": "2026-06-01T15:20:00+00:00",
        **changes,
    }
    fills = [{"client_order_id": "c1", "quantity": "100", "price": "143"}]
    signal = {"symbol": "AAA", "action": "BUY", "confidence": 0.6, "parts": [part("a", 0.1, "BUY")]}
    forecast = {
        "symbol": "AAA",
        "source": "local",
        "as_of": "2026-06-01T12:30:00+00:00",
        "confidence": 0.7,
    }

    (row,) = trades([order], fills, signals=[signal], forecasts=[forecast], yardsticks=Yardsticks())

    assert (row["signal"], row["strategies"], row["forecast_source"]) == (None, "", None)


@pytest.fixture
def filled_ledger(tmp_path: Path) -> Ledger:
    """The ledger with an order of 100 that the broker filled by two executions."""
    store = Store.open(tmp_path, clock=ManualClock(START))
    journal, ledger = Journal(store), Ledger(store)
    journal.record_plan([approved()], "run")
    journal.mark_sending(OB1)
    filled: dict[str, Any] = {
        "filled_quantity": Decimal(100),
        "filled_avg_price": Decimal("143.10"),
    }
    journal.apply_order(a_broker_order(state=OrderState.FILLED, raw_status="filled", **filled))
    ledger.apply_fill(a_fill("x-1", "40", "142.80"), origin="stream")
    ledger.apply_fill(a_fill("x-2", "60", "143.30", cumulative="100"), origin="stream")
    EquityCurve(store).record(START, session_date=SESSION, equity=Decimal(1), cash=Decimal(1))
    return ledger


def test_b08_what_the_broker_took_back_was_not_traded(
    tmp_path: Path, filled_ledger: Ledger
) -> None:
    filled_ledger.bust_fill(ExecutionId("x-2"), at=START, reason="trade bust")

    with Reader(tmp_path) as reader:
        (row,) = build(reader, SESSION, next_session=None, revision=1).trades

    assert (row["quantity"], row["fill_price"], row["notional_usd"]) == ("40", "142.8", "5712")
    assert (row["slippage_bps"], row["slippage_usd"]) == ("-21.0", "-12")


def test_b08_an_order_of_which_all_was_taken_back_is_no_trade(
    tmp_path: Path, filled_ledger: Ledger
) -> None:
    for execution in ("x-1", "x-2"):
        filled_ledger.bust_fill(ExecutionId(execution), at=START, reason="trade bust")

    with Reader(tmp_path) as reader:
        report = build(reader, SESSION, next_session=None, revision=1)

    assert report.trades == ()
    assert [order["state"] for order in report.orders] == ["filled"]


def doubts_of(**changes: Any) -> tuple[str, ...]:
    given_: dict[str, Any] = {
        "session_date": dt.date(2026, 6, 3),
        "mode": "live",
        "end": {"equity": "1000", "cash": "500"},
        "held": [{"quantity": "5", "price": "100"}],
        "orders": [{"symbol": "AAA", "state": "filled"}],
        "fills": [],
        "fees_posted": ZERO,
        **changes,
    }
    return doubts(**given_)


EARLY = {"equity": "1000", "cash": "500", "at": "2026-06-03T19:55:00+00:00"}
LATE = {**EARLY, "at": "2026-06-04T15:55:00+00:00"}
NEXT_PRICES = dt.datetime(2026, 6, 4, 8, tzinfo=dt.UTC)
SOLD = {"side": "sell", "quantity": "200", "price": "38.55", "broker_order_id": "b"}


def test_a_settled_day_leaves_no_doubt() -> None:
    assert doubts_of() == ()
    assert doubts_of(fills=[SOLD], fees_posted=Decimal("0.21")) == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"orders": [{"symbol": "AAA", "state": "unknown"}]}, "not ended"),
        ({"end": {"equity": "1000.02", "cash": "500"}}, "lags"),
        (
            {"end": EARLY, "closing": Closing(began="2026-06-03T20:15:00+00:00")},
            "no usable equity: the day is told as of 19:55 UTC",
        ),
        (
            {"end": EARLY, "closing": Closing(began=LATE["at"], next_prices=NEXT_PRICES)},
            "as of 19:55 UTC, and the rest of it is in the next report",
        ),
        (
            {"end": LATE, "closing": Closing(began=LATE["at"], next_prices=NEXT_PRICES)},
            "as of 2026-06-04 15:55 UTC, with a part of the next session in it",
        ),
        ({"held": [{"quantity": "5", "price": None}]}, "no price"),
        ({"fills": [SOLD]}, "0.21 USD are due"),
        ({"fills": [SOLD], "session_date": dt.date(2020, 1, 2)}, "cannot be checked"),
    ],
)
def test_r01_r04_what_may_still_come_makes_it_provisional(
    changes: dict[str, Any], why: str
) -> None:
    (told,) = doubts_of(**changes)

    assert why in told


def test_a_paper_account_pays_no_fees_to_wait_for() -> None:
    assert doubts_of(mode="paper", fills=[SOLD]) == ()


def test_r01_a_fee_counts_when_it_was_posted_and_an_execution_when_it_happened() -> None:
    fee = {"kind": "fee", "at": "2026-06-01T04:00", "booked_at": "2026-06-02T12:30"}

    assert moved_at(fee) == "2026-06-02T12:30"
    assert moved_at({**fee, "kind": "fill"}) == "2026-06-01T04:00"


@pytest.mark.parametrize(("unexplained", "closes"), [("0.005", True), ("0.0051", False)])
def test_a_bridge_closes_to_the_cent(unexplained: str, closes: bool) -> None:
    # Executions below the cent: the broker and we may round their money apart.
    made = a_report(dt.date(2026, 6, 1)).bridge

    made = dataclasses.replace(made, equity_end=made.equity_end + Decimal(unexplained))

    assert made.residual == Decimal(unexplained)
    assert made.is_reconciled is closes


def a_report(
    date: dt.date, *, start: str = "1000", end: str = "1001", **changes: Any
) -> EndOfDayReport:
    bridge = Bridge(
        equity_start=Decimal(start),
        equity_end=Decimal(end),
        realized_pnl=ZERO,
        unrealized_pnl_change=Decimal(end) - Decimal(start),
        fees=ZERO,
        dividends=ZERO,
        interest=ZERO,
        transfers=ZERO,
        other=ZERO,
    )
    empty: dict[str, Any] = dict.fromkeys(
        ("orders", "fills", "denied", "signals", "forecasts", "sentiment", "runs"), ()
    )
    point = Point(at=dt.datetime.combine(date, dt.time(20), dt.UTC), value=Decimal("0.01"))
    values: dict[str, Any] = {
        **empty,
        "session_date": date,
        "revision": 1,
        "mode": "paper",
        "account_tail": "0001",
        "tomorrow": None,
        "bridge": bridge,
        "by_symbol": (pnl_of("AAA", str(bridge.change)),),
        "by_strategy": (StrategyPnl(strategy="momentum", symbols=("AAA",), pnl=bridge.change),),
        "incidents": (),
        "costs": (
            {
                "at": "2026-06-01T12:00:00+00:00",
                "provider": "gpu",
                "amount_usd": "1.5",
                "detail": "",
            },
        ),
        "notes": (),
        "equity_curve": (point,),
        "position_curves": {},
        "drawdown_curve": (point,),
        **changes,
    }
    return EndOfDayReport(**values)


def test_r01_a_later_revision_stands_beside_the_one_it_supersedes(tmp_path: Path) -> None:
    write(tmp_path, a_report(MONDAY, doubts=("fees are due",)), ["json", "md"])
    folder = tmp_path / "reports" / "2026-06-01"
    first = (folder / "report.json").read_bytes()
    assert json.loads(first)["provisional"] is True

    write(tmp_path, a_report(MONDAY, revision=2), ["json", "md"])
    write(tmp_path, a_report(MONDAY, revision=2), ["json", "md"])

    assert (folder / "report.1.json").read_bytes() == first
    assert json.loads((folder / "report.json").read_bytes())["revision"] == 2
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.1.json",
        "report.1.md",
        "report.json",
        "report.md",
    ]


@pytest.mark.parametrize(
    ("kind", "day", "name", "first", "last"),
    [
        ("week", dt.date(2026, 6, 5), "2026-W23", dt.date(2026, 6, 1), dt.date(2026, 6, 7)),
        ("week", dt.date(2026, 1, 1), "2026-W01", dt.date(2025, 12, 29), dt.date(2026, 1, 4)),
        ("month", dt.date(2026, 12, 31), "2026-12", dt.date(2026, 12, 1), dt.date(2026, 12, 31)),
        ("month", dt.date(2024, 2, 3), "2024-02", dt.date(2024, 2, 1), dt.date(2024, 2, 29)),
    ],
)
def test_a_period_has_a_name_and_two_ends(
    kind: str, day: dt.date, name: str, first: dt.date, last: dt.date
) -> None:
    assert period_of(kind, day) == (name, first, last)


def with_transfer(report: EndOfDayReport, amount: str) -> EndOfDayReport:
    moved = Decimal(amount)
    earned = report.bridge.unrealized_pnl_change - moved
    changed = dataclasses.replace(report.bridge, transfers=moved, unrealized_pnl_change=earned)
    return dataclasses.replace(report, bridge=changed)


WEEK = [MONDAY + dt.timedelta(days=number) for number in range(5)]


def test_a_week_is_the_sum_of_its_sessions_to_the_cent() -> None:
    days = [a_report(date, start=str(1000 + n), end=str(1001 + n)) for n, date in enumerate(WEEK)]

    week = roll_up("week", "2026-W23", days, WEEK)

    assert (week.bridge.equity_start, week.bridge.equity_end) == (1000, 1005)
    assert week.bridge.residual == 0
    assert week.by_symbol[0].pnl == week.by_strategy[0].pnl == 5
    assert week.is_complete
    assert week.is_reconciled
    assert not week.is_provisional
    for form in sorted(FORMATS):
        assert render(week, form) == render(week, form)
    assert json.loads(render(week, "json"))["name"] == "2026-W23"
    assert "7.50" in render(week, "csv")


def test_money_that_comes_or_goes_changes_no_share_of_equity() -> None:
    # 2 % of 1,000 won; 99,000 come, 1 % of all of it lost; 49,000 go, 1 % won.
    days = [
        a_report(WEEK[0], start="1000", end="1020"),
        with_transfer(a_report(WEEK[1], start="1020", end="99019.8"), "99000"),
        with_transfer(a_report(WEEK[2], start="99019.8", end="51009.998"), "-49000"),
    ]

    week = roll_up("week", "2026-W23", days, WEEK)

    assert [day.bridge.earned_fraction for day in days] == [
        Decimal("0.02"),
        Decimal("-0.01"),
        Decimal("0.01"),
    ]
    assert week.earned_fraction == Decimal("0.019898")
    assert "-1.00 %" in render(days[1], "html")
    assert "+1.99 %" in render(week, "html")


def test_without_a_transfer_the_share_of_a_week_is_its_pnl_of_the_equity_before() -> None:
    days = [a_report(date, start=str(1000 + n), end=str(1001 + n)) for n, date in enumerate(WEEK)]

    week = roll_up("week", "2026-W23", days, WEEK)

    assert week.earned_fraction is not None
    assert round(week.earned_fraction, 20) == Decimal("0.005")


def test_a_day_without_capital_has_no_share_of_it() -> None:
    days = [a_report(WEEK[0], start="0", end="0"), a_report(WEEK[1], start="1000", end="1001")]

    week = roll_up("week", "2026-W23", days, WEEK)

    assert week.earned_fraction is None
    assert render(week, "md")


def test_a_week_says_what_is_missing_and_what_is_not_over() -> None:
    week = roll_up("week", "2026-W23", [a_report(WEEK[0]), a_report(WEEK[2])], WEEK)

    assert week.missing == (WEEK[1],)
    assert not week.is_complete
    assert week.is_provisional
    assert "No books of 02 Jun" in render(week, "md")


def test_a_week_with_a_day_that_does_not_close_does_not_close() -> None:
    days = [a_report(date) for date in WEEK]
    broken = dataclasses.replace(days[0].bridge, equity_end=Decimal("1001.01"))
    days[0] = dataclasses.replace(days[0], bridge=broken)

    week = roll_up("week", "2026-W23", days, WEEK)

    assert not week.is_reconciled
    assert "NOT RECONCILED" in render(week, "md").splitlines()[2]


def test_a_period_without_a_report_is_refused() -> None:
    with pytest.raises(DataError, match="no session of this month"):
        roll_up("month", "2026-06", [], WEEK)


def test_drawdown_is_from_the_highest_equity_and_exposure_is_of_equity(tmp_path: Path) -> None:
    store = Store.open(tmp_path, clock=ManualClock(AT))
    curve = EquityCurve(store)
    for minute, equity in enumerate(("1000", "1100", "990")):
        curve.record(
            AT + dt.timedelta(minutes=minute),
            session_date=MONDAY,
            equity=Decimal(equity),
            cash=Decimal(equity),
            positions=[],
        )

    with Reader(tmp_path) as reader:
        report = build(reader, MONDAY, next_session=None, revision=1)

    assert [point.value for point in report.drawdown_curve] == [0, 0, Decimal("0.1")]
    assert [point.value for point in report.exposure_curves["gross"]] == [0, 0, 0]


def test_r05_ten_thousand_executions_round_nothing() -> None:
    entries, whole = [], Fraction(0)
    for number in range(10_000):
        quantity, price = Decimal(number % 97 + 1), Decimal(number % 8_999 + 1) / 10_000 + 10
        sign = -1 if number % 2 else 1
        cash = -sign * quantity * price
        whole += Fraction(cash)
        entries.append(
            {
                "kind": "fill",
                "symbol": f"S{number % 7}",
                "cash": str(cash),
                "realized_pnl": str(cash / 3),
            }
        )

    symbols = by_symbol({}, {}, entries)

    assert sum((Fraction(one.pnl) for one in symbols), Fraction(0)) == whole
    start = {"equity": "100000"}
    end = {"equity": str(Decimal(100000) + sum((one.pnl for one in symbols), ZERO))}
    assert bridge(start, end, symbols, entries).residual == 0
