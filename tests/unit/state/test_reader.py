import datetime as dt
import json
import os
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from domain.account import Position
from domain.errors import StateError
from domain.ids import ClientOrderId, Symbol
from domain.orders import OrderType
from domain.signals import Action
from domain.trading_state import TradingState
from state.breakers import BreakerRecord, Breakers
from state.costs import Costs
from state.decisions import Decisions
from state.equity import EquityCurve
from state.facts import Facts
from state.files import DATABASE
from state.incidents import Incidents
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.reader import Reader
from state.reports import Reports
from state.risk_state import RiskState
from state.runs import Runs, RunState
from state.store import Store
from tests.support.state_builders import (
    AAPL,
    SESSION,
    START,
    a_broker_order,
    a_fill,
    approved,
    denied,
    open_store,
)

HOUR = dt.timedelta(hours=1)
NEXT_DAY = SESSION + dt.timedelta(days=1)

CONTRACT_STATUS = {
    "mode",
    "trading_state",
    "kill",
    "session",
    "equity",
    "high_water_mark",
    "drawdown_pct",
    "daily_pnl",
    "daily_pnl_pct",
    "positions",
    "open_orders",
    "unknown_orders",
    "locked_symbols",
    "breakers",
    "forecast_source",
    "reconciled_at",
    "last_run",
}
CONTRACT_ORDER = {
    "client_order_id",
    "broker_order_id",
    "symbol",
    "side",
    "quantity",
    "limit_price",
    "time_in_force",
    "state",
    "filled_quantity",
    "filled_avg_price",
    "strategy",
    "session_date",
    "created_at",
}


def a_day(store: Store) -> None:
    """Write a small trading day."""
    from tests.unit.state.test_decisions import a_combined, a_signal, a_view

    journal, ledger, risk = Journal(store), Ledger(store), RiskState(store)
    store.bind_account("PA1")
    Facts(store).put(
        mode="paper",
        session_date=SESSION.isoformat(),
        session_phase="open",
        reconciled_at="2022-12-14T13:00:00.000000+00:00",
        forecast_source="local",
    )
    run_id = Runs(store).begin(SESSION, "premarket", START)
    assert run_id is not None
    Decisions(store).record(run_id, a_view(), [a_signal()], [a_combined()])
    journal.record_plan(
        [
            approved("ob-1"),
            denied("ob-2"),
            approved("ob-3", symbol=Symbol("MSFT"), order_type=OrderType.MARKET, limit_price=None),
        ],
        run_id,
    )
    journal.mark_sending(ClientOrderId("ob-1"), ClientOrderId("ob-3"))
    journal.apply_order(a_broker_order())
    journal.mark_unknown(ClientOrderId("ob-3"), "timeout")
    ledger.apply_fill(a_fill(quantity="60", price="143"), origin="stream")
    ledger.lock(Symbol("MSFT"), "ledger 0, broker 3")
    risk.record_equity(Decimal("100000"), START, session_date=SESSION)
    risk.record_equity(Decimal("98000"), START + HOUR, session_date=SESSION)
    EquityCurve(store).record(
        START + HOUR,
        session_date=SESSION,
        equity=Decimal("98000"),
        cash=Decimal("91420"),
        positions=[
            Position(
                symbol=AAPL,
                quantity=Decimal(60),
                avg_entry_price=Decimal(143),
                market_price=Decimal("144.5"),
            )
        ],
    )
    Breakers(store).put(
        BreakerRecord(
            name="forecasts.remote", state="open", failures=3, opened_at=START, updated_at=START
        )
    )
    Costs(store).book("gpu", Decimal("0.10"), START, "one call")
    Costs(store).book("gpu", Decimal("0.20"), START + dt.timedelta(days=1))
    Incidents(store).record("break", "ledger 0, broker 3", START, Symbol("MSFT"))
    Reports(store).record(
        SESSION, is_reconciled=True, residual=Decimal(0), digest="aa", at=START + HOUR
    )
    Runs(store).finish(run_id, RunState.DONE, "", START + HOUR)


@pytest.fixture
def day(store: Store, directory: Path) -> Reader:
    a_day(store)
    return Reader(directory)


def test_status_has_every_field_of_the_contract(day: Reader) -> None:
    with day:
        status = day.status()

    assert status.keys() >= CONTRACT_STATUS
    json.dumps(status)
    assert status["mode"] == "paper"
    assert status["trading_state"] == "ACTIVE"
    assert status["kill"] == {"engaged": False, "reason": None, "at": None}
    assert status["is_shorting_forbidden_by_kill"] is False
    assert status["session"] == {"date": "2022-12-14", "phase": "open"}
    assert (status["equity"], status["high_water_mark"]) == ("98000", "100000")
    assert (status["drawdown_pct"], status["daily_pnl"], status["daily_pnl_pct"]) == (
        2.0,
        "-2000",
        -2.0,
    )
    assert (status["positions"], status["open_orders"], status["unknown_orders"]) == (1, 2, 1)
    assert status["locked_symbols"] == ["MSFT"]
    assert status["breakers"] == {"forecasts.remote": "open"}
    assert status["forecast_source"] == "local"
    assert status["last_run"] == {
        "session_date": "2022-12-14",
        "kind": "premarket",
        "state": "DONE",
        "reason": "",
    }


def test_status_of_a_fresh_store_has_no_figures(store: Store, directory: Path) -> None:
    with Reader(directory) as reader:
        status = reader.status()

    assert status.keys() >= CONTRACT_STATUS
    for field in ("mode", "equity", "drawdown_pct", "daily_pnl", "daily_pnl_pct", "last_run"):
        assert status[field] is None


def test_killed_means_halted_in_file_and_in_row(store: Store, directory: Path) -> None:
    latch = Latch(directory)
    armed = latch.path.read_bytes()
    latch.engage("by hand", START)
    with Reader(directory) as reader:
        status = reader.status()
        assert status["trading_state"] == "HALTED"
        assert status["kill"] == {"engaged": True, "reason": "by hand", "at": START.isoformat()}

        # The file is lost its memory; the row has not.
        store.sync_latch(latch)
        latch.path.write_bytes(armed)
        assert reader.status()["kill"]["engaged"]
        assert reader.status()["kill"]["reason"] == "by hand"

        latch.engage("again", START)
        latch.release("checked", START)
        assert not reader.status()["kill"]["engaged"]


def test_remembered_trading_state_is_told(store: Store, directory: Path) -> None:
    RiskState(store).set_trading_state(TradingState.REDUCING, "daily loss")
    with Reader(directory) as reader:
        assert reader.status()["trading_state"] == "REDUCING"


def test_orders_have_every_field_of_the_contract(day: Reader) -> None:
    with day:
        orders = {order["client_order_id"]: order for order in day.orders(SESSION)}
        assert day.orders(NEXT_DAY) == []
        assert len(day.orders()) == 3

    assert orders.keys() == {"ob-1", "ob-2", "ob-3"}
    first = orders["ob-1"]
    assert first.keys() >= CONTRACT_ORDER
    assert (first["quantity"], first["limit_price"], first["filled_quantity"]) == (
        "100",
        "143.21",
        "60",
    )
    assert (first["filled_avg_price"], first["state"], first["is_external"]) == (
        "143",
        "live",
        False,
    )
    assert orders["ob-3"]["limit_price"] is None


def test_fills_have_every_field_of_the_contract(day: Reader) -> None:
    with day:
        (fill,) = day.fills(SESSION)
        assert day.fills(NEXT_DAY) == []
        assert day.fills() == [fill]

    assert fill.keys() >= {
        "execution_id",
        "client_order_id",
        "symbol",
        "side",
        "quantity",
        "price",
        "at",
    }
    assert (fill["quantity"], fill["price"], fill["at"]) == (
        "60",
        "143",
        "2022-12-14T15:00:00.000000+00:00",
    )


def test_fill_without_an_order_belongs_to_its_day(store: Store, directory: Path) -> None:
    Ledger(store).apply_fill(a_fill(), origin="stream")
    with Reader(directory) as reader:
        assert len(reader.fills(SESSION)) == 1
        assert reader.fills(NEXT_DAY) == []


def test_positions_are_valued_at_the_last_mark_or_at_cost(day: Reader, store: Store) -> None:
    Ledger(store).adopt_position(Symbol("TSLA"), Decimal(-2), Decimal("150.25"), "found")
    with day:
        positions = day.positions()

    assert positions[0] == {
        "symbol": "AAPL",
        "quantity": "60",
        "avg_entry_price": "143",
        "market_price": "144.5",
        "marked_at": "2022-12-14T14:00:00.000000+00:00",
        "market_value": "8670",
        "unrealized_pnl": "90",
        "realized_pnl": "0",
        "locked": None,
    }
    assert positions[1]["symbol"] == "TSLA"
    assert (positions[1]["market_value"], positions[1]["unrealized_pnl"]) == ("-300.5", "0")


def test_forecasts_signals_and_sentiment_are_those_of_the_last_session(day: Reader) -> None:
    with day:
        (forecast,) = day.forecasts()
        (signal,) = day.signals()
        (score,) = day.sentiment()
        assert day.forecasts(NEXT_DAY) == []

    assert (forecast["source"], forecast["model_hash"], forecast["confidence"]) == (
        "local",
        "abc",
        0.69,
    )
    assert forecast["quantiles"] == [-0.02, 0.01, 0.04]
    assert (signal["action"], signal["target_quantity"]) == (Action.BUY, "29")
    assert [part["strategy"] for part in signal["parts"]] == ["momentum"]
    assert score["label"] == "BULLISH"


def test_denied_orders_name_the_limits_that_said_no(day: Reader) -> None:
    with day:
        (order,) = day.denied(SESSION)

    assert order["client_order_id"] == "ob-2"
    assert order["checks"] == [
        {
            "limit": "price_collar",
            "figure": "7",
            "bound": "5",
            "detail": "too far",
            "passed": False,
        }
    ]


def test_decision_tells_the_whole_story_of_a_symbol(day: Reader) -> None:
    with day:
        story = day.decision("AAPL", SESSION)
        assert day.decision("AAPL") == story

    assert story is not None
    json.dumps(story)
    decision = story["decision"]
    assert decision["data_cutoff"] == "2022-12-13"
    assert decision["forecast"]["source"] == "local"
    assert decision["sentiment"]["score"] == 0.2
    assert decision["signals"][0]["strategy"] == "momentum"
    assert decision["combined"]["kelly_weight"] == 0.042
    assert decision["run"]["kind"] == "premarket"
    assert [order["client_order_id"] for order in story["orders"]] == ["ob-1", "ob-2"]
    assert len(story["orders"][1]["checks"]) == 2
    assert story["orders"][0]["fills"][0]["quantity"] == "60"
    assert story["locked"] is None


def test_excluded_symbol_tells_why(day: Reader) -> None:
    with day:
        story = day.decision("MSFT")

    assert story is not None
    assert story["decision"]["excluded"] == "bars are 4 days old"
    assert story["decision"]["forecast"] is None
    assert story["locked"] == "ledger 0, broker 3"


def test_order_without_a_decision_is_told_too(store: Store, directory: Path) -> None:
    Journal(store).adopt_external(a_broker_order("web-1"))
    with Reader(directory) as reader:
        story = reader.decision("AAPL")

    assert story is not None
    assert story["decision"] is None
    assert story["orders"][0]["checks"] == []


def test_symbol_that_nobody_looked_at_has_no_story(day: Reader) -> None:
    with day:
        assert day.decision("ZZZ") is None
        assert day.decision("ZZZ", SESSION) is None


def test_lists_come_back(day: Reader) -> None:
    with day:
        assert [run["state"] for run in day.runs()] == ["DONE"]
        assert [cost["amount_usd"] for cost in day.costs()] == ["0.1", "0.2"]
        assert [cost["amount_usd"] for cost in day.costs(SESSION, SESSION)] == ["0.1"]
        assert day.incidents()[0]["symbol"] == "MSFT"
        assert day.equity_curve()[0]["equity"] == "98000"
        assert day.equity_curve(START + 2 * HOUR) == []
        assert day.position_curve(START, START + 2 * HOUR)[0]["price"] == "144.5"
        assert day.reports()[0]["is_reconciled"] is True
        assert [entry["kind"] for entry in day.entries()] == ["fill"]
        assert day.entries(START + 9 * HOUR) == []


def test_missing_database_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="openbell demo first"):
        Reader(tmp_path)


def test_reader_cannot_write(day: Reader) -> None:
    with day, pytest.raises(sqlite3.OperationalError, match="readonly"):
        day._connection.execute("DELETE FROM costs")


def test_closed_store_is_read_in_a_directory_that_allows_no_writing(directory: Path) -> None:
    store = open_store(directory)
    a_day(store)
    store.close()
    assert not (directory / f"{DATABASE}-wal").exists()
    before = sorted(os.listdir(directory))

    with Reader(directory) as reader:
        assert reader.status()["positions"] == 1
    assert set(os.listdir(directory)) >= set(before)


@pytest.mark.parametrize(("change", "text"), [(1, "install the newer"), (-1, "start openbell run")])
def test_other_schema_is_refused(directory: Path, change: int, text: str) -> None:
    open_store(directory).close()
    connection = sqlite3.connect(directory / DATABASE)
    connection.execute("UPDATE migrations SET number = number + 1000")
    connection.execute("UPDATE migrations SET number = number - 1000 + ?", (change,))
    connection.commit()
    connection.close()

    with pytest.raises(StateError, match=text):
        Reader(directory)


def test_file_that_is_no_database_is_refused(directory: Path) -> None:
    directory.mkdir()
    (directory / DATABASE).write_bytes(b"nonsense" * 1000)

    with pytest.raises(StateError, match="cannot be used"):
        Reader(directory)


class UnopenableConnection(sqlite3.Connection):
    """A database in a folder that does not let SQLite create its side files."""

    def execute(self, *_: object) -> sqlite3.Cursor:
        raise sqlite3.OperationalError("unable to open database file")


def only_immutable(monkeypatch: pytest.MonkeyPatch) -> None:
    from state import database, reader

    real = database.connect_read_only

    def connect(path: Path, *, is_immutable: bool = False) -> sqlite3.Connection:
        if is_immutable:
            return real(path, is_immutable=True)
        return sqlite3.connect(":memory:", factory=UnopenableConnection)

    monkeypatch.setattr(reader, "connect_read_only", connect)


def test_folder_that_allows_no_side_files_is_read_all_the_same(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(directory).close()
    only_immutable(monkeypatch)

    with Reader(directory) as reader:
        assert reader.status()["open_orders"] == 0


def test_unreadable_database_beside_a_wal_is_refused(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.bind_account("PA1")
    only_immutable(monkeypatch)

    with pytest.raises(StateError, match="unable to open database file"):
        Reader(directory)


def test_reader_loads_nothing_heavy(directory: Path) -> None:
    open_store(directory).close()
    program = (
        "import sys, pathlib; from state.reader import Reader;"
        "Reader(pathlib.Path(sys.argv[1])).status();"
        "heavy = {'pandas', 'numpy', 'sqlite_utils', 'pydantic', 'asyncio'} & set(sys.modules);"
        "print(sorted(heavy)); sys.exit(1 if heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
