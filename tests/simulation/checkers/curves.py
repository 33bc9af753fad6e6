"""The report's drawdown, against what the broker served (I14)."""

import datetime as dt
import sqlite3
from decimal import Decimal
from typing import Any

from tests.simulation.checkers.evidence import ZERO, Violations
from tests.simulation.truth import Truth

# Without a clock that is right nobody knows what was read before the money moved.
_WRONG_CLOCK = {"clock.jumped", "clock.skewed"}
_ROUNDING = Decimal("1E-9")


def drawdown_is_lost(truth: Truth, db: sqlite3.Connection, report: Any) -> Violations:
    """I14: a drawdown was lost; money that came or went is neither lost nor won."""
    if truth.faults.rates.keys() & _WRONG_CLOCK or _is_read_between(truth, db):
        return []
    told = max((point.value for point in report.drawdown_curve), default=ZERO)
    worst = _worst(truth)
    if told <= worst + _ROUNDING:
        return []
    return [("I14", f"a drawdown of {told:.4%} is told, and {worst:.4%} was the worst")]


def _worst(truth: Truth) -> Decimal:
    """Return the deepest fall of any equity that was served from the highest, less flows."""
    peak = worst = flows = ZERO
    for _, kind, *fields in truth.log:
        if kind == "paid" and "transfer" in fields[0]:
            flows += Decimal(fields[1])
        elif kind == "equity":
            net = Decimal(fields[0]) - flows
            peak = max(peak, net)
            worst = max(worst, (peak - net) / (peak + flows))
    return worst


def _is_read_between(truth: Truth, db: sqlite3.Connection) -> bool:
    """Tell whether an equity was read when money had moved that was not booked yet."""
    booked = {
        row["activity_id"]: _moment(truth, row["booked_at"])
        for row in db.execute("SELECT activity_id, booked_at FROM cash_flows")
    }
    read = [_moment(truth, row["at"]) for row in db.execute("SELECT at FROM equity")]
    return any(
        at <= moment <= booked.get(fields[0], moment)
        for at, kind, *fields in truth.log
        if kind == "paid" and "transfer" in fields[0]
        for moment in read
    )


def _moment(truth: Truth, stored: str) -> float:
    return truth.clock.loop_time(dt.datetime.fromisoformat(stored))
