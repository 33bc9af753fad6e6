import math
from typing import Any

import numpy as np
import pytest

from domain.errors import SizingError
from risk.shrinkage import james_stein, kelly_shrunk
from tests.support.vectors import assert_matches, cases, inputs


@pytest.mark.parametrize("vector", cases("kelly_shrunk"))
def test_shrunk_kelly_matches_the_reference(vector: Any) -> None:
    assert_matches(vector, kelly_shrunk(**inputs(vector)))


@pytest.mark.parametrize("vector", cases("kelly_shrunk", refused=True))
def test_shrunk_kelly_refuses_too_few_observations(vector: Any) -> None:
    with pytest.raises(SizingError):
        kelly_shrunk(**inputs(vector))


@pytest.mark.parametrize(
    "bad", [{"mu_hat": math.nan}, {"sigma": 0.0}, {"tau": 0.0}, {"n": math.inf}]
)
def test_shrunk_kelly_refuses_bad_input(bad: dict[str, float]) -> None:
    with pytest.raises(SizingError):
        kelly_shrunk(**{"mu_hat": 0.001, "sigma": 0.01, "n": 100, "tau": 0.001, **bad})


@pytest.mark.parametrize("vector", cases("james_stein"))
def test_james_stein_matches_the_reference(vector: Any) -> None:
    given = inputs(vector)
    result = james_stein(np.array(given["means"]), np.array(given["cov"]), given["n"])
    assert_matches(vector, result)


@pytest.mark.parametrize("vector", cases("james_stein", refused=True))
def test_james_stein_refuses_fewer_than_three_means(vector: Any) -> None:
    given = inputs(vector)
    with pytest.raises(SizingError):
        james_stein(np.array(given["means"]), np.array(given["cov"]), given["n"])


def test_james_stein_of_zero_means_is_zero() -> None:
    assert james_stein(np.zeros(3), np.eye(3), 100).js_positive_part_factor == 0
