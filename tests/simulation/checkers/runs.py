"""The runs of each session and the report at its end."""

import datetime as dt
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from domain.market import Session
from tests.simulation.checkers.evidence import Violations
from tests.simulation.truth import Truth

_MISSED = "SELECT * FROM runs WHERE state = 'SKIPPED' AND reason LIKE 'missed%' ORDER BY run_id"
# Seconds that a run may begin late: the one before it may still wait for answers.
_LATEST_RUN = 900
# What makes an equity unusable, or a moment another.
_SPOILS_EQUITY = {"account.odd_equity", "account.unusable", "clock.jumped", "clock.skewed"}
# Before the open: prices move from four in the morning.
_PRICES_MOVE = dt.timedelta(hours=5, minutes=30)
_HALF_A_CENT = Decimal("0.005")
_RUNS = ("premarket", "submit", "cutoff", "eod")


def runs_once(db: sqlite3.Connection, dates: list[str]) -> Violations:
    """I11: every run of every finished session has exactly one row, and an end."""
    found: Violations = []
    rows = Counter(
        (row["session_date"], row["kind"], row["state"]) for row in db.execute("SELECT * FROM runs")
    )
    for date in dates:
        for kind in _RUNS:
            states = [state for (day, name, state) in rows if (day, name) == (date, kind)]
            if len(states) != 1:
                found.append(("I11", f"{date} {kind} has {len(states)} rows"))
            elif states[0] == "RUNNING":
                found.append(("I11", f"{date} {kind} never ended"))
    return found


def first_session(db: sqlite3.Connection) -> str | None:
    """Return the first session of which any run is written down."""
    found: str | None = db.execute("SELECT min(session_date) FROM runs").fetchone()[0]
    return found


def runs_end_once(db: sqlite3.Connection) -> Violations:
    """I11: what a run came to is never written a second time."""
    rows = db.execute(
        "SELECT json_extract(payload, '$.run_id') AS run_id, count(*) AS n FROM events"
        " WHERE kind = 'run.finished' GROUP BY 1 HAVING n > 1 ORDER BY 1"
    )
    return [("I11", f"{row['run_id']} ended {row['n']} times") for row in rows]


def plans_of_one_maker(db: sqlite3.Connection) -> Violations:
    """I02: a plan that one version began is not continued by the next; stops may come any time."""
    rows = db.execute(
        "SELECT json_extract(payload, '$.run_id') AS run_id,"
        " count(DISTINCT json_extract(payload, '$.made_by')) AS makers FROM events"
        " WHERE kind = 'orders.planned' GROUP BY 1 HAVING makers > 1 ORDER BY 1"
    )
    return [
        ("I02", f"{row['run_id']} was planned by {row['makers']} versions")
        for row in rows
        if not row["run_id"].endswith("-watch")
    ]


def attended(
    truth: Truth, sessions: Iterable[Session], spans: Iterable[tuple[float, float]]
) -> dict[tuple[str, str], dt.datetime]:
    """Return when each run was due over which one life of the daemon lasted."""
    found = {}
    for session in sessions:
        opened, closed = session.open, session.close
        moments = {
            "premarket": opened - dt.timedelta(minutes=60),
            "submit": opened - dt.timedelta(minutes=10),
            "cutoff": opened + dt.timedelta(minutes=30),
            "eod": closed + dt.timedelta(minutes=5),
        }
        first = truth.clock.loop_time(opened) - 62 * 60
        for kind, moment in moments.items():
            last = truth.clock.loop_time(moment) + 60
            if any(begun < first and last < ended for begun, ended in spans):
                found[session.date.isoformat(), kind] = moment
    return found


def runs_in_time(db: sqlite3.Connection, due: Mapping[tuple[str, str], Any]) -> Violations:
    """I11: a daemon that was there did not miss a run."""
    return [
        ("I11", f"{row['run_id']} was missed while the daemon was up: {row['reason']}")
        for row in db.execute(_MISSED)
        if (row["session_date"], row["kind"]) in due
    ]


def runs_on_time(db: sqlite3.Connection, due: Mapping[tuple[str, str], dt.datetime]) -> Violations:
    """I11: a daemon that was there began each run at its time, by New York's clock."""
    found: Violations = []
    for row in db.execute("SELECT * FROM runs ORDER BY run_id"):
        expected = due.get((row["session_date"], row["kind"]))
        if expected is None:
            continue
        late = (dt.datetime.fromisoformat(row["started_at"]) - expected).total_seconds()
        if not -1 <= late <= _LATEST_RUN:
            found.append(("I11", f"{row['run_id']} began {late:.0f} s after its time"))
    return found


def equity_of_the_close(truth: Truth, report: Any) -> Violations:
    """I14: the report's equity was read after the close."""
    if truth.session is None or truth.session.date != report.session_date:
        return []
    close = truth.clock.loop_time(truth.session.close)
    late = {Decimal(e[2]) for e in truth.log if e[1] == "equity" and e[0] >= close}
    if report.bridge.equity_end in late:
        return []
    return [("I14", f"the report's equity {report.bridge.equity_end} is from before the close")]


def end_is_its_own(truth: Truth, sessions: Iterable[Session], report: Any) -> Violations:
    """I14: a session does not end with what the next one made of it, or the report says so."""
    # A day on which the exchange stayed closed made nothing of it (found as seed 33000755).
    closed = truth.hours.closed
    later = (one for one in sessions if one.date > report.session_date)
    following = next((one for one in later if one.date not in closed), None)
    if following is None or truth.faults.rates.keys() & {"clock.jumped", "clock.skewed"}:
        return []
    moves = truth.clock.loop_time(following.open - _PRICES_MOVE)
    end = report.bridge.equity_end
    served = [e[0] for e in truth.log if e[1] == "equity" and Decimal(e[2]) == end]
    told = " ".join(report.doubts)
    if "Nobody read" in told and truth.loop.moment < moves:
        return [("I14", f"the close of {report.session_date} could still be read")]
    if "part of the next session" in told or any(at < moves for at in served):
        return []
    return [("I14", f"the report of {report.session_date} ends with {following.date}'s {end}")]


def told_for_nothing(truth: Truth, report: Any) -> Violations:
    """I14: the equity of a close is doubted only with a reason."""
    is_first = truth.session is not None and truth.session.date == report.session_date
    if not is_first or report.revision > 1 or truth.faults.rates.keys() & _SPOILS_EQUITY:
        return []
    return [("I14", "the report doubts the equity of the close, which could be used")]


def account_bridge(truth: Truth, report: Any) -> Violations:
    """I14: the report's figure is the broker's, and no residual is called reconciled."""
    found: Violations = []
    served = {Decimal(entry[2]) for entry in truth.log if entry[1] == "equity"}
    if report.bridge.equity_end not in served:
        found.append(("I14", f"the report's equity {report.bridge.equity_end} was never read"))
    parts = (
        report.bridge.realized_pnl
        + report.bridge.unrealized_pnl_change
        - report.bridge.fees
        + report.bridge.dividends
        + report.bridge.interest
        + report.bridge.transfers
        + report.bridge.other
    )
    residual = report.bridge.equity_end - report.bridge.equity_start - parts
    if report.is_reconciled and abs(residual) > _HALF_A_CENT:
        found.append(("I14", f"called reconciled with a residual of {residual}"))
    return found
