"""Builders of what sizing and the gate work on; every argument has a healthy default."""

import dataclasses
import datetime as dt
import math
import random
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from domain.account import Account, Asset, Position
from domain.decisions import CombinedSignal
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol, client_order_id
from domain.market import Bar, MarketView, Session
from domain.orders import OrderRequest, OrderType, Side, TimeInForce
from domain.signals import Action
from domain.trading_state import TradingState
from risk.context import GateContext, Mark, OrderWindow
from risk.reservations import Reservation
from risk.settings import RiskLimits

AAA, BBB, CCC = Symbol("AAA"), Symbol("BBB"), Symbol("CCC")
DATA_DATE = dt.date(2022, 12, 13)
SESSION_DATE = dt.date(2022, 12, 14)
NOW = dt.datetime(2022, 12, 14, 13, 30, tzinfo=dt.UTC)
OPEN = dt.datetime(2022, 12, 14, 14, 30, tzinfo=dt.UTC)
CLOSE = dt.datetime(2022, 12, 14, 21, 0, tzinfo=dt.UTC)


def account(equity: str = "100000", buying_power: str = "200000") -> Account:
    return Account(
        account_number="PA3TEST01234",
        status="ACTIVE",
        equity=Decimal(equity),
        last_equity=Decimal(equity),
        cash=Decimal(equity),
        buying_power=Decimal(buying_power),
        is_trading_blocked=False,
        is_suspended_by_user=False,
    )


def asset(symbol: Symbol = AAA, **changes: Any) -> Asset:
    known = {"is_tradable": True, "is_shortable": True, "is_fractionable": True}
    return Asset(symbol=symbol, **{**known, **changes})


def position(symbol: Symbol, quantity: str, price: str = "100") -> Position:
    return Position(
        symbol=symbol,
        quantity=Decimal(quantity),
        avg_entry_price=Decimal(price),
        market_price=Decimal(price),
    )


def history(
    symbol: Symbol, *, sessions: int = 130, sigma: float = 0.01, last: float = 100.0
) -> tuple[Bar, ...]:
    """Return a seeded random walk that ends at ``last``, one bar a day."""
    steps = random.Random(symbol)
    levels = [0.0]
    for _ in range(sessions - 1):
        levels.append(levels[-1] - steps.gauss(0, sigma))
    first = dt.datetime.combine(DATA_DATE, dt.time(14, 30), dt.UTC)
    return tuple(
        Bar(
            symbol=symbol,
            at=first - dt.timedelta(days=age),
            close=round(last * math.exp(level), 2),
            volume=1e6,
        )
        for age, level in sorted(enumerate(levels), reverse=True)
    )


def forecast(symbol: Symbol, source: ForecastSource = ForecastSource.REMOTE) -> Forecast:
    return Forecast(
        symbol=symbol,
        as_of=NOW,
        horizon=5,
        levels=(0.1, 0.5, 0.9),
        quantiles=(-0.02, 0.01, 0.04),
        mean=0.01,
        volatility=0.024,
        probability_up=0.65,
        source=source,
        model="lstm",
        model_hash="0" * 64,
        data_cutoff=DATA_DATE,
    )


def view(
    symbols: Iterable[Symbol] = (AAA, BBB),
    *,
    positions: Iterable[Position] = (),
    source: ForecastSource = ForecastSource.REMOTE,
    **changes: Any,
) -> MarketView:
    names = list(symbols)
    made = MarketView(
        as_of=NOW,
        session=Session(date=SESSION_DATE, open=OPEN, close=CLOSE, is_half_day=False),
        account=account(),
        history={symbol: history(symbol) for symbol in names},
        forecasts={symbol: forecast(symbol, source) for symbol in names},
        sentiment={},
        positions={held.symbol: held for held in positions},
        assets={symbol: asset(symbol) for symbol in names},
    )
    return dataclasses.replace(made, **changes)


def combined(symbol: Symbol = AAA, action: Action = Action.BUY, **changes: Any) -> CombinedSignal:
    sign = -1 if action is Action.SELL else 1
    known = {
        "strength": 0.4,
        "confidence": 0.55 if action is Action.HOLD else 0.65,
        "expected_return": 0.01 * sign,
        "volatility": 0.024,
        "horizon": 5,
        "sentiment_tilt": 1.0,
        "kelly_weight": 0.0,
        "target_quantity": Decimal(0),
        "reason": "test",
    }
    return CombinedSignal(symbol=symbol, action=action, **{**known, **changes})


def request(
    symbol: Symbol = AAA,
    side: Side = Side.BUY,
    quantity: str = "10",
    limit: str | None = "100",
    *,
    leg: str | None = None,
    revision: int = 0,
) -> OrderRequest:
    chosen = leg or ("entry" if side is Side.BUY else "exit")
    return OrderRequest(
        client_order_id=client_order_id(
            account="PA3TEST01234",
            strategy="book",
            session_date=SESSION_DATE,
            symbol=symbol,
            leg=chosen,
            revision=revision,
        ),
        strategy="book",
        session_date=SESSION_DATE,
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        limit_price=None if limit is None else Decimal(limit),
        time_in_force=TimeInForce.DAY,
        leg=chosen,
        revision=revision,
        decision_price=Decimal(100),
        reason="test",
    )


def reservation(
    symbol: Symbol = AAA, side: Side = Side.BUY, quantity: str = "10", price: str | None = "100"
) -> Reservation:
    return Reservation(
        client_order_id=request(symbol, side, revision=9).client_order_id,
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        price=None if price is None else Decimal(price),
        leg=f"earlier-{side.value}",
    )


def mark(price: str = "100", *, date: dt.date = DATA_DATE) -> Mark:
    at = dt.datetime.combine(date, dt.time(21), dt.UTC)
    return Mark(price=Decimal(price), at=at, data_date=date)


def context(*, positions: Mapping[Symbol, Decimal] | None = None, **changes: Any) -> GateContext:
    symbols = (AAA, BBB, CCC)
    made = GateContext(
        now=NOW,
        session_date=SESSION_DATE,
        limits=RiskLimits(),
        trading_state=TradingState.ACTIVE,
        is_latch_engaged=False,
        window=OrderWindow(
            opens_at=NOW - dt.timedelta(minutes=30),
            entries_until=OPEN + dt.timedelta(minutes=30),
            exits_until=CLOSE,
        ),
        equity=Decimal(100_000),
        equity_at=NOW,
        buying_power=Decimal(200_000),
        daily_loss_pct=Decimal(0),
        drawdown_pct=Decimal(0),
        positions={} if positions is None else positions,
        marks={symbol: mark() for symbol in symbols},
        assets={symbol: asset(symbol) for symbol in symbols},
        expected_data_date=DATA_DATE,
        confidences=dict.fromkeys(symbols, 0.65),
        forecast_sources=dict.fromkeys(symbols, ForecastSource.REMOTE),
        average_volumes=dict.fromkeys(symbols, Decimal(1_000_000)),
    )
    return dataclasses.replace(made, **changes)
