import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import DataError
from forecasts.calibration import calibrate, conformal_levels, conformal_quantile, conformal_rank
from tests.support.vectors import assert_close, cases, inputs

LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@pytest.mark.parametrize("vector", cases("conformal_quantile"))
def test_conformal_quantile_agrees_with_the_reference(vector: Any) -> None:
    given_values = inputs(vector)
    scores = np.array(given_values["scores"])

    assert conformal_rank(scores.size, given_values["alpha"]) == vector["expected"]["k"]
    found = conformal_quantile(scores, given_values["alpha"])
    assert_close(vector, found, vector["expected"]["q_hat"], "q_hat")


@pytest.mark.parametrize("vector", cases("conformal_quantile", refused=True))
def test_no_scores_are_refused(vector: Any) -> None:
    with pytest.raises(DataError):
        conformal_quantile(np.array(inputs(vector)["scores"], dtype=float), 0.1)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_alpha_outside_zero_and_one_is_refused(alpha: float) -> None:
    with pytest.raises(DataError):
        conformal_rank(10, alpha)


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError):
        conformal_quantile(np.array([0.1, math.nan]), 0.1)


def test_too_few_outcomes_cannot_calibrate_the_outer_levels() -> None:
    with pytest.raises(DataError, match="too few"):
        conformal_levels(np.array([0.1, 0.2, 0.3]), 0.0, LEVELS)


def test_levels_that_are_not_symmetric_are_refused() -> None:
    with pytest.raises(DataError, match="symmetric"):
        conformal_levels(np.ones(100), 0.0, (0.1, 0.5, 0.8))


def test_the_center_is_left_where_the_model_put_it() -> None:
    scores = np.linspace(0.01, 2.0, 199)

    table = conformal_levels(scores, 0.25, LEVELS)

    assert table[5] == 0.25
    np.testing.assert_allclose(table - 0.25, -(table - 0.25)[::-1])
    assert (np.diff(table) > 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 3.0))
def test_a_band_holds_at_least_what_it_promises(seed: int, true_width: float) -> None:
    generator = np.random.default_rng(seed)
    outcomes = generator.normal(0, true_width, (2000, 1))
    shift, stretch = np.zeros((2000, 1)), np.ones((2000, 1))
    base = np.linspace(-1, 1, len(LEVELS))[None, :]

    table = calibrate(outcomes[:1000], shift[:1000], stretch[:1000], base, LEVELS)

    inside = np.abs(outcomes[1000:, 0]) <= table[0, -2]
    # Five standard errors of a share of 0.8 in two samples of 1,000.
    assert abs(inside.mean() - 0.8) < 5 * math.sqrt(2 * 0.8 * 0.2 / 1000)


def test_the_models_own_stretch_is_taken_out_before_calibration() -> None:
    generator = np.random.default_rng(7)
    stretch = generator.uniform(0.5, 2.0, (4000, 1))
    outcomes = generator.normal(0, 1, (4000, 1)) * stretch
    base = np.linspace(-1, 1, len(LEVELS))[None, :]

    table = calibrate(outcomes, np.zeros((4000, 1)), stretch, base, LEVELS)

    assert table[0, -2] == pytest.approx(1.2816, abs=0.08)
