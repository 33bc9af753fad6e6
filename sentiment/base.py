"""Ports of news and sentiment."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentScore


class NewsSource(Protocol):
    """Headlines, mapped to symbols by the vendor's tags."""

    name: str

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        """Return what was published in ``[start, end)``, oldest first.

        Raises:
            ProviderUnavailable: the source did not answer.
        """


class SentimentScorer(Protocol):
    """Scores the news of each symbol."""

    name: str

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        """Score every symbol that the items are tagged with.

        Raises:
            ProviderUnavailable: no usable answer in time.
        """
