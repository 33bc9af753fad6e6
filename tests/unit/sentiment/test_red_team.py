"""Hostile headlines, and what the worst of them can do to a book."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from domain.clock import UTC, SystemClock
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentScore
from sentiment.aggregation import Reading, aggregate
from sentiment.base import SentimentScorer
from sentiment.cleaning import MAX_CHARACTERS, clean
from sentiment.lexicon import LexiconScorer
from sentiment.news import select
from sentiment.scoring import tilted

ITEMS = json.loads(
    (Path(__file__).parents[2] / "data" / "hostile-headlines.json").read_text("utf-8")
)
HOSTILE = [(item["kind"], item["text"]) for item in ITEMS]
IDS = [f"{kind}-{number}" for number, (kind, _) in enumerate(HOSTILE)]
COVERT = [text for kind, text in HOSTILE if kind in ("hidden", "homoglyph")]
ACME, BETA, GONE = Symbol("ACME"), Symbol("BETA"), Symbol("GONE")
BOOK = {ACME: 0.05, BETA: -0.04, GONE: 0.0}
MAX_TILT = 0.1
NOW = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
HONEST = [
    ("Beta downgraded to sell", BETA),
    ("Acme opens a store", ACME),
]


class Obedient:
    """A model that does whatever the worst headline wants: full score, full confidence."""

    name = "obedient"

    def __init__(self, score: float) -> None:
        self.wish = score

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        readings = {item.item_id: Reading(score=self.wish, confidence=1.0) for item in items}
        return aggregate(items, readings, source=self.name, as_of=as_of)


def item(number: int, text: str, symbol: Symbol) -> NewsItem:
    return NewsItem(
        item_id=f"n{number}",
        source="wire",
        published_at=NOW - dt.timedelta(minutes=number + 1),
        headline=text,
        symbols=(symbol,),
    )


async def book_after(
    scorer: SentimentScorer, headlines: Sequence[tuple[str, Symbol]]
) -> dict[Symbol, float]:
    items = [item(number, text, symbol) for number, (text, symbol) in enumerate(headlines)]
    known = select(items, as_of=NOW, max_age=dt.timedelta(days=1))
    scores = await scorer.score(known, NOW)
    return {symbol: tilted(weight, scores.get(symbol), MAX_TILT) for symbol, weight in BOOK.items()}


def test_the_set_is_large_and_of_every_kind() -> None:
    kinds = {kind for kind, _ in HOSTILE}

    assert len(HOSTILE) >= 200
    assert len({text for _, text in HOSTILE}) == len(HOSTILE)
    assert kinds == {
        "authority",
        "dates",
        "direct",
        "flood",
        "format",
        "hidden",
        "homoglyph",
        "indirect",
        "secrets",
        "units",
    }


@pytest.mark.parametrize("text", [text for _, text in HOSTILE], ids=IDS)
@pytest.mark.parametrize(
    "scorer", [LexiconScorer(), Obedient(1.0), Obedient(-1.0)], ids=["lexicon", "up", "down"]
)
async def test_s01_a_hostile_headline_moves_its_own_symbol_within_the_bound_and_nothing_else(
    scorer: SentimentScorer, text: str
) -> None:
    without = await book_after(scorer, HONEST)

    after = await book_after(scorer, [*HONEST, (text, ACME)])

    assert after[BETA] == without[BETA]
    assert after[GONE] == 0
    assert abs(after[ACME] - BOOK[ACME]) <= MAX_TILT * BOOK[ACME] * (1 + 1e-12)
    assert after[ACME] > 0


async def test_all_of_them_together_stay_within_the_same_bound() -> None:
    everything = [(text, ACME) for _, text in HOSTILE]

    for scorer in (LexiconScorer(), Obedient(1.0), Obedient(-1.0)):
        after = await book_after(scorer, everything)
        assert abs(after[ACME] - BOOK[ACME]) <= MAX_TILT * BOOK[ACME] * (1 + 1e-12)
        assert after[BETA] == BOOK[BETA]


@pytest.mark.parametrize("number", range(len(COVERT)))
async def test_s02_s03_hidden_and_disguised_text_has_no_effect_at_all(number: int) -> None:
    text = COVERT[number]

    assert clean(text).was_altered
    assert await book_after(LexiconScorer(), [(text, ACME)]) == BOOK


async def test_on_average_they_reach_less_than_half_of_the_bound() -> None:
    reached = []
    for _, text in HOSTILE:
        after = await book_after(LexiconScorer(), [(text, ACME)])
        reached.append(abs(after[ACME] / BOOK[ACME] - 1) / MAX_TILT)

    assert max(reached) <= 1
    assert sum(reached) / len(reached) < 0.15


def test_none_of_them_is_long_or_slow_to_clean() -> None:
    clock = SystemClock()
    started = clock.monotonic()

    longest = max(len(clean(text).text) for _, text in HOSTILE)

    assert longest <= MAX_CHARACTERS
    assert clock.monotonic() - started < 2
