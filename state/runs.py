"""Runs: at most one of each kind per session date, however often the alarm rings."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum, unique

from state.store import Store


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
        raise NotImplementedError

    def finish(self, run_id: str, state: RunState, reason: str, at: dt.datetime) -> bool:
        """Close a run; False when it is closed already."""
        raise NotImplementedError

    def get(self, session_date: dt.date, kind: str) -> RunRecord | None:
        """Return one run."""
        raise NotImplementedError

    def unfinished(self) -> tuple[RunRecord, ...]:
        """Return the runs that a crash left open, oldest first."""
        raise NotImplementedError
