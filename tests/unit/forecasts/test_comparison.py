import dataclasses
import datetime as dt
import re
from typing import Any

import pytest

from domain.errors import ConfigError
from forecasts.card import ModelCard
from forecasts.comparison import COLUMNS, compare, promotion, verdict
from forecasts.model_store import ModelStore

CARD = ModelStore().card("lstm")


def card(name: str = "gru", step: str = "40", **figures: float) -> ModelCard:
    metrics = {**CARD.metrics, step: {**CARD.metrics[step], **figures}}
    return dataclasses.replace(CARD, name=name, metrics=metrics)


def test_models_stand_beside_the_same_baselines() -> None:
    rows = compare([CARD, card(pinball=0.25)], 40)

    names = [row.name for row in rows]
    assert names == [
        "lstm/1", "gru/1", "last price", "always up, base rate", "last 168 sessions",
    ]  # fmt: skip
    assert set(rows[0].figures) == set(COLUMNS)
    assert rows[0].parameters == CARD.parameters
    assert rows[1].figures["pinball"] == 0.25
    assert rows[2].figures["r2_price"] == CARD.metrics["40"]["r2_price_last_price"]
    assert rows[3].figures["accuracy"] == CARD.metrics["40"]["accuracy_always_up"]
    assert set(rows[4].figures) == {"pinball"}


def test_models_of_different_windows_are_not_compared() -> None:
    other_span = (CARD.calibration_span[0], dt.date(2023, 5, 31))

    for other in (
        dataclasses.replace(CARD, data_sha256="0" * 64),
        dataclasses.replace(CARD, calibration_span=other_span),
        card(samples=3.0),
    ):
        with pytest.raises(ConfigError, match="measured on different windows"):
            compare([CARD, other], 40)


def test_a_step_nobody_measured_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="was measured at 1, 5, 20, 40 sessions, not 7"):
        compare([CARD], 7)


def test_no_models_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="openbell train"):
        compare([], 40)


def test_no_edge_is_said_when_there_is_none() -> None:
    assert verdict([CARD], 1) == "No edge found in the direction 1 sessions ahead."
    assert verdict([CARD], 40) == "No edge found in the direction 40 sessions ahead."


def test_an_edge_beyond_chance_is_named() -> None:
    sharp = card(accuracy=0.70, advantage_error=0.01)
    lucky = card("nhits", accuracy=0.70, advantage_error=0.2)

    assert re.search("beyond chance: gru/1", verdict([CARD, sharp, lucky], 40))


def test_few_periods_of_forty_sessions_take_more_to_convince() -> None:
    def ahead(step: str) -> ModelCard:
        always_up = CARD.metrics[step]["accuracy_always_up"]
        return card(step=step, accuracy=always_up + 0.021, advantage_error=0.01)

    assert "beyond chance: gru/1" in verdict([ahead("1")], 1)
    assert "No edge found" in verdict([ahead("40")], 40)


def test_a_better_model_may_be_promoted() -> None:
    found = promotion(card(pinball=0.29, brier=0.2351), CARD)

    assert found.is_allowed
    assert found.reasons == ()


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, "is not below"),
        ({"pinball": 0.29, "brier": 0.24}, "Brier 0.2400 is above"),
        ({"pinball": 0.29, "coverage_of_80_band": 0.6}, "80 % band held 60%"),
        ({"pinball": float("nan")}, "is not below"),
        ({"pinball": 0.29, "samples": 1.0}, "different windows"),
    ],
)
def test_a_model_that_is_not_better_may_not(figures: dict[str, Any], words: str) -> None:
    found = promotion(card(**figures), CARD)

    assert not found.is_allowed
    assert any(words in reason for reason in found.reasons)


def test_models_without_a_common_step_are_not_promoted() -> None:
    other = dataclasses.replace(CARD, metrics={"3": CARD.metrics["1"]})

    assert promotion(other, CARD).reasons == ("no step in common",)
