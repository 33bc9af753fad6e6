"""One seed: days of market under faults, lives and deaths of the daemon, then a calm end."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from domain.account import ActivityKind
from domain.errors import BrokerError, OpenbellError, ProviderUnavailable, StateError, StorageError
from domain.market import Session
from domain.orders import OrderRequest, Side
from execution.kill import KillReport
from reports.model import EndOfDayReport
from state.files import LOCK, MARK, WriterLock
from state.mark import Mark
from state.pause import Pause
from state.store import Store
from tests.simulation import checkers
from tests.simulation.branching import Branches, Ending, Explorer
from tests.simulation.care import run_adopt
from tests.simulation.checkers import Violations
from tests.simulation.daemon_life import (
    SCHEDULE,
    TIGHT,
    DaemonLife,
    Machine,
    run_kill,
    run_resume,
    second_daemon_is_refused,
)
from tests.simulation.disk import Disk, shims
from tests.simulation.faults import Faults
from tests.simulation.loop import SimClock, SimLoop, Stuck
from tests.simulation.market import SYMBOLS, Market, calendar
from tests.simulation.messages import MESSAGES, Sender
from tests.simulation.processes import Crash, Process
from tests.simulation.stories import Reacher, away_until_cutoff
from tests.simulation.truth import ACCOUNT, Refused, Truth

# Ordinary weeks, Thanksgiving's half day, both changes of daylight saving, year's end.
STARTS = tuple(
    map(
        dt.date.fromisoformat,
        ("2022-05-02", "2022-11-25", "2022-03-11", "2022-11-04", "2022-12-30", "2023-06-14"),
    )
)
BEFORE_OPEN = dt.timedelta(minutes=110)
CALM_BEFORE_CLOSE = dt.timedelta(minutes=45)
_MOST_DEATHS_A_DAY = 8
# Seconds until a daemon is tried again that died of what is no fault.
_SICK = 3600.0
_REBUILT = ("orders", "fills", "ledger_entries", "positions", "balances", "symbol_locks", "runs")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is simulated."""

    seed: int
    days: int = 2
    dropped: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    start: dt.date | None = None
    crash_at: tuple[int, ...] = ()
    outages: tuple[float, ...] = ()
    kill_at_minute: float | None = None
    kill_crash_at: int | None = None
    flatten: bool = False
    look_seconds: float | None = None
    is_canary: bool = False


@dataclass(kw_only=True)
class Outcome:
    """What came of it."""

    seed: int
    days: int
    trace: str = ""
    steps: int = 0
    orders: int = 0
    executions: int = 0
    lives: int = 0
    kills: int = 0
    resumes: int = 0
    reports: int = 0
    reconciled: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    steps_of_lives: list[int] = field(default_factory=list)
    kill_steps: int = 0
    busiest: int = 0
    violations: Violations = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)


def simulate(
    scenario: Scenario, *, explore: "Callable[[Branches, Simulation], Explorer] | None" = None
) -> Outcome:
    """Run a scenario from its beginning to its verdict, and from each step what else may be."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False
    )
    memory = Path("/dev/shm")  # noqa: S108 - in memory where the machine has it
    parent = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="openbell-sim-", dir=parent) as directory,
        # Texts name the state directory: the same name in every run, the same trace.
        contextlib.chdir(directory),
    ):
        loop = SimLoop()
        branches = Branches()
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(lambda _loop, _context: None)
        try:
            simulation = Simulation(scenario, Path("state"), loop)
            if explore is not None:
                branches.moved = simulation.moved
                simulation.explorer = explore(branches, simulation)
            try:
                with shims(simulation.disk), simulation.events.listening():
                    loop.run_until_complete(simulation.main())
            except Stuck as exc:
                simulation.blame([("X02", str(exc))])
            except BaseException:
                branches.fail()
                raise
            branches.deliver(simulation.outcome.violations, simulation.outcome.trace)
            simulation.outcome.endings = branches.endings
            return simulation.outcome
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(asyncio.sleep(0))
            asyncio.set_event_loop(None)
            loop.close()


class Simulation:
    """The world around the daemon, and its judge."""

    def __init__(self, scenario: Scenario, directory: Path, loop: SimLoop) -> None:
        self.scenario = scenario
        self.faults = Faults(scenario.seed, dropped=scenario.dropped, only=scenario.only)
        self.outcome = Outcome(seed=scenario.seed, days=scenario.days)
        self.loop = loop
        first = scenario.start or STARTS[scenario.seed % len(STARTS)]
        self.sessions = calendar().sessions(first, first + dt.timedelta(days=3 * scenario.days + 6))
        self.sessions = self.sessions[: scenario.days]
        self.clock = SimClock(self.sessions[0].open - BEFORE_OPEN, loop)
        self.market = Market(self.faults, self.sessions)
        # A wall clock of its own: what happens to the machine's does not happen to the broker.
        true_clock = SimClock(self.sessions[0].open - BEFORE_OPEN, loop)
        self.truth = Truth(self.market, self.faults, true_clock, loop)
        self.truth.reacher = Reacher(self.faults, partial(self._kill, flatten=False))
        self.sender = Sender(self.faults, self.truth.now)
        self.machine = Machine(
            directory=directory,
            clock=self.clock,
            truth=self.truth,
            market=self.market,
            on_wire=self._on_wire,
            command_keys=self.sender.keys,
            limits=TIGHT[scenario.seed % len(TIGHT)],
            look_seconds=scenario.look_seconds or (30.0 if scenario.seed % 5 == 0 else 150.0),
            report_seen=self._report_seen,
            alerted=self._alerted,
        )
        self.disk = Disk(loop.time)
        self.explorer: Explorer | None = None
        self._left_behind: list[Any] = []
        self._processes: list[Process] = []
        self.life: DaemonLife | None = None
        self._daemon: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[Any]] = []
        self._is_over = False
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._stopped = asyncio.Event()
        self._calm = asyncio.Event()
        self.events = checkers.EventLog()
        self._mark: Decimal | None = None
        self._latch_seen = False
        self._must_be_engaged = False
        self._is_resuming = 0
        self._crashes = list(scenario.crash_at)
        self._history = checkers.OrderHistory()
        self._paused_at = 0.0
        self._restarted_at = 0.0
        self._spans: list[tuple[float, float]] = []
        self._outages = list(scenario.outages)
        self._deaths = 0

    # Judging

    def blame(self, found: Violations) -> None:
        """Keep violations, a few of each kind."""
        for invariant, text in found:
            known = [one for one in self.outcome.violations if one[0] == invariant]
            if len(known) < 3:
                at = f"{self.truth.now():%Y-%m-%d %H:%M:%S}"
                self.outcome.violations.append((invariant, f"{at} {text}"))

    def _on_wire(self, process: Process, request: OrderRequest) -> None:
        self.truth.write("wire", process.name, request.client_order_id, str(request.quantity))
        self.outcome.orders += 1
        self.blame(checkers.not_again(self.truth, process.name, request))
        if request.leg == "flatten":
            # A kill's own closing orders, also where the next start completes it.
            held = abs(self.truth.positions.get(request.symbol, Decimal(0)))
            if request.quantity > held and not checkers.hand_traded(self.truth, request.symbol):
                self.blame([("I06", f"{request.client_order_id} closes more than is held")])
            return
        truth = self.truth
        with checkers.reading(self.machine.directory) as db:
            self.blame(checkers.durable_intent(db, request))
            self.blame(checkers.derived_id(request, ACCOUNT))
            self.blame(checkers.latch_allows(self.machine.directory, db, request))
            self.blame(checkers.state_allows(truth, db, request))
            if self.loop.moment - self._paused_at > 300:
                self.blame(checkers.paused(self.machine.directory, truth, request))
            self.blame(checkers.within_limits(truth, db, request, self.machine.limits))
            epoch = db.execute("SELECT epoch FROM writer").fetchone()["epoch"]
        self.blame(checkers.sane_order(truth, request, self.machine.limits))
        if self.clock.offset == dt.timedelta():
            self.blame(checkers.in_window(truth, request, SCHEDULE))
        store = self.life.store if self.life is not None else None
        if self.life is None or self.life.process is not process or store is None:
            self.blame([("I15", f"{process.name} sent and is not the daemon")])
        elif store.epoch != epoch:
            self.blame([("I15", f"epoch {store.epoch} sent while {epoch} is the writer")])
        self._look_at_latch()

    def _look_at_latch(self) -> None:
        engaged = checkers.latch_is_engaged(self.machine.directory)
        if self._must_be_engaged and not engaged and not self._is_resuming:
            self.blame([("I06", "the daemon said that it halts, and the latch is not engaged")])
            self._must_be_engaged = False
        if self._latch_seen and not engaged and not self._is_resuming:
            self.blame([("I06", "the latch was released and nobody resumed")])
        self._latch_seen = engaged

    def _alerted(self, kind: str) -> None:
        if kind == "kill.engaged":
            text = self.machine.alerts[-1][2]
            with checkers.reading(self.machine.directory) as db:
                self.blame(checkers.halt_has_cause(self.truth, db, text, self.machine.limits))
            # The next step may be its death; whoever survives it must have engaged.
            process = self.life.process if self.life is not None else None

            def judge() -> None:
                is_alive = process is not None and not process.is_dead
                self._must_be_engaged = is_alive and not process.disk_faults  # type: ignore[union-attr]

            self.loop.call_later(1.0, judge)

    def _report_seen(self, report: EndOfDayReport) -> None:
        self.outcome.reports += 1
        self.outcome.reconciled += report.is_reconciled
        self.blame(checkers.account_bridge(self.truth, report))

    def check_always(self) -> None:
        """Judge what must hold at any moment."""
        self.blame(checkers.one_chain(self.truth))
        if self.scenario.is_canary:
            self.blame(checkers.canary(self.truth))
        if not (self.machine.directory / "openbell.db").exists():
            return
        self._look_at_latch()
        with contextlib.suppress(sqlite3.OperationalError):
            self._check_books()

    def _check_books(self) -> None:
        with checkers.reading(self.machine.directory) as db:
            self.blame(self.events.check(db))
            self.blame(checkers.never_invented(self.truth, db))
            self.blame(checkers.intents_match(self.truth, db))
            self.blame(self._history.check(db))
            if self._is_watching():
                since = self.loop.moment - 3 * self.machine.look_seconds
                self.blame(checkers.loss_halts(self.truth, db, self.machine.limits, since))
            mark = checkers.mark_of(db)
        if self._mark is not None and (mark is None or mark < self._mark):
            self.blame([("I09", f"the high-water mark fell from {self._mark} to {mark}")])
        self._mark = mark

    def _is_watching(self) -> bool:
        """Tell whether the daemon has been up, in the session, and able to see its equity."""
        session, now = self.truth.session, self.truth.now()
        quiet = 4 * self.machine.look_seconds
        return (
            session is not None
            and session.open + dt.timedelta(seconds=quiet) < now < session.close
            and self.loop.moment - self._restarted_at > quiet
            and self._daemon is not None
            and not self._daemon.done()
            and not self.machine.clock.offset
            and not checkers.latch_is_engaged(self.machine.directory)
        )

    def check_calm(self) -> None:
        """Judge what must hold once everything has been quiet for ten minutes."""
        self.check_always()
        with checkers.reading(self.machine.directory) as db:
            self.blame(checkers.every_fill_once(self.truth, db))
            self.blame(checkers.same_holdings(self.truth, db))
            self.blame(checkers.same_cash(self.truth, db))
            self.blame(checkers.settled(db))
            self.blame(checkers.taken_is_taken(self.truth, db))
            self.blame(checkers.no_lock_left(self.truth, db))
            self.blame(checkers.flows_named(self.truth, db))
        self.blame(checkers.entries_ended(self.truth))
        if self._daemon is None or self._daemon.done():
            self.blame([("I16", "the daemon does not run")])

    def check_end(self) -> None:
        """Judge the whole."""
        self.check_calm()
        due = self._attended()
        dates = [session.date.isoformat() for session in self.sessions]
        with checkers.reading(self.machine.directory) as db:
            # A session before the first that a daemon lived in is nobody's.
            first = checkers.first_session(db) or max(dates)
            lived = {date for date, _ in due}
            ended = [date for date in dates if date >= first or date in lived]
            self.blame(checkers.runs_once(db, ended))
            self.blame(checkers.runs_end_once(db))
            if not self.faults.counts["clock.jumped"]:
                self.blame(checkers.runs_in_time(db, due))
                self.blame(checkers.runs_on_time(db, due))

    def _attended(self) -> dict[tuple[str, str], dt.datetime]:
        """Return when each run was due over which one life of the daemon lasted."""
        spans = [*self._spans, (self._restarted_at, self.loop.moment)]
        found = {}
        for session in self.sessions:
            opened, closed = session.open, session.close
            moments = {
                "premarket": opened - dt.timedelta(minutes=60),
                "submit": opened - dt.timedelta(minutes=10),
                "cutoff": opened + dt.timedelta(minutes=30),
                "eod": closed + dt.timedelta(minutes=5),
            }
            first = self.truth.clock.loop_time(opened) - 62 * 60
            for kind, moment in moments.items():
                last = self.truth.clock.loop_time(moment) + 60
                if any(begun < first and last < ended for begun, ended in spans):
                    found[session.date.isoformat(), kind] = moment
        return found

    def check_rebuild(self) -> None:
        """I23: the tables made anew from the log are the tables."""
        with checkers.reading(self.machine.directory) as db:
            before = checkers.dump(db, _REBUILT)
        try:
            store = Store.open(self.machine.directory, clock=self.clock)
        except StateError as exc:
            self.blame([("I17", f"the store does not open any more: {exc}")])
            return
        try:
            store.rebuild()
        finally:
            store.close()
        with checkers.reading(self.machine.directory) as db:
            after = checkers.dump(db, _REBUILT)
        different = [table for table in _REBUILT if before[table] != after[table]]
        if different:
            self.blame([("I23", f"rebuilt tables differ: {', '.join(different)}")])

    # The world

    def moved(self) -> None:
        """Open anew, in the directory of a forked world, what the daemon has open."""
        store: Any = self.life.store if self.life is not None else None
        if store is None or store._lock.is_released:
            return
        # Closing what was inherited would tidy up the files of the other world.
        self._left_behind.append((store._connection, store._mark, store._lock))
        store._connection = None
        store._mark = Mark(store.directory / MARK)
        store._lock = WriterLock(store.directory / LOCK)

    async def main(self) -> None:
        """Play the days, then judge the end."""
        daemon = asyncio.create_task(self._supervise())
        world = asyncio.create_task(self._world())
        try:
            await world
        finally:
            self._is_over = True
            await self._stop_daemon()
            daemon.cancel()
            for task in self._background:
                task.cancel()
            await asyncio.gather(daemon, *self._background, return_exceptions=True)
        if (self.machine.directory / "openbell.db").exists():
            self.check_rebuild()
        self._conclude()

    def _conclude(self) -> None:
        outcome = self.outcome
        outcome.executions = len(self.truth.executions)
        outcome.faults = self.faults.counts
        outcome.busiest = self.truth.busiest
        self.blame(checkers.bounded(self.truth))
        self.blame(checkers.adds_up(self.truth))
        trace = hashlib.sha256()
        for entry in self.truth.log:
            trace.update(repr(entry).encode())
        trace.update(self.events.digest.encode())
        trace.update(repr(self.machine.alerts).encode())
        outcome.trace = trace.hexdigest()[:16]

    async def _until(self, moment: dt.datetime) -> None:
        left = self.truth.clock.loop_time(moment) - self.loop.moment
        if left > 0:
            await asyncio.sleep(left)

    def _at(self, moment: dt.datetime, job: Coroutine[Any, Any, None]) -> None:
        async def later() -> None:
            await self._until(moment)
            await job

        self._background.append(asyncio.create_task(later()))

    async def _world(self) -> None:
        for session in self.sessions:
            await self._day(session, is_last=session is self.sessions[-1])

    async def _day(self, session: Session, *, is_last: bool) -> None:
        self._night(session)
        await self._until(session.open - dt.timedelta(minutes=105))
        await self._morning()
        self.truth.session = session
        self.market.begin(session)
        self._plan(session)
        await self._until(session.open)
        # Prices move at the open: no order fills before.
        calm = session.close - CALM_BEFORE_CLOSE
        while self.truth.now() < calm:
            await self._until(min(calm, self.truth.now() + dt.timedelta(minutes=25)))
            self.check_always()
        if is_last:
            await self._calm_down(session)
        await self._until(session.close)
        self.truth.expire_all()
        await self._until(session.close + dt.timedelta(minutes=20))
        self.check_always()
        if is_last:
            self.check_end()

    async def _calm_down(self, session: Session) -> None:
        self.faults.is_on = False
        self.disk.heal()
        self._calm.set()
        self.truth.is_down = self.truth.is_blocked = False
        self._heal_clock()
        if self.life is not None:
            self.life.stream.heal()
        await self._until(session.close - CALM_BEFORE_CLOSE + dt.timedelta(minutes=14))
        self.check_calm()

    def _night(self, session: Session) -> None:
        faults, truth = self.faults, self.truth
        if faults.strikes("corporate.split") and not truth.open_orders():
            truth.split(faults.pick("split", list(SYMBOLS)), 2)
        for symbol in SYMBOLS:
            held = truth.positions.get(symbol, Decimal(0))
            if held > 0 and faults.strikes("money.dividend"):
                truth.pay(ActivityKind.DIVIDEND, held * Decimal("0.13"), symbol)
        is_halted = faults.strikes("asset.halted")
        truth.halted = faults.pick("asset.halted", list(SYMBOLS)) if is_halted else None
        if faults.strikes("books.broken"):
            truth.slip_in(faults.pick("broken", list(SYMBOLS)), Decimal(3))
        if faults.strikes("money.fee"):
            truth.pay(ActivityKind.FEE, Decimal("-1.37"))
        if faults.strikes("money.transfer"):
            amount = Decimal(faults.pick("money.transfer", [7_500, 7_500, -7_500]))
            latest = (session.open - truth.now()).total_seconds() + 7200
            moment = dt.timedelta(seconds=faults.span("money.transfer", 120, latest))
            self._at(truth.now() + moment, self._transfer(amount))

    def _plan(self, session: Session) -> None:
        """Draw what happens to this day."""
        events: tuple[tuple[str, str, int, Callable[[], Coroutine[Any, Any, None]]], ...] = (
            ("broker.down", "down", 1, self._down),
            ("account.blocked", "blocked", 1, self._block),
            ("hand.trade", "hand", 3, self._trade_by_hand),
            ("process.stop", "stop", 1, self._stop_daemon),
            ("process.second", "second", 1, self._second),
            ("clock.jumped", "clock", 1, self._jump),
            ("operator.kill", "kill", 1, partial(self._kill, flatten=False)),
            ("operator.flatten", "flatten", 1, partial(self._kill, flatten=True)),
            ("disk.latch_lost", "latch", 1, self._lose_latch),
            ("operator.pause", "pause", 1, self._pause),
            *((kind, kind, 1, partial(self._command, kind)) for kind in MESSAGES),
        )
        if self.faults.strikes("process.at_cutoff"):
            self._background.append(asyncio.create_task(self._away_until_cutoff(session)))
        for fault, name, times, happen in events:
            for _ in range(times):
                if self.faults.strikes(fault):
                    # Hands and flattening move shares while the market is open, the rest any time.
                    low = 1 if fault in {"hand.trade", "operator.flatten"} else -15
                    self._at(self._moment(name, session, low=low), happen())
        if self.scenario.kill_at_minute is not None and session is self.sessions[0]:
            moment = session.open + dt.timedelta(minutes=self.scenario.kill_at_minute)
            self._at(moment, self._kill(flatten=self.scenario.flatten))

    def _moment(self, name: str, session: Session, *, low: float = -15) -> dt.datetime:
        # Half of what happens, happens while orders are sent and filled.
        dice = self.faults.dice(f"moment:{name}")
        length = (session.close - session.open).total_seconds() / 60 - 60
        if name in {"latch", "pause"} and dice.random() < 0.7:
            return session.open - dt.timedelta(minutes=dice.uniform(1, 80))
        if name == "flatten":
            # When there is something to close.
            return session.open + dt.timedelta(minutes=dice.uniform(20, length))
        if low < 0 and dice.random() < 0.5:
            # While the orders of the day leave.
            before = dt.timedelta(minutes=SCHEDULE.submit_minutes_before_open)
            start = session.open - before
            return start + dt.timedelta(seconds=dice.uniform(0, 8))
        minutes = dice.uniform(low, 35) if dice.random() < 0.6 else dice.uniform(low, length)
        return session.open + dt.timedelta(minutes=minutes)

    async def _command(self, kind: str) -> None:
        receiver = self.life.commands if self.life is not None else None
        # With a clock that is wrong every message is stale, and rightly so.
        if receiver is not None and not self.clock.offset:
            self._paused_at = self.loop.moment
            self.blame(self.sender.deliver(receiver, kind))
            self._look_at_latch()

    async def _transfer(self, amount: Decimal) -> None:
        self.truth.pay(ActivityKind.TRANSFER, amount)

    async def _away_until_cutoff(self, session: Session) -> None:
        await away_until_cutoff(self.faults, session, until=self._until, keep_down=self._keep_down)

    async def _keep_down(self, until: dt.datetime) -> None:
        self._wanted.clear()
        await self._stop_daemon()
        await self._until(until)
        self._wanted.set()

    async def _down(self) -> None:
        self.truth.is_down = True
        if self.life is not None:
            self.life.stream.drop()
        await asyncio.sleep(self.faults.span("broker.down", 30, 9000))
        self.truth.is_down = False

    async def _block(self) -> None:
        self.truth.is_blocked = True
        await asyncio.sleep(self.faults.span("account.blocked", 60, 7200))
        self.truth.is_blocked = False

    async def _trade_by_hand(self) -> None:
        truth, faults = self.truth, self.faults
        symbol = faults.pick("hand", list(SYMBOLS))
        held = truth.positions.get(symbol, Decimal(0))
        is_sale = held > 0 and faults.dice("hand:side").random() < 0.5
        quantity = held if is_sale else Decimal(faults.dice("hand:size").randint(1, 30))
        truth.hand_trades.append((self.loop.moment, symbol))
        with contextlib.suppress(Refused):
            truth.accept(
                f"hand-{truth.number()}", symbol, Side.SELL if is_sale else Side.BUY, quantity
            )

    async def _lose_latch(self) -> None:
        path = self.machine.directory / "KILL"
        if path.exists():
            if self.faults.dice("latch").random() < 0.5:
                path.unlink()
            else:
                path.write_bytes(b"{")

    async def _second(self) -> None:
        is_running = self._daemon is not None and not self._daemon.done()
        is_open = is_running and self.life is not None and self.life.store is not None
        if is_open and not second_daemon_is_refused(self.machine):
            self.blame([("I15", "a second daemon opened the same store")])

    async def _jump(self) -> None:
        minutes = self.faults.pick("clock", [-1440, -90, -1, 1, 7, 120])
        self.clock.offset = dt.timedelta(minutes=minutes)
        await asyncio.sleep(self.faults.span("clock", 60, 3600))
        self._heal_clock()

    def _heal_clock(self) -> None:
        self.clock.offset = dt.timedelta()

    # The operator

    async def _pause(self) -> None:
        pause = Pause(self.machine.directory)
        with contextlib.suppress(StateError):
            pause.set("looking at something")
            self._paused_at = self.loop.moment
            await asyncio.sleep(self.faults.span("operator.pause", 60, 7200))
            pause.clear()

    async def _kill(self, *, flatten: bool) -> None:
        for attempt in range(4):
            crash_at = self.scenario.kill_crash_at if attempt == 0 else None
            process = Process(
                f"kill {attempt}", self.faults, crash_at=crash_at or self._draw_crash(20)
            )
            self._attach(process)
            task = asyncio.create_task(
                run_kill(self.machine, process, flatten=flatten, reason="a person said so")
            )
            self.outcome.kills += 1
            try:
                report = await task
            except StorageError as exc:
                if not process.disk_faults:
                    self.blame([("X01", f"{process.name} ended by {exc!r}")])
                await asyncio.sleep(120)
                continue
            except Crash:
                await asyncio.sleep(5)
                continue
            finally:
                self.outcome.kill_steps += process.steps
            self._look_at_latch()
            if report.verified:
                self._check_killed(report, process)
                if report.latched:
                    break
            await asyncio.sleep(120)
        if self.faults.strikes("operator.unsuspend"):
            self.truth.suspend(is_suspended=False)

    def _check_killed(self, report: KillReport, process: Process) -> None:
        # What the broker does not show to anybody yet, nobody can have canceled.
        shown = [o for o in self.truth.open_orders() if o.visible_at <= self.loop.moment - 2]
        left = [o.client_id for o in shown if "flatten" not in o.client_id]
        recent = [o for o in left if not o.startswith("hand-")]
        if recent:
            self.blame([("I07", f"the kill was verified and {recent} are open")])
        if report.suspended and not self.truth.is_suspended:
            self.blame([("I07", "the kill said that the broker's lock is set; it is not")])
        # A disk that takes nothing may leave it armed; then the kill says so.
        is_excused = not report.latched and process.disk_faults
        if not checkers.latch_is_engaged(self.machine.directory) and not is_excused:
            self.blame([("I06", "the latch is not engaged after a kill")])

    async def _morning(self) -> None:
        """A person comes in: a halted account is looked at, and mostly resumed."""
        with contextlib.suppress(StateError):
            Pause(self.machine.directory).clear()
        await self._adopt()
        if not checkers.latch_is_engaged(self.machine.directory):
            return
        if not (self.machine.directory / "openbell.db").exists():
            return
        if self.faults.dice("resume").random() < 0.1:
            return
        self._wanted.clear()
        await self._stop_daemon()
        self._is_resuming += 1
        process = Process("resume", self.faults)
        self._attach(process)
        try:
            await asyncio.create_task(run_resume(self.machine, process))
            self.outcome.resumes += 1
        except (OpenbellError, Crash):
            pass
        self._latch_seen = checkers.latch_is_engaged(self.machine.directory)
        self._must_be_engaged = False
        self._is_resuming -= 1
        self._wanted.set()

    async def _adopt(self) -> None:
        """What came without a word is counted, and taken into the books by name."""
        is_open = (self.machine.directory / "openbell.db").exists()
        if not (is_open and self.truth.unexplained and self.faults.strikes("operator.adopt")):
            return
        self._wanted.clear()
        await self._stop_daemon()
        process = Process("adopt", self.faults)
        with contextlib.suppress(OpenbellError, Crash):
            await asyncio.create_task(run_adopt(self.machine, process))
        # Also where it was cut off: what the books hold by name now is explained.
        with checkers.reading(self.machine.directory) as db:
            self.truth.unexplained -= checkers.agreeing(self.truth, db)
        self._wanted.set()

    # The daemon's lives

    def _draw_crash(self, steps: int) -> int | None:
        is_enough = self._deaths >= _MOST_DEATHS_A_DAY * self.scenario.days
        if is_enough or not self.faults.strikes("process.crash"):
            return None
        return self.faults.dice("crash").randint(1, steps)

    def _next_crash(self) -> int | None:
        if self._crashes:
            return self._crashes.pop(0)
        # Small numbers more often: the start and the recovery are where it hurts.
        steps = self.faults.pick("crash:range", [10, 30, 80, 200, 500])
        return self._draw_crash(steps)

    def power_off(self) -> None:
        """End every program at once."""
        for process in self._processes:
            process.is_dead = True

    def _attach(self, process: Process) -> None:
        self._processes.append(process)
        if self.explorer is not None:
            self.explorer.attach(process)

    async def _supervise(self) -> None:
        while not self._is_over:
            # Two commands in a row want it for a moment only.
            while not self._wanted.is_set():
                await self._wanted.wait()
            process = Process(f"daemon {self.outcome.lives}", self.faults)
            process.crash_at = self._next_crash()
            self._attach(process)
            self.life = DaemonLife(self.machine, process)
            self._restarted_at = self.loop.moment
            self.outcome.lives += 1
            self._daemon = asyncio.create_task(self.life.run())
            await asyncio.wait([self._daemon])
            self.outcome.steps += process.steps
            self.outcome.steps_of_lives.append(process.steps)
            self._spans.append((self._restarted_at, self.loop.moment))
            pause = self._bury(self._daemon, process)
            self._stopped.set()
            with contextlib.suppress(TimeoutError):
                # What lasts hours ends when everything is made well again.
                await asyncio.wait_for(self._calm.wait(), pause)
            if self._calm.is_set():
                await asyncio.sleep(pause if pause == _SICK else 1)

    def _bury(self, task: asyncio.Task[None], process: Process) -> float:
        """Find out why a life ended; return how long until the next."""
        life = self.life
        if process.is_dead:
            self._deaths += 1
            self.truth.write("crash", process.name, process.died_at)
            self._freeze(life)
            if self._outages:
                return self._outages.pop(0)
            if self.faults.strikes("process.outage"):
                return self.faults.span("process.outage", 600, 20_000)
            return self.faults.span("restart", 2, 30)
        if life is not None:
            life.close()
        if task.cancelled():
            return self.faults.span("restart", 1, 10)
        cause = _cause(task.exception())
        if cause is not None and not self._may_end_by(cause, process):
            self.blame([("X01", f"{process.name} ended by {cause!r}")])
            # It is found; to die of it again and again only takes time.
            return _SICK
        return 30.0

    def _may_end_by(self, cause: BaseException, process: Process) -> bool:
        if process.disk_faults and isinstance(cause, StorageError):
            return True
        return isinstance(cause, ProviderUnavailable | BrokerError)

    def _freeze(self, life: DaemonLife | None) -> None:
        """Keep the files exactly as they were at death: closing would tidy the WAL up."""
        if life is None:
            return
        directory = self.machine.directory
        aside = directory.with_name("frozen")
        if life.store is None:
            return
        shutil.copytree(directory, aside)
        life.close()
        for path in aside.iterdir():
            if not path.name.endswith("-shm") and path.is_file():
                shutil.copy2(path, directory / path.name)
        shutil.rmtree(aside)

    async def _stop_daemon(self) -> None:
        task = self._daemon
        if task is None or task.done():
            return
        self._stopped.clear()
        task.cancel()
        await asyncio.wait([task])
        await self._stopped.wait()


def _cause(exc: BaseException | None) -> BaseException | None:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
