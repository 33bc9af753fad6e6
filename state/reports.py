"""Which end-of-day reports were issued, and whether they balanced."""

import datetime as dt
import sqlite3
from dataclasses import dataclass
from decimal import Decimal

from domain.money import decimal, text
from state.rows import known_moment, stamp
from state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRecord:
    """One issue of a session's report."""

    session_date: dt.date
    revision: int
    is_reconciled: bool
    residual: Decimal
    digest: str
    created_at: dt.datetime


class Reports:
    """The register of reports."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        session_date: dt.date,
        *,
        is_reconciled: bool,
        residual: Decimal,
        digest: str,
        at: dt.datetime,
    ) -> int:
        """Register a report; the same digest keeps its revision, another one gets the next."""
        with self._store.transaction() as connection:
            last = self.latest(session_date)
            if last is not None and last.digest == digest:
                return last.revision
            revision = last.revision + 1 if last is not None else 1
            connection.execute(
                "INSERT INTO reports (session_date, revision, is_reconciled, residual, digest,"
                " created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    session_date.isoformat(),
                    revision,
                    int(is_reconciled),
                    text(residual),
                    digest,
                    stamp(at),
                ),
            )
        return revision

    def latest(self, session_date: dt.date) -> ReportRecord | None:
        """Return the last issue for a session."""
        row = self._store.row(
            "SELECT * FROM reports WHERE session_date = ? ORDER BY revision DESC LIMIT 1",
            (session_date.isoformat(),),
        )
        return _record(row) if row is not None else None


def _record(row: sqlite3.Row) -> ReportRecord:
    return ReportRecord(
        session_date=dt.date.fromisoformat(row["session_date"]),
        revision=row["revision"],
        is_reconciled=bool(row["is_reconciled"]),
        residual=decimal(row["residual"]),
        digest=row["digest"],
        created_at=known_moment(row["created_at"]),
    )
