"""The daemon's days in virtual time: real schedule, store and runs; a wall clock that jumps."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from daemon.after_close.nightly import NightJob
from daemon.config import Schedule
from daemon.lifecycle import Daemon, Life
from daemon.schedule import DueRun, RunKind, clock_alarm
from daemon.session.broker_calendar import traded_sessions
from daemon.session.market_check import MarketCheck
from daemon.session.monitor import Monitor
from daemon.session.trading_day import Trade
from daemon.session.watch import Watch
from domain.account import MarketClock
from domain.clock import LoopClock, sleep_until
from domain.market import Session
from execution.stream import StreamFollower
from marketdata.session_calendar import NyseCalendar
from risk.settings import RiskLimits
from state.equity import EquityCurve
from state.facts import Facts
from state.risk_state import RiskState
from state.runs import RunRecord, Runs
from tests.support.fake_broker import FakeBroker
from tests.support.order_scene import Scene

CALENDAR = NyseCalendar()
DAY_KINDS = (RunKind.PREMARKET, RunKind.SUBMIT, RunKind.CUTOFF, RunKind.END_OF_DAY)


class WallClock:
    """The machine's clock: loop time plus whatever a person, NTP or a suspend did to it."""

    def __init__(self, loop_clock: LoopClock, start: dt.datetime) -> None:
        self._loop_clock = loop_clock
        self.offset = start - loop_clock.now()

    def now(self) -> dt.datetime:
        return self._loop_clock.now() + self.offset

    def monotonic(self) -> float:
        return self._loop_clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._loop_clock.sleep(seconds)

    def jump(self, span: dt.timedelta) -> None:
        """Set the clock; nothing that sleeps is told."""
        self.offset += span


class Exchange(FakeBroker):
    """A broker with a calendar and a clock of its own; ``closed`` days came unannounced."""

    def __init__(self, wall: WallClock) -> None:
        super().__init__(cast(Any, wall))
        self.wall = wall
        self.skew = dt.timedelta(0)
        self.closed: set[dt.date] = set()
        self.halted = False
        self.changed: dict[dt.date, Session] = {}

    async def clock(self) -> MarketClock:
        await self._read("clock")
        now = self.wall.now() + self.skew
        upcoming = self._sessions(now.date(), now.date() + dt.timedelta(days=10))
        is_open = any(s.open <= now < s.close for s in upcoming) and not self.halted
        return MarketClock(
            now=now,
            is_open=is_open,
            next_open=next(s.open for s in upcoming if s.open > now),
            next_close=next(s.close for s in upcoming if s.close > now),
        )

    async def calendar(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        await self._read("calendar")
        return self._sessions(start, end)

    def _sessions(self, start: dt.date, end: dt.date) -> list[Session]:
        known = CALENDAR.sessions(start, end)
        return [self.changed.get(s.date, s) for s in known if s.date not in self.closed]


class _SilentStream:
    async def run(self, *, on_ready: Callable[[], None], **_: Any) -> None:
        on_ready()
        await asyncio.Event().wait()


class _NoWatch:
    async def over(self, session: Session) -> None:
        del session
        await asyncio.Event().wait()


class Days:
    """One machine that lives days; every run only writes down when it was done."""

    def __init__(
        self,
        directory: Path,
        *,
        start: dt.datetime,
        jobs: dict[RunKind, NightJob] | None = None,
        kinds: Sequence[RunKind] = DAY_KINDS,
    ) -> None:
        self.scene = Scene(directory)
        self.wall = WallClock(self.scene.clock, start)
        self.exchange = Exchange(self.wall)
        self.scene.desk.clock = self.wall
        self.scene.desk.broker = self.exchange
        self.scene.desk.trading_state = RiskState(self.scene.store).trading_state
        self.facts = Facts(self.scene.store)
        self.runs = Runs(self.scene.store)
        self.restart()
        self.monitor = Monitor(
            self.scene.desk,
            risk_state=RiskState(self.scene.store),
            curve=EquityCurve(self.scene.store),
            limits=RiskLimits(),
        )
        self.done: list[tuple[str, dt.datetime]] = []
        self.kinds = tuple(kinds)
        self.code_on_disk = self.scene.desk.made_by
        self._jobs = jobs or {}

    def restart(self) -> None:
        """Forget what a process knows; the store and the broker stay."""
        self.calendar = traded_sessions(CALENDAR, self.facts, self.wall)
        self.market = MarketCheck(
            self.scene.desk, calendar=self.calendar, facts=self.facts, is_clock_compared=True
        )

    def life(self) -> Life:
        """Return what a fresh process would live on."""
        return Life(
            trade=self.trade({kind: self._jobs.get(kind, self._note) for kind in self.kinds}),
            stream=cast(Any, _SilentStream()),
            follower=StreamFollower(self.scene.desk, self.scene.path, self.scene.reconciler),
            watch=cast(Watch, _NoWatch()),
            runs=self.runs,
            alarm=clock_alarm(self.wall),
            schedule=Schedule(),
        )

    def trade(self, jobs: dict[RunKind, NightJob]) -> Trade:
        """Return a trading day with these jobs in the place of its runs."""
        scene = self.scene
        return Trade(
            cycle=cast(Any, None),
            desk=scene.desk,
            path=scene.path,
            reconciler=scene.reconciler,
            monitor=self.monitor,
            calendar=self.calendar,
            limits=RiskLimits(),
            facts=self.facts,
            report=self._report,
            clock=self.wall,
            nightly=jobs,
            market=self.market,
            made_by=lambda: self.code_on_disk,
        )

    async def live(self, *, until: dt.datetime, meanwhile: Awaitable[None] | None = None) -> None:
        """Run a daemon until the wall shows a moment, then stop it."""
        daemon = Daemon(self.life())
        living = asyncio.ensure_future(daemon.run())
        beside = asyncio.ensure_future(meanwhile) if meanwhile is not None else None
        await sleep_until(self.wall, until)
        daemon.stop()
        await living
        if beside is not None:
            await beside

    async def _note(self, due: DueRun, run_id: str) -> str:
        self.done.append((run_id, self.wall.now()))
        return "done"

    async def _report(self, session: Session) -> str:
        self.done.append((f"{session.date}-report", self.wall.now()))
        return "reported"

    def records(self) -> dict[str, RunRecord]:
        """Return every run by its id."""
        rows = self.scene.store.rows("SELECT session_date, kind FROM runs ORDER BY started_at")
        found = [
            self.runs.get(dt.date.fromisoformat(row["session_date"]), row["kind"]) for row in rows
        ]
        return {one.run_id: one for one in found if one is not None}

    def states(self) -> dict[str, str]:
        """Return how every run ended."""
        return {run_id: record.state.value for run_id, record in self.records().items()}

    def incidents(self) -> list[str]:
        """Return the kinds of what was noted, in order."""
        return [row["kind"] for row in self.scene.store.rows("SELECT kind FROM incidents")]


def at(text: str) -> dt.datetime:
    """Return a New York wall time of 2022 (or a full date) as UTC."""
    from marketdata.session_calendar import NEW_YORK

    return dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(dt.UTC)
