"""A small trading day in the books: what was seen, decided, sent, executed and written down."""

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

from domain.account import Account, Asset, Position
from domain.decisions import CombinedSignal
from domain.forecasts import Forecast, ForecastSource
from domain.ids import ClientOrderId, Symbol
from domain.market import Bar, MarketView, Session
from domain.orders import OrderType
from domain.signals import Action, SentimentLabel, SentimentScore, Signal
from state.breakers import BreakerRecord, Breakers
from state.costs import Costs
from state.decisions import Decisions
from state.equity import EquityCurve
from state.facts import Facts
from state.incidents import Incidents
from state.journal import Journal
from state.ledger import Ledger
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
)

HOUR = dt.timedelta(hours=1)
MSFT = Symbol("MSFT")


def a_view(**changes: Any) -> MarketView:
    bar = Bar(symbol=AAPL, at=START - dt.timedelta(days=1), close=143.21)
    view = MarketView(
        as_of=START,
        session=Session(
            date=SESSION,
            open=START + dt.timedelta(hours=1, minutes=30),
            close=START + dt.timedelta(hours=8),
            is_half_day=False,
        ),
        account=Account(
            account_number="PA1",
            status="ACTIVE",
            equity=Decimal("100000"),
            last_equity=Decimal("100000"),
            cash=Decimal("100000"),
            buying_power=Decimal("200000"),
            is_trading_blocked=False,
            is_suspended_by_user=False,
        ),
        history={AAPL: (bar,)},
        forecasts={
            AAPL: Forecast(
                symbol=AAPL,
                as_of=START,
                horizon=5,
                levels=(0.1, 0.5, 0.9),
                quantiles=(-0.02, 0.01, 0.04),
                mean=0.01,
                volatility=0.02,
                probability_up=0.69,
                source=ForecastSource.LOCAL,
                model="lstm",
                model_hash="abc",
                data_cutoff=dt.date(2022, 12, 13),
            )
        },
        sentiment={
            AAPL: SentimentScore(
                symbol=AAPL,
                score=0.2,
                label=SentimentLabel.BULLISH,
                confidence=0.6,
                source="lexicon",
                headlines=3,
                newest_at=None,
                as_of=START,
            )
        },
        positions={
            AAPL: Position(
                symbol=AAPL,
                quantity=Decimal(10),
                avg_entry_price=Decimal(140),
                market_price=Decimal("143.21"),
            )
        },
        assets={
            AAPL: Asset(symbol=AAPL, is_tradable=True, is_shortable=True, is_fractionable=True)
        },
        excluded={MSFT: "bars are 4 days old"},
    )
    return dataclasses.replace(view, **changes)


def a_signal(**changes: Any) -> Signal:
    signal = Signal(
        symbol=AAPL,
        strategy="momentum",
        action=Action.BUY,
        strength=0.5,
        confidence=0.69,
        expected_return=0.01,
        volatility=0.02,
        horizon=5,
        reason="forecast up",
    )
    return dataclasses.replace(signal, **changes)


def a_combined() -> CombinedSignal:
    return CombinedSignal(
        symbol=AAPL,
        action=Action.BUY,
        strength=0.5,
        confidence=0.69,
        expected_return=0.01,
        volatility=0.02,
        horizon=5,
        sentiment_tilt=0.02,
        kelly_weight=0.042,
        target_quantity=Decimal(29),
        reason="one strategy",
    )


def a_day(store: Store) -> None:
    """Write a small trading day."""
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
            approved("ob-3", symbol=MSFT, order_type=OrderType.MARKET, limit_price=None),
        ],
        run_id,
    )
    journal.mark_sending(ClientOrderId("ob-1"), ClientOrderId("ob-3"))
    journal.apply_order(a_broker_order())
    journal.mark_unknown(ClientOrderId("ob-3"), "timeout")
    ledger.apply_fill(a_fill(quantity="60", price="143"), origin="stream")
    ledger.lock(MSFT, "ledger 0, broker 3")
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
    Incidents(store).record("break", "ledger 0, broker 3", START, MSFT)
    Reports(store).record(
        SESSION, is_reconciled=True, residual=Decimal(0), digest="aa", at=START + HOUR
    )
    Runs(store).finish(run_id, RunState.DONE, "", START + HOUR)
