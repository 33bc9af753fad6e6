"""The daemon's life: start up, live session after session, stop.

start: complete a kill that was cut off, read every order in doubt, reconcile
day:   wait for what is due, do it once, write down how it ended
stop:  no new work, wait for requests in flight, close
"""

import asyncio
import contextlib
import datetime as dt
from dataclasses import dataclass

import structlog

from brokers.base import TradeStream
from daemon.config import Schedule
from daemon.schedule import Alarm, DueRun, day_plan
from daemon.trading_day import Trade, TradingDay
from daemon.watch import Watch
from domain.errors import OpenbellError
from domain.market import Session
from domain.money import text
from execution.kill import complete_pending_kill
from execution.stream import StreamFollower
from state.runs import Runs, RunState
from transport.replay_loop import ReplayLoop

WAKE_BEFORE = dt.timedelta(minutes=2)


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


class Daemon:
    """Runs until stopped, or for a number of sessions."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._day = TradingDay(life.trade)
        self._log = structlog.get_logger("daemon")

    async def run(self, *, sessions: int | None = None, is_waiting: bool = False) -> None:
        """Live; returns after ``sessions`` of them, never when that is None.

        Args:
            sessions: how many to live.
            is_waiting: after them stay up until cancelled, without a moment passing.

        Raises:
            OpenbellError: start-up is not possible.
        """
        trade = self._life.trade
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._life.follower.run(self._life.stream))
            await self._start()
            count = 0
            while sessions is None or count < sessions:
                session = self._next_session()
                await self._live(session)
                count += 1
            if is_waiting:
                await self._wait_for_ever()
            self._log.info("daemon.stopping", sessions=count)
            trade.facts.put(session_phase="stopped")
            listening.cancel()

    async def _wait_for_ever(self) -> None:
        self._log.info("daemon.waiting")
        loop = asyncio.get_running_loop()
        with loop.hold() if isinstance(loop, ReplayLoop) else contextlib.nullcontext():
            await asyncio.Event().wait()

    async def _start(self) -> None:
        trade = self._life.trade
        self._log.info("daemon.started", latch_engaged=trade.desk.latch.read().is_engaged)
        await complete_pending_kill(
            trade.desk.broker,
            trade.desk.latch,
            clock=trade.clock,
            tell=lambda line: self._log.warning("kill.stage", line=line),
        )
        for run in self._life.runs.unfinished():
            self._finish(run.run_id, RunState.FAILED, "the process ended during this run")
        left = await trade.path.recover()
        trade.path.skip([record.client_order_id for record in left], "left over from a former run")
        report = await trade.reconciler.run("start", is_deep=True)
        self._log.info("reconcile.finished", why="start", breaks=len(report.breaks))
        judged = await trade.monitor.check(self._next_session())
        if judged.account is not None:
            self._log.info("account.read", equity=text(judged.account.equity))

    def _next_session(self) -> Session:
        """The session that is running or comes next, until its last run is done."""
        trade = self._life.trade
        now = trade.clock.now()
        session = trade.calendar.next_session(now - self._longest_end())
        last = day_plan(session, self._life.schedule)[-1]
        if now >= last.at and self._life.runs.get(session.date, last.kind.value) is not None:
            return trade.calendar.next_session(max(now, session.close))
        return session

    def _longest_end(self) -> dt.timedelta:
        return dt.timedelta(minutes=self._life.schedule.eod_minutes_after_close)

    async def _live(self, session: Session) -> None:
        plan = day_plan(session, self._life.schedule)
        await self._life.alarm(plan[0].at - WAKE_BEFORE)
        self._life.trade.facts.put(session_date=session.date.isoformat())
        self._log.info("session.began", date=session.date.isoformat(), half_day=session.is_half_day)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._life.watch.over(session))
            for due in plan:
                await self._life.alarm(due.at)
                await self._do(due)
            watching.cancel()
        self._log.info("session.ended", date=session.date.isoformat())

    async def _do(self, due: DueRun) -> None:
        life, date = self._life, due.session.date
        now = life.trade.clock.now()
        run_id = life.runs.begin(date, due.kind.value, now)
        if run_id is None:
            return
        life.trade.facts.put(session_phase=due.kind.value)
        if now > due.latest:
            self._finish(run_id, RunState.SKIPPED, f"missed: it was due at {due.at:%H:%M} UTC")
            return
        try:
            reason = await self._day.do(due, run_id)
        except OpenbellError as exc:
            # One run fails, is written down and told; the day goes on.
            life.trade.desk.note("run.failed", f"{due.kind.value}: {exc}")
            self._finish(run_id, RunState.FAILED, str(exc), kind=due.kind.value)
            return
        self._finish(run_id, RunState.DONE, reason, kind=due.kind.value)

    def _finish(self, run_id: str, state: RunState, reason: str, *, kind: str = "") -> None:
        self._life.runs.finish(run_id, state, reason, self._life.trade.clock.now())
        self._log.info("run.finished", kind=kind, state=state.value, reason=reason)
