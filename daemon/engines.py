"""Choose the sources of the configuration: bars, news, sentiment."""

from daemon.config import Config
from domain.clock import Clock
from marketdata.base import BarSource, SessionCalendar
from marketdata.sample import SampleBars
from sentiment.base import NewsSource, SentimentScorer
from sentiment.lexicon import LexiconScorer
from sentiment.news import NoNews, SampleNews


def bar_source(config: Config, *, clock: Clock, calendar: SessionCalendar) -> BarSource:
    """Return the source of ``marketdata.provider``."""
    return SampleBars(clock=clock, calendar=calendar)


def news_source(config: Config) -> NewsSource:
    """Return the source of ``news.provider``."""
    return SampleNews() if config.news.provider == "sample" else NoNews()


def sentiment_scorer(config: Config) -> SentimentScorer:
    """Return the scorer."""
    return LexiconScorer()
