import datetime as dt
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from domain.errors import DataError
from domain.fees import RATES, DayFees, FeeTrade, day_fees
from domain.orders import Side
from tests.support.vectors import cases

NAMES = {
    "SEC_raw": "sec_raw",
    "TAF_raw": "taf_raw",
    "CAT_raw": "cat_raw",
    "SEC": "sec",
    "TAF": "taf",
    "CAT": "cat",
    "total": "total",
}


def fees(vector: Any) -> DayFees:
    given = vector["inputs"]
    trades = [
        FeeTrade(side=Side(side), quantity=Decimal(n), price=Decimal(price), trade_id=trade_id)
        for side, n, price, trade_id in given["fills"]
    ]
    return day_fees(dt.date.fromisoformat(given["day"]), trades)


@pytest.mark.parametrize("vector", cases("regulatory_fees_day"))
def test_fees_of_a_day_match_the_reference_to_the_last_digit(vector: Any) -> None:
    result = fees(vector)

    for name, expected in vector["expected"].items():
        assert getattr(result, NAMES[name]) == Decimal(expected), name


@pytest.mark.parametrize("vector", cases("regulatory_fees_day", refused=True))
def test_fees_refuse_empty_trades_and_dates_outside_the_table(vector: Any) -> None:
    with pytest.raises(DataError):
        fees(vector)


def test_executions_of_one_trade_share_the_cap() -> None:
    day = dt.date(2026, 6, 3)
    half = FeeTrade(side=Side.SELL, quantity=Decimal(60_000), price=Decimal(2), trade_id="a")

    assert day_fees(day, [half, half]).taf == Decimal("9.79")


def test_the_table_is_sorted_without_overlap() -> None:
    assert all(rates.first <= rates.last for rates in RATES)
    assert all(later.first > earlier.last for earlier, later in pairwise(RATES))


@pytest.mark.parametrize("day", ["2025-06-30", "2026-02-02", "2027-01-04"])
def test_a_day_whose_rates_are_not_known_is_refused(day: str) -> None:
    with pytest.raises(DataError, match=f"{day}; a newer openbell"):
        day_fees(dt.date.fromisoformat(day), [])
