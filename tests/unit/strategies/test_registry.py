import dataclasses
from typing import Any

import pytest

from domain.errors import ConfigError
from execution.gathering import MOST_BARS
from strategies.forecast_edge import ForecastEdge
from strategies.momentum import Momentum
from strategies.registry import KINDS, build_allocations, capital_of
from tests.support.decisions import AAA, view
from tests.support.forecast_scene import made_up_bars


def built(sections: dict[str, Any]) -> Any:
    return build_allocations(sections, min_confidence=0.62)


def test_without_any_section_the_forecast_strategy_uses_all_capital() -> None:
    (allocation,) = built({})

    assert isinstance(allocation.strategy, ForecastEdge)
    assert allocation.strategy.settings.min_confidence == 0.62
    assert capital_of([allocation]) == {"forecast": 1.0}


def test_enabled_strategies_come_sorted_with_their_settings() -> None:
    made = built(
        {
            "momentum": {"capital_fraction": 0.3, "lookback_sessions": 120, "min_confidence": 0.7},
            "forecast": {"capital_fraction": 0.7},
            "reversal": {"enabled": False},
        }
    )

    assert capital_of(made) == {"forecast": 0.7, "momentum": 0.3}
    momentum = made[1].strategy
    assert isinstance(momentum, Momentum)
    assert (momentum.settings.lookback_sessions, momentum.settings.min_confidence) == (120, 0.7)


def test_a_strategy_without_capital_is_left_out() -> None:
    assert built({"forecast": {"capital_fraction": 0}}) == ()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"momentun": {}}, "did you mean `momentum`"),
        ({"zzz": {}}, "known: forecast"),
        ({"momentum": {"lookback": 3}}, "did you mean `lookback_sessions`"),
        ({"momentum": {"lookback_sessions": 3}}, "allowed is from 40 to 500"),
        ({"momentum": {"lookback_sessions": 120.5}}, "must be a whole number"),
        ({"momentum": {"prior_daily_drift": "big"}}, "must be a number"),
        ({"momentum": {"min_confidence": float("nan")}}, "out of range"),
        ({"momentum": {"min_confidence": True}}, "must be a number"),
        ({"momentum": {"enabled": 1}}, "must be true or false"),
        ({"momentum": 3}, "must be a section"),
        ({"forecast": {"capital_fraction": 1.5}}, "from 0 to 1"),
        (
            {"forecast": {"capital_fraction": 0.7}, "momentum": {"capital_fraction": 0.4}},
            "adds up to 1.1",
        ),
    ],
)
def test_a_bad_section_is_refused_with_its_key_and_the_way_out(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        built(sections)


@pytest.mark.parametrize("name", ["momentum", "reversal"])
def test_a_strategy_that_looks_back_as_far_as_it_may_has_a_signal_of_what_a_decision_reads(
    name: str,
) -> None:
    longest = {key: high for key, (_, high) in KINDS[name].bounds.items() if "sessions" in key}
    (allocation,) = built({name: longest})
    seen = dataclasses.replace(view(), history={AAA: made_up_bars(AAA, MOST_BARS)})

    assert len(allocation.strategy.decide(seen)) == 1
