"""The end of a day for forecasts: what matured is scored, and each source is judged by it."""

import asyncio
import datetime as dt
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog

from daemon.after_close.track_keeping import NO_RULE
from daemon.config import Config, TrackingConfig
from domain.clock import Clock
from domain.errors import DataError, OpenbellError, ProviderUnavailable, StateError
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from domain.market import Bar, Session
from domain.track_record import LockedForecast, ScoredForecast, ScoreLine, Standing
from execution.desk import Desk
from execution.gathering import Sources
from forecasts.drift import DriftRule, DriftSettings, check
from forecasts.scorecard import GROUPINGS, Scores, grouped, scores_of
from forecasts.tracking import score, verify_answer
from marketdata.base import BarSource, SessionCalendar
from marketdata.events import EventSource, explained_jumps
from marketdata.session_calendar import trading_date
from marketdata.validation import BarRules, validate
from state.standings import Standings
from state.store import Store
from state.track_record import TrackRecord, settled

Note = Callable[[str, str], None]
Report = Callable[[Session], Awaitable[str]]
# Longer than the farthest horizon and any halt that ends; what is older never matures.
_GIVEN_UP_AFTER = dt.timedelta(days=200)
# The closing auction and late prints still move the day's bar of these for a while.
_RESTATE_THE_DAY = ("alpaca", "yahoo")
_VENDOR_SETTLES = dt.timedelta(minutes=30)


class Scorekeeper:
    """Scores forecasts from the bars of the daemon, and demotes by the rule.

    ``settled_after`` is how long after the close a vendor's bar of the day may still change;
    before that a forecast waits for the next session.
    """

    def __init__(
        self,
        store: Store,
        *,
        bars: BarSource,
        actions: EventSource | None,
        calendar: SessionCalendar,
        clock: Clock,
        settings: TrackingConfig,
        settled_after: dt.timedelta,
        note: Note,
    ) -> None:
        self._directory = store.directory
        self._record = TrackRecord(store)
        self._standings = Standings(store)
        self._bars = bars
        self._actions = actions
        self._calendar = calendar
        self._clock = clock
        self._settings = settings
        self._settled_after = settled_after
        self._note = note
        self._log = structlog.get_logger("forecasts")

    async def settle(self, session: Session) -> None:
        """Score what matured, then judge every source; a second time changes nothing."""
        scored = await self._matured(session)
        self._record.settle(scored, session_date=session.date)
        # In a thread: a year of some hundred symbols takes seconds.
        count, lines, by_source = await asyncio.to_thread(
            _scores,
            self._directory,
            self._settings.window_sessions,
            self._record.newest_models(),
        )
        before = self._standings.newest(before=session.date)
        known = self._standings.newest()
        after = [self._judged(source, before, scores) for source, scores in by_source.items()]
        self._standings.put(session.date, lines, after)
        self._log.info("forecasts.scored", matured=len(scored), in_window=count)
        for standing in after:
            self._tell(known.get(standing.source), standing)

    async def _matured(self, session: Session) -> tuple[ScoredForecast, ...]:
        last = self._last_settled(session)
        since = last - _GIVEN_UP_AFTER
        dates = [one.date for one in self._calendar.sessions(since, last)]

        def is_due(cutoff: dt.date, horizon: int) -> bool:
            return len(dates) - bisect_right(dates, cutoff) >= horizon

        pending = self._record.pending(since=since, is_due=is_due)
        trusted = [
            record
            for sequence, records in pending.items()
            if self._is_genuine(sequence)
            for record in records
        ]
        if not trusted:
            return ()
        try:
            history = await self._history(trusted, last)
        except (ProviderUnavailable, DataError) as exc:
            self._log.warning("forecasts.unscored", reason=str(exc))
            return ()
        return score(trusted, history)

    def _is_genuine(self, sequence: int) -> bool:
        try:
            answer = self._record.answer(sequence)
            verify_answer(answer.records, first=answer.first, digest=answer.digest)
        except StateError as exc:
            self._note("forecast.tampered", f"{exc}; the answer of event {sequence} is not scored")
            return False
        return True

    def _last_settled(self, session: Session) -> dt.date:
        if self._clock.now() >= session.close + self._settled_after:
            return session.date
        return self._calendar.previous_session(session.date).date

    async def _history(
        self, records: Sequence[LockedForecast], last: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        symbols = sorted({record.symbol for record in records})
        first = min(record.data_cutoff for record in records)
        bars = await self._bars.daily_bars(symbols, first, last)
        newest = max((trading_date(series[-1].at) for series in bars.values()), default=None)
        if newest is None:
            return {}
        events = [] if self._actions is None else await self._actions.events(symbols, first, last)
        sessions = self._calendar.sessions(first, newest)
        validated = validate(
            bars,
            sessions,
            symbols=symbols,
            rules=BarRules(look_back=len(sessions), min_history=1),
            actions=explained_jumps(events),
        )
        return validated.bars

    def _judged(
        self,
        source: ForecastSource,
        before: Mapping[ForecastSource, Standing],
        scores: tuple[str, Scores | None],
    ) -> Standing:
        model, found = scores
        settings = self._settings
        if settings.rule == NO_RULE:
            return check(None, None, DriftSettings(), source=source, model=model)
        return check(
            before.get(source),
            found,
            DriftSettings(
                rule=DriftRule(settings.rule),
                minimum_effective_size=settings.minimum_effective_size,
                lowest_accuracy=settings.floor_pct / 100,
                bad_checks=settings.bad_checks,
                good_checks=settings.good_checks,
                cool_down_checks=settings.cool_down_checks,
            ),
            source=source,
            model=model,
        )

    def _tell(self, before: Standing | None, after: Standing) -> None:
        was_demoted = before is not None and before.is_demoted
        if after.is_demoted and not was_demoted:
            self._note(
                "forecast.demoted",
                f"{after.source.value} forecasts of {after.model} are not used: {after.reason}",
            )
        if was_demoted and not after.is_demoted:
            self._note(
                "forecast.restored",
                f"{after.source.value} forecasts of {after.model} are used again",
            )


def scored_first(keeper: Scorekeeper, report: Report, note: Note) -> Report:
    """Return a report that is made after the forecasts were scored, whatever that came to."""

    async def scored_and_reported(session: Session) -> str:
        try:
            await keeper.settle(session)
        except OpenbellError as exc:
            note("forecast.unscored", str(exc))
        return await report(session)

    return scored_and_reported


def scorekeeper(config: Config, desk: Desk, sources: Sources) -> Scorekeeper:
    """Return the scorekeeper of a configuration, over the bars that decisions are made from."""
    is_vendor = config.marketdata.provider in _RESTATE_THE_DAY
    return Scorekeeper(
        desk.store,
        bars=sources.bars,
        actions=sources.actions,
        calendar=sources.calendar,
        clock=desk.clock,
        settings=config.forecasts.tracking,
        settled_after=_VENDOR_SETTLES if is_vendor else dt.timedelta(0),
        note=desk.note,
    )


def _scores(
    directory: Path, sessions: int, models: Mapping[ForecastSource, str]
) -> tuple[int, list[ScoreLine], dict[ForecastSource, tuple[str, Scores | None]]]:
    window = settled(directory, sessions)
    lines = [
        scores.line(grouping, name)
        for grouping, by in GROUPINGS.items()
        for name, scores in grouped(window, by).items()
    ]
    # A source is judged by the model that it answers with now, not by an earlier one.
    judged = {
        source: (model, scores_of([o for o in window if (o.source, o.model) == (source, model)]))
        for source, model in models.items()
    }
    return len(window), lines, judged
