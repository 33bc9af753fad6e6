"""Which end-of-day reports were issued, and whether they balanced."""

import datetime as dt
from decimal import Decimal

from domain.money import text
from state.facts import Facts
from state.report_rows import ACCEPTED, ReportRecord, record_of, unbalanced
from state.rows import stamp
from state.store import Store


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
        return record_of(row) if row is not None else None

    def unbalanced(self) -> ReportRecord | None:
        """Return the report that entries wait for: the newest, neither balanced nor accepted."""
        return unbalanced(self._store.rows)

    def accept(self, report: ReportRecord) -> None:
        """Remember that a person takes the difference of a report as it is."""
        Facts(self._store).put(**{ACCEPTED: report.difference})
