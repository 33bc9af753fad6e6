"""Combining never invents confidence, capital or direction."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.signals import Action, Signal
from strategies.combine import combine
from tests.support.decisions import AAA

CAPITAL = {"one": 0.5, "two": 0.3, "three": 0.2}
fast = settings(derandomize=True, max_examples=200, deadline=None)


def voice(strategy: str) -> Any:
    def made(action: Action, confidence: float, move: float, risk: float, horizon: int) -> Signal:
        return Signal(
            symbol=AAA,
            strategy=strategy,
            action=action,
            strength=0.5,
            confidence=confidence,
            expected_return=-move if action is Action.SELL else move,
            volatility=risk,
            horizon=horizon,
            reason="",
        )

    return st.builds(
        made,
        st.sampled_from(Action),
        st.floats(0.5, 1),
        st.floats(0, 0.2),
        st.floats(0.001, 0.2),
        st.integers(1, 60),
    )


voices = st.tuples(*(voice(name) for name in CAPITAL))


@fast
@given(signals=voices)
def test_confidence_never_exceeds_that_of_the_surest_voice(signals: tuple[Signal, ...]) -> None:
    (result,) = combine(signals, capital=CAPITAL, min_confidence=0.6)

    if result.action is not Action.HOLD:
        agreeing = [s.confidence for s in signals if s.action is result.action]
        assert result.confidence <= max(agreeing) + 1e-12
        assert result.confidence >= 0.6
        assert (result.expected_return > 0) is (result.action is Action.BUY)


@fast
@given(signals=voices)
def test_the_book_acts_only_in_a_direction_that_a_strategy_wished(
    signals: tuple[Signal, ...],
) -> None:
    (result,) = combine(signals, capital=CAPITAL, min_confidence=0.6)

    assert result.action in {Action.HOLD, *(s.action for s in signals)}


@fast
@given(signals=voices)
def test_the_order_in_which_strategies_speak_does_not_matter(signals: tuple[Signal, ...]) -> None:
    results = [
        combine(order, capital=CAPITAL, min_confidence=0.6)[0]
        for order in itertools.permutations(signals)
    ]

    assert len({r.action for r in results}) == 1
    assert max(r.confidence for r in results) - min(r.confidence for r in results) < 1e-12


@fast
@given(signals=voices)
def test_a_higher_threshold_never_acts_more(signals: tuple[Signal, ...]) -> None:
    (strict,) = combine(signals, capital=CAPITAL, min_confidence=0.8)
    (loose,) = combine(signals, capital=CAPITAL, min_confidence=0.6)

    if strict.action is not Action.HOLD:
        assert loose.action is strict.action
