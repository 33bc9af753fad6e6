"""Make the end-of-day report from the state, write it, and remember whether it balanced."""

import asyncio
import datetime as dt
import hashlib
from pathlib import Path

import structlog

from domain.clock import Clock
from domain.market import Session
from domain.money import cents
from marketdata.base import SessionCalendar
from reports.build import build
from reports.document import as_json
from reports.model import EndOfDayReport
from reports.render import headline
from reports.write import write
from state.reader import Reader
from state.reports import Reports
from state.store import Store


class Reporter:
    """Writes the report of a session."""

    def __init__(self, store: Store, *, calendar: SessionCalendar, clock: Clock) -> None:
        self._store = store
        self._calendar = calendar
        self._clock = clock
        self._log = structlog.get_logger("report")

    async def write(self, session: Session) -> str:
        """Build, register and write; return the day in a sentence.

        Raises:
            DataError: there is nothing to report on.
            StorageError: the disk refused.
        """
        report = self._registered(session)
        # Drawing takes a second or two: in a thread, so that nothing waits for it.
        await asyncio.to_thread(write, self._store.directory, report)
        bridge = report.bridge
        self._log.info(
            "report.written",
            fills=len(report.fills),
            equity_end=f"{cents(bridge.equity_end):,.2f}",
            pnl=f"{cents(bridge.pnl):+,.2f}",
            residual=f"{cents(bridge.residual):.2f}",
            reconciled=report.is_reconciled,
        )
        return headline(report)

    def _registered(self, session: Session) -> EndOfDayReport:
        reports = Reports(self._store)
        following = next_session(self._calendar, session)
        last = reports.latest(session.date)
        revision = last.revision if last is not None else 1
        report = read_report(self._store.directory, session.date, following, revision)
        digest = hashlib.sha256(_content(report)).hexdigest()
        settled = reports.record(
            session.date,
            is_reconciled=report.is_reconciled,
            residual=report.bridge.residual,
            digest=digest,
            at=self._clock.now(),
        )
        if settled == revision:
            return report
        return read_report(self._store.directory, session.date, following, settled)


def _content(report: EndOfDayReport) -> bytes:
    """Everything but the revision, which says how often the content changed."""
    return as_json(report).replace(f'"revision": {report.revision},', "", 1).encode()


def read_report(
    state: Path, date: dt.date, following: dt.date | None, revision: int
) -> EndOfDayReport:
    """Build the report of a session from a state directory."""
    with Reader(state) as reader:
        return build(reader, date, next_session=following, revision=revision)


def next_session(calendar: SessionCalendar, session: Session) -> dt.date:
    """Return the date of the session after this one."""
    return calendar.next_session(session.close).date
