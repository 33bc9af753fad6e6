"""The scorers of the configuration: Workers AI, one's own model, and the lexicon last."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from daemon.config import Config, FinBertConfig
from daemon.credentials import CLOUDFLARE_TOKEN, Credentials
from daemon.sources.breaker_memory import RememberedBreaker
from daemon.sources.neuron_ledger import NeuronLedger
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

if TYPE_CHECKING:
    from sentiment.cloudflare import CloudflareScorer

SENTIMENT = "sentiment"
FINBERT = "finbert"
_LOCAL_BREAKER = BreakerSettings(failures_to_open=1, open_seconds=3600.0)


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
    """Open the scorers of the configuration, each behind its breaker, the lexicon last.

    Raises:
        ConfigError: the token lies where it may not, or a model file is not what was meant.
    """
    scorer: SentimentScorer = LexiconScorer()
    if config.sentiment.finbert.model:
        local = await asyncio.to_thread(finbert_of, config.sentiment.finbert)
        scorer = _guarded(FINBERT, local, scorer, _LOCAL_BREAKER, store, clock)
    async with contextlib.AsyncExitStack() as stack:
        remote = _cloudflare(config, store, clock, time_scale)
        if remote is not None:
            stack.push_async_callback(remote.aclose)
            settings = BreakerSettings(
                failures_to_open=config.sentiment.cloudflare.breaker_failures,
                open_seconds=config.sentiment.cloudflare.breaker_reset_seconds,
            )
            scorer = _guarded(SENTIMENT, remote, scorer, settings, store, clock)
        yield scorer


def _guarded(
    name: str,
    first: SentimentScorer,
    then: SentimentScorer,
    settings: BreakerSettings,
    store: Store,
    clock: Clock,
) -> SentimentScorer:
    remembered = RememberedBreaker(name, settings, memory=Breakers(store), clock=clock)
    return WatchedScorer(FallbackScorer(first, then, breaker=remembered.breaker), remembered)


def finbert_of(settings: FinBertConfig) -> SentimentScorer:
    """Build the scorer on a model of one's own.

    Raises:
        ConfigError: a file or a package is missing, or is not what was meant.
    """
    from sentiment.finbert import FinBertScorer, FinBertSettings

    model = Path(settings.model).expanduser()
    return FinBertScorer.load(
        FinBertSettings(
            model=model,
            # A bare name lies beside the model.
            tokenizer=model.parent / Path(settings.tokenizer).expanduser(),
            sha256=settings.sha256,
            labels=settings.labels,
            run_seconds=settings.run_timeout_seconds,
            max_headlines=settings.max_headlines,
        )
    )


def _cloudflare(
    config: Config, store: Store, clock: Clock, time_scale: float
) -> "CloudflareScorer | None":
    settings = config.sentiment.cloudflare
    if not settings.account_id:
        return None
    token = Credentials.of(config).find(CLOUDFLARE_TOKEN)
    if not token:
        structlog.get_logger("sentiment").warning(
            "sentiment.no_token",
            reason=f"sentiment.cloudflare.account_id is set and {CLOUDFLARE_TOKEN} is missing;"
            " the next scorer answers",
        )
        return None
    from sentiment.cloudflare import CloudflareScorer, CloudflareSettings
    from sentiment.neurons import NeuronRates

    return CloudflareScorer.connect(
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
