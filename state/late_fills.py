"""Executions from before a split that is booked: each trades in its place, late as it is told.

What it changes in what came after it is an entry of its own.  So the session of the execution
has its own profit, and the session in which it was told has what it changes in later ones.
"""

from domain.money import ZERO
from domain.orders import Fill
from state.booking import entry_columns
from state.cost_basis import Change, Holding
from state.entries import Entry, entries_of
from state.holdings import standing_of
from state.reversals import held_before, replay, restated
from state.rows import stamp
from state.store import Store

_SPLIT_SINCE = "SELECT 1 FROM ledger_entries WHERE symbol = ? AND kind = 'split' AND at > ? LIMIT 1"


def held_at(store: Store, fill: Fill) -> Holding:
    """Return what an execution that is booked next trades with."""
    held = standing_of(store, fill.symbol).holding
    has_waiting_cost = held.total_cost and not held.quantity
    if not (has_waiting_cost or _is_before_split(store, fill)):
        return held
    told = Entry(kind="fill", at=stamp(fill.at), quantity=fill.signed_quantity)
    return held_before(entries_of(store, fill.symbol), told)


def restate_after(store: Store, fill: Fill) -> None:
    """Book what an execution changes in what came after it, within the caller's transaction."""
    if not _is_before_split(store, fill):
        return
    after = replay(entries_of(store, fill.symbol)).standing
    change = restated(standing_of(store, fill.symbol), after, cash=ZERO)
    if change == Change():
        return
    entry = entry_columns(
        "restatement",
        change,
        at=stamp(fill.at),
        symbol=fill.symbol,
        execution_id=fill.execution_id,
        description=f"execution {fill.execution_id} from before a split was told after it",
    )
    store.append_within("ledger.booked", entry)


def _is_before_split(store: Store, fill: Fill) -> bool:
    return store.row(_SPLIT_SINCE, (fill.symbol, stamp(fill.at))) is not None
