"""Reads the state for the command line and the web: the public JSON shapes.

Starts fast: the standard library and ``domain`` only.
"""

import datetime as dt
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from domain.errors import StateError
from state import track_rows
from state.backup_folder import DIRECTORY, noted
from state.database import connect_read_only, translated
from state.explanation import explanation
from state.files import DATABASE
from state.json_rows import (
    Row,
    check_row,
    fill_row,
    forecast_row,
    order_row,
    position_row,
    whole,
)
from state.latch import Latch
from state.mark_history import mark_at
from state.migrations import LATEST, version
from state.pause import Pause
from state.report_rows import ReportRecord, unbalanced
from state.rows import stamp
from state.status import status

# A price from before a split is one of other shares.
_POSITIONS = (
    "SELECT p.*, m.price, m.at AS marked_at, l.reason AS lock_reason FROM positions p"
    " LEFT JOIN marks m ON m.symbol = p.symbol AND m.at >= coalesce((SELECT max(e.at)"
    " FROM ledger_entries e WHERE e.symbol = p.symbol AND e.kind = 'split'), '')"
    " LEFT JOIN symbol_locks l ON l.symbol = p.symbol"
    " WHERE p.quantity <> '0' ORDER BY p.symbol"
)
# What was ordered outside may be executed sessions later: then the New York day counts, which
# is that of five hours before, whatever the season, as long as anything trades.
_FILLS = (
    "SELECT * FROM (SELECT f.* FROM fills f"
    " LEFT JOIN orders o ON o.client_order_id = f.client_order_id AND NOT o.is_external"
    " WHERE f.reversed_seq IS NULL AND (?1 IS NULL"
    " OR coalesce(o.session_date, date(f.at, '-5 hours')) = ?1)"
    " ORDER BY f.at DESC, f.seq DESC LIMIT ?2) ORDER BY at, seq"
)
_ALL = -1
# A restart before the orders leave decides anew, in another run: what it replaced is not told.
_OF_SESSION = (
    "SELECT t.* FROM {table} t WHERE t.run_id = (SELECT run_id FROM decisions"
    " WHERE session_date = coalesce(?, (SELECT max(session_date) FROM decisions))"
    " ORDER BY as_of DESC LIMIT 1) ORDER BY t.symbol"
)
_FIRST, _LAST = "", "~"


class Reader:
    """A read-only view, beside a running daemon or without one; a context manager."""

    def __init__(self, directory: Path) -> None:
        """Open the database.

        Raises:
            StateError: there is none, or it cannot be read.
        """
        self._path = directory / DATABASE
        self._latch, self._pause = Latch(directory), Pause(directory)
        if not self._path.is_file():
            raise StateError(
                f"{self._path} does not exist: start openbell run or openbell demo first"
            )
        with translated(self._path):
            self._connection = _connect(self._path)
            try:
                self._check_version()
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Hold one moment: several queries of one document see no commit between them."""
        if self._connection.in_transaction:
            yield
            return
        with translated(self._path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def status(self) -> Row:
        """Return the ``status`` document."""
        backup = noted(self._path.parent / DIRECTORY)
        with self.snapshot():
            latch, paused = self._latch.read(), self._pause.reason
            return status(self._rows, latch, paused=paused, backup_noted=backup)

    def fact(self, name: str) -> str | None:
        """Return one of the small named values; None when it was never told."""
        rows = self._rows("SELECT value FROM facts WHERE name = ?", (name,))
        return str(rows[0]["value"]) if rows else None

    def orders(self, session_date: dt.date | None = None) -> list[Row]:
        """Return orders, newest session first, then by id; of one session, or all."""
        rows = self._rows(
            "SELECT * FROM orders WHERE session_date = coalesce(?, session_date)"
            " ORDER BY session_date DESC, client_order_id",
            (_date(session_date),),
        )
        return [order_row(row) for row in rows]

    def fills(self, session_date: dt.date | None = None, *, newest: int = _ALL) -> list[Row]:
        """Return executions, oldest first; at most so many of the newest."""
        return [fill_row(row) for row in self._rows(_FILLS, (_date(session_date), newest))]

    def positions(self) -> list[Row]:
        """Return the holdings of the ledger, at the last known marks."""
        return [position_row(row) for row in self._rows(_POSITIONS)]

    def forecasts(self, session_date: dt.date | None = None) -> list[Row]:
        """Return forecasts of a session's last decision, by default of the last session."""
        return [forecast_row(row) for row in self._of_session("forecasts", session_date)]

    def scores(self) -> Row:
        """Return how good the matured forecasts were, and where each source stands."""
        with self.snapshot():
            return track_rows.scores(self._rows)

    def score_history(self) -> list[Row]:
        """Return the scores of sources and models at the end of each session, oldest first."""
        return track_rows.score_history(self._rows)

    def matured(self, session_date: dt.date | None = None) -> list[Row]:
        """Return the forecasts that were scored at the end of a session, by default the last."""
        return track_rows.matured(self._rows, session_date)

    def signals(self, session_date: dt.date | None = None) -> list[Row]:
        """Return combined signals of a session's last decision, each with its parts."""
        parts = [whole(row) for row in self._of_session("signals", session_date)]
        return [
            {
                **whole(row),
                "parts": [
                    part
                    for part in parts
                    if (part["run_id"], part["symbol"]) == (row["run_id"], row["symbol"])
                ],
            }
            for row in self._of_session("combined_signals", session_date)
        ]

    def sentiment(self, session_date: dt.date | None = None) -> list[Row]:
        """Return sentiment scores of a session's last decision, by default of the last session."""
        return [whole(row) for row in self._of_session("sentiment", session_date)]

    def runs(self, limit: int = 50) -> list[Row]:
        """Return the newest runs first."""
        rows = self._rows("SELECT * FROM runs ORDER BY started_at DESC, run_id LIMIT ?", (limit,))
        return [whole(row) for row in rows]

    def costs(self, start: dt.date | None = None, end: dt.date | None = None) -> list[Row]:
        """Return cost bookings, oldest first, of two UTC dates and those between them."""
        rows = self._rows(
            "SELECT at, provider, amount_usd, detail FROM costs"
            " WHERE substr(at, 1, 10) BETWEEN ? AND ? ORDER BY at, id",
            (_date(start) or _FIRST, _date(end) or _LAST),
        )
        return [whole(row) for row in rows]

    def decision(self, symbol: str, session_date: dt.date | None = None) -> Row | None:
        """Return everything ``explain`` retells; None when the symbol was not in the decision."""
        with self.snapshot():
            return explanation(self._rows, symbol, _date(session_date))

    def incidents(self, limit: int = 100) -> list[Row]:
        """Return the newest incidents first."""
        rows = self._rows("SELECT * FROM incidents ORDER BY id DESC LIMIT ?", (limit,))
        return [whole(row) for row in rows]

    def incidents_between(self, start: str, end: str, limit: int) -> list[Row]:
        """Return the newest incidents between two stored moments, both included, oldest first."""
        rows = self._rows(
            "SELECT * FROM (SELECT * FROM incidents WHERE at BETWEEN ? AND ? ORDER BY id DESC"
            " LIMIT ?) ORDER BY id",
            (start, end, limit),
        )
        return [whole(row) for row in rows]

    def excluded(self, session_date: dt.date) -> list[Row]:
        """Return the symbols that sat out in the last decision of a session, with the reason."""
        rows = self._rows(
            "SELECT symbol, excluded AS reason FROM view_symbols WHERE excluded IS NOT NULL"
            " AND run_id = (SELECT run_id FROM decisions WHERE session_date = ?"
            " ORDER BY as_of DESC LIMIT 1) ORDER BY symbol",
            (_date(session_date),),
        )
        return [whole(row) for row in rows]

    def denied(self, session_date: dt.date) -> list[Row]:
        """Return the denied orders of a session with the limits that said no."""
        rows = self._rows(
            "SELECT * FROM orders WHERE session_date = ? AND state = 'denied'"
            " ORDER BY client_order_id",
            (_date(session_date),),
        )
        return [
            {
                **order_row(row),
                "checks": [
                    check_row(check)
                    for check in self._rows(
                        "SELECT * FROM limit_checks WHERE client_order_id = ? AND NOT passed",
                        (row["client_order_id"],),
                    )
                ],
            }
            for row in rows
        ]

    def equity_curve(
        self, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> list[Row]:
        """Return ``at``, ``session_date``, ``equity``, ``cash``, oldest first."""
        return self._between(
            "SELECT * FROM equity WHERE at >= ? AND at < ? ORDER BY at", start, end
        )

    def high_water_mark(self, at: str) -> str | None:
        """Return the mark of the limits as it was at a stored moment: the curve may begin later."""
        return mark_at(self._rows, at)

    def position_curve(
        self, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> list[Row]:
        """Return ``at``, ``symbol``, ``quantity``, ``price``, oldest first."""
        return self._between(
            "SELECT * FROM position_points WHERE at >= ? AND at < ? ORDER BY at, symbol", start, end
        )

    def entries(
        self, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> list[Row]:
        """Return ledger entries by the time of their event, in the order they were booked."""
        return self._between(
            "SELECT * FROM ledger_entries WHERE at >= ? AND at < ? ORDER BY entry_id", start, end
        )

    def reports(self) -> list[Row]:
        """Return the newest issue of each report, newest session first."""
        rows = self._rows(
            "SELECT * FROM reports r WHERE revision = (SELECT max(revision) FROM reports"
            " WHERE session_date = r.session_date) ORDER BY session_date DESC"
        )
        return [{**whole(row), "is_reconciled": bool(row["is_reconciled"])} for row in rows]

    def unbalanced(self) -> ReportRecord | None:
        """Return the newest report where it does not balance and nobody accepted that."""
        return unbalanced(self._rows)

    def _of_session(self, table: str, session_date: dt.date | None) -> list[sqlite3.Row]:
        return self._rows(_OF_SESSION.format(table=table), (_date(session_date),))

    def _between(self, sql: str, start: dt.datetime | None, end: dt.datetime | None) -> list[Row]:
        bounds = (stamp(start) if start else _FIRST, stamp(end) if end else _LAST)
        return [whole(row) for row in self._rows(sql, bounds)]

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with translated(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    def _check_version(self) -> None:
        found = version(self._connection)
        if found > LATEST:
            raise StateError(
                f"{self._path} has schema {found} and this openbell knows {LATEST}: install the"
                " newer openbell"
            )
        if found < LATEST:
            raise StateError(
                f"{self._path} has schema {found}: start openbell run once to bring it to {LATEST}"
            )


def _connect(path: Path) -> sqlite3.Connection:
    connection = connect_read_only(path)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if path.with_name(f"{path.name}-wal").exists():
            raise
        # Without a WAL nobody is writing, and a folder that we may not write to is no hindrance.
        return connect_read_only(path, is_immutable=True)
    return connection


def _date(date: dt.date | None) -> str | None:
    return date.isoformat() if date is not None else None
