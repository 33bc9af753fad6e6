"""The runs of the schedule: each is done once, how it ended is written, what failed is told."""

import datetime as dt
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

import structlog

from daemon.schedule import NIGHT, DueRun, RunKind
from daemon.session.trading_day import Trade, TradingDay
from domain.errors import OpenbellError, ProviderRefused, ProviderUnavailable, RunSkipped
from state.runs import Runs, RunState

DONE_LATE = NIGHT | {RunKind.END_OF_DAY}
"""The runs that are still worth doing when their session is over."""

_TRY_AGAIN_AFTER = dt.timedelta(seconds=30)
_ENDED_WITHIN = "the process ended during this run"


class ScheduledRuns:
    """Does what is due.

    Args:
        trade: what a run works with.
        runs: the table of them.
        timed: measures one run; the block appends how it ended.
        rest: waits until a moment, for a run that is to be begun again.
    """

    def __init__(
        self,
        trade: Trade,
        runs: Runs,
        *,
        timed: Callable[[str], AbstractContextManager[list[str]]],
        rest: Callable[[dt.datetime], Awaitable[None]],
    ) -> None:
        self._trade = trade
        self._day = TradingDay(trade)
        self._runs = runs
        self._timed = timed
        self._rest = rest
        self._log = structlog.get_logger("daemon")

    def close_old(self, today: dt.date) -> None:
        """Call what a crash left failed, but for today's and late work, which is taken up again."""
        latest = self._runs.last_session()
        for run in self._runs.unfinished():
            is_late_work = run.session_date == latest and run.kind in DONE_LATE
            if run.session_date != today and not is_late_work:
                self._finish(run.run_id, RunState.FAILED, _ENDED_WITHIN)

    async def do(self, due: DueRun) -> None:
        """Do one run, unless somebody did it; what goes wrong is its outcome."""
        now = self._trade.clock.now()
        run_id = self._runs.begin(due.session.date, due.kind.value, now)
        if run_id is None:
            run_id = self._cut_off(due)
            if run_id is None:
                return
            if now > due.latest:
                # It may have sent orders: that is more than a run that never began.
                self._fail(due, run_id, _ENDED_WITHIN)
                return
        self._trade.facts.put(session_phase=due.kind.value)
        with self._timed(due.kind.value) as ended:
            ended.append((await self._outcome(due, run_id, now)).value)

    def _cut_off(self, due: DueRun) -> str | None:
        """The run that a former process left open: doing it again makes the same order ids."""
        run = self._runs.get(due.session.date, due.kind.value)
        return run.run_id if run is not None and run.state is RunState.RUNNING else None

    async def _outcome(self, due: DueRun, run_id: str, now: dt.datetime) -> RunState:
        if now > due.latest:
            return self._skip(due, run_id, f"missed: it was due at {due.at:%H:%M} UTC")
        try:
            reason = await self._answered(due, run_id)
        except RunSkipped as exc:
            return self._skip(due, run_id, str(exc))
        except OpenbellError as exc:
            return self._fail(due, run_id, str(exc))
        self._finish(run_id, RunState.DONE, reason, kind=due.kind.value)
        return RunState.DONE

    async def _answered(self, due: DueRun, run_id: str) -> str:
        """Do a run; the one that sends is begun again, while it may, until all it asks answers.

        What raises so has sent nothing: from the first order on each has its own end.
        """
        is_told = False
        while True:
            try:
                return await self._day.do(due, run_id)
            except ProviderRefused:
                raise
            except ProviderUnavailable as exc:
                again = self._trade.clock.now() + _TRY_AGAIN_AFTER
                if due.kind is not RunKind.SUBMIT or again >= due.latest:
                    raise
                if not is_told:
                    self._trade.desk.note("run.waiting", _waiting(due, exc))
                is_told = True
            await self._rest(again)

    def _fail(self, due: DueRun, run_id: str, reason: str) -> RunState:
        """One run fails, is written down and told; the day goes on."""
        self._trade.desk.note("run.failed", f"{due.kind.value}: {reason}")
        self._finish(run_id, RunState.FAILED, reason, kind=due.kind.value)
        return RunState.FAILED

    def _skip(self, due: DueRun, run_id: str, reason: str) -> RunState:
        self._trade.desk.note("run.missed", f"{due.session.date} {due.kind.value}: {reason}")
        self._finish(run_id, RunState.SKIPPED, reason, kind=due.kind.value)
        return RunState.SKIPPED

    def _finish(self, run_id: str, state: RunState, reason: str, *, kind: str = "") -> None:
        self._runs.finish(run_id, state, reason, self._trade.clock.now())
        self._log.info("run.finished", kind=kind, state=state.value, reason=reason)


def _waiting(due: DueRun, problem: Exception) -> str:
    return f"{due.kind.value}: {problem}; tried again until {due.latest:%H:%M} UTC"
