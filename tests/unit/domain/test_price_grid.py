from decimal import Decimal
from typing import Any

import pytest

from domain.errors import DataError
from domain.money import round_price
from tests.support.vectors import cases


def rounded(vector: Any) -> Decimal:
    given = vector["inputs"]
    # A buy stop is triggered from below, so like a sell limit it may only move up.
    goes_down = (given["side"] == "buy") == (given["kind"] == "limit")
    return round_price(Decimal(given["price"]), is_buy=goes_down)


@pytest.mark.parametrize("vector", cases("tick_round"))
def test_prices_on_the_grid_match_the_reference(vector: Any) -> None:
    assert rounded(vector) == Decimal(vector["expected"]["price"])


@pytest.mark.parametrize("vector", cases("tick_round", refused=True))
def test_a_price_that_is_none_or_vanishes_is_refused(vector: Any) -> None:
    with pytest.raises(DataError):
        rounded(vector)
