"""The scorer of the configuration: Workers AI behind its breaker, or the lexicon alone."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence

import structlog

from daemon.breaker_memory import RememberedBreaker
from daemon.config import Config
from daemon.credentials import CLOUDFLARE_TOKEN, Credentials
from daemon.neuron_ledger import NeuronLedger
from domain.clock import Clock
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentScore
from sentiment.base import SentimentScorer
from sentiment.fallback import FallbackScorer
from sentiment.lexicon import LexiconScorer
from state.breakers import Breakers
from state.store import Store
from transport.breaker import BreakerSettings

SENTIMENT = "sentiment"


class WatchedScorer:
    """A SentimentScorer that says when it fell back, and remembers its breaker."""

    name = "sentiment"

    def __init__(self, chain: FallbackScorer, remembered: RememberedBreaker) -> None:
        self._chain = chain
        self._remembered = remembered
        self._log = structlog.get_logger("sentiment")

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        """Score with the first scorer that answers; see FallbackScorer."""
        try:
            return await self._chain.score(items, as_of)
        finally:
            self._remembered.remember()
            if self._chain.reason:
                self._log.warning(
                    "sentiment.fell_back",
                    reason=self._chain.reason,
                    breaker=self._remembered.breaker.state.value,
                )


@contextlib.asynccontextmanager
async def open_scorer(
    config: Config, store: Store, *, clock: Clock, time_scale: float
) -> AsyncIterator[SentimentScorer]:
    """Open the scorer; without an account or its token the lexicon answers alone.

    Raises:
        ConfigError: the token lies where it may not.
    """
    settings = config.sentiment.cloudflare
    if not settings.account_id:
        yield LexiconScorer()
        return
    token = Credentials.of(config).find(CLOUDFLARE_TOKEN)
    if not token:
        structlog.get_logger("sentiment").warning(
            "sentiment.no_token",
            reason=f"sentiment.cloudflare.account_id is set and {CLOUDFLARE_TOKEN} is missing;"
            " the lexicon answers alone",
        )
        yield LexiconScorer()
        return
    from sentiment.cloudflare import CloudflareScorer, CloudflareSettings
    from sentiment.neurons import NeuronRates

    remote = CloudflareScorer.connect(
        CloudflareSettings(
            account_id=settings.account_id,
            url=settings.url.rstrip("/"),
            model=settings.model,
            call_seconds=settings.timeout_seconds,
            run_seconds=settings.run_timeout_seconds,
            daily_neurons=settings.daily_neuron_budget,
            rates=NeuronRates(
                tokens_in=settings.neurons_per_million_tokens_in,
                tokens_out=settings.neurons_per_million_tokens_out,
            ),
            max_headlines=settings.max_headlines,
            time_scale=time_scale,
        ),
        token=token,
        clock=clock,
        book=NeuronLedger(store, usd_per_thousand=settings.usd_per_thousand_neurons, clock=clock),
    )
    remembered = RememberedBreaker(
        SENTIMENT,
        BreakerSettings(
            failures_to_open=settings.breaker_failures,
            open_seconds=settings.breaker_reset_seconds,
        ),
        memory=Breakers(store),
        clock=clock,
    )
    async with contextlib.aclosing(remote):
        yield WatchedScorer(
            FallbackScorer(remote, LexiconScorer(), breaker=remembered.breaker), remembered
        )
