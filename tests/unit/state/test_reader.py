import dataclasses
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

from domain.account import ActivityKind
from domain.ids import BrokerOrderId, Symbol
from domain.orders import Side
from domain.signals import Action
from domain.trading_state import TradingState
from state.decisions import Decisions
from state.equity import EquityCurve
from state.facts import Facts
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.pause import Pause
from state.reader import Reader
from state.risk_state import RiskState
from state.store import Store
from tests.support.recorded_day import HOUR, a_combined, a_signal, a_view
from tests.support.state_builders import (
    SESSION,
    START,
    a_broker_order,
    a_fill,
    an_activity,
)

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


def test_status_has_every_field_of_the_contract(day: Reader) -> None:
    with day:
        status = day.status()

    assert status.keys() >= CONTRACT_STATUS
    json.dumps(status)
    assert status["mode"] == "paper"
    assert status["trading_state"] == "ACTIVE"
    assert status["kill"] == {"engaged": False, "reason": None, "at": None}
    assert status["is_shorting_forbidden_by_kill"] is False
    assert status["are_positions_closed_by_kill"] is False
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


def test_a_pause_that_ended_is_not_told_until_the_next_look(store: Store, directory: Path) -> None:
    RiskState(store).set_trading_state(TradingState.REDUCING, "paused: lunch")
    with Reader(directory) as reader:
        status = reader.status()
        assert (status["trading_state"], status["trading_state_reason"]) == ("ACTIVE", "")

        RiskState(store).set_trading_state(TradingState.REDUCING, "daily loss 1.6 %")
        assert reader.status()["trading_state"] == "REDUCING"


def test_a_doubt_about_the_market_is_told_at_once(store: Store, directory: Path) -> None:
    Facts(store).put(market_check="agrees")
    with Reader(directory) as reader:
        assert reader.status()["trading_state"] == "ACTIVE"

        Facts(store).put(market_check="the broker closes at 13:00, not 16:00")
        status = reader.status()
        assert status["trading_state"] == "REDUCING"
        assert status["trading_state_reason"] == "the broker closes at 13:00, not 16:00"


def test_a_pause_is_told_at_once_whatever_was_remembered(store: Store, directory: Path) -> None:
    Pause(directory).set("lunch")
    with Reader(directory) as reader:
        status = reader.status()
        assert (status["trading_state"], status["paused"]) == ("REDUCING", "lunch")
        assert status["trading_state_reason"] == "paused: lunch"

        RiskState(store).set_trading_state(TradingState.HALTED, "daily loss")
        status = reader.status()
        assert status["trading_state"] == "HALTED"
        assert status["trading_state_reason"] == "daily loss; paused: lunch"

        # Remembered by a look and still so: it is told once.
        RiskState(store).set_trading_state(TradingState.REDUCING, "paused: lunch")
        assert reader.status()["trading_state_reason"] == "paused: lunch"
        Pause(directory).set("dinner")
        assert reader.status()["trading_state_reason"] == "paused: dinner"
        Pause(directory).clear()
        assert reader.status()["paused"] is None


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


def test_the_newest_fills_are_told_oldest_first(store: Store, directory: Path) -> None:
    for number in range(1, 4):
        fill = a_fill(f"x{number}")
        at = fill.at + dt.timedelta(minutes=number)
        order = BrokerOrderId(f"b{number}")
        Ledger(store).apply_fill(
            dataclasses.replace(fill, at=at, broker_order_id=order), origin="stream"
        )

    with Reader(directory) as reader:
        assert [fill["execution_id"] for fill in reader.fills(newest=2)] == ["x2", "x3"]
        assert len(reader.fills()) == 3


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
    assert positions[1]["market_value"] == "-300.5"
    # 0 would say that its price was looked at.
    assert positions[1]["unrealized_pnl"] is None


def test_a_price_from_before_a_split_values_no_new_share(day: Reader, store: Store) -> None:
    split = an_activity(
        ActivityKind.SPLIT, at=START + 2 * HOUR, symbol=Symbol("AAPL"), quantity=Decimal(180)
    )
    Ledger(store).apply_activity(split)
    with day:
        (position,) = day.positions()

    assert (position["quantity"], position["market_price"]) == ("240", None)
    assert (position["market_value"], position["unrealized_pnl"]) == ("8580", None)


def test_a_holding_that_one_answer_of_the_broker_lacks_keeps_its_price(
    day: Reader, store: Store
) -> None:
    EquityCurve(store).record(
        START + 2 * HOUR, session_date=SESSION, equity=Decimal(98120), cash=Decimal(89420)
    )
    with day:
        (position,) = day.positions()

    assert position["market_price"] is not None
    assert position["unrealized_pnl"] is not None


def test_what_is_bought_again_is_not_valued_at_the_price_of_the_holding_before(
    day: Reader, store: Store
) -> None:
    def traded(number: int, side: Side, price: str) -> None:
        execution = a_fill(f"y{number}", quantity="60", price=price, side=side)
        order = BrokerOrderId(f"y{number}")
        Ledger(store).apply_fill(
            dataclasses.replace(execution, broker_order_id=order), origin="stream"
        )

    traded(1, Side.SELL, "145")
    EquityCurve(store).record(
        START + 2 * HOUR, session_date=SESSION, equity=Decimal(98120), cash=Decimal(98120)
    )
    traded(2, Side.BUY, "200")
    with day:
        (position,) = day.positions()

    assert (position["market_value"], position["unrealized_pnl"]) == ("12000", None)


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


def test_a_session_that_was_decided_twice_is_told_by_its_last_decision(store: Store) -> None:
    # Restarted between pre-market and submit: the second run decided anew.
    decisions = Decisions(store)
    later = a_view(as_of=START + HOUR)
    for run, view, target in (("premarket", a_view(), "29"), ("submit", later, "31")):
        wished = dataclasses.replace(a_combined(), target_quantity=Decimal(target))
        decisions.record(f"{SESSION}-{run}", view, [a_signal()], [wished])

    with Reader(store.directory) as reader:
        (signal,) = reader.signals(SESSION)
        told = [reader.forecasts(SESSION), reader.sentiment(SESSION), signal["parts"]]

    assert signal["target_quantity"] == "31"
    assert [len(rows) for rows in told] == [1, 1, 1]


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
