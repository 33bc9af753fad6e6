"""Choose the engines of the configuration: bars, news, sentiment, forecasts."""

import contextlib
from collections.abc import AsyncIterator

from daemon.config import Config
from domain.clock import Clock
from forecasts.base import Forecaster
from marketdata.base import BarSource, SessionCalendar
from marketdata.sample import SampleBars
from sentiment.base import NewsSource, SentimentScorer
from sentiment.lexicon import LexiconScorer
from sentiment.news import NoNews, SampleNews
from state.store import Store


def bar_source(config: Config, *, clock: Clock, calendar: SessionCalendar) -> BarSource:
    """Return the source of ``marketdata.provider``."""
    return SampleBars(clock=clock, calendar=calendar)


def news_source(config: Config) -> NewsSource:
    """Return the source of ``news.provider``."""
    return SampleNews() if config.news.provider == "sample" else NoNews()


def sentiment_scorer(config: Config) -> SentimentScorer:
    """Return the scorer."""
    return LexiconScorer()


@contextlib.asynccontextmanager
async def forecast_engine(config: Config, store: Store, clock: Clock) -> AsyncIterator[Forecaster]:
    """Open the forecast engines."""
    raise NotImplementedError
    yield
