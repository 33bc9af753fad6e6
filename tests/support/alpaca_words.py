"""Alpaca's JSON for tests, and an adapter that talks to a scripted server."""

import asyncio
import datetime as dt
import functools
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from brokers.alpaca import AlpacaBroker, AlpacaSettings
from domain.clock import LoopClock
from domain.ids import ClientOrderId, Symbol
from domain.orders import OrderRequest, OrderType, Side, TimeInForce
from domain.secrets import Secret
from transport.replay_loop import ReplayLoop

START = dt.datetime(2026, 11, 20, 15, 0, tzinfo=dt.UTC)

ACCOUNT = {
    "account_number": "PA3LOCAL0001",
    "status": "ACTIVE",
    "cash": "85000.5",
    "equity": "100250.5",
    "last_equity": "100000",
    "long_market_value": "15250",
    "short_market_value": "0",
    "buying_power": "185251",
    "trading_blocked": False,
    "account_blocked": False,
    "trade_suspended_by_user": False,
}


def order_json(**changes: Any) -> dict[str, Any]:
    return {
        "id": "61e69015",
        "client_order_id": "ob-1",
        "created_at": "2026-11-20T15:04:05.123456789Z",
        "updated_at": "2026-11-20T15:04:05.123456789Z",
        "submitted_at": "2026-11-20T15:04:05.120012345Z",
        "symbol": "AAPL",
        "asset_class": "us_equity",
        "qty": "10",
        "filled_qty": "0",
        "filled_avg_price": None,
        "type": "limit",
        "order_type": "limit",
        "side": "buy",
        "time_in_force": "day",
        "limit_price": "189.25",
        "status": "pending_new",
        **changes,
    }


def request(**changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "client_order_id": ClientOrderId("ob-1"),
        "strategy": "momentum",
        "session_date": START.date(),
        "symbol": Symbol("AAPL"),
        "side": Side.BUY,
        "quantity": Decimal(10),
        "order_type": OrderType.LIMIT,
        "limit_price": Decimal("189.25"),
        "time_in_force": TimeInForce.DAY,
        "leg": "entry",
        "revision": 0,
        "decision_price": Decimal(189),
        "reason": "",
        **changes,
    }
    return OrderRequest(**fields)


def broker_at(url: str, **settings: Any) -> AlpacaBroker:
    """Build an adapter on the running loop's time."""
    return AlpacaBroker.connect(
        AlpacaSettings(trading_url=url, **settings),
        key_id=Secret("KEY"),
        secret_key=Secret("SECRET"),
        clock=LoopClock(START, asyncio.get_running_loop()),
    )


def simulated(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test with real sockets in simulated time: deadlines cost nothing."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=ReplayLoop) as runner:
            runner.run(test(*args, **kwargs))

    return wrapper
