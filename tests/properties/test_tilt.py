"""News moves a weight by at most its bound, and nothing else at all."""

import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clock import UTC
from domain.errors import ConfigError
from domain.ids import Symbol
from domain.signals import SentimentLabel, SentimentScore
from sentiment.scoring import damped, tilt, tilt_of, tilted

NOW = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
anything = st.floats(allow_nan=True, allow_infinity=True)
bounds = st.floats(0, 0.99)
weights = st.floats(-4, 4)


def said(score: float, confidence: float) -> SentimentScore:
    return SentimentScore(
        symbol=Symbol("ACME"),
        score=score,
        label=SentimentLabel.NEUTRAL,
        confidence=confidence,
        source="adversary",
        headlines=1,
        newest_at=NOW,
        as_of=NOW,
    )


scores = st.one_of(st.none(), st.builds(said, st.floats(-1, 1), st.floats(0, 1)))


@given(anything, anything, bounds)
def test_s01_no_output_of_any_model_leaves_the_bound(
    score: float, confidence: float, bound: float
) -> None:
    assert 1 - bound <= tilt(score, confidence, bound) <= 1 + bound


@given(weights, scores, bounds)
def test_a_weight_keeps_its_sign_and_stays_near(
    weight: float, score: SentimentScore | None, bound: float
) -> None:
    after = tilted(weight, score, bound)

    assert math.copysign(1, after) == math.copysign(1, weight)
    assert (after == 0) <= (abs(weight) < 1e-300)
    assert abs(after - weight) <= bound * abs(weight) * (1 + 1e-12)


@given(st.dictionaries(st.text(max_size=4), st.tuples(weights, scores)), bounds)
def test_the_set_of_symbols_is_not_news_to_decide(
    book: dict[str, tuple[float, SentimentScore | None]], bound: float
) -> None:
    held = {symbol for symbol, (weight, _) in book.items() if abs(weight) > 1e-300}

    after = {symbol: tilted(weight, score, bound) for symbol, (weight, score) in book.items()}

    assert {symbol for symbol, weight in after.items() if weight != 0} >= held
    assert all(after[symbol] == 0 for symbol, (weight, _) in book.items() if weight == 0)


@given(st.floats(0.001, 4), st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 0.99))
def test_good_news_grows_a_long_and_shrinks_a_short(
    weight: float, score: float, confidence: float, bound: float
) -> None:
    good, bad = said(score, confidence), said(-score, confidence)

    assert tilted(weight, bad, bound) < weight < tilted(weight, good, bound)
    assert abs(tilted(-weight, good, bound)) < weight < abs(tilted(-weight, bad, bound))


@given(weights)
def test_silence_changes_nothing(weight: float) -> None:
    assert tilted(weight, None, 0.1) == weight
    assert tilted(weight, said(0.0, 1.0), 0.1) == weight
    assert tilt_of(said(1.0, 0.0), weight, 0.1) == 1


@pytest.mark.parametrize("bound", [-0.1, 1.0, math.nan, math.inf])
def test_a_bound_that_could_turn_a_sign_is_refused(bound: float) -> None:
    with pytest.raises(ConfigError, match="max_tilt"):
        tilt(0.5, 0.5, bound)


@given(
    st.floats(-1, 1),
    st.one_of(st.none(), anything),
    st.floats(0.01, 2),
)
def test_s04_one_session_moves_the_news_of_a_symbol_by_no_more_than_its_bound(
    score: float, before: float | None, bound: float
) -> None:
    symbol = Symbol("ACME")
    known = {} if before is None else {symbol: before}

    after = damped({symbol: said(score, 0.9)}, known, max_change=bound)[symbol]

    start = before if before is not None and abs(before) <= 1 else 0.0
    assert abs(after.score - start) <= bound + 1e-12
    assert min(start, score) - 1e-12 <= after.score <= max(start, score) + 1e-12
    assert after.confidence == 0.9


def test_news_within_the_bound_are_left_as_they_are() -> None:
    symbol = Symbol("ACME")
    scores = {symbol: said(0.4, 0.9)}

    assert damped(scores, {symbol: 0.2}, max_change=0.3) == scores
    assert damped({}, {symbol: 0.9}, max_change=0.3) == {}
    assert damped(scores, {symbol: -0.9}, max_change=0.5)[symbol].label is SentimentLabel.BEARISH
