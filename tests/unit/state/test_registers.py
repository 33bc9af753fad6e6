import datetime as dt
import os
from decimal import Decimal
from pathlib import Path

import pytest

from domain.account import Position
from domain.clock import ManualClock
from domain.errors import DataError, StateError, StorageError
from domain.ids import Symbol
from domain.trading_state import TradingState
from state.breakers import BreakerRecord, Breakers
from state.costs import Costs
from state.equity import EquityCurve
from state.facts import Facts
from state.incidents import Incidents
from state.pause import Pause
from state.reports import Reports
from state.risk_state import RiskState
from state.runs import Runs, RunState
from state.store import Store
from tests.support.state_builders import AAPL, SESSION, START, open_store

HOUR = dt.timedelta(hours=1)
DAY = (START, START + dt.timedelta(days=1))


def test_k13_high_water_mark_survives_a_restart_and_never_falls(directory: Path) -> None:
    store = open_store(directory)
    risk = RiskState(store)
    assert risk.high_water_mark() is None
    for equity in ("100000", "103000.55", "99000"):
        risk.record_equity(Decimal(equity), START, session_date=SESSION)
    store.close()

    again = open_store(directory)
    assert RiskState(again).high_water_mark() == Decimal("103000.55")
    again.close()


def test_first_equity_of_a_session_is_its_start(store: Store) -> None:
    risk = RiskState(store)
    assert risk.session_start_equity(SESSION) is None
    risk.record_equity(Decimal("100000"), START, session_date=SESSION)
    risk.record_equity(Decimal("99000"), START + HOUR, session_date=SESSION)

    assert risk.session_start_equity(SESSION) == 100000


def test_equity_that_holds_unexplained_cash_begins_a_session_and_raises_no_mark(
    store: Store,
) -> None:
    risk = RiskState(store)
    risk.record_equity(Decimal("100000"), START, session_date=SESSION)
    tomorrow = SESSION + dt.timedelta(days=1)

    for may_begin in (False, True):
        risk.record_equity(
            Decimal("107500"),
            START,
            session_date=tomorrow,
            may_begin=may_begin,
            may_raise_mark=False,
        )
        assert (risk.session_start_equity(tomorrow) is not None) is may_begin

    assert risk.high_water_mark() == 100000


def test_k12_only_money_booked_after_the_first_equity_of_a_session_is_a_flow_of_it(
    store: Store, clock: ManualClock
) -> None:
    risk = RiskState(store)
    risk.record_cash_flow(Decimal(7500), "in the first equity already")
    assert risk.flows_since_start(SESSION) == 0

    clock.advance(dt.timedelta(minutes=1))
    risk.record_equity(Decimal("107500"), clock.now(), session_date=SESSION)
    clock.advance(dt.timedelta(minutes=1))
    risk.record_cash_flow(Decimal(-2000), "during the session")
    assert risk.flows_since_start(SESSION) == -2000


def test_a_flow_is_booked_after_the_first_equity_also_where_the_clock_was_set_back(
    store: Store, clock: ManualClock
) -> None:
    # Found as seed 44000911 of the simulation: a withdrawal was a "daily loss" of 6.5 %.
    risk = RiskState(store)
    risk.record_equity(Decimal(100_000), clock.now(), session_date=SESSION)
    clock.advance(-2 * HOUR)
    risk.record_cash_flow(Decimal(-7500), "withdrawn")
    assert risk.flows_since_start(SESSION) == -7500


def test_a_session_that_begins_by_a_clock_set_back_holds_the_flows_of_before(
    store: Store, clock: ManualClock
) -> None:
    # Found as seed 53000963: a day behind, a deposit that was in its first equity was a "loss".
    risk = RiskState(store)
    risk.record_equity(Decimal(100_000), clock.now(), session_date=SESSION)
    clock.advance(-24 * HOUR)
    yesterday = SESSION - dt.timedelta(days=1)
    risk.record_cash_flow(Decimal(7500), "paid in")
    risk.record_equity(Decimal(107_500), clock.now(), session_date=yesterday)

    assert risk.flows_since_start(yesterday) == 0
    assert risk.flows_since_start(SESSION) == 7500
    risk.record_cash_flow(Decimal(-500), "withdrawn")
    assert risk.flows_since_start(yesterday) == -500
    assert risk.flows_since_start(SESSION) == 7000


def test_an_equity_that_is_the_mark_already_writes_nothing(store: Store) -> None:
    risk = RiskState(store)
    risk.record_equity(Decimal(100_000), START, session_date=SESSION)
    written = store.rows("SELECT max(seq) FROM events")[0][0]

    for _ in range(3):
        risk.record_equity(Decimal("100000.00"), START + HOUR, session_date=SESSION)

    assert store.rows("SELECT max(seq) FROM events")[0][0] == written


@pytest.mark.parametrize("equity", ["NaN", "Infinity", "0", "-1", "sNaN"])
def test_k11_equity_that_is_no_equity_changes_nothing(store: Store, equity: str) -> None:
    risk = RiskState(store)
    risk.record_equity(Decimal("100000"), START, session_date=SESSION)

    with pytest.raises(DataError, match="ask the broker again"):
        risk.record_equity(Decimal(equity), START, session_date=SESSION)
    assert risk.high_water_mark() == 100000


def test_k12_cash_flow_moves_the_mark_once(store: Store) -> None:
    risk = RiskState(store)
    assert risk.record_cash_flow(Decimal(500), "before the first equity")
    risk.record_equity(Decimal("100000"), START, session_date=SESSION)

    assert risk.record_cash_flow(Decimal("-2000"), "a-1")
    assert not risk.record_cash_flow(Decimal("-2000"), "a-1")
    assert risk.high_water_mark() == 98000
    assert risk.record_cash_flow(Decimal("-200000"), "a-2")
    assert risk.high_water_mark() == 0
    with pytest.raises(DataError):
        risk.record_cash_flow(Decimal("NaN"), "a-3")


def test_trading_state_is_remembered_with_its_reason(store: Store) -> None:
    risk = RiskState(store)
    assert risk.trading_state() is TradingState.ACTIVE
    risk.set_trading_state(TradingState.REDUCING, "daily loss 1.6 %")
    before = store.rows("SELECT max(seq) FROM events")[0][0]
    risk.set_trading_state(TradingState.REDUCING, "daily loss 1.6 %")

    assert risk.trading_state() is TradingState.REDUCING
    reason = store.rows("SELECT trading_state_reason FROM risk_state")[0][0]
    assert reason == "daily loss 1.6 %"
    assert store.rows("SELECT max(seq) FROM events")[0][0] == before


def test_run_is_claimed_once_also_after_a_crash(directory: Path) -> None:
    store = open_store(directory)
    run_id = Runs(store).begin(SESSION, "premarket", START)
    assert run_id == "2022-12-14-premarket"
    assert Runs(store).begin(SESSION, "premarket", START) is None
    store.close()

    again = open_store(directory)
    runs = Runs(again)
    assert runs.begin(SESSION, "premarket", START + HOUR) is None
    assert [run.run_id for run in runs.unfinished()] == [run_id]
    assert runs.finish(run_id, RunState.DONE, "", START + HOUR)
    assert not runs.finish(run_id, RunState.FAILED, "late", START + HOUR)
    assert runs.unfinished() == ()
    record = runs.get(SESSION, "premarket")
    assert record is not None
    assert (record.state, record.started_at, record.finished_at) == (
        RunState.DONE,
        START,
        START + HOUR,
    )
    assert runs.get(SESSION, "eod") is None
    again.close()


def test_run_cannot_finish_before_it_began_or_as_running(store: Store) -> None:
    runs = Runs(store)
    with pytest.raises(StateError, match="never begun"):
        runs.finish("nothing", RunState.DONE, "", START)
    with pytest.raises(StateError, match="cannot finish as RUNNING"):
        runs.finish("nothing", RunState.RUNNING, "", START)


def test_incidents_are_numbered(store: Store) -> None:
    incidents = Incidents(store)

    first = incidents.record("break", "ledger 100, broker 60", START, AAPL)
    second = incidents.record("stream", "connection lost", START)

    assert second == first + 1


def test_breaker_is_remembered(store: Store) -> None:
    breakers = Breakers(store)
    record = BreakerRecord(
        name="forecasts.remote",
        state="open",
        failures=3,
        opened_at=START,
        updated_at=START,
        reason="connection refused",
    )
    breakers.put(record)
    breakers.put(
        BreakerRecord(name="a", state="closed", failures=0, opened_at=None, updated_at=START)
    )

    assert breakers.get("forecasts.remote") == record
    assert breakers.get("nothing") is None
    assert list(breakers.all()) == ["a", "forecasts.remote"]


def test_costs_add_up_exactly_by_provider_and_period(store: Store) -> None:
    costs = Costs(store)
    for provider, amount, at in (
        ("gpu", "0.1", START),
        ("gpu", "0.2", START + HOUR),
        ("cloudflare", "0.0000001", START),
        ("gpu", "5", START + dt.timedelta(days=1)),
    ):
        costs.book(provider, Decimal(amount), at)

    assert costs.spent("gpu", *DAY) == Decimal("0.3")
    assert costs.spent(None, *DAY) == Decimal("0.3000001")


@pytest.mark.parametrize("amount", ["-0.01", "NaN", "Infinity"])
def test_impossible_cost_is_refused(store: Store, amount: str) -> None:
    with pytest.raises(DataError, match="0 or above"):
        Costs(store).book("gpu", Decimal(amount), START)


def test_equity_point_replaces_that_of_the_same_moment(store: Store) -> None:
    curve = EquityCurve(store)
    held = Position(
        symbol=AAPL, quantity=Decimal(10), avg_entry_price=Decimal(140), market_price=Decimal(143)
    )
    unmarked = Position(
        symbol=Symbol("MSFT"), quantity=Decimal(1), avg_entry_price=Decimal(250), market_price=None
    )
    curve.record(START, session_date=SESSION, equity=Decimal(100), cash=Decimal(90))
    curve.record(
        START,
        session_date=SESSION,
        equity=Decimal("101.5"),
        cash=Decimal(90),
        positions=[unmarked, held],
    )

    assert curve.last() == Decimal("101.5")
    points = store.rows("SELECT symbol, price FROM position_points ORDER BY symbol")
    assert [tuple(row) for row in points] == [("AAPL", "143"), ("MSFT", "250")]
    assert [tuple(row) for row in store.rows("SELECT symbol, price FROM marks")] == [
        ("AAPL", "143")
    ]


def test_point_that_is_not_a_number_is_refused(store: Store) -> None:
    with pytest.raises(DataError):
        EquityCurve(store).record(
            START, session_date=SESSION, equity=Decimal("NaN"), cash=Decimal(1)
        )


def test_report_gets_a_new_revision_only_when_it_changed(store: Store) -> None:
    reports = Reports(store)
    assert reports.latest(SESSION) is None

    def issue(digest: str, *, is_reconciled: bool, residual: str) -> int:
        return reports.record(
            SESSION,
            is_reconciled=is_reconciled,
            residual=Decimal(residual),
            digest=digest,
            at=START,
        )

    assert issue("aa", is_reconciled=False, residual="0.17") == 1
    assert issue("aa", is_reconciled=False, residual="0.17") == 1
    assert issue("bb", is_reconciled=True, residual="0") == 2
    latest = reports.latest(SESSION)
    assert latest is not None
    assert (latest.revision, latest.is_reconciled, latest.residual) == (2, True, 0)


def test_facts_are_remembered_by_name(store: Store) -> None:
    facts = Facts(store)
    facts.put(mode="paper", session_phase="open")
    facts.put(session_phase="closed")

    assert (facts.get("mode"), facts.get("session_phase"), facts.get("x")) == (
        "paper",
        "closed",
        None,
    )


def test_pause_is_a_file_that_says_why(tmp_path: Path) -> None:
    pause = Pause(tmp_path)
    assert pause.reason is None
    pause.set("earnings")
    assert pause.reason == "earnings"
    pause.set("")
    assert pause.reason == "no reason given"
    assert pause.clear()
    assert not pause.clear()


def test_a_pause_that_was_answered_is_on_the_disk_and_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A marker that a power loss takes away lets the next start enter.
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    Pause(tmp_path).set("lunch")

    assert synced == [f"PAUSE.{os.getpid()}", tmp_path.name]
    assert os.listdir(tmp_path) == ["PAUSE"]
    assert (tmp_path / "PAUSE").stat().st_mode & 0o777 == 0o600


def test_a_pause_takes_any_reason_and_says_it_on_one_line(tmp_path: Path) -> None:
    pause = Pause(tmp_path)
    pause.set("lunch\nat the caf\udce9")
    assert pause.reason == "lunch at the caf"
    pause.path.write_bytes(b"caf\xe9")
    assert "cannot be read" in str(pause.reason)


def test_unreadable_pause_pauses_and_a_refusing_disk_is_told(tmp_path: Path) -> None:
    pause = Pause(tmp_path)
    (tmp_path / "PAUSE").mkdir()

    assert "cannot be read" in str(pause.reason)
    with pytest.raises(StorageError, match="openbell kill"):
        pause.set("x")
    with pytest.raises(StorageError, match="could not be removed"):
        pause.clear()
    assert os.listdir(tmp_path) == ["PAUSE"]
