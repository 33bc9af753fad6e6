import math
from typing import Any

import numpy as np
import pytest

from domain.errors import SizingError
from risk.kelly import kelly_signed
from tests.support.vectors import cases, inputs


@pytest.mark.parametrize("vector", cases("kelly_multi"))
def test_the_optimum_with_its_own_signs_matches_the_reference(vector: Any) -> None:
    given, full = inputs(vector), np.array(vector["expected"]["f_full"])

    found = kelly_signed(np.array(given["mu"]), np.array(given["cov"]), np.where(full < 0, -1, 1.0))

    # Sweeps end a little before the optimum of names that are nearly twins.
    np.testing.assert_allclose(found, full, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("vector", cases("kelly_multi", refused=True))
def test_a_singular_covariance_is_refused(vector: Any) -> None:
    given = inputs(vector)
    with pytest.raises(SizingError):
        kelly_signed(np.array(given["mu"]), np.array(given["cov"]), np.ones(len(given["mu"])))


@pytest.mark.parametrize(
    "cov",
    [
        [[0.04, math.nan], [math.nan, 0.04]],
        [[math.inf, 0.0], [0.0, 0.04]],
        [[0.04, 0.01], [0.02, 0.04]],
        [[0.04, 0.05], [0.05, 0.04]],
        [[0.04]],
    ],
)
def test_what_is_no_covariance_is_refused(cov: list[list[float]]) -> None:
    with pytest.raises(SizingError):
        kelly_signed(np.array([0.05, 0.05]), np.array(cov), np.ones(2))


def test_signed_kelly_equals_the_free_optimum_where_that_has_the_wished_signs() -> None:
    mu = np.array([0.06, 0.05, 0.02])
    cov = np.array([[0.04, 0.018, 0.006], [0.018, 0.0625, 0.0125], [0.006, 0.0125, 0.0225]])

    signed = kelly_signed(mu, cov, np.ones(3))

    np.testing.assert_allclose(signed, np.linalg.solve(cov, mu), rtol=1e-7)


def test_signed_kelly_drops_the_hedge_it_may_not_hold_and_sizes_the_other_alone() -> None:
    # The free optimum shorts the second asset against the first.
    mu, cov = np.array([0.10, 0.01]), np.array([[0.04, 0.036], [0.036, 0.04]])
    assert np.linalg.solve(cov, mu)[1] < 0

    signed = kelly_signed(mu, cov, np.ones(2))

    np.testing.assert_allclose(signed, [0.10 / 0.04, 0.0])


def test_signed_kelly_of_shorts_mirrors_that_of_longs() -> None:
    mu, cov = np.array([0.06, 0.05]), np.array([[0.04, 0.018], [0.018, 0.0625]])

    short = kelly_signed(-mu, cov, -np.ones(2))

    np.testing.assert_allclose(short, -kelly_signed(mu, cov, np.ones(2)))


def test_signed_kelly_refuses_a_sign_that_is_none() -> None:
    with pytest.raises(SizingError):
        kelly_signed(np.array([0.1]), np.array([[0.04]]), np.array([0.0]))


def test_kelly_refuses_weights_beyond_the_range_of_floats() -> None:
    mu, cov = np.array([1e200, 1e200]), np.eye(2) * 1e-200
    with pytest.raises(SizingError, match="not finite"):
        kelly_signed(mu, cov, np.ones(2))


def test_signed_kelly_of_twins_stops_without_passing_the_optimum() -> None:
    rho = 1 - 1e-7
    mu, cov = np.array([0.05, 0.0499]), 0.04 * np.array([[1, rho], [rho, 1]])

    found = kelly_signed(mu, cov, np.ones(2))

    assert 0 <= found.sum() <= mu[0] / 0.04 + 1e-6
