"""The ``status`` document, made from the tables and the latch file."""

import sqlite3
from collections.abc import Sequence
from decimal import Decimal

from domain.daily_pnl import daily_loss_pct, daily_pnl
from domain.money import decimal, text
from domain.trading_state import TradingState, strictest
from state.cash_flows import Query, flows_after, flows_since_start
from state.cost_basis import exact_sum
from state.fact_words import AGREES
from state.json_rows import Row, percent
from state.latch_record import LatchState
from state.report_rows import unbalanced
from state.rows import optional_decimal
from state.track_rows import demotions

_PAUSED = "paused: "
_COUNTS = (
    "SELECT (SELECT count(*) FROM positions WHERE quantity <> '0') AS positions,"
    " (SELECT count(*) FROM orders WHERE is_working = 1) AS open_orders,"
    " (SELECT count(*) FROM orders WHERE is_working = 1"
    " AND state IN ('sending', 'unknown', 'abandoned')) AS unknown_orders"
)
_LAST_RUN = (
    "SELECT session_date, kind, state, reason FROM runs ORDER BY started_at DESC, run_id DESC"
    " LIMIT 1"
)

# What the last decision left out: bars that cannot be trusted, or that two sources dispute.
_EXCLUDED = (
    "SELECT symbol, excluded AS reason FROM view_symbols WHERE excluded IS NOT NULL"
    " AND run_id = (SELECT run_id FROM decisions ORDER BY session_date DESC, as_of DESC LIMIT 1)"
    " ORDER BY symbol"
)
_LAST_BACKUP = "SELECT max(finished_at) AS at FROM runs WHERE kind = 'backup' AND state = 'DONE'"


def status(rows: Query, latch: LatchState, *, paused: str | None, backup_noted: str | None) -> Row:
    """Return the document.

    Args:
        rows: runs one query.
        latch: as its file has it.
        paused: why a person paused entries; None where nobody did.
        backup_noted: when a backup passed its test that a person made.
    """
    facts = {row["name"]: row["value"] for row in rows("SELECT name, value FROM facts")}
    risk = rows("SELECT * FROM risk_state")[0]
    kill = _kill(risk, latch)
    last_run = rows(_LAST_RUN)
    backup = rows(_LAST_BACKUP)[0]
    locks = rows("SELECT symbol, reason FROM symbol_locks ORDER BY symbol")
    return {
        "mode": facts.get("mode"),
        **_trading_state(
            risk,
            _doubts(rows, paused=paused, market_check=facts.get("market_check")),
            is_killed=kill["engaged"],
        ),
        "kill": kill,
        "paused": paused,
        "broker_lock": _broker_lock(facts.get("broker_lock"), latch),
        "is_shorting_forbidden_by_kill": latch.is_shorting_forbidden,
        "are_positions_closed_by_kill": latch.is_closing_wanted and latch.closings > 0,
        "session": {"date": facts.get("session_date"), "phase": facts.get("session_phase")},
        **_money(rows, risk, facts.get("session_date")),
        **dict(rows(_COUNTS)[0]),
        "locked_symbols": [row["symbol"] for row in locks],
        "lock_reasons": {row["symbol"]: row["reason"] for row in locks},
        "excluded_symbols": {row["symbol"]: row["reason"] for row in rows(_EXCLUDED)},
        "breakers": {
            row["name"]: row["state"] for row in rows("SELECT name, state FROM breakers ORDER BY 1")
        },
        "forecast_source": facts.get("forecast_source"),
        "demoted_sources": demotions(rows),
        "heartbeat_at": facts.get("heartbeat_at"),
        "reconciled_at": facts.get("reconciled_at"),
        "market_check": facts.get("market_check"),
        "backup_at": max(filter(None, (backup["at"], backup_noted)), default=None),
        "last_run": dict(last_run[0]) if last_run else None,
        "account": rows("SELECT account FROM writer")[0]["account"],
    }


def _broker_lock(seen: str | None, latch: LatchState) -> str | None:
    """As a daemon saw it last, or as a kill or a resume left it that none has seen yet."""
    if latch.is_engaged and latch.is_broker_locked and latch.pending is None:
        return "set" if seen in {None, "clear"} else seen
    # Beside an armed latch a lock that is set is told in other words.
    return "clear" if seen == "set" and not latch.is_engaged else seen


def _kill(risk: sqlite3.Row, latch: LatchState) -> Row:
    # As Store.sync_latch: only a file armed later than the row overrules an engaged row.
    row_holds = bool(risk["latch_is_engaged"]) and latch.sequence <= risk["latch_sequence"]
    if latch.is_engaged or not row_holds:
        at = latch.at.isoformat() if latch.at is not None else None
        return {
            "engaged": latch.is_engaged,
            "reason": latch.reason if latch.is_engaged else None,
            "at": at if latch.is_engaged else None,
        }
    return {"engaged": True, "reason": risk["latch_reason"], "at": risk["latch_at"]}


def _doubts(rows: Query, *, paused: str | None, market_check: str | None) -> list[str]:
    """Return why only exits may leave, the account's figures apart, without anybody's look."""
    found = [f"{_PAUSED}{paused}"] if paused is not None else []
    found += [market_check] if market_check not in {None, AGREES} else []
    report = unbalanced(rows)
    return [*found, report.problem] if report is not None else found


def _trading_state(risk: sqlite3.Row, doubts: Sequence[str], *, is_killed: bool) -> Row:
    """The state as it was remembered, and what holds since, without anybody having looked."""
    state, reason = TradingState(risk["trading_state"]), risk["trading_state_reason"] or ""
    if reason.startswith(_PAUSED) and state is TradingState.REDUCING:
        # Nothing but doubts begins so, and they are read anew: the next look may be days off.
        state, reason = TradingState.ACTIVE, ""
    if doubts:
        state = strictest(state, TradingState.REDUCING)
        reason = "; ".join([reason] * bool(reason) + [why for why in doubts if why not in reason])
    state = strictest(state, TradingState.HALTED if is_killed else state)
    return {"trading_state": state.value, "trading_state_reason": reason}


def _money(rows: Query, risk: sqlite3.Row, session_date: str | None) -> Row:
    last = rows("SELECT * FROM equity ORDER BY at DESC LIMIT 1")
    equity = decimal(last[0]["equity"]) if last else None
    mark = optional_decimal(risk["high_water_mark"])
    # Money that came or went since is in the mark and in the day's flows: it counts here too.
    worth = exact_sum((equity, flows_after(rows, last[0]["at"]))) if equity is not None else None
    # A reading of the session before, beside the first equity of this one, is no figure of a day.
    is_of_session = bool(last) and last[0]["session_date"] == session_date
    return {
        "equity": last[0]["equity"] if last else None,
        "cash": last[0]["cash"] if last else None,
        "equity_at": last[0]["at"] if last else None,
        "high_water_mark": risk["high_water_mark"],
        "drawdown_pct": _drawdown_pct(worth, mark),
        **_daily(rows, worth if is_of_session else None, session_date),
    }


def _drawdown_pct(equity: Decimal | None, mark: Decimal | None) -> float | None:
    if equity is None or mark is None:
        return None
    return percent(max(exact_sum((mark, -equity)), Decimal(0)), mark)


def _daily(rows: Query, equity: Decimal | None, session_date: str | None) -> Row:
    started = rows("SELECT start_equity FROM sessions WHERE session_date = ?", (session_date,))
    if equity is None or session_date is None or not started:
        return {"daily_pnl": None, "daily_pnl_pct": None}
    start, flows = decimal(started[0]["start_equity"]), flows_since_start(rows, session_date)
    return {
        "daily_pnl": text(daily_pnl(equity, start, flows)),
        "daily_pnl_pct": round(float(-daily_loss_pct(equity, start, flows)), 6),
    }
