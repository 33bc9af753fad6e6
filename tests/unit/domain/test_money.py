"""Decimal in and out: what is written, what is refused, and where the grid changes."""

from decimal import Decimal

import pytest

from domain.errors import DataError
from domain.money import cents, decimal, text, tick, whole_shares


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0", "0"),
        ("0.00", "0"),
        ("-0.0", "0"),
        ("0E+3", "0"),
        ("10", "10"),
        ("100", "100"),
        ("189.250", "189.25"),
        ("-0.50", "-0.5"),
        ("1E+2", "100"),
        ("1E-7", "0.0000001"),
        ("1.50E+1", "15"),
    ],
)
def test_a_number_is_written_without_exponent_and_trailing_zeros(value: str, written: str) -> None:
    assert text(Decimal(value)) == written
    assert Decimal(written) == Decimal(value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN", "", "ten", "1,5"])
def test_what_is_no_finite_number_is_refused(value: str) -> None:
    with pytest.raises(DataError):
        decimal(value)


@pytest.mark.parametrize(
    ("price", "grid"), [("1", "0.01"), ("0.9999", "0.0001"), ("1.0001", "0.01"), ("500", "0.01")]
)
def test_the_grid_is_a_cent_from_one_dollar_up(price: str, grid: str) -> None:
    assert tick(Decimal(price)) == Decimal(grid)


def test_a_fraction_of_a_share_is_dropped_and_half_a_cent_goes_to_the_even_one() -> None:
    assert [whole_shares(Decimal(value)) for value in ("1.999", "-1.999", "0.5")] == [1, -1, 0]
    assert [cents(Decimal(value)) for value in ("0.005", "0.015", "-0.005")] == [
        Decimal("0.00"),
        Decimal("0.02"),
        Decimal("0.00"),
    ]
