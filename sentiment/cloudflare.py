"""Headlines scored by Cloudflare Workers AI, within a deadline and a budget.

The model sees cleaned headlines and nothing else.  An answer is believed only after the
same model called known headlines right, shortly before; how often it did is its
confidence.  Whatever fails for good raises, and the next scorer answers.
"""

import asyncio
import datetime as dt
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.clock import UTC, Clock
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.secrets import Secret
from domain.signals import SentimentScore
from sentiment.aggregation import Reading, aggregate
from sentiment.canaries import PASSES_FROM, canaries, share_right
from sentiment.cloudflare_errors import Refusal, Trouble, diagnose
from sentiment.cloudflare_models import model_of, open_envelope
from sentiment.neurons import MemoryNeuronBook, NeuronBook, NeuronBudget, NeuronRates
from sentiment.news import readable
from transport.failures import FailureKind, TransportError
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.pacing import retry_after_seconds

_OK = 200
_ATTEMPTS = 3
_BACKOFF_SECONDS = 1.0
_BODY_CAP_BYTES = 256 * 1024
# With more headlines than this share unread, the answer is no picture of the news.
_MOST_UNREAD = 0.2
_ABOUT_ONE_BATCH = frozenset(
    {Trouble.TOO_LARGE, Trouble.REQUEST, Trouble.NOT_JSON, Trouble.UNREADABLE, Trouble.TOO_LONG}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudflareSettings:
    """Which model, and what it may cost in time and neurons.

    ``rates`` are those of ``model`` and must change with it; ``max_headlines`` caps a
    run, newest first; ``canary_hours`` is how long a passed check holds.
    """

    account_id: str
    url: str = "https://api.cloudflare.com/client/v4"
    model: str = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
    call_seconds: float = 8.0
    run_seconds: float = 30.0
    daily_neurons: float = 10_000
    rates: NeuronRates = field(
        default_factory=lambda: NeuronRates(tokens_in=26_668, tokens_out=204_805)
    )
    batch_size: int = 5
    concurrency: int = 4
    max_headlines: int = 200
    canary_hours: float = 12.0
    time_scale: float = 1.0


class CloudflareScorer:
    """A SentimentScorer on Workers AI."""

    name = "cloudflare"

    def __init__(
        self,
        client: BoundedClient,
        settings: CloudflareSettings,
        *,
        clock: Clock,
        book: NeuronBook | None = None,
        seed: int = 0,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._model = model_of(settings.model, batch_size=settings.batch_size)
        # Slashes of the model's name stay as they are: the service refuses %2F.
        self._path = f"/accounts/{settings.account_id}/ai/run/{settings.model}"
        self._budget = NeuronBudget(
            daily=settings.daily_neurons,
            rates=settings.rates,
            book=book or MemoryNeuronBook(),
            clock=clock,
        )
        self._jitter = random.Random(seed)  # noqa: S311 - spreads retries, guards nothing
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._quota_until: dt.datetime | None = None
        self._confidence = 0.0
        self._trusted_until: dt.datetime | None = None

    @classmethod
    def connect(
        cls,
        settings: CloudflareSettings,
        *,
        token: Secret,
        clock: Clock,
        book: NeuronBook | None = None,
    ) -> "CloudflareScorer":
        """Build the scorer; nothing is sent yet."""
        http = HttpSettings(
            base_url=settings.url,
            deadlines=Deadlines(
                read_seconds=settings.call_seconds, total_seconds=settings.call_seconds
            ),
            body_cap_bytes=_BODY_CAP_BYTES,
            max_connections=settings.concurrency,
            time_scale=settings.time_scale,
        )
        headers = {"Authorization": Secret(f"Bearer {token.reveal()}")}
        return cls(BoundedClient(http, headers), settings, clock=clock, book=book)

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        """Score every symbol that the items are tagged with.

        Raises:
            ProviderUnavailable: no usable answer in time; a Refusal says why.
        """
        self._check_quota()
        texts = readable(items, most=self._settings.max_headlines)
        if not texts:
            return aggregate(items, {}, source=self.name, as_of=as_of)
        limit = self._settings.run_seconds * self._settings.time_scale
        try:
            async with asyncio.timeout(limit):
                confidence = await self._trust()
                scores = await self._read_all(list(texts.values()))
        except TimeoutError as exc:
            raise Refusal(Trouble.TIMEOUT, "the run's deadline passed") from exc
        readings = {
            item_id: Reading(score=score, confidence=confidence)
            for item_id, score in zip(texts, scores, strict=True)
            if score is not None
        }
        return aggregate(items, readings, source=self.name, as_of=as_of)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def _check_quota(self) -> None:
        if self._quota_until is not None and self._clock.now() < self._quota_until:
            raise Refusal(Trouble.QUOTA, f"not asked again before {self._quota_until:%H:%M} UTC")

    async def _trust(self) -> float:
        """Ask the canaries, unless they answered well a short while ago."""
        now = self._clock.now()
        if self._trusted_until is not None and now < self._trusted_until:
            return self._confidence
        scores = await self._read_all([canary.headline for canary in canaries()])
        share = share_right([0.0 if score is None else score for score in scores])
        if not share >= PASSES_FROM:
            raise Refusal(Trouble.CANARY, f"{share:.0%} right, {PASSES_FROM:.0%} needed")
        self._confidence = share
        self._trusted_until = now + dt.timedelta(hours=self._settings.canary_hours)
        return share

    async def _read_all(self, texts: Sequence[str]) -> list[float | None]:
        size = self._model.batch_size
        batches = [texts[place : place + size] for place in range(0, len(texts), size)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read_batch(batch)) for batch in batches]
        except BaseExceptionGroup as failures:
            raise _first(failures) from failures
        scores = [score for task in tasks for score in task.result()]
        unread = sum(score is None for score in scores)
        if unread > _MOST_UNREAD * len(scores):
            raise Refusal(Trouble.UNREADABLE, f"{unread} of {len(scores)} headlines")
        return scores

    async def _read_batch(self, texts: Sequence[str]) -> Sequence[float | None]:
        try:
            async with self._slots:
                return await self._ask(texts)
        except Refusal as refusal:
            if refusal.trouble not in _ABOUT_ONE_BATCH:
                raise
            half = len(texts) // 2
        # One bad headline must not silence its neighbors: what cannot be asked together
        # is asked apart, and a headline that cannot be asked at all says nothing.
        if not half:
            return [None]
        return [*await self._read_batch(texts[:half]), *await self._read_batch(texts[half:])]

    async def _ask(self, texts: Sequence[str]) -> tuple[float, ...]:
        for attempt in range(_ATTEMPTS):
            try:
                return await self._once(texts, attempt)
            except (Refusal, TransportError) as exc:
                if attempt + 1 == _ATTEMPTS or not _may_pass(exc, attempt):
                    raise
                await self._clock.sleep(self._wait(exc, attempt))
        raise Refusal(Trouble.SERVER)

    def _wait(self, exc: Refusal | TransportError, attempt: int) -> float:
        asked = exc.retry_after if isinstance(exc, Refusal) else None
        told = retry_after_seconds(asked, now=self._clock.now())
        if told is not None:
            return told
        return self._jitter.uniform(0.0, _BACKOFF_SECONDS * 2**attempt)

    async def _once(self, texts: Sequence[str], attempt: int) -> tuple[float, ...]:
        body = self._model.body(texts, attempt)
        reserved = self._budget.reserve(
            characters=len(body), max_tokens=self._model.max_tokens(texts, attempt)
        )
        usage: object = None
        was_free = False
        try:
            reply = await self._client.request("POST", self._path, body=body)
            if reply.status != _OK:
                raise diagnose(reply.status, reply.headers, reply.body)
            result = open_envelope(reply.body)["result"]
            usage = result.get("usage") if isinstance(result, Mapping) else None
            return self._model.scores(result, len(texts))
        except TransportError as exc:
            was_free = not exc.was_sent
            raise
        except Refusal as refusal:
            was_free = refusal.was_free
            self._remember_quota(refusal)
            raise
        finally:
            if was_free:
                self._budget.release(reserved)
            else:
                self._budget.settle(reserved, usage)

    def _remember_quota(self, refusal: Refusal) -> None:
        if refusal.trouble is Trouble.QUOTA:
            tomorrow = self._clock.now().date() + dt.timedelta(days=1)
            self._quota_until = dt.datetime.combine(tomorrow, dt.time(), tzinfo=UTC)


def _may_pass(exc: Refusal | TransportError, attempt: int) -> bool:
    if isinstance(exc, TransportError):
        return attempt == 0 and exc.kind in (FailureKind.CONNECT, FailureKind.BROKEN)
    is_patient = exc.trouble in (Trouble.BUSY, Trouble.RATE, Trouble.SERVER)
    return exc.may_pass and (is_patient or attempt == 0)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure to report: what ends the day before what may pass."""
    found = [one for one in failures.exceptions if isinstance(one, ProviderUnavailable)]
    lasting = [one for one in found if not (isinstance(one, Refusal) and one.may_pass)]
    return next(iter([*lasting, *found, *failures.exceptions]))
