"""What the ledger's entries of one symbol moved, in the order in which it should have been told."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.ids import Symbol
from domain.money import ZERO, decimal
from state.store import Store

GIVEN_BACK = "given back: "
"""How the description of an entry begins that undoes a part of the adoption of its moment."""

_SPLITS = frozenset({"split", "fraction"})
# A fraction is paid out within days of its split; later money is for something else.
_PAID_WITHIN = dt.timedelta(days=30)
_STANDING = (
    "SELECT e.kind, e.at, e.quantity, e.cash, e.in_kind, e.description FROM ledger_entries e"
    " LEFT JOIN fills f USING (execution_id)"
    " WHERE e.symbol = ? AND (e.quantity <> '0' OR e.kind = 'payout') AND e.kind <> 'reversal'"
    " AND f.reversed_seq IS NULL AND e.execution_id IS NOT ?"
    " ORDER BY e.entry_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What was told; cost and profit follow from what was told before it."""

    kind: str
    at: str
    quantity: Decimal = ZERO
    cash: Decimal = ZERO
    in_kind: Decimal = ZERO
    description: str = ""

    @property
    def is_given_back(self) -> bool:
        """True for what undoes a part of an adoption."""
        return self.kind == "adoption" and self.description.startswith(GIVEN_BACK)


def entries_of(store: Store, symbol: Symbol, *, without: str = "") -> list[Entry]:
    """Return the entries of a symbol that stand, as they were booked, less one execution."""
    return [
        Entry(
            kind=row["kind"],
            at=row["at"],
            quantity=decimal(row["quantity"]),
            cash=decimal(row["cash"]),
            in_kind=decimal(row["in_kind"]),
            description=row["description"],
        )
        for row in store.rows(_STANDING, (symbol, without))
    ]


def in_time(entries: Iterable[Entry]) -> list[Entry]:
    """Put each split before what came after it, and each payout to its split, however late told.

    Not across an adoption: who counted the shares has counted those of the split.
    """
    ordered: list[Entry] = []
    for entry in entries:
        place = len(ordered)
        if entry.kind in _SPLITS:
            while place and _is_after(ordered[place - 1], entry):
                place -= 1
        ordered.insert(place, entry)
    with_payouts: list[Entry] = []
    for entry in ordered:
        is_payout = entry.kind == "payout"
        place = _behind_split(with_payouts, entry) if is_payout else len(with_payouts)
        with_payouts.insert(place, entry)
    return with_payouts


def is_paid_by(split: Entry, payout: Entry) -> bool:
    """Tell whether money may be for a fraction that a split left; it is dated, not timed."""
    waited = dt.datetime.fromisoformat(payout.at) - dt.datetime.fromisoformat(split.at)
    return payout.at[:10] >= split.at[:10] and waited <= _PAID_WITHIN


def _is_after(entry: Entry, split: Entry) -> bool:
    if entry.kind == "payout":
        return is_paid_by(split, entry)
    # The broker takes the old shares away and gives the new ones; only then a fraction is left.
    is_of_it = entry.kind == "fraction" and split.kind == "split" and entry.at == split.at
    return is_of_it or (entry.kind == "fill" and entry.at > split.at)


def _behind_split(ordered: Sequence[Entry], payout: Entry) -> int:
    for place in range(len(ordered), 0, -1):
        entry = ordered[place - 1]
        if entry.kind == "adoption":
            break
        if entry.kind in _SPLITS and is_paid_by(entry, payout):
            return place
    return len(ordered)
