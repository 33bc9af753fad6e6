import math
from typing import Any

import pytest

from backtest.costs import almgren_2005, implementation_shortfall, sqrt_impact
from domain.errors import DataError
from domain.orders import Side
from tests.support.vectors import assert_matches, cases, inputs


@pytest.mark.parametrize("vector", cases("almgren_2005"))
def test_almgren_impact_matches_the_reference(vector: Any) -> None:
    assert_matches(vector, almgren_2005(**inputs(vector)))


@pytest.mark.parametrize("vector", cases("almgren_2005", refused=True))
def test_almgren_impact_refuses_no_volume(vector: Any) -> None:
    with pytest.raises(DataError):
        almgren_2005(**inputs(vector))


@pytest.mark.parametrize("vector", cases("sqrt_impact"))
def test_square_root_impact_matches_the_reference(vector: Any) -> None:
    assert_matches(vector, sqrt_impact(**inputs(vector)))


@pytest.mark.parametrize("vector", cases("sqrt_impact", refused=True))
def test_square_root_impact_refuses_too_large_an_order(vector: Any) -> None:
    with pytest.raises(DataError):
        sqrt_impact(**inputs(vector))


@pytest.mark.parametrize(
    "bad", [{"qty": -1.0}, {"qty": math.nan}, {"half_spread": -0.01}, {"price": 0.0}]
)
def test_square_root_impact_refuses_bad_figures(bad: dict[str, float]) -> None:
    known: dict[str, Any] = {"qty": 1, "price": 50, "adv": 1e6, "sigma": 0.02, "half_spread": 0.01}
    with pytest.raises(DataError):
        sqrt_impact(**{**known, **bad})


def shortfall(given: dict[str, Any]) -> Any:
    return implementation_shortfall(**{**given, "side": Side(given["side"])})


@pytest.mark.parametrize("vector", cases("implementation_shortfall"))
def test_shortfall_matches_the_reference(vector: Any) -> None:
    assert_matches(vector, shortfall(inputs(vector)))


@pytest.mark.parametrize("vector", cases("implementation_shortfall", refused=True))
def test_shortfall_refuses_more_than_was_ordered(vector: Any) -> None:
    with pytest.raises(DataError):
        shortfall(inputs(vector))
