"""Risk state that must outlive the process: high-water mark and trading state."""

import datetime as dt
import sqlite3
from decimal import Decimal

from domain.errors import DataError
from domain.money import ZERO, decimal, text
from domain.trading_state import TradingState
from state.cash_flows import flows_since_start
from state.cost_basis import exact_sum
from state.rows import moment, optional_decimal, stamp
from state.store import Store

_TICK = dt.timedelta(microseconds=1)


class RiskState:
    """Persisted figures of the drawdown and loss limits."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record_equity(
        self,
        equity: Decimal,
        at: dt.datetime,
        *,
        session_date: dt.date,
        may_begin: bool = True,
        may_raise_mark: bool = True,
    ) -> None:
        """Raise the high-water mark when passed; the first equity of a session is its start.

        A part of equity may be a flow that is not booked yet.  Cash that moved a moment ago
        begins no session and no mark (``may_begin``).  Cash that stays unexplained does, since
        a day without a start is not judged at all, but it raises no mark (``may_raise_mark``).

        Raises:
            DataError: equity is not finite and above 0; nothing changes.
        """
        if not (equity.is_finite() and equity > 0):
            raise DataError(f"equity {equity} is not above 0: ask the broker again")
        mark = self.high_water_mark()
        is_first = self.session_start_equity(session_date) is None
        begins = is_first and may_begin
        raises = may_begin if mark is None else may_raise_mark and equity > mark
        if not begins and not raises:
            return
        written = stamp(at)
        with self._store.transaction():
            if begins:
                self._store.append_within(
                    "risk.session_started",
                    {
                        "session_date": session_date.isoformat(),
                        "equity": text(equity),
                        "at": self._start_moment(at),
                    },
                )
            if raises:
                self._store.append_within(
                    "risk.high_water_mark_moved", {"high_water_mark": text(equity), "at": written}
                )

    def record_cash_flow(self, amount: Decimal, activity_id: str) -> bool:
        """Move the high-water mark by a deposit (above 0) or withdrawal, once per activity.

        Raises:
            DataError: the amount is not finite.
        """
        amount = decimal(amount)
        with self._store.transaction():
            if self._store.row("SELECT 1 FROM cash_flows WHERE activity_id = ?", (activity_id,)):
                return False
            mark = self.high_water_mark()
            # A withdrawal of everything leaves a mark of 0: the next equity sets it anew.
            moved = max(exact_sum((mark, amount)), ZERO) if mark is not None else None
            self._store.append_within(
                "risk.cash_flowed",
                {
                    "activity_id": activity_id,
                    "amount": text(amount),
                    "high_water_mark": text(moved) if moved is not None else None,
                    "at": self._flow_moment(),
                },
            )
        return True

    def _flow_moment(self) -> str:
        """Return now, or later: what is booked now is in no first equity that was seen before."""
        now = self._store.clock.now()
        newest = self._store.rows("SELECT max(started_at) AS at FROM sessions")[0]["at"]
        started = moment(newest)
        # A clock that was set back would tell otherwise.
        return stamp(now if started is None else max(now, started + _TICK))

    def _start_moment(self, read_at: dt.datetime) -> str:
        """Return when a first equity was read, or later: what was booked before is in it."""
        newest = moment(self._store.rows("SELECT max(booked_at) AS at FROM cash_flows")[0]["at"])
        # A flow dated after now was booked before the clock was set back, or after a first equity
        # of then.
        if newest is not None and newest > self._store.clock.now():
            return stamp(newest)
        return stamp(read_at)

    def flow_count(self) -> int:
        """Return how many cash flows have moved the mark so far."""
        return int(self._store.rows("SELECT count(*) FROM cash_flows")[0][0])

    def high_water_mark(self) -> Decimal | None:
        """Return the highest equity seen, net of cash flows; None before the first."""
        return optional_decimal(self._row()["high_water_mark"])

    def session_start_equity(self, session_date: dt.date) -> Decimal | None:
        """Return the first equity of a session; None before it."""
        row = self._store.row(
            "SELECT start_equity FROM sessions WHERE session_date = ?", (session_date.isoformat(),)
        )
        return decimal(row["start_equity"]) if row is not None else None

    def flows_since_start(self, session_date: dt.date) -> Decimal:
        """Return deposits less withdrawals that were booked after a session's first equity."""
        return flows_since_start(self._store.rows, session_date.isoformat())

    def set_trading_state(self, state: TradingState, reason: str) -> TradingState:
        """Remember the trading state; return the one before.  Repeats are not written."""
        row = self._row()
        before = _trading_state(row)
        if (before, row["trading_state_reason"] or "") != (state, reason):
            self._store.append("risk.trading_state_set", {"state": state.value, "reason": reason})
        return before

    def trading_state(self) -> TradingState:
        """Return the remembered state; ACTIVE before the first."""
        return _trading_state(self._row())

    def trading_state_reason(self) -> str:
        """Return why the remembered state is what it is; empty while ACTIVE."""
        return str(self._row()["trading_state_reason"] or "")

    def _row(self) -> sqlite3.Row:
        return self._store.rows("SELECT * FROM risk_state")[0]


def _trading_state(row: sqlite3.Row) -> TradingState:
    return TradingState(row["trading_state"] or TradingState.ACTIVE)
