"""Risk state that must outlive the process: high-water mark and trading state."""

import datetime as dt
from decimal import Decimal

from domain.trading_state import TradingState
from state.store import Store


class RiskState:
    """Persisted figures of the drawdown and loss limits."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record_equity(self, equity: Decimal, at: dt.datetime, *, session_date: dt.date) -> None:
        """Raise the high-water mark when passed; the first equity of a session is its start.

        Raises:
            DataError: equity is not finite and above 0; nothing changes.
        """
        raise NotImplementedError

    def record_cash_flow(self, amount: Decimal, activity_id: str) -> bool:
        """Move the high-water mark by a deposit (above 0) or withdrawal, once per activity."""
        raise NotImplementedError

    def high_water_mark(self) -> Decimal | None:
        """Return the highest equity seen, net of cash flows; None before the first."""
        raise NotImplementedError

    def session_start_equity(self, session_date: dt.date) -> Decimal | None:
        """Return the first equity of a session; None before it."""
        raise NotImplementedError

    def set_trading_state(self, state: TradingState, reason: str) -> None:
        """Remember the trading state; repeats of the same are not written."""
        raise NotImplementedError

    def trading_state(self) -> TradingState:
        """Return the remembered state; ACTIVE before the first."""
        raise NotImplementedError

    def trading_state_reason(self) -> str:
        """Return why; empty before the first."""
        raise NotImplementedError
