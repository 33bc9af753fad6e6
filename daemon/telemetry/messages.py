"""What leaves over MQTT: a fixed list of fields for each topic, and nothing else.

The account number leaves as its last four characters; headlines, reasons of foreign origin
and the limits of a plan stay here.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from state.reader import Reader

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "signals": ("symbol", "action", "strength", "confidence", "kelly_weight", "target_quantity"),
    "orders": (
        "client_order_id",
        "symbol",
        "side",
        "quantity",
        "limit_price",
        "state",
        "filled_quantity",
        "filled_avg_price",
        "session_date",
    ),
    "fills": ("execution_id", "client_order_id", "symbol", "side", "quantity", "price", "at"),
    "positions": ("symbol", "quantity", "avg_entry_price", "market_value", "unrealized_pnl"),
    "runs": ("session_date", "kind", "state", "started_at", "finished_at"),
}
_STATUS = (
    "mode",
    "trading_state",
    "session",
    "positions",
    "open_orders",
    "unknown_orders",
    "locked_symbols",
    "breakers",
    "forecast_source",
    "reconciled_at",
)
_PNL = (
    "equity",
    "cash",
    "high_water_mark",
    "drawdown_pct",
    "daily_pnl",
    "daily_pnl_pct",
    "equity_at",
)
_MOST_ROWS = 200


class TelemetryReader:
    """Reads the state and cuts it down to what may be told."""

    def __init__(self, directory: Path, *, account_tail: str) -> None:
        self._directory = directory
        self._tail = account_tail
        self._told: dict[str, bytes] = {}

    def everything(self) -> Mapping[str, Any]:
        """Return the document of every topic."""
        # Whoever asks for all of it has nothing: should it fail now, all of it is news later.
        self._told = {}
        with Reader(self._directory) as reader:
            status = reader.status()
            # Of one session: this is read on the loop, at every change, after years too.
            date = status["session"]["date"]
            session = dt.date.fromisoformat(date) if date else None
            rows = {
                # On a day without a decision those of the day before would be taken for its own.
                "signals": reader.signals(session) if session else [],
                "orders": reader.orders(session) if session else [],
                "fills": reader.fills(session, newest=_MOST_ROWS) if session else [],
                "positions": reader.positions(),
                "runs": reader.runs(20),
            }
        documents: dict[str, Any] = {
            name: _cut(found[:_MOST_ROWS], _FIELDS[name]) for name, found in rows.items()
        }
        documents["pnl"] = {name: status[name] for name in _PNL}
        documents["status"] = {
            "state": "online",
            "account": self._tail,
            "kill": {name: status["kill"][name] for name in ("engaged", "at")},
            **{name: status[name] for name in _STATUS},
        }
        self._told = {name: _digest(document) for name, document in documents.items()}
        return documents

    def changed(self) -> Mapping[str, Any]:
        """Return the documents that differ from those told last."""
        before = dict(self._told)
        documents = self.everything()
        return {
            name: document
            for name, document in documents.items()
            if before.get(name) != self._told[name]
        }


def _cut(rows: Iterable[Mapping[str, Any]], fields: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{field: row[field] for field in fields} for row in rows]


def _digest(document: Any) -> bytes:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
