"""One life of the real daemon, and of the commands beside it, on simulated ports."""

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from daemon.config import Schedule
from daemon.lifecycle import Daemon, Life
from daemon.session.broker_calendar import traded_sessions
from daemon.session.market_check import MarketCheck
from daemon.session.monitor import Monitor
from daemon.session.stops import Stops
from daemon.session.trading_day import Trade
from daemon.session.watch import Watch
from domain.errors import BrokerError, StateError
from execution.cycle import CycleSettings, TradingCycle
from execution.desk import Desk, OrderSettings
from execution.gathering import Sources
from execution.holding_limits import HoldingLimits
from execution.kill import KillReport, kill
from execution.orders import OrderPath
from execution.reconcile import Reconciler
from execution.resume import books_agree, resume
from execution.stream import StreamFollower
from marketdata.events import EventKind
from marketdata.traded_sessions import TradedSessions
from reports.model import EndOfDayReport
from risk.error_rate import ErrorWindow
from risk.settings import RiskLimits
from sentiment.records import blotting, records
from state.decisions import Decisions
from state.equity import EquityCurve
from state.facts import Facts
from state.incidents import Incidents
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.risk_state import RiskState
from state.runs import Runs
from state.store import Store
from tests.simulation.account import ACCOUNT
from tests.simulation.after_hours import night_of, reporter_of
from tests.simulation.checkers.evidence import Violations
from tests.simulation.faults import Faults
from tests.simulation.loop import SimClock
from tests.simulation.market import SYMBOLS, Market, calendar
from tests.simulation.messages import Receiver
from tests.simulation.port import OnWire, SimBroker
from tests.simulation.processes import Process, enter
from tests.simulation.setups import Setup
from tests.simulation.sources import SimBars, SimForecaster, SimNews, SimScorer, events_of
from tests.simulation.stream import SimStream
from tests.simulation.truth import Truth

SCHEDULE = Schedule()


@dataclass(kw_only=True)
class Machine:
    """Where programs run: the state directory and the wall clock; the broker is elsewhere."""

    directory: Path
    clock: SimClock
    truth: Truth
    market: Market
    on_wire: OnWire
    setup: Setup
    look_seconds: float = 30.0
    version: int = 1
    command_keys: list[str] = field(default_factory=list)
    alerts: list[tuple[float, str, str]] = field(default_factory=list)
    reports: list[EndOfDayReport] = field(default_factory=list)
    report_seen: Callable[[EndOfDayReport], None]
    alerted: Callable[[str], None]

    @property
    def limits(self) -> RiskLimits:
        """What the daemon is allowed."""
        return self.setup.limits

    def alert(self, kind: str, text: str, symbol: object) -> None:
        """Take what the operator is told."""
        self.alerts.append((self.clock.monotonic(), kind, text))
        self.alerted(kind)

    def desk(self, store: Store, broker: SimBroker, equity: Decimal) -> Desk:
        """Lay out what the order path works with, as the daemon does."""
        store.bind_account(ACCOUNT)
        latch = Latch(self.directory)
        store.sync_latch(latch)
        ledger, journal = Ledger(store), Journal(store)
        return Desk(
            broker=broker,
            store=store,
            journal=journal,
            ledger=ledger,
            incidents=Incidents(store),
            latch=latch,
            clock=self.clock,
            trading_state=RiskState(store).trading_state,
            settings=OrderSettings(is_long_only=not self.limits.allow_short),
            errors=ErrorWindow(self.limits.order_errors),
            over_limit=HoldingLimits(
                self.limits,
                curve=EquityCurve(store),
                ledger=ledger,
                journal=journal,
                equity=equity,
            ).over,
            alert=self.alert,
            made_by=f"version {self.version}",
        )


class DaemonLife:
    """The daemon, from opening its store to its end."""

    def __init__(self, machine: Machine, process: Process) -> None:
        self.machine = machine
        self.process = process
        self.broker = SimBroker(machine.truth, process, machine.on_wire)
        self.stream = SimStream(machine.truth, process)
        self.store: Store | None = None
        self.commands: Receiver | None = None
        if machine.truth.faults.strikes("process.upgraded"):
            machine.version += 1

    async def run(self) -> None:
        """Live until cancelled, crashed or refused; the store stays as death left it."""
        enter(self.process)
        machine = self.machine
        self.store = store = Store.open(machine.directory, clock=machine.clock)
        account = await self.broker.account()
        Facts(store).put(mode="paper")
        desk = machine.desk(store, self.broker, account.equity)
        self.commands = commands = Receiver(
            self.process,
            desk,
            clock=machine.clock,
            directory=machine.directory,
            keys=machine.command_keys,
        )
        try:
            life = self._life(store, desk)
            self.process.has_recovered = lambda: life.vitals.is_ready
            await Daemon(life).run()
        finally:
            self.commands = None
            await commands.settled()

    def _life(self, store: Store, desk: Desk) -> Life:
        machine, clock = self.machine, self.machine.clock
        path = OrderPath(desk)
        reconciler = Reconciler(desk, path)
        traded = traded_sessions(calendar(), Facts(store), clock)
        market = MarketCheck(desk, calendar=traded, facts=Facts(store), is_clock_compared=True)
        monitor = Monitor(
            desk,
            risk_state=RiskState(store),
            curve=EquityCurve(store),
            limits=self.machine.limits,
        )
        reporter = reporter_of(store, traded, clock, machine.report_seen)
        trade = Trade(
            cycle=self._cycle(desk, traded),
            desk=desk,
            path=path,
            reconciler=reconciler,
            monitor=monitor,
            calendar=traded,
            limits=self.machine.limits,
            facts=Facts(store),
            report=reporter.write,
            clock=clock,
            look_again=reporter.look_again,
            market=market,
            nightly=night_of(store, clock) if machine.setup.has_nights else {},
            min_symbols_fraction=machine.setup.min_symbols_fraction,
            made_by=lambda: desk.made_by,
        )
        return Life(
            trade=trade,
            stream=self.stream,
            follower=StreamFollower(desk, path, reconciler),
            watch=Watch(
                reconciler=reconciler,
                monitor=monitor,
                stops=Stops(desk, path, machine.limits),
                clock=clock,
                market=market,
                every_seconds=machine.look_seconds,
            ),
            runs=Runs(store),
            alarm=self._ring_at,
            schedule=SCHEDULE,
        )

    def _cycle(self, desk: Desk, traded: TradedSessions) -> TradingCycle:
        machine = self.machine
        faults = machine.truth.faults
        return TradingCycle(
            sources=Sources(
                broker=self.broker,
                calendar=traded,
                closed=lambda: traded.closed,
                bars=SimBars(machine.market, faults),
                actions=events_of(faults, EventKind.MERGER, machine.market.mergers),
                earnings=events_of(faults, EventKind.EARNINGS, machine.market.earnings),
                news=SimNews(faults),
                forecaster=SimForecaster(faults),
                scorer=SimScorer(faults),
                keep=partial(records, blot=blotting(())),
            ),
            settings=CycleSettings(
                symbols=SYMBOLS,
                allocations=machine.setup.allocations,
                limits=machine.limits,
                min_history=100,
                news_look_back=dt.timedelta(hours=24),
            ),
            decisions=Decisions(desk.store),
            journal=desk.journal,
            clock=machine.clock,
        )

    async def _ring_at(self, moment: dt.datetime) -> None:
        # Naps of ten minutes: nothing happens at night that a shorter one would see.
        clock = self.machine.clock
        while (left := (moment - clock.now()).total_seconds()) > 0:
            await clock.sleep(min(left, 600.0))

    def close(self) -> None:
        """Let go of the files."""
        if self.store is not None:
            self.store.close()


async def run_kill(machine: Machine, process: Process, *, flatten: bool, reason: str) -> KillReport:
    """Run the kill command: it needs the broker and the latch file, nothing else."""
    enter(process)
    return await kill(
        SimBroker(machine.truth, process, machine.on_wire),
        Latch(machine.directory),
        flatten=flatten,
        reason=reason,
        clock=machine.clock,
        tell=lambda _line: None,
    )


async def run_resume(machine: Machine, process: Process) -> Violations:
    """Run the resume command, with the daemon stopped; at times with wrong words first."""
    enter(process)
    broker = SimBroker(machine.truth, process, machine.on_wire)
    latch = Latch(machine.directory)
    seen = latch.read()
    store = Store.open(machine.directory, clock=machine.clock)
    found: Violations = []
    try:
        desk = machine.desk(store, broker, (await broker.account()).equity)
        try_to = partial(
            resume,
            broker,
            latch,
            clock=machine.clock,
            check=books_agree(desk, Reconciler(desk, OrderPath(desk))),
            row=store.latch_row(),
        )
        words: dict[str, Any] = {
            "reason": "looked at it",
            "confirm": ACCOUNT[-4:],
            "expected_sequence": seen.sequence,
        }
        for wrong in _mistakes(machine.truth.faults, seen.sequence):
            with contextlib.suppress(StateError, BrokerError):
                await try_to(**{**words, **wrong})
                found.append(("I06", f"resumed with {wrong}"))
        await try_to(**words)
        store.sync_latch(latch)
    finally:
        if not process.is_dead:
            store.close()
    return found


def _mistakes(faults: Faults, sequence: int) -> list[dict[str, Any]]:
    if not faults.strikes("operator.mistaken"):
        return []
    return [{"reason": " "}, {"confirm": "0000"}, {"expected_sequence": sequence - 1}]


def second_daemon_is_refused(machine: Machine) -> bool:
    """Start a second daemon on the same files; the lock must refuse it."""
    try:
        Store.open(machine.directory, clock=machine.clock).close()
    except StateError:
        return True
    return False
