"""Everything that is stored about one symbol in one session, for ``explain``."""

import sqlite3
from collections.abc import Callable

from state.json_rows import (
    Row,
    check_row,
    fill_row,
    forecast_row,
    headline_row,
    order_row,
    picked,
    whole,
)

Query = Callable[..., list[sqlite3.Row]]

_DECISION = (
    "SELECT d.*, s.last_bar_at, s.last_close, s.position, s.excluded FROM decisions d"
    " LEFT JOIN view_symbols s ON s.run_id = d.run_id AND s.symbol = ?1"
    " WHERE d.session_date = ?2 ORDER BY s.symbol IS NULL, d.as_of DESC LIMIT 1"
)
_HEADLINES = (
    "SELECT * FROM headlines WHERE run_id = ?1"
    " AND EXISTS (SELECT 1 FROM json_each(symbols) WHERE value = ?2)"
    " ORDER BY published_at DESC, item_id"
)
_MADE_BY = "SELECT json_extract(payload, '$.made_by') AS made_by FROM events WHERE seq = ?"
_DECISION_COLUMNS = ("run_id", "as_of", "view_hash", "equity")
_SEEN_COLUMNS = ("last_bar_at", "last_close", "position", "excluded")


def explanation(rows: Query, symbol: str, session_date: str | None) -> Row | None:
    """Return the story; None when nothing is known of the symbol in that session."""
    session_date = session_date or _last_session(rows, symbol)
    found = rows(_DECISION, (symbol, session_date))
    decided = _decided(rows, symbol, found[0]) if found else None
    orders = _orders(rows, symbol, session_date)
    if decided is None and not orders:
        return None
    locks = rows("SELECT reason FROM symbol_locks WHERE symbol = ?", (symbol,))
    return {
        "symbol": symbol,
        "session_date": session_date,
        "decision": decided,
        "orders": orders,
        "locked": locks[0]["reason"] if locks else None,
    }


def _last_session(rows: Query, symbol: str) -> str | None:
    row = rows(
        "SELECT max(session_date) AS last FROM (SELECT session_date FROM decisions"
        " JOIN view_symbols USING (run_id) WHERE symbol = ?1"
        " UNION ALL SELECT session_date FROM orders WHERE symbol = ?1)",
        (symbol,),
    )[0]
    last: str | None = row["last"]
    return last


def _decided(rows: Query, symbol: str, row: sqlite3.Row) -> Row | None:
    key = (row["run_id"], symbol)
    forecasts = rows("SELECT * FROM forecasts WHERE run_id = ? AND symbol = ?", key)
    sentiment = rows("SELECT * FROM sentiment WHERE run_id = ? AND symbol = ?", key)
    signals = rows("SELECT * FROM signals WHERE run_id = ? AND symbol = ? ORDER BY strategy", key)
    combined = rows("SELECT * FROM combined_signals WHERE run_id = ? AND symbol = ?", key)
    runs = rows("SELECT * FROM runs WHERE run_id = ?", (row["run_id"],))
    if row["position"] is None and not (forecasts or signals or combined):
        return None
    return {
        **picked(row, _DECISION_COLUMNS),
        **picked(row, _SEEN_COLUMNS),
        "data_cutoff": forecasts[0]["data_cutoff"] if forecasts else None,
        "forecast": forecast_row(forecasts[0]) if forecasts else None,
        "sentiment": whole(sentiment[0]) if sentiment else None,
        "headlines": [headline_row(one) for one in rows(_HEADLINES, key)],
        "signals": [whole(signal) for signal in signals],
        "combined": whole(combined[0]) if combined else None,
        "run": whole(runs[0]) if runs else None,
    }


def _orders(rows: Query, symbol: str, session_date: str | None) -> list[Row]:
    found = rows(
        "SELECT * FROM orders WHERE session_date = ? AND symbol = ?"
        " ORDER BY created_at, client_order_id",
        (session_date, symbol),
    )
    return [
        {
            **order_row(row),
            "made_by": rows(_MADE_BY, (row["planned_seq"],))[0]["made_by"],
            "checks": [
                check_row(check)
                for check in rows(
                    "SELECT * FROM limit_checks WHERE client_order_id = ?",
                    (row["client_order_id"],),
                )
            ],
            "fills": [
                fill_row(fill)
                for fill in rows(
                    "SELECT * FROM fills WHERE client_order_id = ? AND reversed_seq IS NULL"
                    " ORDER BY at, seq",
                    (row["client_order_id"],),
                )
            ],
        }
        for row in found
    ]
