"""Gather what one decision may know, and freeze it.

The only part of the cycle that waits: bars, news, account, forecasts.  A source that
fails costs quality, never the run; what is missing is named.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from brokers.base import Broker
from domain.account import Account, Position
from domain.clock import Clock
from domain.errors import BrokerUnavailable, DataError, ProviderUnavailable, first_cause
from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar, HeadlineRecord, MarketView, NewsItem, Session
from domain.signals import SentimentScore
from execution.comparing import by_symbol, is_doubtful
from forecasts.base import Forecaster
from marketdata.base import BarSource, SessionCalendar
from marketdata.events import CorporateEvent, EventSource, ending, explained_jumps, reporting_soon
from marketdata.session_calendar import trading_date
from marketdata.validation import BarRules, Validated, validate
from sentiment.base import NewsSource, SentimentScorer

# Enough for the longest look-back of any strategy, with room for closures.
HISTORY_DAYS = 800
# As many bars as that surely holds; a model that looks back further cannot be used.
MOST_BARS = 540
# Corporate actions explain jumps inside the look-back of validation: some 60 sessions.
_ACTION_DAYS = 120
# Sessions looked through for earnings, whatever the limit asks for.
_EVENTS_AHEAD_DAYS = 40
# Of account and positions, where the two contradict each other, and the time between.
_MOST_READINGS = 4
_PAUSE_SECONDS = 2.0

_log = structlog.get_logger("gathering")


def _keep_none(_: Sequence[NewsItem], __: dt.datetime) -> Sequence[HeadlineRecord]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The ports that a decision is fed from.

    ``calendar`` is without the days that the broker's left out, which ``closed`` names.
    ``actions`` are splits and mergers as a vendor tells them; ``earnings`` are the dates of
    reports, and when they cannot be had entries are kept out; ``doubts`` are what the live
    market has against entries at the moment; ``keep`` makes of headlines what is stored.
    """

    broker: Broker
    calendar: SessionCalendar
    bars: BarSource
    news: NewsSource
    forecaster: Forecaster
    scorer: SentimentScorer
    actions: EventSource | None = None
    earnings: EventSource | None = None
    doubts: Callable[[], Mapping[Symbol, str]] = dict
    closed: Callable[[], Collection[dt.date]] = frozenset
    keep: Callable[[Sequence[NewsItem], dt.datetime], Sequence[HeadlineRecord]] = _keep_none


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The frozen view, the headlines behind its sentiment, and what could not be had."""

    view: MarketView
    headlines: tuple[NewsItem, ...]
    shortfalls: tuple[str, ...]


async def gather(
    sources: Sources,
    *,
    symbols: Sequence[Symbol],
    session: Session,
    clock: Clock,
    min_history: int,
    news_look_back: dt.timedelta,
    earnings_sessions_ahead: int = 1,
) -> Gathered:
    """Read everything as of now.

    Args:
        sources: the ports.
        symbols: the universe.
        session: the session to be traded.
        clock: tells the moment that nothing may be newer than.
        min_history: bars that a symbol needs.
        news_look_back: how old a headline may be.
        earnings_sessions_ahead: how many sessions after this one count as soon.

    Raises:
        BrokerUnavailable: account, positions or assets could not be read, or the list of
            positions is empty against the equity.
        ProviderUnavailable: no bars at all.
    """
    as_of = clock.now()
    try:
        async with asyncio.TaskGroup() as group:
            books = group.create_task(_account_and_holdings(sources.broker, clock))
            assets = group.create_task(sources.broker.assets(symbols))
            # What is heard does not wait for what is seen: two answers in a row, not three.
            seen = group.create_task(_seen(sources, symbols, session, as_of, min_history))
            heard = group.create_task(_heard(sources, symbols, as_of, news_look_back))
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from failures
    known, validated, forecasts, missing = seen.result()
    headlines, scores, shortfalls = heard.result()
    account, positions = books.result()
    view = MarketView(
        as_of=as_of,
        session=session,
        account=account,
        history=validated.bars,
        forecasts=forecasts,
        sentiment=scores,
        positions={position.symbol: position for position in positions},
        assets=assets.result(),
        excluded=validated.excluded,
        reporting=_reporting(sources, symbols, known, session, earnings_sessions_ahead),
        ending=ending(known.actions, session.date),
    )
    return Gathered(
        view=view,
        headlines=headlines,
        shortfalls=_unchecked(sources) + known.shortfalls + missing + shortfalls,
    )


async def _account_and_holdings(broker: Broker, clock: Clock) -> tuple[Account, Sequence[Position]]:
    """Read both until an empty list is one: decided on it, what is held would be bought again."""
    for _ in range(_MOST_READINGS):
        async with asyncio.TaskGroup() as group:
            account = group.create_task(broker.account())
            positions = group.create_task(broker.positions())
        if not is_doubtful(by_symbol(positions.result()), account.result()):
            return account.result(), positions.result()
        await clock.sleep(_PAUSE_SECONDS)
    raise BrokerUnavailable(
        "the broker lists no position, yet its equity holds shares; nothing is decided"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Events:
    """``earnings`` is None when what tells them could not be read."""

    actions: tuple[CorporateEvent, ...]
    earnings: tuple[CorporateEvent, ...] | None
    shortfalls: tuple[str, ...]


async def _seen(
    sources: Sources,
    symbols: Sequence[Symbol],
    session: Session,
    as_of: dt.datetime,
    min_history: int,
) -> tuple[_Events, Validated, Mapping[Symbol, Forecast], tuple[str, ...]]:
    """Bars and events, and the forecasts made of them."""
    async with asyncio.TaskGroup() as group:
        bars = group.create_task(_bars(sources, symbols, session))
        events = group.create_task(_events(sources, symbols, session))
    known = events.result()
    validated = _validated(sources, bars.result(), known, session, min_history, symbols)
    forecasts, missing = await _forecasts(sources.forecaster, validated.bars, as_of)
    return known, validated, forecasts, missing


async def _heard(
    sources: Sources, symbols: Sequence[Symbol], as_of: dt.datetime, look_back: dt.timedelta
) -> tuple[tuple[NewsItem, ...], Mapping[Symbol, SentimentScore], tuple[str, ...]]:
    """Headlines, and the scores made of them."""
    headlines, shortfalls = await _headlines(sources, symbols, as_of, look_back)
    scores, unscored = await _scores(sources.scorer, headlines, as_of)
    return headlines, scores, shortfalls + unscored


def _span(sources: Sources, session: Session) -> tuple[dt.date, dt.date]:
    last = sources.calendar.previous_session(session.date).date
    return last - dt.timedelta(days=HISTORY_DAYS), last


async def _bars(
    sources: Sources, symbols: Sequence[Symbol], session: Session
) -> Mapping[Symbol, Sequence[Bar]]:
    first, _ = _span(sources, session)
    # Asked for to the eve of the session: a bar of a day that the calendar calls closed is a
    # witness against it, and without it an older close would pass for the last one.
    return await sources.bars.daily_bars(symbols, first, session.date - dt.timedelta(days=1))


async def _events(sources: Sources, symbols: Sequence[Symbol], session: Session) -> _Events:
    start = session.date - dt.timedelta(days=_ACTION_DAYS)
    end = session.date + dt.timedelta(days=_EVENTS_AHEAD_DAYS)
    shortfalls: list[str] = []

    async def ask(source: EventSource | None) -> tuple[CorporateEvent, ...] | None:
        if source is None:
            return ()
        try:
            return tuple(await source.events(symbols, start, end))
        except (ProviderUnavailable, DataError) as exc:
            shortfalls.append(f"events: {exc}")
            return None

    actions, earnings = await asyncio.gather(ask(sources.actions), ask(sources.earnings))
    return _Events(
        actions=(*(actions or ()), *(earnings or ())),
        earnings=earnings,
        shortfalls=tuple(sorted(shortfalls)),
    )


def _validated(
    sources: Sources,
    bars: Mapping[Symbol, Sequence[Bar]],
    events: _Events,
    session: Session,
    min_history: int,
    symbols: Sequence[Symbol],
) -> Validated:
    first, last = _span(sources, session)
    validated = validate(
        bars,
        sources.calendar.sessions(first, last),
        symbols=symbols,
        rules=BarRules(min_history=min_history),
        actions=explained_jumps(events.actions),
    )
    # A source that compares with another withholds what is in doubt, and says why.
    doubted: Mapping[Symbol, str] = getattr(sources.bars, "quarantined", {})
    excluded = {s: doubted.get(s, why) for s, why in validated.excluded.items()}
    validated = replace(validated, excluded=excluded)
    if traded := _traded_on(bars, sources.closed(), last):
        why = f"bar of {traded}, which the broker's calendar leaves out"
        validated = Validated(bars={}, excluded=dict.fromkeys(sorted(symbols), why))
    _log.info(
        "bars.read",
        source=sources.bars.name,
        symbols=len(validated.bars),
        excluded=dict(validated.excluded),
        with_range=sum(series[-1].has_range for series in validated.bars.values()),
        last=last.isoformat(),
    )
    return validated


def _traded_on(
    bars: Mapping[Symbol, Sequence[Bar]], closed: Collection[dt.date], last: dt.date
) -> dt.date | None:
    """Return a day after the last session that was traded on in some symbol, called closed or not.

    What has no bar of it may be stale, so nobody's last close is the one to go by.
    """
    newest = {trading_date(series[-1].at) for series in bars.values() if series}
    return max((day for day in newest & set(closed) if day > last), default=None)


def _unchecked(sources: Sources) -> tuple[str, ...]:
    return tuple(f"bars: {text}" for text in getattr(sources.bars, "shortfalls", ()))


def _reporting(
    sources: Sources,
    symbols: Sequence[Symbol],
    events: _Events,
    session: Session,
    sessions_ahead: int,
) -> Mapping[Symbol, str]:
    if events.earnings is None:
        return dict.fromkeys(sorted(symbols), "unknown: the earnings dates could not be read")
    end = session.date + dt.timedelta(days=_EVENTS_AHEAD_DAYS)
    following = sources.calendar.sessions(session.date, end)
    soon = reporting_soon(events.earnings, following, sessions_ahead=sessions_ahead)
    return {symbol: f"reports on {date}" for symbol, date in sorted(soon.items())}


async def _headlines(
    sources: Sources, symbols: Sequence[Symbol], as_of: dt.datetime, look_back: dt.timedelta
) -> tuple[tuple[NewsItem, ...], tuple[str, ...]]:
    try:
        items = await sources.news.headlines(symbols, as_of - look_back, as_of)
    except (ProviderUnavailable, DataError) as exc:
        return (), (f"news: {exc}",)
    # The port promises this; a source that breaks it must not show us the future.
    known = tuple(item for item in items if item.published_at < as_of)
    return known, tuple(f"news: {text}" for text in getattr(sources.news, "shortfalls", ()))


async def _forecasts(
    forecaster: Forecaster, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
) -> tuple[Mapping[Symbol, Forecast], tuple[str, ...]]:
    if not history:
        return {}, ("forecasts: no symbol has usable bars",)
    try:
        return await forecaster.forecast(history, as_of), ()
    except (ProviderUnavailable, DataError) as exc:
        return {}, (f"forecasts: {exc}",)


async def _scores(
    scorer: SentimentScorer, headlines: Sequence[NewsItem], as_of: dt.datetime
) -> tuple[Mapping[Symbol, SentimentScore], tuple[str, ...]]:
    try:
        return await scorer.score(headlines, as_of), ()
    except (ProviderUnavailable, DataError) as exc:
        return {}, (f"sentiment: {exc}",)
