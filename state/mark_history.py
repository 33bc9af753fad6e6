"""The high-water mark as it was: the event log keeps it when the readings are gone."""

import sqlite3
from bisect import bisect_right
from collections.abc import Callable

Query = Callable[..., list[sqlite3.Row]]

_NEWEST = "SELECT coalesce(max(seq), 0) AS seq FROM events"
_AT = "SELECT at FROM events WHERE seq = ?"
_MARK = (
    "SELECT json_extract(payload, '$.high_water_mark') AS mark FROM events WHERE seq <= ?"
    " AND kind IN ('risk.high_water_mark_moved', 'risk.cash_flowed') AND mark IS NOT NULL"
    " ORDER BY seq DESC LIMIT 1"
)


def mark_at(rows: Query, moment: str) -> str | None:
    """Return the mark at a stored moment; None before the first.  ``rows`` runs one query."""
    newest = int(rows(_NEWEST)[0]["seq"])
    # Numbered without a gap, in the order of time: halving finds the place without an index.
    last = bisect_right(
        range(1, newest + 1), moment, key=lambda number: str(rows(_AT, (number,))[0]["at"])
    )
    found = rows(_MARK, (last,))
    return str(found[0]["mark"]) if found else None
