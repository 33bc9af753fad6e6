import dataclasses
import datetime as dt
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clock import UTC
from domain.errors import DataError
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentLabel, SentimentScore
from sentiment.aggregation import Reading, aggregate, relevance

ACME = Symbol("ACME")
NOW = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)


def items(count: int, sources: Sequence[str] = ("wire", "ticker")) -> list[NewsItem]:
    return [
        NewsItem(
            item_id=str(number),
            source=sources[number % len(sources)],
            published_at=NOW - dt.timedelta(hours=count - number),
            headline=f"story {number}",
            symbols=(ACME,),
        )
        for number in range(count)
    ]


def joined(
    *readings: tuple[float, float], sources: Sequence[str] = ("wire", "ticker")
) -> SentimentScore:
    found = {
        str(number): Reading(score=score, confidence=confidence)
        for number, (score, confidence) in enumerate(readings)
    }
    return aggregate(items(len(readings), sources), found, source="test", as_of=NOW)[ACME]


def test_a_single_headline_of_one_source_moves_a_symbol_a_quarter_of_the_way() -> None:
    one = joined((0.8, 0.9))

    assert one.score == pytest.approx(0.2)
    assert one.confidence == pytest.approx(0.9)
    assert one.label is SentimentLabel.BULLISH
    assert one.headlines == 1
    assert one.newest_at == NOW - dt.timedelta(hours=1)


def test_agreeing_headlines_move_it_further() -> None:
    assert joined(*[(0.8, 0.9)] * 9).score == pytest.approx(0.72)


def test_s04_one_source_counts_half_however_often_it_says_it() -> None:
    flood = [(0.8, 0.9)] * 9

    assert joined(*flood, sources=["wire"]).score == pytest.approx(0.36)
    assert joined(*flood, sources=["wire", "WIRE"]).score == pytest.approx(0.36)
    assert joined(*flood, sources=["wire"]).confidence == pytest.approx(0.9)


def test_a_second_source_that_says_the_opposite_or_nothing_confirms_nothing() -> None:
    alone = joined((0.8, 0.9), (0.6, 0.9), sources=["wire"])

    silent = joined((0.8, 0.9), (0, 0), (0.6, 0.9), sources=["wire", "ticker", "wire"])
    against = joined((0.8, 0.9), (-0.1, 0.9), (0.6, 0.9), sources=["wire", "ticker", "wire"])
    agrees = joined((0.8, 0.9), (0.6, 0.9))
    assert silent.score == alone.score
    assert against.score < alone.score
    assert agrees.score == pytest.approx(2 * alone.score)


def test_silent_headlines_change_nothing() -> None:
    assert joined((0.8, 0.9), (0, 0), (0, 0)).score == joined((0.8, 0.9)).score


def test_contradiction_cancels_score_and_confidence() -> None:
    both = joined((0.8, 0.9), (-0.8, 0.9))

    assert (both.score, both.confidence) == (0, 0)
    assert both.label is SentimentLabel.NEUTRAL


def test_a_list_of_many_companies_counts_less_for_each() -> None:
    (story,) = items(1)
    listed = dataclasses.replace(story, symbols=tuple(Symbol(f"S{n}") for n in range(10)))
    reading = {story.item_id: Reading(score=-0.8, confidence=0.9)}

    (score, *_) = aggregate([listed], reading, source="test", as_of=NOW).values()

    assert relevance(story) == 1
    assert relevance(listed) == pytest.approx(0.2)
    assert -0.8 / 2 < score.score < 0


def test_a_headline_without_reading_is_counted_but_silent() -> None:
    (score,) = aggregate(items(1), {}, source="test", as_of=NOW).values()

    assert (score.score, score.headlines) == (0, 1)


@pytest.mark.parametrize("score", [math.nan, math.inf, 1.01, -1.01])
def test_a_reading_outside_its_bounds_is_refused(score: float) -> None:
    with pytest.raises(DataError, match="outside"):
        Reading(score=score, confidence=0.5)
    with pytest.raises(DataError, match="outside"):
        Reading(score=0.5, confidence=abs(score))


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_whatever_was_read_the_score_stays_in_bounds(readings: list[tuple[float, float]]) -> None:
    score = joined(*readings)

    assert -1 < score.score < 1
    assert 0 <= score.confidence <= 1
