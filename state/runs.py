"""Runs: at most one of each kind per session date, however often the alarm rings."""

import datetime as dt
import sqlite3
from dataclasses import dataclass
from enum import StrEnum, unique

from domain.errors import StateError
from state.rows import known_moment, moment, stamp
from state.store import Store

_BY_DATE_AND_KIND = "SELECT * FROM runs WHERE session_date = ? AND kind = ?"


@unique
class RunState(StrEnum):
    """Where a run is."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of the schedule."""

    run_id: str
    session_date: dt.date
    kind: str
    state: RunState
    reason: str
    started_at: dt.datetime
    finished_at: dt.datetime | None


class Runs:
    """The schedule's memory."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, session_date: dt.date, kind: str, at: dt.datetime) -> str | None:
        """Claim a run; None when it was claimed before, finished or not."""
        with self._store.transaction():
            if self.get(session_date, kind) is not None:
                return None
            run_id = f"{session_date.isoformat()}-{kind}"
            self._store.append_within(
                "run.begun",
                {
                    "run_id": run_id,
                    "session_date": session_date.isoformat(),
                    "kind": kind,
                    "at": stamp(at),
                },
            )
        return run_id

    def finish(self, run_id: str, state: RunState, reason: str, at: dt.datetime) -> bool:
        """Close a run; False when it is closed already.

        Raises:
            StateError: there is no such run, or RUNNING is not an end.
        """
        if state is RunState.RUNNING:
            raise StateError(f"run {run_id} cannot finish as RUNNING: name its outcome")
        with self._store.transaction():
            row = self._store.row("SELECT state FROM runs WHERE run_id = ?", (run_id,))
            if row is None:
                raise StateError(f"run {run_id} was never begun: begin it first")
            if row["state"] != RunState.RUNNING:
                return False
            self._store.append_within(
                "run.finished",
                {"run_id": run_id, "state": state.value, "reason": reason, "at": stamp(at)},
            )
        return True

    def get(self, session_date: dt.date, kind: str) -> RunRecord | None:
        """Return one run."""
        row = self._store.row(_BY_DATE_AND_KIND, (session_date.isoformat(), kind))
        return _record(row) if row is not None else None

    def last_session(self) -> dt.date | None:
        """Return the latest session date of which any run was begun; None before the first."""
        row = self._store.rows("SELECT max(session_date) AS latest FROM runs")[0]
        return dt.date.fromisoformat(row["latest"]) if row["latest"] is not None else None

    def newest_kind(self, session_date: dt.date) -> str | None:
        """Return which run of a session was begun last; None before the first."""
        row = self._store.row(
            "SELECT kind FROM runs WHERE session_date = ? ORDER BY started_at DESC LIMIT 1",
            (session_date.isoformat(),),
        )
        return str(row["kind"]) if row is not None else None

    def unfinished(self) -> tuple[RunRecord, ...]:
        """Return the runs that a crash left open, oldest first."""
        rows = self._store.rows("SELECT * FROM runs WHERE state = 'RUNNING' ORDER BY started_at")
        return tuple(_record(row) for row in rows)


def _record(row: sqlite3.Row) -> RunRecord:
    return RunRecord(
        run_id=row["run_id"],
        session_date=dt.date.fromisoformat(row["session_date"]),
        kind=row["kind"],
        state=RunState(row["state"]),
        reason=row["reason"],
        started_at=known_moment(row["started_at"]),
        finished_at=moment(row["finished_at"]),
    )
