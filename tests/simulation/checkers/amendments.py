"""Executions that were taken back or corrected: which of it the books know, and must know."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from domain.orders import OrderRequest, TradeUpdate
from tests.simulation.broker_orders import Amendment, Execution
from tests.simulation.checkers.evidence import Violations
from tests.simulation.truth import Truth

Key = tuple[str, Decimal, Decimal, Decimal]
# Seconds in which who heard of it has booked it.
_BOOKED = 60.0
_BOOKED_AS = (
    "SELECT f.symbol, f.seq FROM fills f WHERE f.reversed_seq IS NULL AND f.execution_id IN"
    " (SELECT ?1 UNION SELECT booked_as FROM execution_aliases WHERE execution_id = ?1)"
)


def key(one: Execution) -> Key:
    """Return what an execution is told from all others by, whatever its ids."""
    return (one.broker_id, one.cumulative.normalize(), one.quantity.normalize(), one.price)


def standing(db: sqlite3.Connection) -> list[Key]:
    """Return the executions that the books hold for true."""
    return [
        (
            row["broker_order_id"],
            Decimal(row["cumulative_quantity"]).normalize(),
            Decimal(row["quantity"]).normalize(),
            Decimal(row["price"]),
        )
        for row in db.execute("SELECT * FROM fills WHERE reversed_seq IS NULL")
    ]


def unknown(truth: Truth, db: sqlite3.Connection) -> list[Amendment]:
    """Return what was amended and stands in the books as it was: nobody was there to hear."""
    if not truth.amendments:
        return []
    booked = set(standing(db))
    return [one for one in truth.amendments if key(one.was) in booked]


def contradicted(truth: Truth, db: sqlite3.Connection) -> list[tuple[Amendment, Execution]]:
    """Return what was executed in the place of shares that stand, since nobody heard of their end.

    Found as seed 13000053: both cannot be true, so the second is told and not booked.
    """
    booked = set(standing(db))
    return [
        (one, other)
        for one in unknown(truth, db)
        for other in truth.executions
        if other is not one.now
        and other.broker_id == one.was.broker_id
        and other.cumulative - other.quantity < one.was.cumulative
        and one.was.cumulative - one.was.quantity < other.cumulative
        and key(other) not in booked
    ]


def believed(truth: Truth, db: sqlite3.Connection) -> list[tuple[Execution, Execution]]:
    """Return what stands in the place of corrections, since the wire told them otherwise.

    Found as seed 59000268: the correction came before its execution, which could not be booked
    yet, and was told once more at another price after it.
    """
    booked = set(standing(db))
    return [
        (one.now, wrong)
        for one in truth.amendments
        if one.now is not None and one.unnamed and key(one.now) not in booked
        for wrong in one.mistold
        if key(wrong) in booked
    ]


def hear(truth: Truth, db: sqlite3.Connection, update: TradeUpdate) -> None:
    """Remember that a daemon heard of what it could take back by name, or not."""
    for one in _meant(truth, update):
        if not _is_whole(update, one) and one.now is not None and update.fill is not None:
            fill = update.fill
            one.mistold.append(replace(one.now, quantity=fill.quantity, price=fill.price))
    row = db.execute(_BOOKED_AS, (update.previous_execution_id,)).fetchone()
    if row is None:
        for one in _meant(truth, update):
            one.unnamed.append(truth.loop.moment)
        return
    split = "SELECT 1 FROM ledger_entries WHERE symbol = ? AND kind = 'split' AND entry_id > ?"
    if db.execute(split, (row["symbol"], row["seq"])).fetchone():
        return
    for one in _meant(truth, update):
        if _is_whole(update, one):
            one.told.append(truth.loop.moment)


def _meant(truth: Truth, update: TradeUpdate) -> list[Amendment]:
    return [one for one in truth.amendments if one.name == update.previous_execution_id]


def read_since(
    truth: Truth, db: sqlite3.Connection, process: str, request: OrderRequest
) -> Violations:
    """I04: of what a daemon knows to be taken back, unnamed, it closes nothing before a look."""
    if request.leg != "exit":
        return []
    looks = (entry for entry in reversed(truth.log) if entry[1:3] == ("positions", process))
    looked_at = next((entry[0] for entry in looks), 0.0)
    merged = "SELECT 1 FROM incidents WHERE kind = 'fill.taken_back' AND text LIKE ?"
    return [
        (
            "I04",
            f"{request.client_order_id} closes what was taken back since the positions were read",
        )
        for one in truth.amendments
        if one.was.symbol == request.symbol
        and any(at > looked_at for at in one.unnamed)
        and db.execute(merged, (f"%{one.name}",)).fetchone()
    ]


def _is_whole(update: TradeUpdate, amendment: Amendment) -> bool:
    """Tell whether the wire left the figures alone: a correction to nothing is none."""
    fill, now = update.fill, amendment.now
    if fill is None or now is None:
        return fill is None and now is None
    return (fill.quantity, fill.price) == (now.quantity, now.price)


def cash_adoptions(db: sqlite3.Connection, reason: str) -> int:
    """Return how often a person took the broker's cash into the books."""
    query = "SELECT count(*) FROM ledger_entries WHERE kind = 'cash_adoption' AND description = ?"
    found: int = db.execute(query, (reason,)).fetchone()[0]
    return found


def told_is_booked(
    truth: Truth, db: sqlite3.Connection, spans: Sequence[tuple[float, float]]
) -> Violations:
    """I03: what a daemon heard of, and lived on, does not stand any more."""
    return [
        ("I03", f"execution {one.was.number} was taken back, told, and stands")
        for one in unknown(truth, db)
        if any(begun <= at and at + _BOOKED < ended for at in one.told for begun, ended in spans)
    ]
