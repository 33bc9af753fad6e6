"""The sources of the configuration: bars, events, news, sentiment; opened and closed together."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from daemon.bar_feed import BarFeed, open_bar_feed
from daemon.config import Config
from daemon.news_feed import open_news
from daemon.scoring import open_scorer
from domain.clock import Clock
from marketdata.base import SessionCalendar
from sentiment.base import NewsSource, SentimentScorer
from state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What a decision is fed from, besides the broker and the forecasts."""

    feed: BarFeed
    news: NewsSource
    scorer: SentimentScorer


@contextlib.asynccontextmanager
async def open_engines(
    config: Config, store: Store, *, clock: Clock, calendar: SessionCalendar, time_scale: float
) -> AsyncIterator[Engines]:
    """Open every source; all connections close with the block.

    Raises:
        ConfigError: a key, a file or a package is missing.
    """
    async with (
        open_bar_feed(config, clock=clock, calendar=calendar, time_scale=time_scale) as feed,
        open_news(config, clock=clock, time_scale=time_scale) as news,
        open_scorer(config, store, clock=clock, time_scale=time_scale) as scorer,
    ):
        yield Engines(feed=feed, news=news, scorer=scorer)
