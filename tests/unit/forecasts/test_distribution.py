from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DataError
from forecasts.distribution import distribution_of, normal_fit, probability_above_zero
from tests.support.vectors import assert_close, cases, inputs

LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@pytest.mark.parametrize("vector", cases("quantiles_to_distribution"))
def test_quantiles_become_the_reference_distribution(vector: Any) -> None:
    given_values = inputs(vector)
    expected = vector["expected"]

    found = distribution_of(given_values["levels"], given_values["q"])

    mu, sigma = normal_fit(np.array(given_values["levels"]), np.sort(given_values["q"]))
    assert_close(vector, found.mean, expected["mean_trapezoid_flat_tails"], "mean")
    assert_close(vector, found.volatility, expected["normal_sigma"], "volatility")
    assert_close(vector, found.probability_up, expected["p_up_cdf_clamped"], "probability_up")
    assert_close(vector, (mu, sigma), (expected["normal_mu"], expected["normal_sigma"]), "fit")
    assert found.was_crossed == expected["crossed_and_sorted"]


@pytest.mark.parametrize("vector", cases("quantiles_to_distribution", refused=True))
def test_quantiles_that_are_none_are_refused(vector: Any) -> None:
    given_values = inputs(vector)

    with pytest.raises(DataError):
        distribution_of(given_values["levels"], given_values["q"])


@pytest.mark.parametrize(
    ("value", "expected"), [(0.01, 1.0), (-0.01, 0.0), (0.0, 0.5)], ids=["up", "down", "zero"]
)
def test_a_distribution_without_spread_is_certain(value: float, expected: float) -> None:
    assert probability_above_zero(np.array([0.1, 0.9]), np.full(2, value)) == expected


@pytest.mark.parametrize(
    "levels", [(0.5,), (0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)], ids=str
)
def test_levels_that_do_not_rise_within_zero_and_one_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(DataError):
        distribution_of(levels, [0.0] * len(levels))


@given(
    st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=11, max_size=11, unique=True).map(
        sorted
    )
)
def test_probability_never_leaves_what_the_quantiles_cover(quantiles: list[float]) -> None:
    found = distribution_of(LEVELS, quantiles)

    assert 0.05 - 1e-12 <= found.probability_up <= 0.95 + 1e-12
    assert quantiles[0] <= found.mean <= quantiles[-1]
    assert found.volatility > 0


@given(
    st.lists(st.floats(-0.5, 0.5), min_size=11, max_size=11, unique=True).map(sorted),
    st.floats(0.001, 0.2),
)
def test_moving_a_distribution_up_never_makes_a_rise_less_likely(
    quantiles: list[float], step: float
) -> None:
    moved = [value + step for value in quantiles]

    lower = distribution_of(LEVELS, quantiles).probability_up
    assert distribution_of(LEVELS, moved).probability_up >= lower - 1e-12
