"""Choose the engines of the configuration: bars, news, sentiment, forecasts."""

import contextlib
from collections.abc import AsyncIterator

from daemon.config import Config
from domain.clock import Clock
from domain.errors import ConfigError
from forecasts.base import Forecaster
from forecasts.fallback import FallbackForecaster
from marketdata.base import BarSource, SessionCalendar
from marketdata.sample import SampleBars
from sentiment.base import NewsSource, SentimentScorer
from sentiment.lexicon import LexiconScorer
from sentiment.news import NoNews, SampleNews
from state.store import Store
