"""Figures for telemetry that no public listing has: counts, latencies, slippage, accuracy.

Read-only, like ``state.reader``; every query is bounded by a session or by an index.
"""

import datetime as dt
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.money import decimal
from state.database import connect_read_only, translated
from state.files import DATABASE
from state.track_rows import DEMOTIONS

_SIGNALS = (
    "SELECT strategy, action, count(*) AS n FROM signals"
    " WHERE run_id = (SELECT run_id FROM decisions ORDER BY as_of DESC LIMIT 1)"
    " GROUP BY 1, 2 ORDER BY 1, 2"
)
_FORECASTS = (
    "SELECT source, count(*) FROM forecasts"
    " WHERE run_id = (SELECT run_id FROM decisions ORDER BY as_of DESC LIMIT 1) GROUP BY 1"
)
_CONFIDENCE = (
    "SELECT avg(max(probability_up, 1 - probability_up)) FROM forecasts"
    " WHERE run_id = (SELECT run_id FROM decisions ORDER BY as_of DESC LIMIT 1)"
)
_ACKNOWLEDGED = (
    "SELECT client_order_id, sent_at, acknowledged_at FROM orders WHERE session_date = ?"
    " AND sent_at IS NOT NULL AND acknowledged_at IS NOT NULL ORDER BY client_order_id"
)
_EXECUTED = (
    "SELECT f.seq, f.at, f.side, f.price, o.sent_at, o.decision_price FROM fills f"
    " JOIN orders o USING (client_order_id) WHERE f.seq > ? AND f.reversed_seq IS NULL"
    " AND NOT o.is_external ORDER BY f.seq"
)
_DENIALS = (
    'SELECT "limit", count(*) AS n FROM limit_checks WHERE session_date = ? AND NOT passed'
    " GROUP BY 1 ORDER BY 1"
)
_MATURED = (
    "SELECT l.source, count(*) AS n, sum(o.is_right) AS hits,"
    " sum((l.base_rate >= 0.5) = (o.outcome > 0)) AS base_hits FROM forecast_outcomes o"
    " JOIN locked_forecasts l USING (number) WHERE o.matured_on >="
    " (SELECT min(matured_on) FROM (SELECT DISTINCT matured_on FROM forecast_outcomes"
    " ORDER BY matured_on DESC LIMIT ?)) GROUP BY 1 ORDER BY 1"
)
_RUN_ENDS = (
    "SELECT kind, state, max(finished_at) AS at FROM runs WHERE finished_at IS NOT NULL"
    " GROUP BY 1, 2 ORDER BY 1, 2"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """One execution: seconds from sending to it, and its price against the decision's."""

    sequence: int
    latency_seconds: float | None
    slippage_bps: float | None


class Figures:
    """Open, ask, close: one per scrape; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / DATABASE
        with translated(self._path):
            self._connection = connect_read_only(self._path)

    def __enter__(self) -> "Figures":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def newest_event(self) -> int:
        """Return the number of the newest event."""
        return int(self._one("SELECT coalesce(max(seq), 0) FROM events"))

    def fills(self) -> int:
        """Return how many executions were ever booked: taking one back lowers no counter."""
        return int(self._one("SELECT count(*) FROM fills"))

    def newest_fill(self) -> int:
        """Return the event number of the newest execution."""
        return int(self._one("SELECT coalesce(max(seq), 0) FROM fills"))

    def orders_by_state(self, session_date: str) -> Mapping[str, int]:
        """Count the orders of a session."""
        return self._counts(
            "SELECT state, count(*) FROM orders WHERE session_date = ? GROUP BY 1", session_date
        )

    def denials_by_limit(self, session_date: str) -> Mapping[str, int]:
        """Count the refusals of a session's plan by limit."""
        return self._counts(_DENIALS, session_date)

    def signals(self) -> Mapping[tuple[str, str], int]:
        """Count the newest decision's signals by strategy and action."""
        rows = self._rows(_SIGNALS)
        return {(row["strategy"], row["action"]): row["n"] for row in rows}

    def forecasts(self) -> Mapping[str, int]:
        """Count the newest decision's forecasts by source."""
        return self._counts(_FORECASTS)

    def newest_decision_at(self) -> dt.datetime | None:
        """Return when the newest decision looked at the market."""
        found = self._one("SELECT max(as_of) FROM decisions")
        return dt.datetime.fromisoformat(found) if found else None

    def mean_confidence(self) -> float | None:
        """Return the mean confidence of the newest decision's forecasts."""
        found = self._one(_CONFIDENCE)
        return None if found is None else float(found)

    def accuracy(self, sessions: int = 60) -> Mapping[str, tuple[int, int, int]]:
        """Return by source, of the last sessions, what matured, and what was right of it.

        The last number is how often the base rate would have been right on the same.
        """
        rows = self._rows(_MATURED, (sessions,))
        return {row["source"]: (row["n"], row["hits"], row["base_hits"]) for row in rows}

    def demoted(self) -> Mapping[str, int]:
        """Return 1 for a source whose track record keeps it from being used, else 0."""
        return self._counts(DEMOTIONS)

    def acknowledgements(self, session_date: str) -> Mapping[str, float]:
        """Return the seconds to the broker's answer by order of a session."""
        return {
            row["client_order_id"]: _seconds(row["sent_at"], row["acknowledged_at"])
            for row in self._rows(_ACKNOWLEDGED, (session_date,))
        }

    def executed_after(self, sequence: int) -> tuple[Executed, ...]:
        """Return executions of our orders booked after an event."""
        return tuple(_executed(row) for row in self._rows(_EXECUTED, (sequence,)))

    def runs_by_state(self) -> Mapping[str, int]:
        """Count all runs by how they ended."""
        return self._counts("SELECT state, count(*) FROM runs GROUP BY 1")

    def run_ends(self) -> Mapping[tuple[str, str], dt.datetime]:
        """Return when a run of each kind last ended in each state."""
        rows = self._rows(_RUN_ENDS)
        return {(row["kind"], row["state"]): dt.datetime.fromisoformat(row["at"]) for row in rows}

    def _counts(self, sql: str, *parameters: Any) -> Mapping[str, int]:
        return {str(row[0]): int(row[1]) for row in self._rows(sql, parameters)}

    def _one(self, sql: str) -> Any:
        return self._rows(sql)[0][0]

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with translated(self._path):
            return self._connection.execute(sql, parameters).fetchall()


def _executed(row: sqlite3.Row) -> Executed:
    price, wanted = decimal(row["price"]), decimal(row["decision_price"])
    sign = 1 if row["side"] == "buy" else -1
    return Executed(
        sequence=row["seq"],
        latency_seconds=_seconds(row["sent_at"], row["at"]) if row["sent_at"] else None,
        slippage_bps=float((price - wanted) / wanted) * 10_000 * sign if wanted > 0 else None,
    )


def _seconds(start: str, end: str) -> float:
    return (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds()
