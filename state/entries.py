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
    """Put splits among executions by moment, and each payout to its split, however late told.

    Executions between the same splits stay as told.  Nothing crosses an adoption: who counted
    the shares has counted those of the split.
    """
    ordered: list[Entry] = []
    since: list[Entry] = []
    for entry in entries:
        if entry.kind == "adoption":
            ordered += [*_counted(since), entry]
            since = []
        else:
            since.append(entry)
    return ordered + _counted(since)


def is_paid_by(split: Entry, payout: Entry) -> bool:
    """Tell whether money may be for a fraction that a split left; it is dated, not timed."""
    waited = dt.datetime.fromisoformat(payout.at) - dt.datetime.fromisoformat(split.at)
    return payout.at[:10] >= split.at[:10] and waited <= _PAID_WITHIN


def _counted(told: Iterable[Entry]) -> list[Entry]:
    """Order what was told between two adoptions."""
    shares: list[Entry] = []
    payouts: list[Entry] = []
    for entry in told:
        (payouts if entry.kind == "payout" else shares).append(entry)
    ordered = _by_moment(shares)
    for payout in payouts:
        ordered.insert(_behind_split(ordered, payout), payout)
    return ordered


def _by_moment(told: Sequence[Entry]) -> list[Entry]:
    """Sort splits, and put each execution between them; of the same moment they stay as told."""
    numbered = list(enumerate(told))
    # The broker takes the old shares away and gives the new ones; only then a fraction is left.
    splits = sorted(
        (one.at, one.kind == "fraction", number) for number, one in numbered if one.kind in _SPLITS
    )

    def place(one: tuple[int, Entry]) -> tuple[int, bool]:
        number, entry = one
        if entry.kind in _SPLITS:
            return splits.index((entry.at, entry.kind == "fraction", number)), True
        return sum((at, other) < (entry.at, number) for at, _, other in splits), False

    return [entry for _, entry in sorted(numbered, key=place)]


def _behind_split(ordered: Sequence[Entry], payout: Entry) -> int:
    for place in range(len(ordered), 0, -1):
        entry = ordered[place - 1]
        if entry.kind in _SPLITS and is_paid_by(entry, payout):
            return place
    return len(ordered)
