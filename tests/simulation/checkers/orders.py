"""What becomes of orders: one chain for each intent, known to both sides, with an end."""

import json
import sqlite3
from collections import Counter, defaultdict
from decimal import Decimal

from domain.orders import OrderRequest
from tests.simulation.checkers.evidence import ZERO, Violations
from tests.simulation.truth import Truth

# The adapter paces to 200 a minute; here a storm must show, so the port counts what is asked.
MOST_REQUESTS = 600
MOST_WRITES = 12
# Seconds that so many writes of one order take at least, also where each is refused for now.
_STORM_SECONDS = 150.0


def not_again(truth: Truth, process: str, request: OrderRequest) -> Violations:
    """I01: who was told that the broker has an order does not write it a second time."""
    if (process, request.client_order_id) in truth.answered:
        return [("I01", f"{request.client_order_id} was written again after a yes")]
    return []


def one_chain(truth: Truth) -> Violations:
    """I01: at most one accepted order for each id of ours, and never more shares than meant."""
    ids = Counter(
        order.client_id for order in truth.orders.values() if order.client_id.startswith("ob-")
    )
    found = [("I01", f"{name} was accepted {n} times") for name, n in ids.items() if n > 1]
    for order in truth.orders.values():
        if order.filled > order.quantity and order.client_id not in truth.overfilled:
            found.append(("I01", f"{order.client_id} filled {order.filled} of {order.quantity}"))
    return found


def intents_match(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I01, I02: what the broker accepted is what the journal meant."""
    found: Violations = []
    rows = {row["client_order_id"]: row for row in db.execute("SELECT * FROM orders")}
    for order in truth.orders.values():
        row = rows.get(order.client_id)
        if not order.client_id.startswith("ob-") or "-flatten" in order.client_id or row is None:
            continue
        if Decimal(row["quantity"]) != order.quantity or row["side"] != order.side.value:
            found.append(("I01", f"{order.client_id} is not what the journal meant"))
    for name, row in rows.items():
        if row["broker_order_id"] is None or name.startswith("twin-"):
            continue
        theirs = truth.orders.get(row["broker_order_id"])
        if theirs is None or theirs.client_id != name:
            found.append(("I01", f"{name} stands for {row['broker_order_id']}, which is another"))
    return found


class OrderHistory:
    """I03: what an order reached is never taken back, not even between two looks."""

    _ENDED = frozenset({"filled", "canceled", "expired"})
    _TOLD = (
        "SELECT seq, kind, payload FROM events WHERE seq > ?"
        " AND kind IN ('order.reported', 'order.moved') ORDER BY seq"
    )

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, Decimal]] = {}
        self._sequence = 0

    def check(self, db: sqlite3.Connection) -> Violations:
        """Follow every order through the log, from where the last check ended."""
        found: Violations = []
        for row in db.execute(self._TOLD, (self._sequence,)):
            self._sequence = row["seq"]
            told = json.loads(row["payload"])
            name, state = told["client_order_id"], told["state"]
            before, most = self._seen.get(name, ("", ZERO))
            if row["kind"] == "order.moved" and state in {"filled", "canceled"}:
                found.append(("I03", f"{name} is {state} by our word alone"))
            filled = Decimal(told.get("filled_quantity", most))
            if before in self._ENDED and state not in self._ENDED:
                found.append(("I03", f"{name} went back from {before} to {state}"))
            if filled < most:
                found.append(("I03", f"{name} fell from {most} to {filled} filled"))
            self._seen[name] = (state, filled)
        return found


def entries_ended(truth: Truth) -> Violations:
    """I11: long after the cut-off no entry of ours is open any more."""
    return [
        ("I11", f"{order.client_id} is still {order.status} long after the cut-off")
        for order in truth.open_orders()
        if order.client_id.startswith("ob-") and "-entry-" in order.client_id
    ]


def taken_is_taken(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I16: no order that the broker took is one that never got there, by our journal."""
    states = {row["client_order_id"]: row["state"] for row in db.execute("SELECT * FROM orders")}
    return [
        ("I16", f"{order.client_id} is {order.status} at the broker and {ours} here")
        for order in truth.orders.values()
        if (ours := states.get(order.client_id)) in {"denied", "skipped", "rejected"}
        and order.status != "rejected"
    ]


def ended_is_ended(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I03: no order that has ended by our journal can still fill at the broker."""
    rows = db.execute(
        "SELECT * FROM orders WHERE broker_order_id IS NOT NULL"
        " AND state IN ('filled', 'canceled', 'expired')"
    )
    return [
        ("I03", f"{row['client_order_id']} is {row['state']} here and {theirs.status} there")
        for row in rows
        if (theirs := truth.orders.get(row["broker_order_id"])) is not None and theirs.is_open
    ]


def settled(db: sqlite3.Connection) -> Violations:
    """I16: no order is in doubt, and the trading state is one of the known ones."""
    found = [
        ("I16", f"{row['client_order_id']} is still {row['state']}")
        for row in db.execute(
            "SELECT * FROM orders WHERE state IN ('planned', 'approved', 'sending', 'unknown')"
        )
    ]
    row = db.execute("SELECT trading_state FROM risk_state").fetchone()
    state = row["trading_state"] if row is not None else "none: the books were never begun"
    if state not in {"ACTIVE", "REDUCING", "HALTED"}:
        found.append(("I16", f"trading state {state}"))
    return found


def bounded(truth: Truth) -> Violations:
    """I20: requests of one process in a minute, and its writes of one order, have a ceiling."""
    found: Violations = []
    if truth.busiest > MOST_REQUESTS:
        found.append(("I20", f"{truth.busiest} requests in one minute"))
    # The entry names process and order: each start that completes a kill has doubts of its own.
    writes: dict[tuple[str, str], list[float]] = defaultdict(list)
    refused: Counter[tuple[str, str]] = Counter()
    for entry in truth.log:
        if entry[1] == "wire":
            writes[entry[2], entry[3]].append(entry[0])
        elif entry[1] == "refused for now":
            refused[entry[2], entry[3]] += 1
    return found + [
        ("I20", f"{process} wrote {name} {len(at)} times")
        for (process, name), at in writes.items()
        # A stop is tried for as long as the broker says "not now", at a pace.
        if len(at) - refused[process, name] > MOST_WRITES or _is_storm(at)
    ]


def _is_storm(at: list[float]) -> bool:
    return any(
        later - first < _STORM_SECONDS for first, later in zip(at, at[MOST_WRITES:], strict=False)
    )


def canary(truth: Truth) -> Violations:
    """I00: a rule that is wrong: whoever runs with it and sees no violation is blind."""
    return [("I00", f"{one.client_id} was executed") for one in truth.executions[:1]]
