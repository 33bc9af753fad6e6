"""Deposits less withdrawals, by when they were booked.

What was booked before a reading of equity is in it, whatever date the broker gives the
transfer.
"""

import sqlite3
from collections.abc import Callable
from decimal import Decimal

from domain.money import decimal
from state.cost_basis import exact_sum

Query = Callable[..., list[sqlite3.Row]]


def flows_after(rows: Query, moment: str) -> Decimal:
    """Return what was booked after a stored moment; ``rows`` runs one query."""
    found = rows("SELECT amount FROM cash_flows WHERE booked_at > ?", (moment,))
    return exact_sum(decimal(row["amount"]) for row in found)


def flows_since_start(rows: Query, session_date: str) -> Decimal:
    """Return what was booked after a session's first equity."""
    started = rows("SELECT started_at FROM sessions WHERE session_date = ?", (session_date,))
    return flows_after(rows, started[0]["started_at"]) if started else Decimal(0)
