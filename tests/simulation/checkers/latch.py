"""The latch, and what a kill said of itself."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from domain.orders import OrderRequest
from execution.kill import KillReport, Proof
from tests.simulation.broker_orders import Order
from tests.simulation.checkers.evidence import ZERO, Violations
from tests.simulation.truth import Truth

# Looks at the account after which what it says is known.
_READS = 3


def latch_is_engaged(directory: Path) -> bool:
    """Read the latch file by hand; whatever is not a whole armed record is engaged.

    Where nothing was ever begun nothing is: found as seed 15001616.
    """
    if not (directory / "KILL").exists() and not (directory / "openbell.db").exists():
        return False
    return _record(directory).get("state") != "armed"


def kill_is_pending(directory: Path) -> bool:
    """Tell whether a kill was begun that nobody has seen completed."""
    return _record(directory).get("pending") is not None


def kill_completed(truth: Truth, directory: Path, started: float) -> Violations:
    """I07: what a kill left undone the next start does, once its closing orders are at an end.

    What nobody buys any more it cannot do.
    """
    if _waits_for_the_open(truth):
        return []
    is_late = any(e[0] > started and "-flatten-" in str(e[3]) for e in truth.log if len(e) > 3)
    stuck = {*truth.market.ended, *filter(None, [truth.halted])}
    if is_late or any(truth.positions.get(symbol) for symbol in stuck):
        return []
    return [("I07", "a kill is still not completed")] if kill_is_pending(directory) else []


def kill_is_heard(truth: Truth, working: Sequence[Order], *, is_told: bool) -> Violations:
    """I07: a kill from afar cancels what worked as it came, or says that it could not."""
    still = {order.broker_id for order in truth.open_orders()}
    # A closing order of a kill that closes positions is at work as it should be.
    left = [
        order.client_id
        for order in working
        if order.broker_id in still and "-flatten-" not in order.client_id
    ]
    if is_told or not left:
        return []
    return [("I07", f"a kill from afar left {left} working, and nobody was told")]


def lock_is_told(
    truth: Truth, directory: Path, db: sqlite3.Connection, since: float, look_seconds: float
) -> Violations:
    """I07: whoever clears the broker's lock under an engaged latch is contradicted.

    ``since`` is when the daemon that looks was started.
    """
    record = _record(directory)
    is_ours = record.get("state") == "engaged" and record["pending"] is None
    if truth.is_suspended or not (is_ours and record["is_broker_locked"]):
        return []
    begun = max([since, *(entry[0] for entry in truth.log if entry[1] == "suspended")])
    lately = truth.loop.moment - 4 * look_seconds
    reads = [entry for entry in truth.log[-200:] if entry[1] == "equity" and entry[0] > lately]
    # Found as seed 20000541: a broker that was away answered three comparisons, and no look yet.
    is_looked_at = len(reads) >= _READS and reads[0][0] < truth.loop.moment - 2 * look_seconds
    if begun > lately or not is_looked_at:
        return []
    told = db.execute("SELECT value FROM facts WHERE name = 'broker_lock'").fetchone()
    if told is not None and "was cleared" in told["value"]:
        return []
    return [("I07", "the broker's lock was cleared under our latch, and nobody says so")]


def notes_shorting_ban(directory: Path) -> bool:
    """Read by hand whether the latch says that a kill forbade short sales at the broker."""
    return _record(directory).get("is_shorting_forbidden") is True


def ban_is_lifted(truth: Truth, *, is_noted: bool) -> Violations:
    """I06: a resume puts back what the kill changed at the broker."""
    if is_noted and truth.is_shorting_forbidden:
        return [("I06", "short sales are still forbidden at the broker after the resume")]
    return []


def _record(directory: Path) -> Mapping[str, Any]:
    """Return the fields of a whole record, or none."""
    try:
        record = json.loads((directory / "KILL").read_bytes().split(b"\n", 1)[0])
        checksum = record.pop("checksum")
        body = json.dumps(record, sort_keys=True).encode()
        is_whole = hashlib.sha256(body).hexdigest() == checksum
    except (OSError, ValueError, KeyError, AttributeError):
        return {}
    return record if is_whole else {}


def latch_allows(directory: Path, db: sqlite3.Connection, request: OrderRequest) -> Violations:
    """I06: nothing leaves while the latch is engaged, in the file or in the row."""
    if latch_is_engaged(directory):
        return [("I06", f"{request.client_order_id} left while the latch was engaged")]
    row = db.execute("SELECT latch_is_engaged FROM risk_state").fetchone()
    if row["latch_is_engaged"]:
        return [("I06", f"{request.client_order_id} left while the latch's row was engaged")]
    return []


def kill_tells(report: KillReport) -> Violations:
    """I07: a kill that is not verified names the next step, in words and for programs."""
    told = json.loads(json.dumps(report.as_json()))
    if told["verified"] or "`openbell kill" in report.shortfall:
        return []
    return [("I07", f"a kill is not verified and names no next step: {report.shortfall}")]


def kill_asks_for_all(truth: Truth, report: KillReport, process: str, began: float) -> Violations:
    """I07: a kill that never saw the open orders asked for a cancel of everything all the same.

    One that closes positions may have to keep the closing orders of another, also where it was
    a plain one until the other was asked for.
    """
    is_plain = report.proof in {Proof.CANCELED, Proof.NOT_CANCELED}
    is_refused = any("refused the keys" in problem for problem in report.problems)
    if not is_plain or is_refused or truth.listed_at.get(process, began) > began:
        return []
    asked = [e for e in truth.log if e[0] >= began and e[1:3] == ("asked for all", process)]
    return [] if asked else [("I07", "a kill saw no list of open orders and asked for nothing")]


def kill_is_true(
    truth: Truth,
    directory: Path,
    report: KillReport,
    *,
    listed_at: float,
    has_disk_faults: bool,
    is_alone: bool,
) -> Violations:
    """I06, I07: what a verified kill said is so, as of when it last read the open orders.

    Another kill beside it, one that flattens, opens the broker's lock to close.
    """
    found: Violations = []
    # What the broker did not show yet when it was last asked, nobody can have canceled.
    shown = [o for o in truth.open_orders() if o.visible_at <= listed_at]
    left = [o.client_id for o in shown if "flatten" not in o.client_id]
    recent = [o for o in left if not o.startswith("hand-")]
    if recent:
        found.append(("I07", f"the kill was verified and {recent} are open"))
    if report.suspended and is_alone and not truth.is_suspended:
        found.append(("I07", "the kill said that the broker's lock is set; it is not"))
    # A disk that takes nothing may leave it armed; then the kill says so.
    is_excused = not report.latched and has_disk_faults
    if not latch_is_engaged(directory) and not is_excused:
        found.append(("I06", "the latch is not engaged after a kill"))
    return found


def _waits_for_the_open(truth: Truth) -> bool:
    """Tell whether a closing order rests that is not of what is held any more.

    A bust since it was queued has changed the holding (found as seed 303 with a look every 300
    seconds), and no second order goes out beside it.
    """
    return any(
        "-flatten-" in order.client_id
        and truth.positions.get(order.symbol, ZERO) + order.side.sign * order.left != 0
        for order in truth.open_orders()
    )
