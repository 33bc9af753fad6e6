"""Losses and the high-water mark (I09)."""

import datetime as dt
import sqlite3
from decimal import Decimal
from itertools import takewhile
from typing import Any

from domain.market import Session
from tests.simulation.checkers import amendments
from tests.simulation.checkers.evidence import ZERO, Violations
from tests.simulation.loop import SimClock
from tests.simulation.truth import Truth

# Per cent beyond a loss limit at which it is surely reached.
_MARGIN = Decimal("0.1")
# Seconds before the open at which the previous session has surely ended.
_NIGHT = 17 * 3600
# Seconds from the reading of an equity to its record, with a clock that may be wrong.
_READ_BEFORE = 120
# What of a limit must have been lost before halting for it has a cause.
_LEAST = Decimal("0.7")


def mark_of(db: sqlite3.Connection) -> Decimal | None:
    """Return the high-water mark less all named cash flows: it must never fall."""
    row = db.execute("SELECT high_water_mark FROM risk_state").fetchone()
    if row is None or row["high_water_mark"] is None:
        return None
    flows = sum(
        (Decimal(one["amount"]) for one in db.execute("SELECT amount FROM cash_flows")), ZERO
    )
    return Decimal(row["high_water_mark"]) - flows


def loss_halts(
    truth: Truth, db: sqlite3.Connection, limits: Any, since: float, *, look_seconds: float
) -> Violations:
    """I09: what the daemon read for minutes beyond a loss limit has engaged the latch."""
    told = [(e[0], Decimal(e[2])) for e in truth.log[-200:] if e[1] == "equity" and e[0] > since]
    row = db.execute("SELECT high_water_mark FROM risk_state").fetchone()
    # A single look may be of a moment at which cash was on its way (found as seed 29000065).
    if len(told) < 3 or told[-1][0] - told[0][0] < look_seconds or row["high_water_mark"] is None:
        return []
    read = [equity for _, equity in told]
    mark = Decimal(row["high_water_mark"])
    # A deposit since the last look is in the mark as soon as it is booked: seed 32000481.
    best = max(read) + _deposited_since(truth)
    fall = (mark - best) * 100 / mark
    if fall >= limits.max_drawdown_pct + _MARGIN:
        return [("I09", f"a drawdown of {fall:.2f} % was read and the latch is not engaged")]
    date = truth.session.date.isoformat() if truth.session is not None else ""
    start = db.execute(
        "SELECT start_equity, started_at FROM sessions WHERE session_date = ?", (date,)
    ).fetchone()
    if start is None:
        return []
    booked = db.execute("SELECT amount FROM cash_flows WHERE booked_at > ?", (start["started_at"],))
    flows = sum((Decimal(row["amount"]) for row in booked), ZERO)
    begun = Decimal(start["start_equity"]) + flows
    # What was withdrawn was there to lose (found as seed 27002390).
    loss = (begun - best) * 100 / max(begun, Decimal(start["start_equity"]))
    if loss >= limits.max_daily_loss_pct + _MARGIN:
        return [("I09", f"a loss of {loss:.2f} % was read and the latch is not engaged")]
    return []


def _deposited_since(truth: Truth) -> Decimal:
    """Return what was paid in after the equity was read last."""
    lately = takewhile(lambda entry: entry[1] != "equity", reversed(truth.log))
    paid = (Decimal(e[3]) for e in lately if e[1] == "paid" and "transfer" in e[2])
    return sum((max(amount, ZERO) for amount in paid), ZERO)


def _begun(clock: SimClock, db: sqlite3.Connection, session: Session) -> float:
    """Return when the session's first equity was read: it may be right after the close before."""
    query = "SELECT started_at FROM sessions WHERE session_date = ?"
    row = db.execute(query, (session.date.isoformat(),)).fetchone()
    night = clock.loop_time(session.open) - _NIGHT
    if row is None:
        return night
    return min(night, clock.loop_time(dt.datetime.fromisoformat(row["started_at"])) - _READ_BEFORE)


def halt_has_cause(
    truth: Truth, db: sqlite3.Connection, reason: str, limits: Any, our_date: dt.date
) -> Violations:
    """I09: who halts for a loss has had one; money that was drawn out and booked is none.

    ``our_date`` is that of the clock which whoever halts goes by.
    """
    paid = [(e[0], Decimal(e[3])) for e in truth.log if e[1] == "paid" and "transfer" in e[2]]
    known = db.execute("SELECT count(*) FROM cash_flows").fetchone()[0]
    unheard = [one for one in amendments.unknown(truth, db) if not one.is_paid and one.cash > 0]
    if known < len(paid) or unheard:
        # Cash that is not booked yet, or of which nobody told why it came, is no equity until
        # a person takes it in: to stop is the right error.
        return []
    read = [(e[0], Decimal(e[2])) for e in truth.log if e[1] == "equity"]
    net = []
    for at, equity in read:
        drawn = sum((amount for when, amount in paid if when <= at), ZERO)
        net.append((at, equity - drawn))
    if not net or truth.session is None:
        return []
    begun = _begun(truth.clock, db, truth.session)
    if our_date != truth.now().date():
        # By a clock that is a day behind it is the loss of that day: found as seed 20002946.
        begun = 0.0
    peaks = {"drawdown": net, "daily loss": [one for one in net if one[0] >= begun] or net}
    bounds = {"drawdown": limits.max_drawdown_pct, "daily loss": limits.max_daily_loss_pct}
    found: Violations = []
    for name, seen in peaks.items():
        fall = (max(value for _, value in seen) - net[-1][1]) * 100 / read[-1][1]
        if f"{name} " in reason and fall < bounds[name] * _LEAST:
            found.append(("I09", f"halted for a {name} of {fall:.2f} %: {reason}"))
    return found
