"""The night: a backup that was restored on trial, and what is old goes.

Each job is a run of the schedule, so it ends DONE, SKIPPED or FAILED with a reason, and a
failure is told like that of any other run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from daemon.config import RetentionConfig
from daemon.schedule import DueRun, RunKind
from domain.clock import Clock
from domain.errors import StorageError, remedy
from state.backup_folder import DIRECTORY, prune
from state.rehearsal import back_up_and_rehearse
from state.retention import Retention, prune_records
from state.store import Store

NightJob = Callable[[DueRun, str], Awaitable[str]]


class Nightly:
    """Keeps the books safe and small while the market sleeps."""

    def __init__(self, store: Store, *, retention: RetentionConfig, clock: Clock) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock

    def jobs(self) -> Mapping[RunKind, NightJob]:
        """Return what to do for each run."""
        return {RunKind.BACKUP: self._back_up, RunKind.RETENTION: self._prune}

    async def _back_up(self, due: DueRun, run_id: str) -> str:
        del run_id
        folder = backup_folder(self._store.directory)
        # In a thread, through a connection of its own: the loop goes on meanwhile.
        made = await asyncio.to_thread(
            back_up_and_rehearse,
            self._store.directory,
            folder / f"{due.session.date.isoformat()}.db",
            clock=self._clock,
        )
        return (
            f"{made.path.name}: {made.head.sequence} events, {made.rows['orders']} orders,"
            f" {made.rows['fills']} fills; restored on trial and equal"
        )

    async def _prune(self, due: DueRun, run_id: str) -> str:
        del due, run_id
        keep = self._retention
        try:
            gone = prune(backup_folder(self._store.directory), keep=keep.backups)
        except OSError as exc:
            raise StorageError(f"an old backup could not be removed: {exc}") from exc
        days = Retention(
            curve_days=keep.curve_days,
            decision_days=keep.decision_days,
            headline_days=keep.headline_days,
            incident_days=keep.incident_days,
            cost_days=keep.cost_days,
        )
        rows = 0
        for _, count in prune_records(self._store, days, self._clock.now()):
            rows += count
            # Whatever else is due, the watchdog's proof among it, comes between two steps.
            await asyncio.sleep(0)
        self._store.checkpoint()
        return f"{rows} old rows and {len(gone)} old backups removed"


def backup_folder(directory: Path) -> Path:
    """Return where the backups of a state directory lie; it is made when missing.

    Raises:
        StorageError: it cannot be made.
    """
    folder = directory / DIRECTORY
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise StorageError(f"{folder} cannot be made ({exc.strerror}); {remedy(exc)}") from exc
    return folder
