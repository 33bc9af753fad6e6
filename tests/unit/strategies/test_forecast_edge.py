import dataclasses
import math
from typing import Any

import pytest

from domain.forecasts import Forecast, ForecastSource
from domain.signals import Action, Signal
from strategies.forecast_edge import ForecastEdge
from tests.support.decisions import AAA, BBB, forecast, view


def decided(**changes: Any) -> Signal:
    given: Forecast = dataclasses.replace(forecast(AAA), **changes)
    (signal,) = ForecastEdge().decide(view(forecasts={AAA: given}))
    return signal


@pytest.mark.parametrize(
    ("probability", "mean", "action", "confidence"),
    [
        (0.60, 0.01, Action.BUY, 0.60),
        (0.59, 0.01, Action.HOLD, 0.59),
        (0.40, -0.01, Action.SELL, 0.60),
        (0.41, -0.01, Action.HOLD, 0.59),
        (0.50, 0.01, Action.HOLD, 0.50),
    ],
)
def test_it_acts_only_where_the_direction_is_likely_enough(
    probability: float, mean: float, action: Action, confidence: float
) -> None:
    signal = decided(probability_up=probability, mean=mean)

    assert signal.action is action
    assert signal.confidence == pytest.approx(confidence)


def test_it_holds_where_probability_and_mean_disagree() -> None:
    signal = decided(probability_up=0.70, mean=-0.01)

    assert signal.action is Action.HOLD
    assert signal.confidence == pytest.approx(0.30)


def test_log_moments_become_simple_ones() -> None:
    signal = decided(mean=0.01, volatility=0.10)

    assert signal.expected_return == pytest.approx(math.exp(0.01 + 0.005) - 1)
    assert signal.volatility == pytest.approx(math.exp(0.015) * math.sqrt(math.exp(0.01) - 1))


def test_strength_is_the_expected_return_in_units_of_its_volatility() -> None:
    signal = decided()

    assert signal.strength == pytest.approx(signal.expected_return / signal.volatility)


@pytest.mark.parametrize("change", [{"mean": 0.51}, {"mean": -0.51}, {"volatility": 1.01}])
def test_an_implausible_forecast_is_not_believed(change: dict[str, float]) -> None:
    signal = decided(**change)

    assert (signal.action, signal.strength, signal.volatility) == (Action.HOLD, 0, 0)
    assert "plausible" in signal.reason


def test_the_reason_names_source_and_probability() -> None:
    assert decided(source=ForecastSource.LOCAL).reason == "local lstm: P(up) 0.65, expected +1.03%"


def test_signals_come_in_the_order_of_the_symbols() -> None:
    given = view(forecasts={BBB: forecast(BBB), AAA: forecast(AAA)})

    assert [signal.symbol for signal in ForecastEdge().decide(given)] == [AAA, BBB]


@pytest.mark.parametrize(
    ("probability", "told"), [(0.59, "0.59 is below 0.60"), (0.5996, "0.5996 is below 0.6000")]
)
def test_the_reason_tells_a_near_miss_apart_from_the_threshold(
    probability: float, told: str
) -> None:
    assert decided(probability_up=probability, mean=0.01).reason.endswith(told)
