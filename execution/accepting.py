"""A report that does not balance keeps entries out; a person's word lets them in again."""

from execution.comparing import ReconcileReport
from execution.desk import Desk
from state.report_rows import ReportRecord
from state.reports import Reports


def accept_report(desk: Desk, seen: ReconcileReport, reason: str) -> ReportRecord | None:
    """Take the difference of the report that entries wait for as it is, by name.

    Args:
        desk: the books.
        seen: the comparison that the person goes by.
        reason: why; kept with the incident.

    Returns:
        The report; None where none is waited for, or where books and broker differ by a
        share or a cent now, which may still explain it and comes first.
    """
    reports = Reports(desk.store)
    found = reports.unbalanced()
    if found is None or not seen.is_equal or seen.cash_residual:
        return None
    reports.accept(found)
    desk.note("report.accepted", f"{found.difference} USD unexplained: {reason}")
    return found
