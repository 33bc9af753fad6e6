"""Gather what one decision may know, and freeze it.

The only part of the cycle that waits: bars, news, account, forecasts.  A source that
fails costs quality, never the run; what is missing is named.
"""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from brokers.base import Broker
from domain.clock import Clock
from domain.errors import DataError, ProviderUnavailable, first_cause
from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar, MarketView, NewsItem, Session
from domain.signals import SentimentScore
from forecasts.base import Forecaster
from marketdata.base import BarSource, SessionCalendar
from marketdata.validation import BarRules, Validated, validate
from sentiment.base import NewsSource, SentimentScorer

# Enough for the longest look-back of any feature or strategy, with room for closures.
HISTORY_DAYS = 800

_log = structlog.get_logger("gathering")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The ports that a decision is fed from."""

    broker: Broker
    calendar: SessionCalendar
    bars: BarSource
    news: NewsSource
    forecaster: Forecaster
    scorer: SentimentScorer


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
) -> Gathered:
    """Read everything as of now.

    Raises:
        BrokerUnavailable: account, positions or assets could not be read.
        ProviderUnavailable: no bars at all.
    """
    as_of = clock.now()
    try:
        async with asyncio.TaskGroup() as group:
            account = group.create_task(sources.broker.account())
            positions = group.create_task(sources.broker.positions())
            assets = group.create_task(sources.broker.assets(symbols))
            bars = group.create_task(_bars(sources, symbols, session, min_history))
            news = group.create_task(_headlines(sources, symbols, as_of, news_look_back))
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from failures
    validated, (headlines, shortfalls) = bars.result(), news.result()
    forecasts, missing = await _forecasts(sources.forecaster, validated.bars, as_of)
    scores, unscored = await _scores(sources.scorer, headlines, as_of)
    view = MarketView(
        as_of=as_of,
        session=session,
        account=account.result(),
        history=validated.bars,
        forecasts=forecasts,
        sentiment=scores,
        positions={position.symbol: position for position in positions.result()},
        assets=assets.result(),
        excluded=validated.excluded,
    )
    return Gathered(view=view, headlines=headlines, shortfalls=shortfalls + missing + unscored)


async def _bars(
    sources: Sources, symbols: Sequence[Symbol], session: Session, min_history: int
) -> Validated:
    last = sources.calendar.previous_session(session.date).date
    first = last - dt.timedelta(days=HISTORY_DAYS)
    bars = await sources.bars.daily_bars(symbols, first, last)
    sessions = sources.calendar.sessions(first, last)
    validated = validate(bars, sessions, symbols=symbols, rules=BarRules(min_history=min_history))
    _log.info(
        "bars.read",
        source=sources.bars.name,
        symbols=len(validated.bars),
        excluded=dict(validated.excluded),
        with_range=sum(series[-1].has_range for series in validated.bars.values()),
        last=last.isoformat(),
    )
    return validated


async def _headlines(
    sources: Sources, symbols: Sequence[Symbol], as_of: dt.datetime, look_back: dt.timedelta
) -> tuple[tuple[NewsItem, ...], tuple[str, ...]]:
    try:
        items = await sources.news.headlines(symbols, as_of - look_back, as_of)
    except (ProviderUnavailable, DataError) as exc:
        return (), (f"news: {exc}",)
    # The port promises this; a source that breaks it must not show us the future.
    return tuple(item for item in items if item.published_at < as_of), ()


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
