"""The register of reports as rows: the newest issue, and whether entries wait for it."""

import datetime as dt
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from domain.money import decimal, text
from state.rows import known_moment

Query = Callable[..., list[sqlite3.Row]]

ACCEPTED: Final = "report_accepted"
"""The fact that keeps which difference a person accepted."""

_NEWEST = "SELECT * FROM reports ORDER BY session_date DESC, revision DESC LIMIT 1"
_ACCEPTED = "SELECT value FROM facts WHERE name = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRecord:
    """One issue of a session's report."""

    session_date: dt.date
    revision: int
    is_reconciled: bool
    residual: Decimal
    digest: str
    created_at: dt.datetime

    @property
    def difference(self) -> str:
        """What a person accepts: the session, and the USD that nothing explains."""
        return f"{self.session_date} {text(self.residual)}"

    @property
    def problem(self) -> str:
        """Why entries wait for it, and what ends that."""
        return (
            f"the report of {self.session_date} is NOT RECONCILED ({text(self.residual)} USD are"
            " unexplained); exits only until it or a later one balances, or a person accepts it:"
            " openbell reconcile --adopt"
        )


def unbalanced(rows: Query) -> ReportRecord | None:
    """Return the newest report where it does not balance and nobody accepted that.

    A session without a report says nothing of the books: the one before it stands.

    Args:
        rows: runs one query.
    """
    found = rows(_NEWEST)
    if not found or found[0]["is_reconciled"]:
        return None
    newest = record_of(found[0])
    accepted = rows(_ACCEPTED, (ACCEPTED,))
    # By its amount: a revision that leaves another difference is another matter.
    is_accepted = bool(accepted) and accepted[0]["value"] == newest.difference
    return None if is_accepted else newest


def record_of(row: sqlite3.Row) -> ReportRecord:
    """Return the record of a row."""
    return ReportRecord(
        session_date=dt.date.fromisoformat(row["session_date"]),
        revision=row["revision"],
        is_reconciled=bool(row["is_reconciled"]),
        residual=decimal(row["residual"]),
        digest=row["digest"],
        created_at=known_moment(row["created_at"]),
    )
