"""An id leaves a second time only by leave of what the broker said or showed (I01)."""

import itertools
import sqlite3
from typing import Any

from domain.orders import OrderRequest
from tests.simulation.checkers.evidence import Violations
from tests.simulation.truth import Truth

# An order shows up late; absent so often, over so many seconds, it is not there.
_LOOKS = 3
_SECONDS = 119.0


def had_leave(truth: Truth, request: OrderRequest) -> Violations:
    """I01: who writes an id again was told "not now", or looked for it long enough."""
    name = request.client_order_id
    told = _told(truth, name)
    writes = [at for at, entry in enumerate(told) if entry[1] == "wire"]
    # The last one is the write that is judged.
    if len(writes) < 2 or _is_absent(told[writes[-2] + 1 : writes[-1]]):
        return []
    return [("I01", f"{name} was written again without evidence that it never arrived")]


def never_called_off(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I16: what may be at the broker is not called unsent, and keeps its room in the limits.

    A proof of absence gives leave to write again; it does not call back what may be on its way.
    """
    rows = db.execute(
        "SELECT client_order_id, state FROM orders"
        " WHERE state IN ('approved', 'skipped', 'rejected') AND broker_order_id IS NULL"
    )
    found: Violations = []
    for name, state in rows:
        # A refusal is the answer to one write.
        if _unanswered(_told(truth, name)) > (state == "rejected"):
            found.append(("I16", f"{name} was written, may still arrive, and is {state}"))
    return found


def _unanswered(told: list[Any]) -> int:
    """Count the writes to which nobody said "not now"."""
    return sum(
        entry[1] == "wire" and not (after is not None and after[1].startswith("refused"))
        for entry, after in itertools.zip_longest(told, told[1:])
    )


def _told(truth: Truth, name: str) -> list[Any]:
    kinds = {"wire", "absent", "refused for now", "refused"}
    return [entry for entry in truth.log if entry[1] in kinds and entry[3] == name]


def _is_absent(since: list[Any]) -> bool:
    """Tell whether the broker said no to a write, or did not show it often and long enough."""
    if any(entry[1].startswith("refused") for entry in since):
        return True
    looks: dict[str, list[float]] = {}
    for entry in since:
        looks.setdefault(entry[2], []).append(entry[0])
    # What a process counted is gone when it dies: each has to look for itself.
    return any(len(seen) >= _LOOKS and seen[-1] - seen[0] >= _SECONDS for seen in looks.values())
