"""A report that does not balance: entries wait for it, and no longer than that."""

import sqlite3
from collections.abc import Collection

from domain.orders import OrderRequest
from tests.simulation.checkers.closing import closes_only
from tests.simulation.checkers.evidence import Violations
from tests.simulation.truth import Truth

_NEWEST = (
    "SELECT * FROM reports WHERE session_date < ? ORDER BY session_date DESC, revision DESC LIMIT 1"
)
_LAST_WORD = (
    "SELECT trading_state_reason AS reason, (SELECT value FROM facts WHERE name = 'reconciled_at')"
    " AS looked_at FROM risk_state"
)
_ALWAYS = "9999-12-31"


def difference(report: sqlite3.Row) -> str:
    """Name what a person accepts: whose report, and how much."""
    return f"{report['session_date']} {report['residual']}"


def waited_for(
    db: sqlite3.Connection, accepted: Collection[str], *, before: str = _ALWAYS
) -> sqlite3.Row | None:
    """Return the newest report of the sessions before one, if entries have to wait for it."""
    newest: sqlite3.Row | None = db.execute(_NEWEST, (before,)).fetchone()
    if newest is None or newest["is_reconciled"] or difference(newest) in accepted:
        return None
    return newest


def accepted_by_name(db: sqlite3.Connection) -> set[str]:
    """Return the difference that the books say a person accepted last; read after a person's."""
    found = db.execute("SELECT value FROM facts WHERE name = 'report_accepted'").fetchone()
    return {found["value"]} if found is not None else set()


def balanced(
    truth: Truth, db: sqlite3.Connection, request: OrderRequest, accepted: Collection[str]
) -> Violations:
    """I14: no entry leaves while the newest report of a session before does not balance."""
    report = waited_for(db, accepted, before=request.session_date.isoformat())
    if report is None or request.leg == "exit" or closes_only(truth, db, request):
        return []
    told = f"left although the report of {report['session_date']} does not balance"
    return [("I14", f"{request.client_order_id} {told} by {report['residual']}")]


def waits_for_nothing(db: sqlite3.Connection, accepted: Collection[str]) -> Violations:
    """I14: once the newest report balances, or is accepted, the next look says so."""
    if waited_for(db, accepted) is not None:
        return []
    newest = db.execute(_NEWEST, (_ALWAYS,)).fetchone()
    last = db.execute(_LAST_WORD).fetchone()
    is_new = newest is not None and newest["created_at"] >= (last["looked_at"] or "")
    if is_new or "NOT RECONCILED" not in (last["reason"] or ""):
        return []
    return [("I14", f"entries wait for nothing: {last['reason']}")]
