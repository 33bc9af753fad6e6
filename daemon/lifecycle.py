"""The daemon's life: start up, live session after session, stop.

start: complete a kill that was cut off, read every order in doubt, reconcile
day:   wait for what is due, do it once, write down how it ended
stop:  no new work, wait for requests in flight, close
"""

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum, unique

import structlog

from brokers.base import TradeStream
from daemon.config import Schedule
from daemon.schedule import Alarm, DueRun, RunKind, day_plan, night_plan
from daemon.session.scheduled_runs import DONE_LATE, ScheduledRuns
from daemon.session.trading_day import PAST_CUTOFF, Trade, open_entries
from daemon.session.unfinished_kill import UnfinishedKill
from daemon.session.watch import Watch
from daemon.telemetry.vitals import Vitals
from domain.market import Session
from domain.money import text
from execution.stream import StreamFollower
from state.fact_words import STOPPED
from state.runs import Runs
from transport.replay_loop import ReplayLoop

WAKE_BEFORE = dt.timedelta(minutes=2)
_NO_RUN_YET = "waiting"


@unique
class Ending(Enum):
    """Why a life ended."""

    DONE = "the sessions asked for were lived"
    STOPPED = "it was asked to stop"
    RECORDING_ENDED = "nothing is recorded after the last session"
    RESTART = "too much failed, and it begins anew"


def _nothing() -> None:
    """Nobody waits for the end of start-up."""


def _untimed(_kind: str) -> AbstractContextManager[list[str]]:
    return contextlib.nullcontext([])


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What the daemon lives on."""

    trade: Trade
    stream: TradeStream
    follower: StreamFollower
    watch: Watch
    runs: Runs
    alarm: Alarm
    schedule: Schedule
    vitals: Vitals = field(default_factory=Vitals)
    timed_run: Callable[[str], AbstractContextManager[list[str]]] = _untimed
    last_recorded: dt.date | None = None
    started: Callable[[], None] = _nothing


class Daemon:
    """Runs until stopped, or for a number of sessions."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._runs = ScheduledRuns(life.trade, life.runs, timed=life.timed_run, rest=self._rest)
        self._kill = UnfinishedKill(life.trade.desk, life.trade.desk.note)
        self._log = structlog.get_logger("daemon")
        self._is_busy = False
        self._is_last = False
        self._living: asyncio.Task[Ending] | None = None

    async def run(self, *, sessions: int | None = None, is_waiting: bool = False) -> Ending:
        """Live; returns after ``sessions`` of them, when asked to, or when a recording ends.

        Args:
            sessions: how many to live; None for ever.
            is_waiting: after them stay up until stopped, without a moment passing.

        Raises:
            OpenbellError: start-up is not possible.
        """
        trade = self._life.trade
        self._is_last = sessions == 1
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._life.follower.run(self._life.stream))
            await self._start()
            killing = group.create_task(self._kill.keep_trying())
            self._life.started()
            self._life.vitals.is_ready = True
            self._living = group.create_task(self._live_on(sessions, is_waiting=is_waiting))
            if self._life.vitals.is_stopping:
                # Asked during the start, when there was nothing yet to cancel.
                self._living.cancel()
            ending = await self._until_ended(self._living)
            self._life.vitals.is_stopping = True
            self._log.info("daemon.stopping", why=ending.value)
            trade.facts.put(session_phase=STOPPED)
            listening.cancel()
            killing.cancel()
        return ending

    def stop(self) -> None:
        """End soon: a run under way is finished first, nothing new begins."""
        self._life.vitals.is_stopping = True
        if self._living is not None and not self._is_busy:
            self._living.cancel()

    async def _until_ended(self, living: asyncio.Task[Ending]) -> Ending:
        await asyncio.wait({living})
        if living.cancelled() and self._life.vitals.is_stopping:
            return Ending.STOPPED
        return living.result()

    async def _live_on(self, sessions: int | None, *, is_waiting: bool) -> Ending:
        ending, count = Ending.DONE, 0
        while sessions is None or count < sessions:
            self._is_last = sessions is not None and count + 1 == sessions
            session = self._next_session()
            last = self._life.last_recorded
            if last is not None and session.date > last:
                ending = Ending.RECORDING_ENDED
                break
            await self._catch_up(session)
            await self._live(session)
            if self._life.vitals.is_stopping:
                return Ending.STOPPED
            count += 1
        if is_waiting:
            await self._wait_for_ever()
        return ending

    async def _wait_for_ever(self) -> None:
        self._log.info("daemon.waiting")
        self._life.vitals.next_run = None
        loop = asyncio.get_running_loop()
        with loop.hold() if isinstance(loop, ReplayLoop) else contextlib.nullcontext():
            await asyncio.Event().wait()

    async def _start(self) -> None:
        trade = self._life.trade
        self._log.info(
            "daemon.started",
            latch_engaged=trade.desk.latch.read().is_engaged,
            made_by=trade.desk.made_by,
        )
        await self._kill.complete()
        self._runs.close_old(self._next_session().date)
        self._tell_phase(trade.facts.get("session_date"))
        if trade.clock.now() >= self._sending_ends():
            # The cut-off was a former process's to do, and it may not have come to all.
            for order_id in open_entries(trade.desk):
                trade.path.want_canceled(order_id, PAST_CUTOFF)
        # Without patience: absence takes minutes to prove, and start-up has a time limit.
        left = await trade.path.recover(cutoff=self._sending_ends())
        trade.path.skip([record.client_order_id for record in left], "left over from a former run")
        report = await trade.reconciler.run("start", is_deep=True)
        self._log.info("reconcile.finished", why="start", breaks=len(report.breaks))
        judged = await trade.monitor.check(self._next_session(), seen=report)
        if judged.account is not None:
            self._log.info("account.read", equity=text(judged.account.equity))

    def _sending_ends(self) -> dt.datetime:
        """The moment after which no order of the session in progress is sent."""
        plan = day_plan(self._next_session(), self._life.schedule)
        return next(due.latest for due in plan if due.kind is RunKind.SUBMIT)

    def _next_session(self) -> Session:
        """The session that is running or comes next, until its last run is done."""
        trade = self._life.trade
        now = trade.clock.now()
        session = trade.calendar.next_session(now - self._longest_end())
        last = self._plan(session)[-1]
        if now >= last.at and self._life.runs.get(session.date, last.kind.value) is not None:
            return trade.calendar.next_session(max(now, session.close))
        return session

    def _plan(self, session: Session) -> tuple[DueRun, ...]:
        """The runs of a session; after the last of those asked for nobody waits for the night."""
        life = self._life
        day = day_plan(session, life.schedule)
        if self._is_last or not life.trade.nightly:
            return day
        following = life.trade.calendar.next_session(session.close)
        return (*day, *night_plan(session, following, life.schedule, life.trade.nightly))

    def _longest_end(self) -> dt.timedelta:
        schedule = self._life.schedule
        minutes = schedule.eod_minutes_after_close
        if self._life.trade.nightly and not self._is_last:
            minutes = max(minutes, schedule.nightly_minutes_after_close)
        return dt.timedelta(minutes=minutes)

    async def _catch_up(self, session: Session) -> None:
        """Write down the runs that nobody did, of sessions that passed meanwhile.

        Only the latest of those sessions still gets its report: an earlier one would be
        made from figures of a later day.  And one late backup is as good as several.  A day
        that was closed is written down as well, by the run that finds it so.
        """
        last = self._life.runs.last_session()
        if last is None or last >= session.date:
            return
        passed = self._life.trade.calendar.planned.sessions(last, session.date)[:-1]
        latest = await self._latest(passed)
        for missed in passed:
            for due in self._plan(missed):
                is_late_work = due.kind in DONE_LATE and missed.date >= latest
                latest_moment = due.latest if is_late_work else due.at
                await self._runs.do(dataclasses.replace(due, latest=latest_moment))

    async def _latest(self, passed: Sequence[Session]) -> dt.date:
        """Return the last of these days that was not closed, as far as the broker tells."""
        calendar, market = self._life.trade.calendar, self._life.trade.market
        if passed and market is not None and not self._is_ended(passed[-1]):
            await market.learn(passed[-1])
        traded = [one.date for one in passed if calendar.session_on(one.date) is not None]
        return max(traded, default=dt.date.min)

    def _is_ended(self, session: Session) -> bool:
        return self._life.runs.get(session.date, RunKind.END_OF_DAY.value) is not None

    async def _live(self, session: Session) -> None:
        plan = self._plan(session)
        self._life.vitals.next_run = (plan[0].kind.value, plan[0].at)
        await self._life.alarm(plan[0].at - WAKE_BEFORE)
        self._tell_phase(session.date.isoformat())
        self._log.info("session.began", date=session.date.isoformat(), half_day=session.is_half_day)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._life.watch.over(session))
            for due in plan:
                self._life.vitals.next_run = (due.kind.value, due.at)
                await self._life.alarm(due.at)
                self._is_busy = True
                try:
                    await self._runs.do(due)
                finally:
                    self._is_busy = False
                if self._life.vitals.is_stopping:
                    break
            watching.cancel()
        self._log.info("session.ended", date=session.date.isoformat())

    def _tell_phase(self, date: str | None) -> None:
        """Tell how far a session is: nothing else would until its next run, after a restart."""
        facts, runs = self._life.trade.facts, self._life.runs
        if date is None:
            facts.put(session_phase=_NO_RUN_YET)
            return
        phase = runs.newest_kind(dt.date.fromisoformat(date)) or _NO_RUN_YET
        facts.put(session_date=date, session_phase=phase)

    async def _rest(self, until: dt.datetime) -> None:
        """Wait within a run; asked to stop, it stays open for the next process."""
        self._is_busy = False
        try:
            if self._life.vitals.is_stopping:
                self.stop()
            await self._life.alarm(until)
        finally:
            self._is_busy = True
