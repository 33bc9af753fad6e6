"""The runs of a session day: decide, send, cut off, report, and the jobs of the night.

Each is called once, at its moment, and returns the sentence that the ``runs`` table
keeps.  What goes wrong with a source is in the decision; what raises here fails the run.
"""

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from daemon.after_close.nightly import NightJob
from daemon.schedule import DueRun, RunKind
from daemon.session.market_check import MarketCheck
from daemon.session.monitor import Judged, Monitor
from daemon.session.standing import standing_of
from daemon.session.stopped import closed_by_stop
from daemon.session.undone import denied_exits, stuck, unsent
from domain.clock import Clock
from domain.decisions import GateResult
from domain.errors import RunSkipped, StateError
from domain.ids import ClientOrderId
from domain.market import Session
from execution.comparing import ReconcileReport
from execution.context import gate_context
from execution.cycle import Decision, TradingCycle, gate
from execution.desk import Desk
from execution.orders import OrderPath, SendReport
from execution.reconcile import Reconciler
from marketdata.session_calendar import priced_session
from marketdata.traded_sessions import TradedSessions
from risk.context import OrderWindow
from risk.settings import RiskLimits
from risk.sizing import ENTRY
from state.facts import Facts

Report = Callable[[Session], Awaitable[str]]
LookAgain = Callable[[Session], None]
_PLAN = "plan_made_by"
# Between two looks of a run, as long as between those of the session.
_PAUSE_SECONDS = 30.0
# What the pause, a second comparison and the orders take beside a slow broker: exits that the
# first look lets leave must not miss the cut-off for what only entries wait for.
_SECOND_LOOK = dt.timedelta(minutes=2)
PAST_CUTOFF = "past the entry cut-off"


def _no_report(_session: Session) -> None:
    """No report is made, so none is waited for."""


def _nobody() -> str:
    """Nobody asks which code it is."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """The parts that a trading day works with.

    ``look_again`` makes the report before a session anew where entries wait for it.
    """

    cycle: TradingCycle
    desk: Desk
    path: OrderPath
    reconciler: Reconciler
    monitor: Monitor
    calendar: TradedSessions
    limits: RiskLimits
    facts: Facts
    report: Report
    clock: Clock
    look_again: LookAgain = _no_report
    nightly: Mapping[RunKind, NightJob] = field(default_factory=dict)
    market: MarketCheck | None = None
    min_symbols_fraction: float = 0.8
    made_by: Callable[[], str] = _nobody


class TradingDay:
    """Does the runs that the schedule says are due."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade
        self._log = structlog.get_logger("day")
        self._decision: Decision | None = None
        self._runs: Mapping[RunKind, Callable[[DueRun, str], Awaitable[str]]] = {
            RunKind.PREMARKET: self._premarket,
            RunKind.SUBMIT: self._submit,
            RunKind.CUTOFF: self._cutoff,
            RunKind.END_OF_DAY: self._end_of_day,
            **trade.nightly,
        }

    async def do(self, due: DueRun, run_id: str) -> str:
        """Do one run; return what came of it, in a sentence."""
        return await self._runs[due.kind](due, run_id)

    async def _premarket(self, due: DueRun, run_id: str) -> str:
        await self._ask_the_market(due.session)
        seen = await self._compare(due.session)
        await self._trade.monitor.check(due.session, snapshot=True, seen=seen)
        self._require_open()
        self._require_code_of_start()
        decision = await self._decide(due.session, run_id)
        wished = len(decision.sized.requests)
        return f"{len(decision.sized.combined)} symbols judged, {wished} orders wished"

    async def _decide(self, session: Session, run_id: str) -> Decision:
        self._decision = None
        decision = await self._trade.cycle.decide(session, run_id)
        self._require_enough(decision)
        self._decision = decision
        view = decision.view
        self._tell("position.stuck", stuck(view))
        sources = sorted({forecast.source.value for forecast in view.forecasts.values()})
        self._trade.facts.put(forecast_source=", ".join(sources) or "none")
        self._log.info(
            "decision.made",
            symbols=len(view.history),
            excluded=len(view.excluded),
            headlines=len(decision.gathered.headlines),
            forecasts=len(view.forecasts),
            source=", ".join(sources) or "none",
            actions={c.symbol: c.action.value for c in decision.sized.combined},
            confident=sum(
                f.confidence >= self._trade.limits.min_confidence for f in view.forecasts.values()
            ),
            orders=len(decision.sized.requests),
            problems=list(decision.problems),
        )
        return decision

    def _require_enough(self, decision: Decision) -> None:
        """A basket with too many holes is another basket than the one that was tested."""
        fit, wanted = len(decision.view.history), len(decision.view.excluded)
        wanted += fit
        bound = self._trade.min_symbols_fraction
        if not fit >= bound * wanted:
            symbol, why = next(iter(sorted(decision.view.excluded.items())))
            raise RunSkipped(
                f"{fit} of {wanted} symbols have usable bars, {bound:.0%} are needed;"
                f" {symbol}: {why}"
            )

    async def _submit(self, due: DueRun, run_id: str) -> str:
        session = due.session
        await self._ask_the_market(session)
        self._require_open()
        self._require_one_maker(run_id)
        decision = self._decision
        if decision is None or decision.session.date != session.date:
            # The process started after the pre-market run: decide anew, the ids are the same.
            # A broker that is away is found out before forecasts and sentiment are paid for.
            await self._compare(session)
            decision = await self._decide(session, run_id)
        seen = await self._compare(session)
        results = await self._gate(decision, due, seen)
        self._tell_denials(results)
        self._tell("exit.denied", denied_exits(self._trade.desk, results))
        # Not before: what only waited for the broker may go on under settings that changed.
        self._trade.facts.put(**{_PLAN: f"{run_id} {self._trade.desk.made_by}"})
        report = await self._trade.path.send(results, run_id, cutoff=due.latest)
        self._tell("orders.unsent", unsent(self._trade.desk, report))
        return self._outcome(results, report)

    def _require_one_maker(self, run_id: str) -> None:
        """A plan that was begun is not continued by other code or under other settings."""
        self._require_code_of_start()
        name, _, maker = (self._trade.facts.get(_PLAN) or "").partition(" ")
        if name == run_id and maker != self._trade.desk.made_by:
            raise StateError(
                "code or settings changed after this plan was begun; its orders are followed,"
                " and nothing is added until the next session"
            )

    def _require_code_of_start(self) -> None:
        if self._trade.made_by() != self._trade.desk.made_by:
            raise StateError(
                "the code on disk changed since this daemon started: restart it, so that nothing"
                " is planned by half of each"
            )

    async def _gate(
        self, decision: Decision, due: DueRun, seen: ReconcileReport
    ) -> tuple[GateResult, ...]:
        trade, session = self._trade, due.session
        judged = await self._judge(due, seen)
        window = OrderWindow(opens_at=due.at, entries_until=due.latest, exits_until=session.close)
        context = gate_context(
            standing_of(trade.desk, judged, session, window),
            view=decision.view,
            combined=decision.sized.combined,
            limits=trade.limits,
            expected_data_date=trade.calendar.previous_session(session.date).date,
            journal=trade.desk.journal,
            ledger=trade.desk.ledger,
            doubts={**trade.cycle.doubts(), **closed_by_stop(trade.desk.journal, session)},
        )
        return gate(decision, context)

    async def _judge(self, due: DueRun, seen: ReconcileReport) -> Judged:
        """Judge the account; what one look cannot tell, a second one mostly can.

        Entries that are denied for it are not asked for again in this session.
        """
        trade, session = self._trade, due.session
        judged = await trade.monitor.check(session, snapshot=True, seen=seen)
        is_late = trade.clock.now() + _SECOND_LOOK >= due.latest
        if is_late or not (judged.is_unclear or trade.desk.market_doubt):
            return judged
        await trade.clock.sleep(_PAUSE_SECONDS)
        await self._ask_the_market(session)
        self._require_open()
        seen = await self._compare(session)
        return await trade.monitor.check(session, snapshot=True, seen=seen)

    def _tell_denials(self, results: tuple[GateResult, ...]) -> None:
        for result in results:
            if not result.is_approved:
                self._log.warning(
                    "order.denied", symbol=result.request.symbol, limits=list(result.reasons)
                )

    def _tell(self, kind: str, what: str) -> None:
        if what:
            self._trade.desk.note(kind, what)

    def _outcome(self, results: tuple[GateResult, ...], report: SendReport) -> str:
        denied = sum(not result.is_approved for result in results)
        states = sorted(state.value for state in report.states.values())
        counts = {state: states.count(state) for state in dict.fromkeys(states)}
        self._log.info("orders.sent", sent=len(states), denied=denied, states=counts)
        told = ", ".join(f"{count} {state}" for state, count in counts.items()) or "nothing to send"
        return f"{told}, {denied} denied"

    async def _cutoff(self, due: DueRun, run_id: str) -> str:
        """Cancel the entries that are still open: after the cut-off nothing is opened."""
        late = open_entries(self._trade.desk)
        await self._trade.path.cancel_many(late, PAST_CUTOFF)
        return f"{len(late)} open entries canceled"

    async def _end_of_day(self, due: DueRun, run_id: str) -> str:
        # Done late, it may read prices of a session after this one.
        priced = priced_session(self._trade.calendar, self._trade.clock.now())
        if not await self._look_at_the_end(due.session, priced):
            # Cash that fell since the look before is known for what it is by a second one.
            await self._trade.clock.sleep(_PAUSE_SECONDS)
            await self._look_at_the_end(due.session, priced)
        if self._trade.market is not None:
            await self._trade.market.require_session(due.session)
        self._decision = None
        told = await self._trade.report(due.session)
        self._trade.monitor.report_made()
        return told

    async def _look_at_the_end(self, session: Session, priced: Session) -> bool:
        # Fees and dividends are posted late: the end of the day reads the whole window.
        seen = await self._trade.reconciler.run("end of day", is_deep=True)
        judged = await self._trade.monitor.check(session, snapshot=True, seen=seen, priced=priced)
        return judged.is_known

    async def _ask_the_market(self, session: Session) -> None:
        if self._trade.market is not None:
            await self._trade.market.compare(session)

    def _require_open(self) -> None:
        if self._trade.market is not None:
            self._trade.market.require_open()

    async def _compare(self, session: Session) -> ReconcileReport:
        """Compare with the broker; what that booked may balance the report of before."""
        seen = await self._trade.reconciler.run("run")
        self._trade.look_again(session)
        return seen


def open_entries(desk: Desk) -> list[ClientOrderId]:
    """Return our orders that may still open a position."""
    return [
        record.client_order_id
        for record in desk.journal.working()
        if record.request.leg == ENTRY and not record.is_external
    ]
