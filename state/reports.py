"""Which end-of-day reports were issued, and whether they balanced."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

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
        raise NotImplementedError

    def latest(self, session_date: dt.date) -> ReportRecord | None:
        """Return the last issue for a session."""
        raise NotImplementedError

    def last_reconciled(self) -> ReportRecord | None:
        """Return the newest session's last issue, whatever it says."""
        raise NotImplementedError
