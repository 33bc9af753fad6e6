"""What an adoption held already: told only later, it is booked, and moves nothing a second time.

An adoption takes the holding as the broker shows it at one moment, and new books take the
cash so.  A fill or a split from before that moment is in it, whenever it is told.  So the
adoption gives that part back first: the entry that it really came by takes its place.
"""

import datetime as dt
from decimal import Decimal

from domain.ids import Symbol
from state.booking import entry_columns
from state.cost_basis import Change, give_back
from state.entries import GIVEN_BACK, entries_of
from state.reversals import replay
from state.rows import stamp
from state.store import Store

_FIRST_AFTER = (
    "SELECT at FROM ledger_entries"
    " WHERE symbol = ? AND kind = 'adoption' AND quantity <> '0' AND at >= ?"
    " ORDER BY at, entry_id LIMIT 1"
)
_FIRST_CASH_AFTER = (
    "SELECT at FROM ledger_entries WHERE kind = 'cash_adoption' AND at >= ?"
    " ORDER BY at, entry_id LIMIT 1"
)


def give_back_shares(
    store: Store, symbol: Symbol, shares: Decimal, *, at: dt.datetime, came_by: str
) -> bool:
    """Take ``shares`` out of the first adoption since ``at``, within the caller's transaction.

    Args:
        store: the books.
        symbol: instrument.
        shares: signed, what is booked next.
        at: when it took effect; an adoption of the same moment has it.
        came_by: what is booked next, for the entry's description.

    Returns:
        False when no adoption can have held them.
    """
    adoption = store.row(_FIRST_AFTER, (symbol, stamp(at)))
    if adoption is None or not shares:
        return False
    played = replay(entries_of(store, symbol))
    entry = entry_columns(
        "adoption",
        give_back(played.holding, played.adoptions[adoption["at"]], shares),
        at=adoption["at"],
        symbol=symbol,
        description=f"{GIVEN_BACK}{came_by} was in it already",
    )
    store.append_within("ledger.booked", entry)
    return True


def give_back_cash(store: Store, cash: Decimal, *, at: dt.datetime, came_by: str) -> bool:
    """Do the same for signed ``cash`` of an execution, which moves it at once, told or not."""
    opening = store.row(_FIRST_CASH_AFTER, (stamp(at),))
    if opening is None:
        return False
    entry = entry_columns(
        "cash_adoption",
        Change(cash=-cash),
        at=opening["at"],
        description=f"{GIVEN_BACK}{came_by} was in it already",
    )
    store.append_within("ledger.booked", entry)
    return True
