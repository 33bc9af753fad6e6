"""Make the reports from the state, write them, and remember whether they balanced."""

import asyncio
import dataclasses
import datetime as dt
import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

import structlog

from daemon.after_close.report_dates import ending_with, next_session, yardsticks_of
from daemon.schedule import RunKind
from daemon.session.broker_calendar import closed_days
from domain.clock import Clock
from domain.errors import DataError
from domain.market import Session
from domain.money import cents
from marketdata.base import SessionCalendar
from reports.build import build
from reports.document import as_json
from reports.model import UNREPORTED, EndOfDayReport, RollUp, Tomorrow, Yardsticks
from reports.render import headline
from reports.roll_up import period_of, roll_up
from reports.write import is_rolled_up, write, written_revision
from state.reader import Reader
from state.reports import Reports
from state.runs import Runs, RunState
from state.store import Store

# How long a report that failed, or that the disk refused, is tried again.
_LOOK_BACK = dt.timedelta(days=14)

Deliver = Callable[[Sequence[EndOfDayReport | RollUp]], Awaitable[None]]


async def deliver_nowhere(_made: Sequence[EndOfDayReport | RollUp]) -> None:
    """Nobody asked for the reports."""


class Reporter:
    """Writes the report of a session, and those of the week and month that it ends."""

    def __init__(
        self,
        store: Store,
        *,
        calendar: SessionCalendar,
        clock: Clock,
        yardsticks: Yardsticks,
        deliver: Deliver = deliver_nowhere,
    ) -> None:
        self._store = store
        self._calendar = calendar
        self._clock = clock
        self._yardsticks = yardsticks
        self._deliver = deliver
        self._log = structlog.get_logger("report")

    async def write(self, session: Session) -> str:
        """Build, register and write; return the day in a sentence.

        Raises:
            DataError: there is nothing to report on.
            StorageError: the disk refused.
        """
        late = await self._caught_up(session)
        report = await self._made(session)
        bridge = report.bridge
        self._log.info(
            "report.written",
            fills=len(report.fills),
            equity_end=f"{cents(bridge.equity_end):,.2f}",
            pnl=f"{cents(bridge.pnl):+,.2f}",
            residual=f"{cents(bridge.residual):.2f}",
            reconciled=report.is_reconciled,
        )
        await self._deliver([*late, report, *await self._roll_ups(session)])
        return headline(report)

    def look_again(self, session: Session) -> None:
        """Register the report before this session anew, where entries wait for it.

        What was booked since may close it, and one that failed has still to say whether it
        balances.  The files follow with the next end of day.
        """
        before = self._wanted_before(session)
        if before is None:
            return
        try:
            report = self._registered(self._read(before))
        except DataError as exc:
            self._log.warning("report.impossible", session=before.date.isoformat(), why=str(exc))
        else:
            self._log.info(
                "report.looked_at_again",
                session=before.date.isoformat(),
                revision=report.revision,
                reconciled=report.is_reconciled,
            )

    def _wanted_before(self, session: Session) -> Session | None:
        reports = Reports(self._store)
        last = self._calendar.previous_session(session.date)
        if reports.latest(last.date) is None and self._has_failed(last):
            return last
        waiting = reports.unbalanced()
        return self._calendar.session_on(waiting.session_date) if waiting is not None else None

    async def _made(self, session: Session) -> EndOfDayReport:
        report = await self._read_aside(session)
        # Drawing takes a second or two: in a thread, so that nothing waits for it.
        await asyncio.to_thread(write, self._store.directory, report)
        return report

    async def _caught_up(self, session: Session) -> list[EndOfDayReport | RollUp]:
        """Make reports before this session anew where they failed, or tell another story now.

        Returns:
            What nobody got at its time.
        """
        last = self._calendar.previous_session(session.date)
        late: list[EndOfDayReport | RollUp] = []
        for before in self._calendar.sessions(session.date - _LOOK_BACK, last.date):
            if before.date != last.date and self._is_written(before):
                continue
            if self._has_failed(before):
                late += await self._made_late(before)
            else:
                await self._revise(before)
        if Reports(self._store).latest(last.date) is not None:
            # A week that ended with a closed day ended before anybody knew.
            late += await self._roll_ups(last, is_late=True)
        return late

    async def _made_late(self, session: Session) -> list[EndOfDayReport | RollUp]:
        made: list[EndOfDayReport | RollUp] = []
        try:
            made.append(await self._made(session))
            made += await self._roll_ups(session)
        except DataError as exc:
            self._log.warning("report.impossible", session=session.date.isoformat(), why=str(exc))
        else:
            self._log.info("report.made_late", session=session.date.isoformat())
        return made

    def _is_written(self, session: Session) -> bool:
        """Tell whether what is registered lies there: the disk may have refused in between."""
        last = Reports(self._store).latest(session.date)
        if last is None:
            return False
        return last.revision == written_revision(self._store.directory, session.date)

    def _has_failed(self, session: Session) -> bool:
        run = Runs(self._store).get(session.date, RunKind.END_OF_DAY.value)
        return run is not None and run.state is RunState.FAILED

    async def _revise(self, session: Session) -> None:
        before = Reports(self._store).latest(session.date)
        if before is None:
            return
        report = await self._read_aside(session)
        if self._is_written(session):
            return
        await asyncio.to_thread(write, self._store.directory, report)
        self._log.info("report.revised", session=session.date.isoformat(), revision=report.revision)

    async def _roll_ups(self, session: Session, *, is_late: bool = False) -> list[RollUp]:
        made = []
        for kind in ending_with(self._calendar, session):
            name, _, _ = period_of(kind, session.date)
            if is_late and is_rolled_up(self._store.directory, name):
                continue
            report = await asyncio.to_thread(
                read_roll_up,
                self._store.directory,
                kind,
                session.date,
                calendar=self._calendar,
                yardsticks=self._yardsticks,
            )
            await asyncio.to_thread(write, self._store.directory, report)
            self._log.info("report.rolled_up", period=report.name, sessions=len(report.days))
            made.append(report)
        return made

    async def _read_aside(self, session: Session) -> EndOfDayReport:
        """Read in a thread too: the readings of years take a second."""
        return self._registered(await asyncio.to_thread(self._read, session))

    def _read(self, session: Session) -> EndOfDayReport:
        state, date = self._store.directory, session.date
        following = next_session(self._calendar, session)
        used = yardsticks_of(state, date, self._yardsticks)
        return read_report(state, date, following, UNREPORTED, yardsticks=used)

    def _registered(self, report: EndOfDayReport) -> EndOfDayReport:
        revision = Reports(self._store).record(
            report.session_date,
            is_reconciled=report.is_reconciled,
            residual=report.bridge.residual,
            digest=digest(report),
            at=self._clock.now(),
        )
        return dataclasses.replace(report, revision=revision)


def digest(report: EndOfDayReport) -> str:
    """Return the fingerprint of all but the revision, which counts how often that changed."""
    content = as_json(report).replace(f'"revision": {report.revision},', "", 1)
    return hashlib.sha256(content.encode()).hexdigest()


def read_report(
    state: Path,
    date: dt.date,
    following: Tomorrow | None,
    revision: int,
    *,
    yardsticks: Yardsticks | None = None,
) -> EndOfDayReport:
    """Build the report of a session from a state directory."""
    with Reader(state) as reader, reader.snapshot():
        return build(
            reader,
            date,
            next_session=following,
            revision=revision,
            yardsticks=yardsticks,
            closed=closed_days(reader),
        )


def read_roll_up(
    state: Path,
    kind: str,
    day: dt.date,
    *,
    calendar: SessionCalendar,
    yardsticks: Yardsticks,
) -> RollUp:
    """Build the report of the week or month around a date, up to that date.

    A session that was read and never reported on is in it, or what moved then would be missing.

    Raises:
        DataError: none of its sessions has a report.
    """
    name, first, last = period_of(kind, day)
    sessions = calendar.sessions(first, last)
    with Reader(state) as reader, reader.snapshot():
        issued = {row["session_date"]: row["revision"] for row in reader.reports()}
        closed = closed_days(reader)
        days = [
            build(
                reader,
                session.date,
                next_session=next_session(calendar, session),
                revision=issued.get(session.date.isoformat(), UNREPORTED),
                yardsticks=yardsticks_of(state, session.date, yardsticks),
                closed=closed,
            )
            for session in _told(sessions, day, issued, _read_in(reader))
        ]
    if not days:
        raise DataError(f"{name}: no session of this {kind} has a report")
    return roll_up(kind, name, days, [session.date for session in sessions])


def _read_in(reader: Reader) -> set[str]:
    return {str(row["session_date"]) for row in reader.equity_curve()}


def _told(
    sessions: Sequence[Session], day: dt.date, issued: Collection[str], read: Collection[str]
) -> list[Session]:
    """Return the sessions with books up to the last that has a report, from the first one on."""
    passed = [session for session in sessions if session.date <= day]
    while passed and passed[-1].date.isoformat() not in issued:
        passed.pop()
    first = min(issued, default="")
    told = {*issued, *(date for date in read if date > first)}
    return [session for session in passed if session.date.isoformat() in told]
