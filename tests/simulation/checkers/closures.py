"""Days on which the exchange stayed closed: no session for whoever was told, and no other day."""

import datetime as dt
import re
import sqlite3
from collections.abc import Iterable

from tests.simulation.account import CalendarAnswer
from tests.simulation.checkers.evidence import Violations
from tests.simulation.truth import Truth

_SKIPPED = "SELECT * FROM runs WHERE state = 'SKIPPED' ORDER BY run_id"
_REPORTED = "SELECT * FROM runs WHERE kind = 'eod' AND state = 'DONE' ORDER BY run_id"
_WAITS_FOR = re.compile(r"(?:expected|no bar for) (\d{4}-\d{2}-\d{2})")
# Seconds: what a program was told and did not live to write down is not known.
_WRITTEN_WITHIN = 5.0
# What was told while a run was under way may come after what it needed it for.
_RUN_LASTS = 120.0


def nobody_waits(
    truth: Truth, db: sqlite3.Connection, spans: Iterable[tuple[float, float]]
) -> Violations:
    """I11: once the broker has told of a closure, no run is left out for want of a bar of it."""
    known = _known_since(truth, spans)
    found: Violations = []
    for row in db.execute(_SKIPPED):
        wanted = _WAITS_FOR.search(row["reason"])
        since = known.get(dt.date.fromisoformat(wanted[1])) if wanted is not None else None
        if since is not None and _began(truth, row) > since + _RUN_LASTS:
            found.append(("I11", f"{row['run_id']} waits for a closed day: {row['reason']}"))
    return found


def nobody_reports(
    truth: Truth, db: sqlite3.Connection, spans: Iterable[tuple[float, float]]
) -> Violations:
    """I14: a day that the broker's calendar does not have gets no report."""
    known = _known_since(truth, spans)
    return [
        ("I14", f"{row['run_id']} is a report on a closed day: {row['reason']}")
        for row in db.execute(_REPORTED)
        if (since := known.get(dt.date.fromisoformat(row["session_date"]))) is not None
        and _began(truth, row) > since + _RUN_LASTS
    ]


def nothing_stays_wiped(
    truth: Truth, db: sqlite3.Connection, spans: Iterable[tuple[float, float]]
) -> Violations:
    """I11: a session that a wrong answer hid is one again after the next right answer."""
    heard = _heard(truth, spans)
    wiped = sorted(believed(db) - truth.hours.closed)
    # Also one that was written down in the last moment of a program (found as seed 28000761).
    is_last_right = bool(heard) and heard[-1].is_right and truth.calendar_told[-1].is_right
    if not wiped or not is_last_right:
        return []
    return [("I11", f"{wiped[0]} was a session and is called closed")]


def believed(db: sqlite3.Connection) -> set[dt.date]:
    """Return the days that the daemon takes for closed."""
    row = db.execute("SELECT value FROM facts WHERE name = 'closed_days'").fetchone()
    return {dt.date.fromisoformat(day) for day in (row["value"] if row else "").split()}


def _known_since(truth: Truth, spans: Iterable[tuple[float, float]]) -> dict[dt.date, float]:
    """Return since when the daemon must know of each closed day, if nothing wrong was told."""
    if not all(answer.is_right for answer in truth.calendar_told):
        return {}
    found: dict[dt.date, float] = {}
    for answer in _heard(truth, spans):
        for day in answer.lacking:
            found.setdefault(day, answer.at)
    return found


def _heard(truth: Truth, spans: Iterable[tuple[float, float]]) -> list[CalendarAnswer]:
    """Return the answers that a program lived to write down, on a disk that took it."""
    lives = list(spans)
    return [
        answer
        for answer in truth.calendar_told
        if not answer.process.disk_faults
        and any(begun <= answer.at and answer.at + _WRITTEN_WITHIN < end for begun, end in lives)
    ]


def _began(truth: Truth, row: sqlite3.Row) -> float:
    return truth.clock.loop_time(dt.datetime.fromisoformat(row["started_at"]))
