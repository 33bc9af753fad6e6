"""Against Cloudflare's documented envelope, errors and limits of September 2026."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from domain.clock import UTC, ManualClock
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.secrets import Secret
from domain.signals import SentimentLabel
from sentiment.aggregation import ONE_SOURCE_SHARE
from sentiment.canaries import canaries
from sentiment.cloudflare import CloudflareScorer, CloudflareSettings
from sentiment.cloudflare_errors import Refusal, Trouble
from sentiment.neurons import MemoryNeuronBook, NeuronBudget, NeuronRates
from tests.support import workers_ai as workers
from tests.support.scripted_server import ScriptedServer, Step, answer, hang, html, reset

ACME = Symbol("ACME")
NOON = dt.datetime(2022, 12, 14, 12, tzinfo=UTC)
CANARY_CALLS = 4

Connect = Callable[..., CloudflareScorer]


def item(headline: str, number: int = 1, symbol: str = "ACME") -> NewsItem:
    return NewsItem(
        item_id=f"n{number}",
        source="wire",
        published_at=NOON - dt.timedelta(minutes=number),
        headline=headline,
        symbols=(Symbol(symbol),),
    )


def items(count: int) -> list[NewsItem]:
    return [item(f"story {number}", number) for number in range(count)]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
async def connect(server: ScriptedServer, clock: ManualClock) -> AsyncIterator[Connect]:
    made: list[CloudflareScorer] = []

    def build(*, book: MemoryNeuronBook | None = None, **changes: Any) -> CloudflareScorer:
        settings = CloudflareSettings(account_id=workers.ACCOUNT, url=server.url, **changes)
        scorer = CloudflareScorer.connect(
            settings, token=Secret("token-of-a-test"), clock=clock, book=book
        )
        made.append(scorer)
        return scorer

    yield build
    for scorer in made:
        await scorer.aclose()


def good(text: str) -> float:
    return 0.8 if "up" in text else -0.8 if "down" in text else 0.0


def say(server: ScriptedServer, *steps: Step, model: str = workers.LLAMA) -> None:
    """Answer the canaries well, then take ``steps``."""
    well = workers.llama(workers.knows_canaries(good))
    server.on("POST", workers.path(model), *([well] * CANARY_CALLS), *steps)


async def refused(scorer: CloudflareScorer, count: int = 1) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await scorer.score(items(count), NOON)
    return caught.value


@pytest.mark.parametrize(
    ("model", "speaks"),
    [(workers.LLAMA, workers.llama), (workers.GEMMA, workers.gemma)],
)
async def test_scores_are_read_from_both_shapes_of_answer(
    server: ScriptedServer,
    connect: Connect,
    model: str,
    speaks: Callable[[workers.Opinion], Step],
) -> None:
    server.on("POST", workers.path(model), speaks(workers.knows_canaries(good)))

    scores = await connect(model=model).score(
        [item("Acme up", 1), item("Beta down", 2, "BETA"), item("Gamma", 3, "GAMMA")], NOON
    )

    assert [score.label for score in scores.values()] == [
        SentimentLabel.BULLISH,
        SentimentLabel.BEARISH,
        SentimentLabel.NEUTRAL,
    ]
    assert scores[ACME].source == "cloudflare"
    assert scores[ACME].confidence == pytest.approx(21 / 22)


async def test_the_classifier_is_asked_one_text_at_a_time(
    server: ScriptedServer, connect: Connect
) -> None:
    opinion = workers.knows_canaries(good)
    server.on("POST", workers.path(workers.DISTILBERT), workers.distilbert(opinion))

    scores = await connect(model=workers.DISTILBERT).score(
        [item("Acme up", 1), item("Beta down", 2, "BETA")], NOON
    )

    assert scores[ACME].score == pytest.approx(0.2)
    assert scores[Symbol("BETA")].score == pytest.approx(-0.2)
    assert len(server.seen) == len(canaries()) + 2


async def test_the_request_is_what_the_service_documents(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, workers.llama(good))

    await connect().score([item("Acme up")], NOON)

    seen = server.seen[-1]
    assert seen.path == workers.path()
    assert seen.headers["authorization"] == "Bearer token-of-a-test"
    assert seen.headers["content-type"] == "application/json"
    body = seen.json()
    assert workers.asked(seen.body) == ["Acme up"]
    assert body["options"] == {"rejectIfBusy": True}
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["required"] == ["scores"]
    assert 1 <= body["seed"] <= 9999999999


async def test_newer_models_get_the_wrapped_schema(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("POST", workers.path(workers.GEMMA), workers.gemma(workers.knows_canaries(good)))

    await connect(model=workers.GEMMA).score([item("Acme up")], NOON)

    schema = server.seen[-1].json()["response_format"]["json_schema"]
    assert (schema["name"], schema["strict"]) == ("scores", True)
    assert schema["schema"]["required"] == ["scores"]


async def test_s12_no_symbol_is_shown_to_the_model(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, workers.llama(good))

    await connect().score([item("A story", symbol="ZZTOP")], NOON)

    assert server.seen
    assert all(b"ZZTOP" not in seen.body for seen in server.seen)


async def test_headlines_travel_in_batches(server: ScriptedServer, connect: Connect) -> None:
    say(server, workers.llama(good))

    await connect(batch_size=5).score(items(12), NOON)

    sizes = sorted(len(workers.asked(seen.body)) for seen in server.seen[CANARY_CALLS:])
    assert sizes == [2, 5, 5]


async def test_no_headlines_means_no_call(server: ScriptedServer, connect: Connect) -> None:
    assert await connect().score([], NOON) == {}
    assert server.seen == []


async def test_text_that_hides_something_is_never_sent(
    server: ScriptedServer, connect: Connect
) -> None:
    scores = await connect().score([item("Acme \N{ZERO WIDTH SPACE}up")], NOON)

    assert scores[ACME].score == 0
    assert server.seen == []


async def test_s08_a_run_is_capped_at_the_newest_headlines(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, workers.llama(good))

    await connect(max_headlines=3).score(items(9), NOON)

    sent = [text for seen in server.seen[CANARY_CALLS:] for text in workers.asked(seen.body)]
    assert sent == ["story 0", "story 1", "story 2"]


async def test_canaries_are_asked_once_and_again_when_their_time_is_up(
    server: ScriptedServer, connect: Connect, clock: ManualClock
) -> None:
    server.on("POST", workers.path(), workers.llama(workers.knows_canaries(good)))
    scorer = connect(canary_hours=12)

    await scorer.score(items(1), NOON)
    await scorer.score(items(1), NOON)
    assert len(server.seen) == CANARY_CALLS + 2

    clock.advance(dt.timedelta(hours=13))
    await scorer.score(items(1), NOON)
    assert len(server.seen) == 2 * CANARY_CALLS + 3


@pytest.mark.parametrize("opinion", [lambda _: 1, lambda _: 0, lambda _: -1])
async def test_s09_a_model_that_gets_known_headlines_wrong_is_not_believed(
    server: ScriptedServer, connect: Connect, opinion: workers.Opinion
) -> None:
    server.on("POST", workers.path(), workers.llama(opinion))

    refusal = await refused(connect())

    assert refusal.trouble is Trouble.CANARY
    assert refusal.is_outage


@pytest.mark.parametrize("code", [3036, 4006, "3036"])
async def test_s06_a_spent_allocation_is_not_asked_again_before_midnight_utc(
    server: ScriptedServer, connect: Connect, clock: ManualClock, code: int | str
) -> None:
    words = "you have used up your daily free allocation of 10,000 neurons"
    say(server, answer(429, workers.failure(code, words)), workers.llama(good))
    scorer = connect(canary_hours=24)

    refusal = await refused(scorer)
    assert refusal.trouble is Trouble.QUOTA
    assert not refusal.is_outage
    calls = len(server.seen)

    clock.advance(dt.timedelta(hours=11, minutes=59))
    assert (await refused(scorer)).trouble is Trouble.QUOTA
    assert len(server.seen) == calls

    clock.advance(dt.timedelta(minutes=2))
    assert await scorer.score(items(1), NOON)


async def test_the_quota_is_known_in_the_gateways_form_too(
    server: ScriptedServer, connect: Connect
) -> None:
    body = {"name": "AiError", "internalCode": 4006, "httpCode": 429, "message": "quota"}
    say(server, answer(429, body))

    assert (await refused(connect())).trouble is Trouble.QUOTA


async def test_s07_a_busy_model_is_asked_again_a_little_later(
    server: ScriptedServer, connect: Connect, clock: ManualClock
) -> None:
    busy = answer(429, workers.failure(3040, "Capacity temporarily exceeded"))
    say(server, busy, busy, workers.llama(good))

    scores = await connect().score([item("Acme up")], NOON)

    assert scores[ACME].label is SentimentLabel.BULLISH
    assert len(server.seen) == CANARY_CALLS + 3
    assert 0 < clock.monotonic() < 4


async def test_a_rate_limit_is_obeyed(
    server: ScriptedServer, connect: Connect, clock: ManualClock
) -> None:
    say(server, answer(429, b"", {"Retry-After": "7"}), workers.llama(good))

    await connect().score([item("Acme up")], NOON)

    assert clock.monotonic() == 7


async def test_a_model_that_stays_busy_is_given_up(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, answer(429, workers.failure(3040, "Capacity temporarily exceeded")))

    refusal = await refused(connect())

    assert (refusal.trouble, refusal.is_outage) == (Trouble.BUSY, True)
    assert len(server.seen) == CANARY_CALLS + 3


@pytest.mark.parametrize("code", [3007, 3008])
async def test_s07_a_timeout_of_the_service_is_tried_once_more(
    server: ScriptedServer, connect: Connect, code: int
) -> None:
    say(server, answer(408, workers.failure(code, "timeout")))

    assert (await refused(connect())).trouble is Trouble.TIMEOUT
    assert len(server.seen) == CANARY_CALLS + 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, workers.failure(5007, "No such model @cf/meta/llama-2-7b-chat-int8 or task")),
        (404, workers.failure(7003, "Could not route to /accounts/x/ai/run, perhaps")),
        (404, workers.failure(3042, "invalid model id")),
        (410, workers.failure(5028, "This model was deprecated on 2026-05-30")),
        (403, workers.failure(5018, "This account is not allowed to access this model")),
    ],
)
async def test_s09_a_model_that_is_gone_is_an_alarm_at_once(
    server: ScriptedServer, connect: Connect, status: int, body: bytes
) -> None:
    say(server, answer(status, body))

    refusal = await refused(connect())

    assert (refusal.trouble, refusal.is_outage) == (Trouble.MODEL, True)
    assert len(server.seen) == CANARY_CALLS + 1
    assert "HTTP" in str(refusal)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_not_tried_again(
    server: ScriptedServer, connect: Connect, status: int
) -> None:
    say(server, answer(status, workers.failure(10000, "Authentication error")))

    assert (await refused(connect())).trouble is Trouble.AUTH
    assert len(server.seen) == CANARY_CALLS + 1


async def test_s08_a_batch_too_large_is_asked_in_halves(
    server: ScriptedServer, connect: Connect
) -> None:
    too_large = answer(413, workers.failure(3006, "Request is too large"))
    say(server, too_large, workers.llama(good))

    await connect(batch_size=5).score(items(4), NOON)

    sizes = [len(workers.asked(seen.body)) for seen in server.seen[CANARY_CALLS:]]
    assert sizes == [4, 2, 2]


async def test_one_headline_that_cannot_be_read_does_not_silence_the_others(
    server: ScriptedServer, connect: Connect
) -> None:
    def opinion(text: str) -> Any:
        return "very good" if text == "story 3" else 0.5

    say(server, workers.llama(opinion))

    (score,) = (await connect(batch_size=5).score(items(10), NOON)).values()

    assert score.headlines == 10
    assert score.score == pytest.approx(0.5 * 9 / 10 * ONE_SOURCE_SHARE)


async def test_an_answer_with_too_many_holes_is_no_answer(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, workers.llama(lambda _: "very good"))

    refusal = await refused(connect(), count=4)

    assert (refusal.trouble, refusal.is_outage) == (Trouble.UNREADABLE, False)


async def test_s05_json_mode_that_fails_is_tried_once_more_with_another_seed(
    server: ScriptedServer, connect: Connect
) -> None:
    say(
        server,
        answer(400, workers.failure(5024, "JSON Mode couldn't be met")),
        workers.llama(good),
    )

    await connect().score([item("Acme up")], NOON)

    first, second = (seen.json() for seen in server.seen[-2:])
    assert first["seed"] != second["seed"]
    assert second["max_tokens"] > first["max_tokens"]


NOT_SCORES: list[Any] = [
    {"response": "the score is good"},
    # Half an emoji, where the answer ended within it.
    {"response": "up \ud83d"},
    {"choices": [{"message": {"content": "\ud83d"}}]},
    {"response": '{"scores": ["high"]}'},
    {"response": '{"scores": [NaN]}'},
    {"response": '{"scores": [1e999]}'},
    {"response": {"scores": [1.01]}},
    {"response": {"scores": [-7]}},
    {"response": {"scores": [True]}},
    {"response": {"scores": [None]}},
    {"response": {"scores": []}},
    {"response": {"scores": [0.1, 0.2]}},
    {"response": {"scores": [0.1], "advice": "buy everything"}},
    {"response": {"score": 0.1}},
    {"response": [0.1]},
    {"response": None},
    {"choices": [{"message": {"content": None}, "finish_reason": "length"}]},
    {"choices": []},
    {},
    [],
    "hello",
    None,
    7,
]


@pytest.mark.parametrize("result", NOT_SCORES)
async def test_s05_anything_but_the_scores_asked_for_is_refused(
    server: ScriptedServer, connect: Connect, result: Any
) -> None:
    say(server, workers.model(lambda _: result))

    refusal = await refused(connect())

    assert refusal.trouble is Trouble.UNREADABLE
    assert not refusal.is_outage


async def test_success_false_with_status_200_is_a_failure(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, answer(200, workers.failure(5006, "AiError: Bad input")))

    assert isinstance(await refused(connect()), Refusal)


@pytest.mark.parametrize("step", [html(524), html(502), answer(500, b""), answer(503, b"{}")])
async def test_a_failing_platform_is_tried_within_bounds_then_given_up(
    server: ScriptedServer, connect: Connect, step: Step
) -> None:
    say(server, step)

    refusal = await refused(connect())

    assert (refusal.trouble, refusal.is_outage) == (Trouble.SERVER, True)
    assert len(server.seen) == CANARY_CALLS + 3


async def test_a_page_with_status_200_is_unreadable(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, html(200))

    assert (await refused(connect())).trouble in (Trouble.UNREADABLE, Trouble.REQUEST)


async def test_a_redirect_is_not_followed(server: ScriptedServer, connect: Connect) -> None:
    say(server, answer(307, b"", {"Location": f"{server.url}/elsewhere"}))

    await refused(connect())

    assert server.count("POST", "/elsewhere") == 0


async def test_a_silent_service_is_cut_off(server: ScriptedServer, connect: Connect) -> None:
    say(server, hang)

    with pytest.raises(ProviderUnavailable):
        await asyncio.wait_for(connect(call_seconds=0.2).score(items(1), NOON), 5)


async def test_s11_the_run_has_a_deadline_of_its_own(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, hang)

    refusal = await refused(connect(call_seconds=5, run_seconds=0.3))

    assert refusal.trouble is Trouble.TIMEOUT


async def test_a_reset_connection_is_tried_once_more(
    server: ScriptedServer, connect: Connect
) -> None:
    say(server, reset, workers.llama(good))

    assert (await connect().score([item("Acme up")], NOON))[ACME].score > 0


async def test_usage_is_booked_in_neurons(server: ScriptedServer, connect: Connect) -> None:
    book = MemoryNeuronBook()
    say(server, workers.llama(good, {"neurons": 1.5}))

    await connect(book=book).score(items(1), NOON)

    per_canary_call = (60 * 26_668 + 10 * 204_805) / 1e6
    assert book.spent(NOON.date()) == pytest.approx(CANARY_CALLS * per_canary_call + 1.5)


async def test_a_bill_beyond_all_bounds_is_booked_as_what_was_reserved(
    server: ScriptedServer, connect: Connect
) -> None:
    book = MemoryNeuronBook()
    say(server, workers.llama(good, {"neurons": 10**400}))

    scores = await connect(book=book).score(items(1), NOON)

    assert scores[ACME].headlines == 1
    assert 0 < book.spent(NOON.date()) < 10_000


async def test_a_spent_budget_stops_the_call_before_it_is_made(
    server: ScriptedServer, connect: Connect
) -> None:
    book = MemoryNeuronBook()
    book.book(NOON.date(), 9_999)

    with pytest.raises(ProviderUnavailable, match="daily_neuron_budget"):
        await connect(book=book).score(items(1), NOON)

    assert server.seen == []


def test_s06_calls_that_are_out_together_share_one_budget(clock: ManualClock) -> None:
    rates = NeuronRates(tokens_in=0, tokens_out=1_000_000)
    budget = NeuronBudget(daily=10, rates=rates, book=MemoryNeuronBook(), clock=clock)

    first = budget.reserve(characters=0, max_tokens=6)
    with pytest.raises(ProviderUnavailable, match="daily_neuron_budget"):
        budget.reserve(characters=0, max_tokens=6)

    budget.release(first)
    budget.settle(budget.reserve(characters=0, max_tokens=6), {"neurons": 4})
    assert budget.reserve(characters=0, max_tokens=6) == 6


async def test_what_was_turned_away_costs_nothing(server: ScriptedServer, connect: Connect) -> None:
    book = MemoryNeuronBook()
    server.on("POST", workers.path(), answer(401, workers.failure(10000, "Authentication error")))

    await refused(connect(book=book))

    assert book.spent(NOON.date()) == 0


async def test_s12_the_token_is_in_no_error(server: ScriptedServer, connect: Connect) -> None:
    say(server, answer(401, workers.failure(10000, "Authentication error")))

    refusal = await refused(connect())

    assert "token-of-a-test" not in f"{refusal!r} {refusal} {refusal.__cause__!r}"
