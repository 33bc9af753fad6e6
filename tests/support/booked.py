"""What stands in the ledger, for tests: executions, and the sums of a period."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from domain.money import decimal
from domain.orders import Fill
from state.cost_basis import exact_sum
from state.ledger import Ledger
from state.reader import Reader
from state.rows import fill_of

_ADOPTED = frozenset({"adoption", "cash_adoption"})


def fills(ledger: Ledger) -> tuple[Fill, ...]:
    """Return the executions that stand, oldest first."""
    rows = ledger._store.rows(
        "SELECT * FROM fills WHERE reversed_seq IS NULL ORDER BY at, seq",
    )
    return tuple(fill_of(row) for row in rows)


def sums(
    ledger: Ledger, start: dt.datetime | None = None, end: dt.datetime | None = None
) -> Mapping[str, Decimal]:
    """Return what moved equity by its kind, ``realized`` and ``adjustments`` among them.

    With the change of what is unrealized they are the change of equity, exactly.
    """
    with Reader(ledger._store.directory) as reader:
        entries = reader.entries(start, end)
    parts: dict[str, list[Decimal]] = defaultdict(list)
    for entry in entries:
        parts["realized"].append(decimal(entry["realized_pnl"]))
        if entry["kind"] in _ADOPTED:
            parts["adjustments"] += (decimal(entry["cash"]), decimal(entry["in_kind"]))
        elif entry["kind"] not in {"fill", "reversal", "payout"}:
            parts[entry["kind"]].append(decimal(entry["cash"]))
    return defaultdict(Decimal, {kind: exact_sum(some) for kind, some in parts.items()})
