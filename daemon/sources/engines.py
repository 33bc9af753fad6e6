"""The sources of the configuration: market, events, news, sentiment; opened and closed together."""

import contextlib
import datetime as dt
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from daemon.config import Config
from daemon.credentials import Credentials
from daemon.sources.bar_feed import BarFeed, open_bar_feed
from daemon.sources.market_feed import open_board
from daemon.sources.news_feed import open_news
from daemon.sources.scoring import open_scorer
from domain.clock import Clock
from domain.ids import Symbol
from domain.market import HeadlineRecord, NewsItem
from marketdata.base import SessionCalendar
from marketdata.board import MarketBoard
from sentiment.base import NewsSource, SentimentScorer
from sentiment.records import blotting, records
from state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What a decision is fed from, besides the broker and the forecasts."""

    feed: BarFeed
    board: MarketBoard | None
    news: NewsSource
    scorer: SentimentScorer
    keep: Callable[[Sequence[NewsItem], dt.datetime], Sequence[HeadlineRecord]]


@contextlib.asynccontextmanager
async def open_engines(
    config: Config, store: Store, *, clock: Clock, calendar: SessionCalendar, time_scale: float
) -> AsyncIterator[Engines]:
    """Open every source; all connections close with the block.

    Raises:
        ConfigError: a key, a file or a package is missing.
        ProviderRefused: a key or a plan does not open the market data.
    """
    async with (
        open_bar_feed(config, clock=clock, calendar=calendar, time_scale=time_scale) as feed,
        open_board(config, clock=clock, calendar=calendar, time_scale=time_scale) as board,
        open_news(config, clock=clock, time_scale=time_scale) as news,
        open_scorer(config, store, clock=clock, time_scale=time_scale) as scorer,
    ):
        await feed.check_keys(Symbol(config.universe.symbols[0]))
        blot = blotting(Credentials.of(config).known())
        keep = functools.partial(records, blot=blot)
        yield Engines(feed=feed, board=board, news=news, scorer=scorer, keep=keep)
