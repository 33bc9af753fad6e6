"""Who judges, and when: at every write to the broker, every 25 minutes, in the calm, at the end."""

import asyncio
import contextlib
import datetime as dt
import sqlite3
from collections.abc import Iterator
from decimal import Decimal

from domain.errors import StateError
from domain.orders import OrderRequest, Side, TradeUpdate
from execution.kill import KillReport
from reports.model import EndOfDayReport
from state.store import Store
from tests.simulation.account import ACCOUNT
from tests.simulation.checkers import (
    after_close,
    amendments,
    balance,
    books,
    closures,
    costs,
    curves,
    errors,
    exposure,
    latch,
    losses,
    orders,
    repetition,
    resends,
    runs,
    stops,
    wire,
)
from tests.simulation.checkers.event_log import EventLog
from tests.simulation.checkers.evidence import (
    Violations,
    hand_traded,
    reading,
    slipped_in_lately,
)
from tests.simulation.daemon_life import DaemonLife
from tests.simulation.lives import Lives
from tests.simulation.messages import Receiver
from tests.simulation.processes import Process
from tests.simulation.stories import SCHEDULE
from tests.simulation.world import World

# Seconds after a pause within which an order may have been on its way already.
# Without an equity nothing is sold, and by other hours or a wrong clock at another time.
_NO_STOPS = frozenset(
    {
        *("account.odd_equity", "clock.jumped", "clock.skewed"),
        *("market.closed", "market.hours", "market.halted"),
    }
)
# A kill takes a minute at most, and its last answers as long as a slow broker wants.
_KILL_IS_DONE_SECONDS = 240.0
_REBUILT = ("orders", "fills", "ledger_entries", "positions", "balances", "symbol_locks", "runs")


class Judge:
    """Blames what a checker saw, and keeps what it must see again."""

    def __init__(self, world: World, lives: Lives) -> None:
        self.events = EventLog()
        """When somebody last said that no entry may leave."""
        self.killed_at = 0.0
        """When a kill last ended, as it may with orders that nobody had filled yet."""
        self.accepted: set[str] = set()
        """The differences of reports that a person accepted."""
        self._world = world
        self._lives = lives
        self._truth = world.truth
        self._directory = world.directory
        self._history = orders.OrderHistory()
        self._errors = errors.ErrorCount()
        self._stops = stops.StopWatch(world.truth, world.sessions)
        world.truth.operated = self._operated
        self._mark: Decimal | None = None
        self._latch_seen = False
        self._must_be_engaged = False
        self._is_resuming = 0
        self._resumes = 0
        world.truth.heard = self._heard

    # As it happens

    def at_wire(self, process: Process, request: OrderRequest) -> None:
        """Judge an order at the instant at which it is written."""
        truth, world, blame = self._truth, self._world, self._world.blame
        terms = (str(request.quantity), str(request.limit_price))
        truth.write("wire", process.name, request.client_order_id, *terms)
        world.outcome.orders += 1
        blame(orders.not_again(truth, process.name, request))
        if request.leg == "flatten":
            self._at_closing(request)
            return
        blame(resends.had_leave(truth, request))
        limits = world.machine.limits
        with reading(self._directory) as db:
            blame(wire.durable_intent(db, request))
            blame(wire.derived_id(request, ACCOUNT))
            blame(latch.latch_allows(self._directory, db, request))
            blame(wire.state_allows(truth, db, request))
            blame(wire.paused(self._directory, truth, db, request))
            blame(balance.balanced(truth, db, request, self.accepted))
            blame(exposure.within_limits(truth, db, request, limits))
            blame(amendments.read_since(truth, db, process.name, request))
            blame(stops.stop_is_ours_to_sell(truth, db, request))
            blame(costs.stop_has_cause(truth, db, request, limits))
            epoch = db.execute("SELECT epoch FROM writer").fetchone()["epoch"]
        blame(wire.sane_order(truth, request, limits))
        if world.clock.offset == dt.timedelta():
            blame(wire.in_window(truth, request, SCHEDULE))
        blame(wire.market_agrees(truth, process.name, request, world.clock))
        self._check_writer(process, epoch)
        self.look_at_latch()

    def _at_closing(self, request: OrderRequest) -> None:
        """Judge a kill's own closing order, also where the next start completes it."""
        truth, outcome, symbol = self._truth, self._world.outcome, request.symbol
        is_too_much = request.quantity > abs(truth.positions.get(symbol, Decimal(0)))
        # The truth itself refuses a sale of too much while short sales are forbidden, and
        # an id that it has, unless it forgets them.
        is_known = bool(truth.of_client(request.client_order_id))
        is_forbidden = truth.is_shorting_forbidden and request.side is Side.SELL
        forgets = "broker.forgets_ids" in self._world.faults.rates
        is_guarded = is_forbidden or (is_known and not forgets)
        outcome.forbidden_sales += is_too_much and is_forbidden
        is_raced = hand_traded(truth, symbol) or slipped_in_lately(truth, symbol)
        if is_too_much and not is_guarded and not is_raced:
            self._world.blame([("I06", f"{request.client_order_id} closes more than is held")])

    def _operated(self, process: Process, is_error: bool) -> None:
        loop, life = self._world.loop, self._lives.life
        if life is None or life.process is not process:
            return
        limits = self._world.machine.limits
        why = self._errors.add(process, loop.moment, limits.order_errors, is_error=is_error)

        def is_excused() -> bool:
            is_gone = process.is_dead or bool(process.disk_faults) or self._lives.life is not life
            is_engaged = latch.latch_is_engaged(self._directory)
            return is_gone or is_engaged or not self._lives.is_running

        if why:
            errors.judged_soon(loop.call_later, why, is_excused=is_excused, blame=self._world.blame)

    def _stops_missed(self, db: sqlite3.Connection) -> Violations:
        faults, life = self._world.faults, self._lives.life
        if life is None or life.process.disk_faults or not _NO_STOPS.isdisjoint(faults.rates):
            return []
        machine = self._world.machine
        return self._stops.check(
            db, life.process.name, machine.limits, machine.look_seconds, machine.alerts
        )

    def _check_writer(self, process: Process, epoch: int) -> None:
        life = self._lives.life
        store = life.store if life is not None else None
        if life is None or life.process is not process or store is None:
            self._world.blame([("I15", f"{process.name} sent and is not the daemon")])
        elif store.epoch != epoch:
            self._world.blame([("I15", f"epoch {store.epoch} sent while {epoch} is the writer")])

    def look_at_latch(self) -> None:
        """Blame a latch that nobody released and that is not engaged any more."""
        engaged = latch.latch_is_engaged(self._directory)
        if self._must_be_engaged and not engaged and not self._is_resuming:
            self._world.blame(
                [("I06", "the daemon said that it halts, and the latch is not engaged")]
            )
            self._must_be_engaged = False
        if self._latch_seen and not engaged and not self._is_resuming:
            self._world.blame([("I06", "the latch was released and nobody resumed")])
        self._latch_seen = engaged

    @contextlib.contextmanager
    def resuming(self) -> Iterator[None]:
        """Let a person release the latch meanwhile."""
        self._is_resuming += 1
        self._resumes += 1
        yield
        self._latch_seen = latch.latch_is_engaged(self._directory)
        self._must_be_engaged = False
        self._is_resuming -= 1

    def alerted(self, kind: str) -> None:
        """Judge a halt that the operator is told of."""
        if kind != "kill.engaged":
            return
        machine = self._world.machine
        text, date = machine.alerts[-1][2], self._world.clock.now().date()
        with reading(self._directory) as db:
            self._world.blame(losses.halt_has_cause(self._truth, db, text, machine.limits, date))
        # The next step may be its death; whoever survives it must have engaged.
        process = self._lives.life.process if self._lives.life is not None else None
        before = self._resumes

        def judge() -> None:
            is_alive = process is not None and not process.is_dead and not process.disk_faults
            # Somebody may have released it within the second.
            self._must_be_engaged = is_alive and self._resumes == before

        self._world.loop.call_later(1.0, judge)

    def _heard(self, update: TradeUpdate) -> None:
        with reading(self._directory) as db:
            amendments.hear(self._truth, db, update)

    def report_seen(self, report: EndOfDayReport) -> None:
        """Judge a report as it is built."""
        self._world.outcome.reports += 1
        self._world.outcome.reconciled += report.is_reconciled
        self._world.blame(runs.account_bridge(self._truth, report))
        self._world.blame(runs.end_is_its_own(self._truth, self._world.sessions, report))
        with reading(self._directory) as db:
            self._world.blame(curves.drawdown_is_lost(self._truth, db, report))
        told = " ".join(report.doubts)
        if "no usable equity" in told:
            self._world.blame(runs.told_for_nothing(self._truth, report))
        elif "Nobody read" not in told and "clock.jumped" not in self._world.faults.rates:
            self._world.blame(runs.equity_of_the_close(self._truth, report))

    def kill_ended(self, report: KillReport, process: Process, *, is_alone: bool) -> None:
        """Judge what a kill that calls itself verified says."""
        self._world.blame(
            latch.kill_is_true(
                self._truth,
                self._directory,
                report,
                listed_at=self._truth.listed_at[process.name],
                has_disk_faults=bool(process.disk_faults),
                is_alone=is_alone,
            )
        )

    async def killed_from_afar(self, life: DaemonLife, receiver: Receiver) -> None:
        """Judge what became of a kill that a living daemon heard."""
        truth, process, told = self._truth, life.process, len(receiver.told)
        heard_at = self._world.loop.moment
        if process.is_dead or not latch.kill_is_pending(self._directory):
            return
        working = [order for order in truth.open_orders() if order.visible_at <= heard_at]
        await asyncio.sleep(_KILL_IS_DONE_SECONDS)
        # Found as seed 63000126: it may have died at its first cancel, and nobody noticed yet.
        is_same = self._lives.life is life and self._lives.is_running and not process.is_dead
        if is_same and process.frozen_until < heard_at:
            is_told = "kill.unfinished" in receiver.told[told:]
            self._world.blame(latch.kill_is_heard(truth, working, is_told=is_told))

    # At any moment

    def check_always(self) -> None:
        """Judge what must hold at any moment."""
        self._world.blame(orders.one_chain(self._truth))
        if self._world.scenario.is_canary:
            self._world.blame(orders.canary(self._truth))
        if not self._world.has_books:
            return
        self.look_at_latch()
        self._check_books()

    def _check_books(self) -> None:
        truth, machine, blame = self._truth, self._world.machine, self._world.blame
        with reading(self._directory) as db:
            blame(self.events.check(db))
            blame(books.never_invented(truth, db))
            blame(orders.intents_match(truth, db))
            blame(orders.ended_is_ended(truth, db))
            blame(self._history.check(db))
            blame(resends.never_called_off(truth, db))
            if self._is_watching():
                every = machine.look_seconds
                since = self._world.loop.moment - 4 * every
                blame(losses.loss_halts(truth, db, machine.limits, since, look_seconds=every))
                blame(self._stops_missed(db))
            if self._is_seeing():
                since = self._lives.restarted_at
                blame(latch.lock_is_told(truth, self._directory, db, since, machine.look_seconds))
            mark = losses.mark_of(db)
        if self._mark is not None and (mark is None or mark < self._mark):
            blame([("I09", f"the high-water mark fell from {self._mark} to {mark}")])
        self._mark = mark

    def _is_watching(self) -> bool:
        """Tell whether the daemon sees its equity, and the latch is not engaged already."""
        return self._is_seeing() and not latch.latch_is_engaged(self._directory)

    def _is_seeing(self) -> bool:
        """Tell whether the daemon has been up, in the session, and able to see its equity."""
        session, now = self._truth.session, self._truth.now()
        quiet = 4 * self._world.machine.look_seconds
        return (
            session is not None
            and session.open + dt.timedelta(seconds=quiet) < now < session.close
            and self._world.loop.moment - self._lives.restarted_at > quiet
            and self._lives.is_running
            and not self._world.clock.offset
        )

    def _is_clock_new(self) -> bool:
        """Tell whether the clock was set since this session began."""
        session, clock = self._truth.session, self._world.clock
        return session is not None and clock.moved_at > self._truth.clock.loop_time(session.open)

    # In the calm, and at the end

    def check_calm(self) -> None:
        """Judge what must hold once everything has been quiet for ten minutes."""
        self.check_always()
        truth, blame, limits = self._truth, self._world.blame, self._world.machine.limits
        with reading(self._directory) as db:
            blame(books.every_fill_once(truth, db))
            blame(amendments.told_is_booked(truth, db, self._lives.spans))
            blame(books.same_holdings(truth, db))
            blame(books.same_cash(truth, db))
            blame(costs.same_costs(truth, db))
            blame(orders.settled(db))
            blame(orders.taken_is_taken(truth, db))
            blame(books.no_lock_left(truth, db, limits, is_watch_short=self._is_clock_new()))
            blame(books.too_large_is_locked(truth, db, limits))
            blame(books.flows_named(truth, db))
            blame(balance.waits_for_nothing(db, self.accepted))
        blame(orders.entries_ended(truth))
        if self._lives.restarted_at > self.killed_at:
            since = self._lives.restarted_at
            blame(latch.kill_completed(self._truth, self._directory, since))
        if not self._lives.is_running:
            blame([("I16", "the daemon does not run")])

    def check_end(self) -> None:
        """Judge the whole."""
        self.check_calm()
        alerts = self._world.machine.alerts
        self._world.blame(repetition.told_without_end(alerts, self._lives.spans))
        due = runs.attended(self._truth, self._world.sessions, self._lives.spans)
        dates = [session.date.isoformat() for session in self._world.sessions]
        blame = self._world.blame
        with reading(self._directory) as db:
            # A session before the first that a daemon lived in is nobody's.
            first = runs.first_session(db) or max(dates)
            lived = {date for date, _ in due}
            ended = [date for date in dates if date >= first or date in lived]
            blame(runs.runs_once(db, ended))
            blame(runs.runs_end_once(db))
            blame(runs.plans_of_one_maker(db))
            blame(after_close.failures_told(db))
            # What a wrong answer hides has its report once a right one shows it again.
            hidden = self._truth.hours.closed | closures.believed(db)
            is_hidden = bool(self._world.faults.counts["calendar.wrong"])
            blame(after_close.reports_made(db, self._directory, hidden, is_hidden=is_hidden))
            blame(after_close.backups_hold(db, self._directory))
            blame(repetition.written_without_end(db))
            blame(closures.nothing_stays_wiped(self._truth, db, self._lives.spans))
            if not self._world.faults.counts["clock.jumped"]:
                blame(closures.nobody_waits(self._truth, db, self._lives.spans))
                blame(closures.nobody_reports(self._truth, db, self._lives.spans))
                blame(runs.runs_in_time(db, due))
                blame(runs.runs_on_time(db, due))

    def check_rebuild(self) -> None:
        """I23: the tables made anew from the log are the tables."""
        with reading(self._directory) as db:
            before = books.dump(db, _REBUILT)
        try:
            store = Store.open(self._directory, clock=self._world.clock)
        except StateError as exc:
            self._world.blame([("I17", f"the store does not open any more: {exc}")])
            return
        try:
            store.rebuild()
        finally:
            store.close()
        with reading(self._directory) as db:
            after = books.dump(db, _REBUILT)
        different = [table for table in _REBUILT if before[table] != after[table]]
        if different:
            self._world.blame([("I23", f"rebuilt tables differ: {', '.join(different)}")])
