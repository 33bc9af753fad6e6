"""One trading cycle: view -> signals -> combined -> targets -> orders -> gate.

Everything after the view is pure and synchronous; demo, backtest, paper and live run
exactly this.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.clock import Clock
from domain.decisions import CombinedSignal, GateResult
from domain.errors import SizingError
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from domain.market import MarketView, Session
from domain.signals import Signal
from execution.context import next_revisions, opened_notional, reservations
from execution.gathering import Gathered, Sources, gather
from risk.book import Book
from risk.context import GateContext
from risk.gate import check_batch
from risk.settings import RiskLimits
from risk.sizing import SizingPlan, plan
from sentiment.scoring import damped, tilt_of
from state.decisions import Decisions
from state.journal import Journal
from strategies.combine import Allocation, combine, run_strategies
from strategies.registry import capital_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleSettings:
    """What the cycle trades, with whose capital, within which limits."""

    symbols: tuple[Symbol, ...]
    allocations: tuple[Allocation, ...]
    limits: RiskLimits
    min_history: int
    news_look_back: dt.timedelta
    healthy_source: ForecastSource = ForecastSource.REMOTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one run decided, before the gate."""

    run_id: str
    session: Session
    gathered: Gathered
    signals: tuple[Signal, ...]
    sized: SizingPlan
    problems: tuple[str, ...]

    @property
    def view(self) -> MarketView:
        """The frozen view it was decided on."""
        return self.gathered.view


class TradingCycle:
    """Decides; sending is the order path's."""

    def __init__(
        self,
        *,
        sources: Sources,
        settings: CycleSettings,
        decisions: Decisions,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._sources = sources
        self._settings = settings
        self._decisions = decisions
        self._journal = journal
        self._clock = clock

    async def decide(self, session: Session, run_id: str) -> Decision:
        """Gather, decide and store the decision; nothing is sent.

        Raises:
            ProviderUnavailable: account or bars could not be had.
        """
        settings = self._settings
        gathered = await gather(
            self._sources,
            symbols=settings.symbols,
            session=session,
            clock=self._clock,
            min_history=settings.min_history,
            news_look_back=settings.news_look_back,
            earnings_sessions_ahead=settings.limits.earnings_sessions_ahead,
        )
        gathered = self._damped(gathered)
        signals = run_strategies(gathered.view, settings.allocations)
        combined = self._combine(gathered.view, signals)
        sized, problems = self._size(gathered.view, combined)
        headlines = self._sources.keep(gathered.headlines, gathered.view.as_of)
        self._decisions.record(run_id, gathered.view, signals, sized.combined, headlines)
        return Decision(
            run_id=run_id,
            session=session,
            gathered=gathered,
            signals=signals,
            sized=sized,
            problems=gathered.shortfalls + problems,
        )

    def doubts(self) -> Mapping[Symbol, str]:
        """Return what the live market has against entries now, by symbol."""
        return self._sources.doubts()

    def _damped(self, gathered: Gathered) -> Gathered:
        """Hold the news to what may change from one session to the next."""
        view = gathered.view
        scores = damped(
            view.sentiment,
            self._decisions.sentiment_before(view.session.date),
            max_change=self._settings.limits.max_sentiment_change,
        )
        return dataclasses.replace(gathered, view=dataclasses.replace(view, sentiment=scores))

    def _combine(self, view: MarketView, signals: Sequence[Signal]) -> tuple[CombinedSignal, ...]:
        limits = self._settings.limits
        combined = combine(
            signals,
            capital=capital_of(self._settings.allocations),
            min_confidence=limits.min_confidence,
        )
        # Good news is bad for a short, so the tilt needs the direction first.
        return tuple(
            dataclasses.replace(
                one,
                sentiment_tilt=tilt_of(
                    view.sentiment.get(one.symbol), one.expected_return, limits.max_tilt
                ),
            )
            for one in combined
        )

    def _size(
        self, view: MarketView, combined: Sequence[CombinedSignal]
    ) -> tuple[SizingPlan, tuple[str, ...]]:
        orders = self._journal.of_session(view.session.date)
        book = Book(
            view=view,
            limits=self._settings.limits,
            reservations=reservations(self._journal.working()),
            revisions=next_revisions(orders),
            opened_notional_today=opened_notional(orders),
            healthy_source=self._settings.healthy_source,
        )
        try:
            return plan(book, combined), ()
        except SizingError as exc:
            unsized = SizingPlan(combined=tuple(combined), requests=(), remarks={})
            return unsized, (f"sizing: {exc}; no order",)


def gate(decision: Decision, context: GateContext) -> tuple[GateResult, ...]:
    """Ask every limit about every order, each approved one reserving its worst case."""
    results, _ = check_batch(decision.sized.requests, context)
    return results
