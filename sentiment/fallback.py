"""From one scorer to the next: the remote one behind its breaker, else the local one."""

import datetime as dt
from collections.abc import Mapping, Sequence

from domain.errors import DataError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentScore
from sentiment.base import SentimentScorer
from transport.breaker import Breaker


class FallbackScorer:
    """A SentimentScorer that always answers.

    Every score says in ``source`` who gave it; ``reason`` says why the remote scorer did
    not give the last ones, and is empty when it did.
    """

    name = "fallback"

    def __init__(
        self, remote: SentimentScorer, local: SentimentScorer, *, breaker: Breaker
    ) -> None:
        self._remote = remote
        self._local = local
        self._breaker = breaker
        self.reason = ""

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        """Score every symbol that the items are tagged with."""
        try:
            scores = await self._breaker.call(
                lambda: self._remote.score(items, as_of), is_failure=_is_outage
            )
        except (ProviderUnavailable, DataError) as exc:
            self.reason = str(exc)
            return await self._local.score(items, as_of)
        self.reason = ""
        return scores


def _is_outage(exc: Exception) -> bool:
    """Tell whether an error speaks against the service; a spent budget does not."""
    return bool(getattr(exc, "is_outage", True))
