"""What is due on a session day, and the alarm clock that wakes us for it.

What is due follows from the calendar and the ``runs`` table alone, so a late wake-up, a
suspended host, a change of daylight saving or a second trigger can neither lose a run
nor double it.  APScheduler only rings.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum, unique

from daemon.config import Schedule
from domain.clock import Clock, sleep_until
from domain.market import Session

Alarm = Callable[[dt.datetime], Awaitable[None]]
"""Returns when the moment has come; at once when it is past."""

_NEVER_TOO_LATE = dt.datetime.max.replace(tzinfo=dt.UTC)
_QUIET_BEFORE_OPEN = dt.timedelta(hours=4)
_LATE_BELL = dt.timedelta(minutes=1)


@unique
class RunKind(StrEnum):
    """The runs of a session day, in their order."""

    PREMARKET = "premarket"
    SUBMIT = "submit"
    CUTOFF = "cutoff"
    END_OF_DAY = "eod"
    BACKUP = "backup"
    RETENTION = "retention"
    RETRAINING = "retraining"


NIGHT = frozenset({RunKind.BACKUP, RunKind.RETENTION, RunKind.RETRAINING})
"""The runs that no order depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """One run: due at ``at``, pointless after ``latest`` (both UTC)."""

    kind: RunKind
    session: Session
    at: dt.datetime
    latest: dt.datetime


def day_plan(session: Session, schedule: Schedule) -> tuple[DueRun, ...]:
    """Return the runs of a session, in order; half days move everything after the open."""
    premarket = session.open - dt.timedelta(minutes=schedule.premarket_minutes_before_open)
    submit = session.open - dt.timedelta(minutes=schedule.submit_minutes_before_open)
    cutoff = session.open + dt.timedelta(minutes=schedule.entry_cutoff_minutes_after_open)
    cutoff = min(cutoff, session.close)
    end = session.close + dt.timedelta(minutes=schedule.eod_minutes_after_close)
    spans = (
        (RunKind.PREMARKET, min(premarket, submit), cutoff),
        (RunKind.SUBMIT, submit, cutoff),
        # It may be due at the close itself, and no alarm rings in the same microsecond.
        (RunKind.CUTOFF, cutoff, session.close + _LATE_BELL),
        # A report is never too late.
        (RunKind.END_OF_DAY, end, _NEVER_TOO_LATE),
    )
    return tuple(
        DueRun(kind=kind, session=session, at=at, latest=latest) for kind, at, latest in spans
    )


def night_plan(
    session: Session, following: Session, schedule: Schedule, kinds: Iterable[RunKind]
) -> tuple[DueRun, ...]:
    """Return the runs of the night after a session, in order, of the kinds that are set up.

    Models are trained once a week, after its last session, and not so late that the next
    pre-market run would have to share the machine.
    """
    minutes = max(schedule.nightly_minutes_after_close, schedule.eod_minutes_after_close)
    at = session.close + dt.timedelta(minutes=minutes)
    wanted = set(kinds)
    if following.date.isocalendar()[:2] == session.date.isocalendar()[:2]:
        wanted.discard(RunKind.RETRAINING)
    spans = (
        (RunKind.BACKUP, _NEVER_TOO_LATE),
        (RunKind.RETENTION, _NEVER_TOO_LATE),
        (RunKind.RETRAINING, following.open - _QUIET_BEFORE_OPEN),
    )
    return tuple(
        DueRun(kind=kind, session=session, at=at, latest=latest)
        for kind, latest in spans
        if kind in wanted
    )


def training_ends_by(due: DueRun, schedule: Schedule) -> dt.datetime:
    """Return the moment of the pre-market run after a training, which waits for nothing."""
    minutes = max(schedule.premarket_minutes_before_open, schedule.submit_minutes_before_open)
    return due.latest + _QUIET_BEFORE_OPEN - dt.timedelta(minutes=minutes)


def clock_alarm(clock: Clock) -> Alarm:
    """Ring by the clock itself: for replayed time, which APScheduler cannot follow."""

    async def ring_at(moment: dt.datetime) -> None:
        await sleep_until(clock, moment)

    return ring_at


def scheduler_alarm(clock: Clock) -> Alarm:
    """Ring by APScheduler; the clock has the last word, whatever made the bell ring."""
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.triggers.date import DateTrigger

    scheduler = AsyncIOScheduler(timezone="America/New_York")

    async def ring_at(moment: dt.datetime) -> None:
        if not scheduler.running:
            scheduler.start()
        rung = asyncio.Event()
        job = scheduler.add_job(
            rung.set,
            DateTrigger(run_date=moment),
            # The default drops a job that is one second late.
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        try:
            await _either(rung.wait(), sleep_until(clock, moment))
        finally:
            if scheduler.get_job(job.id):
                job.remove()
        # A suspended host or a clock set back can make the bell ring early.
        await sleep_until(clock, moment)

    return ring_at


async def _either(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
