"""What is told and written again and again in one life of the daemon (I20)."""

import sqlite3
from bisect import bisect
from collections import Counter
from collections.abc import Sequence

from tests.simulation.checkers.evidence import Violations

_DAY = 86_400.0
_MOST_A_DAY = 60
# A protective stop that nobody takes is priced anew each minute: each is another order.
_OF_ONE_ORDER = frozenset({"order.cancel_requested"})
# Each opening begins a life; shares and money come as often as they come, and what is of no
# order and no symbol changes as often as what the broker tells: its equity, say.
_EVENTS = (
    "SELECT date, kind, about, count(*) AS times FROM"
    " (SELECT substr(at, 1, 10) AS date, kind,"
    " coalesce(payload ->> 'client_order_id', payload ->> 'symbol', '') AS about,"
    " sum(kind = 'store.opened') OVER (ORDER BY seq) AS life FROM events)"
    " WHERE kind NOT IN ('store.opened', 'fill.booked', 'ledger.booked')"
    " GROUP BY life, date, kind, about HAVING about <> '' AND times > ?"
)


def told_without_end(
    alerts: Sequence[tuple[float, str, str]], spans: Sequence[tuple[float, float]]
) -> Violations:
    """I20: nobody is told the same, in the same words, more than sixty times a day.

    Seed 13000053 had told of one lock 320 times in two days, before anybody judged it.
    """
    begun = [start for start, _ in spans]
    counts = Counter((bisect(begun, at), at // _DAY, kind, text) for at, kind, text in alerts)
    return [
        ("I20", f"{kind} was told {times} times in a day: {text}")
        for (_, _, kind, text), times in counts.items()
        if times > _MOST_A_DAY and kind not in _OF_ONE_ORDER
    ]


def written_without_end(db: sqlite3.Connection) -> Violations:
    """I20: no event of one order or symbol is written more than sixty times a day."""
    return [
        ("I20", f"{row['kind']} {row['about']} was written {row['times']} times on {row['date']}")
        for row in db.execute(_EVENTS, (_MOST_A_DAY,))
    ]
