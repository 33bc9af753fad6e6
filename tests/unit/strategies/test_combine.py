import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest

from domain.decisions import CombinedSignal
from domain.errors import DataError
from domain.market import MarketView
from domain.signals import Action, Signal
from strategies.combine import Allocation, bounded_tilt, combine, run_strategies
from tests.support.decisions import AAA, BBB, view

CAPITAL = {"one": 0.6, "two": 0.4}


def signal(strategy: str = "one", action: Action = Action.BUY, **changes: Any) -> Signal:
    known: dict[str, Any] = {
        "symbol": AAA,
        "strength": 0.4,
        "confidence": 0.65,
        "expected_return": -0.01 if action is Action.SELL else 0.01,
        "volatility": 0.02,
        "horizon": 5,
        "reason": "because",
    }
    return Signal(strategy=strategy, action=action, **{**known, **changes})


def one(*signals: Signal, **changes: Any) -> CombinedSignal:
    known: dict[str, Any] = {"capital": CAPITAL, "min_confidence": 0.60}
    (result,) = combine(signals, **{**known, **changes})
    return result


def test_a_strategy_alone_uses_only_its_own_capital() -> None:
    result = one(signal())

    assert (result.action, result.confidence) == (Action.BUY, 0.65)
    assert result.expected_return == pytest.approx(0.6 * 0.01)
    assert result.volatility == pytest.approx(0.02)
    assert result.horizon == 5


def test_a_strategy_that_holds_neither_helps_nor_hinders() -> None:
    holding = signal("two", Action.HOLD, confidence=0.59, expected_return=-0.03)

    with_it, without = one(signal(), holding), one(signal())

    assert dataclasses.replace(with_it, reason="") == dataclasses.replace(without, reason="")


def test_agreement_adds_capital_but_never_confidence() -> None:
    result = one(signal(), signal("two", confidence=0.61))

    assert result.confidence == pytest.approx(0.6 * 0.65 + 0.4 * 0.61)
    assert result.expected_return == pytest.approx(0.01)


def test_disagreement_nets_out_to_hold() -> None:
    result = one(signal(), signal("two", Action.SELL))

    assert result.action is Action.HOLD
    assert result.confidence == pytest.approx(0.6 * 0.65 + 0.4 * 0.35)
    assert result.expected_return == pytest.approx(0.6 * 0.01 - 0.4 * 0.01)


def test_disagreement_about_the_size_of_the_move_is_risk() -> None:
    calm = one(signal(), signal("two"))
    torn = one(signal(), signal("two", expected_return=0.05))

    assert torn.volatility > calm.volatility
    spread = 0.24 * (0.05 / 5 - 0.01 / 5) ** 2 * 5
    assert torn.volatility == pytest.approx(math.sqrt(0.02**2 + spread))


def test_horizons_are_put_on_one_scale() -> None:
    result = one(signal(), signal("two", horizon=20, expected_return=0.04, volatility=0.04))

    assert result.horizon == 11
    assert result.expected_return == pytest.approx(11 * 0.002)
    assert result.volatility == pytest.approx(0.02 / math.sqrt(5) * math.sqrt(11))


def test_a_confident_small_wish_does_not_outvote_a_large_opposite_one() -> None:
    result = one(
        signal(confidence=0.95, expected_return=0.001),
        signal("two", Action.SELL, confidence=0.61, expected_return=-0.05),
    )

    assert result.action is Action.HOLD
    assert result.confidence == pytest.approx(1 - (0.6 * 0.95 + 0.4 * 0.39))


def test_where_nobody_acts_the_leanings_are_pooled_for_what_is_held() -> None:
    result = one(
        signal(action=Action.HOLD, confidence=0.55, expected_return=0.002),
        signal("two", Action.HOLD, confidence=0.58, expected_return=-0.002),
    )

    assert result.action is Action.HOLD
    assert result.expected_return == pytest.approx(0.6 * 0.002 - 0.4 * 0.002)
    assert result.confidence == pytest.approx(0.6 * 0.55 + 0.4 * 0.42)


def test_a_hold_without_any_lean_counts_as_even() -> None:
    even = signal(action=Action.HOLD, confidence=0.55, expected_return=0.0)

    assert one(even).confidence == 0.5


def test_a_symbol_nobody_believes_anything_of_has_no_opinion() -> None:
    mute = signal(action=Action.HOLD, confidence=0.5, expected_return=0.0, volatility=0.0)

    assert one(mute).reason == "no strategy has an opinion"


def test_a_wish_without_risk_has_no_strength() -> None:
    assert one(signal(volatility=0.0)).strength == 0


def test_the_tilt_of_known_symbols_is_kept_within_its_bound() -> None:
    tilts = {AAA: 1.9, BBB: 1.1}

    assert one(signal(), tilts=tilts, max_tilt=0.2).sentiment_tilt == 1.2
    assert [
        r.symbol for r in combine([signal()], capital=CAPITAL, min_confidence=0.6, tilts=tilts)
    ] == [AAA]


@pytest.mark.parametrize(
    ("given", "expected"), [(0.9, 0.9), (-3.0, 0.8), (math.nan, 1.0), (math.inf, 1.0)]
)
def test_a_tilt_is_bounded_and_neutral_when_it_is_no_number(given: float, expected: float) -> None:
    assert bounded_tilt(given, 0.2) == expected


@pytest.mark.parametrize("bad", [-0.1, 1.0, math.nan])
def test_a_bound_that_could_flip_a_sign_is_refused(bad: float) -> None:
    with pytest.raises(DataError):
        bounded_tilt(1.0, bad)


@pytest.mark.parametrize("capital", [{}, {"one": 0.0}, {"one": 1.1}, {"one": math.nan}])
def test_a_strategy_without_capital_is_refused(capital: dict[str, float]) -> None:
    with pytest.raises(DataError, match="capital fraction"):
        one(signal(), capital=capital)


def test_the_reason_tells_every_voice() -> None:
    text = one(signal(), signal("two", Action.SELL)).reason

    assert "one BUY: because" in text
    assert "two SELL: because" in text
    assert text.startswith("confidence 0.53 is below 0.60")


def test_a_confidence_just_below_the_threshold_is_told_apart_from_it() -> None:
    text = one(signal(confidence=0.597)).reason

    assert text.startswith("confidence 0.597 is below 0.600;")


def test_a_strategy_with_a_higher_threshold_of_its_own_is_not_said_to_miss_that_of_the_book() -> (
    None
):
    text = one(signal(action=Action.HOLD, confidence=0.65, reason="0.65 is below 0.70")).reason

    assert "is below 0.60" not in text
    assert text == "no strategy acts, or they cancel out; one HOLD: 0.65 is below 0.70"


@dataclasses.dataclass(frozen=True)
class Says:
    signals: tuple[Signal, ...]
    name: str = "one"

    def decide(self, view: MarketView) -> Sequence[Signal]:
        return self.signals


def test_symbols_that_sit_out_are_dropped_whatever_a_strategy_says() -> None:
    rule = Says(signals=(signal(), signal(symbol=BBB)))

    kept = run_strategies(
        view(excluded={AAA: "gap"}), [Allocation(strategy=rule, capital_fraction=1.0)]
    )

    assert [s.symbol for s in kept] == [BBB]


def test_a_strategy_may_not_speak_twice_of_a_symbol() -> None:
    rule = Says(signals=(signal(), signal()))

    with pytest.raises(DataError, match="two signals"):
        run_strategies(view(), [Allocation(strategy=rule, capital_fraction=1.0)])
