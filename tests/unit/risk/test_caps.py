import math
from typing import Any

import numpy as np
import pytest

from domain.errors import SizingError
from risk.caps import cap_weights, tilt_weights
from tests.support.vectors import assert_close, cases, inputs


def run(given: dict[str, Any]) -> tuple[Any, float]:
    return cap_weights(np.array(given["w"]), cap=given["cap"], gross=given["gross"])


# The other vectors are of a cap that scales all names alike.
_CLIPPED = [one for one in cases("cap_weights") if "method" in one.values[0]["inputs"]]


@pytest.mark.parametrize("vector", _CLIPPED)
def test_capped_weights_match_the_reference(vector: Any) -> None:
    weights, scale = run(inputs(vector))

    expected = vector["expected"]
    assert_close(vector, weights, expected["weights"], "weights")
    assert_close(vector, scale, expected["scale"], "scale")
    assert_close(vector, np.abs(weights).sum(), expected["gross"], "gross")
    assert_close(vector, np.abs(weights).max(), expected["max_abs"], "max_abs")


@pytest.mark.parametrize("vector", cases("cap_weights", refused=True))
def test_a_weight_that_is_not_finite_is_refused_not_turned_into_the_cap(vector: Any) -> None:
    with pytest.raises(SizingError):
        run(inputs(vector))


@pytest.mark.parametrize("cap", [0.0, -1.0, math.nan])
def test_a_cap_that_is_none_is_refused(cap: float) -> None:
    with pytest.raises(SizingError):
        cap_weights(np.array([0.1]), cap=cap, gross=1.0)


def test_a_tilt_moves_its_own_name_only() -> None:
    tilted = tilt_weights(
        np.array([0.1, 0.1]), np.array([1.2, 1.0]), max_tilt=0.2, cap=0.3, gross=1.0
    )

    np.testing.assert_allclose(tilted, [0.12, 0.1])


def test_a_full_book_lets_news_lower_weights_but_not_raise_them() -> None:
    tilted = tilt_weights(
        np.array([0.5, 0.5]), np.array([1.2, 1.0]), max_tilt=0.2, cap=0.6, gross=1.0
    )

    np.testing.assert_allclose(tilted, [0.5, 0.5])


def test_what_news_lowers_in_one_name_may_be_used_by_another() -> None:
    tilted = tilt_weights(
        np.array([0.5, 0.5]), np.array([1.2, 0.9]), max_tilt=0.2, cap=0.6, gross=1.0
    )

    np.testing.assert_allclose(tilted, [0.55, 0.45])


def test_a_tilt_that_is_not_a_number_is_neutral() -> None:
    tilted = tilt_weights(np.array([0.1]), np.array([math.nan]), max_tilt=0.2, cap=0.3, gross=1.0)

    assert tilted.tolist() == [0.1]


def test_a_tilt_beyond_its_bound_is_bounded() -> None:
    tilted = tilt_weights(np.array([-0.1]), np.array([-5.0]), max_tilt=0.2, cap=0.3, gross=1.0)

    np.testing.assert_allclose(tilted, [-0.08])


def test_caps_so_large_that_rounding_passes_them_are_refused() -> None:
    draws = np.random.default_rng(0)
    refusals = 0
    for _ in range(200):
        weights = draws.uniform(1e12, 9e12, 3)
        try:
            cap_weights(weights, cap=draws.uniform(1e12, 2e12), gross=2.5e12)
        except SizingError:
            refusals += 1

    assert refusals > 0


@pytest.mark.parametrize(("weight", "max_tilt"), [(0.1, 1.0), (0.1, math.nan), (math.nan, 0.2)])
def test_a_tilt_that_could_flip_or_hide_a_weight_is_refused(weight: float, max_tilt: float) -> None:
    with pytest.raises(SizingError):
        tilt_weights(np.array([weight]), np.array([1.0]), max_tilt=max_tilt, cap=0.3, gross=1.0)
