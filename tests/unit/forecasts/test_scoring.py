import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DataError
from forecasts.scoring import (
    brier_parts,
    calibration_error,
    effective_size,
    newey_west_error,
    pinball,
)
from tests.support.vectors import assert_close, assert_matches, cases, inputs


@pytest.mark.parametrize("vector", cases("pinball"))
def test_pinball_agrees_with_the_reference(vector: Any) -> None:
    values = inputs(vector)

    losses = pinball(np.array(values["y"], float), np.array(values["q"], float), values["tau"])

    assert_close(vector, losses, vector["expected"]["losses"], "losses")
    assert_close(vector, losses.mean(), vector["expected"]["mean"], "mean")


@pytest.mark.parametrize("vector", cases("pinball", refused=True))
def test_a_level_outside_zero_and_one_is_refused(vector: Any) -> None:
    values = inputs(vector)

    with pytest.raises(DataError):
        pinball(np.array(values["y"], float), np.array(values["q"], float), values["tau"])


@pytest.mark.parametrize("vector", cases("brier_murphy"))
def test_brier_and_its_parts_agree_with_the_reference(vector: Any) -> None:
    values = inputs(vector)

    parts = brier_parts(np.array(values["p"], float), np.array(values["y"], float))

    names = ("brier", "reliability", "resolution", "uncertainty", "skill")
    assert_matches(vector, parts, *names)


@pytest.mark.parametrize("vector", cases("brier_murphy", refused=True))
def test_probabilities_outside_their_range_are_refused(vector: Any) -> None:
    values = inputs(vector)

    with pytest.raises(DataError):
        brier_parts(np.array(values["p"], float), np.array(values["y"], float))


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.6, 0.9]), st.booleans()), min_size=1))
def test_the_parts_of_brier_add_up(pairs: list[tuple[float, bool]]) -> None:
    chances = np.array([chance for chance, _ in pairs])
    rose = np.array([float(up) for _, up in pairs])

    parts = brier_parts(chances, rose)

    total = parts.reliability - parts.resolution + parts.uncertainty
    assert total == pytest.approx(parts.brier, abs=1e-12)


@pytest.mark.parametrize("vector", cases("ece"))
def test_calibration_error_agrees_with_the_reference(vector: Any) -> None:
    values = inputs(vector)

    found = calibration_error(
        np.array(values["p"], float), np.array(values["y"], float), values["bins"]
    )

    assert_close(vector, found, vector["expected"]["ece"], "ece")


@pytest.mark.parametrize("vector", cases("effective_sample_size"))
def test_effective_size_agrees_with_the_reference(vector: Any) -> None:
    values = inputs(vector)
    expected = vector["expected"]

    if "rho" in values:
        found = effective_size(values["n"], correlation=values["rho"])
        assert_close(vector, found, expected["n_eff_equicorrelated"], "n_eff")
    else:
        found = effective_size(values["n"], autocorrelation=values["phi"])
        # A negative autocorrelation is not rewarded with more than was counted.
        assert_close(vector, found, min(values["n"], expected["n_eff_ar1_exact"]), "n_eff")


@pytest.mark.parametrize("vector", cases("effective_sample_size", refused=True))
def test_impossible_correlations_are_refused(vector: Any) -> None:
    values = inputs(vector)

    with pytest.raises(DataError):
        effective_size(values["n"], correlation=values["rho"])


def test_newey_west_without_lags_is_the_plain_standard_error() -> None:
    series = np.array([1.0, 0.0, 1.0, 1.0, 0.0])

    assert newey_west_error(series, lag=0) == pytest.approx(series.std() / math.sqrt(5))


def test_newey_west_grows_with_autocorrelation() -> None:
    blocks = np.repeat([0.0, 1.0, 0.0, 1.0, 1.0, 0.0], 20)

    assert newey_west_error(blocks, lag=19) > 2 * newey_west_error(blocks, lag=0)


def test_a_standard_error_needs_two_values() -> None:
    with pytest.raises(DataError):
        newey_west_error(np.array([1.0]))
