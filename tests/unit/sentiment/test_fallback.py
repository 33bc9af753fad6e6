import datetime as dt
from collections.abc import Mapping, Sequence

import pytest

from domain.clock import UTC, ManualClock
from domain.errors import DataError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentScore
from sentiment.aggregation import Reading, aggregate
from sentiment.cloudflare_errors import Refusal, Trouble
from sentiment.fallback import FallbackScorer
from sentiment.lexicon import LexiconScorer
from sentiment.neurons import BudgetSpent
from transport.breaker import Breaker, BreakerSettings, BreakerState

ACME = Symbol("ACME")
NOON = dt.datetime(2022, 12, 14, 12, tzinfo=UTC)
STORY = NewsItem(
    item_id="n1",
    source="wire",
    published_at=NOON - dt.timedelta(hours=1),
    headline="Acme upgraded to buy",
    symbols=(ACME,),
)


class Remote:
    name = "remote"

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.calls = 0

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        reading = {item.item_id: Reading(score=0.5, confidence=0.9) for item in items}
        return aggregate(items, reading, source=self.name, as_of=as_of)


def chain() -> tuple[Remote, Breaker, FallbackScorer, ManualClock]:
    clock = ManualClock(NOON)
    remote = Remote()
    settings = BreakerSettings(failures_to_open=2, open_seconds=60)
    breaker = Breaker("sentiment", settings, clock=clock)
    return remote, breaker, FallbackScorer(remote, LexiconScorer(), breaker=breaker), clock


async def source(scorer: FallbackScorer) -> str:
    return (await scorer.score([STORY], NOON))[ACME].source


async def test_the_remote_scorer_answers_while_it_can() -> None:
    _, _, scorer, _ = chain()

    assert await source(scorer) == "remote"
    assert scorer.reason == ""


@pytest.mark.parametrize(
    "failure", [ProviderUnavailable("down"), DataError("odd"), Refusal(Trouble.SERVER)]
)
async def test_the_lexicon_answers_when_it_cannot_and_the_reason_is_kept(
    failure: Exception,
) -> None:
    remote, _, scorer, _ = chain()
    remote.failure = failure

    assert await source(scorer) == "lexicon"
    assert scorer.reason == str(failure)

    remote.failure = None
    assert await source(scorer) == "remote"
    assert scorer.reason == ""


async def test_a_service_that_is_down_is_left_alone_for_a_while_then_probed() -> None:
    remote, breaker, scorer, clock = chain()
    remote.failure = ProviderUnavailable("down")

    for _ in range(5):
        assert await source(scorer) == "lexicon"
    assert remote.calls == 2
    assert breaker.state is BreakerState.OPEN

    remote.failure = None
    clock.advance(dt.timedelta(seconds=61))
    assert await source(scorer) == "remote"
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    "failure",
    [Refusal(Trouble.QUOTA), Refusal(Trouble.NOT_JSON), BudgetSpent("spent")],
)
async def test_s06_a_spent_budget_is_no_outage(failure: Exception) -> None:
    remote, breaker, scorer, _ = chain()
    remote.failure = failure

    for _ in range(5):
        assert await source(scorer) == "lexicon"

    assert breaker.state is BreakerState.CLOSED


async def test_a_mistake_of_ours_is_not_hidden() -> None:
    remote, _, scorer, _ = chain()
    remote.failure = TypeError("bug")

    with pytest.raises(TypeError):
        await scorer.score([STORY], NOON)
