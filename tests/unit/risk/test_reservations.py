from decimal import Decimal

import pytest

from domain.orders import Side
from risk.reservations import Reservation, gross, lowers_exposure, net, reach, reaches
from tests.support.decisions import AAA, BBB, request, reservation


def test_a_request_reserves_its_unfilled_rest_at_its_limit() -> None:
    reserved = Reservation.of_request(request(quantity="10", limit="101"), filled=Decimal(4))

    assert (reserved.quantity, reserved.price) == (6, 101)


@pytest.mark.parametrize(
    ("held", "orders", "lowest", "highest"),
    [
        ("10", [], 1000, 1000),
        ("10", [reservation(quantity="5", price="110")], 1000, 1550),
        ("10", [reservation(quantity="5", price="90")], 1000, 1500),
        ("10", [reservation(side=Side.SELL, quantity="10", price="120")], 0, 1000),
        ("10", [reservation(side=Side.SELL, quantity="15", price="120")], -600, 1000),
        ("-10", [reservation(quantity="10", price="120")], -1000, 0),
        ("-10", [reservation(quantity="15", price="120")], -1000, 600),
        (
            "-10",
            [reservation(quantity="8", price="120"), reservation(quantity="7", price="105")],
            -1000,
            600,
        ),
        (
            "-10",
            [reservation(quantity="8", price="105"), reservation(quantity="7", price="120")],
            -1000,
            600,
        ),
        ("0", [reservation(quantity="5", price=None)], 0, 500),
        ("0", [reservation(), reservation(side=Side.SELL)], -1000, 1000),
    ],
)
def test_reach_is_the_worst_of_every_subset_of_fills(
    held: str, orders: list[Reservation], lowest: int, highest: int
) -> None:
    found = reach(Decimal(held), Decimal(100), orders)

    assert (found.lowest, found.highest) == (lowest, highest)


def test_gross_adds_the_worst_of_each_symbol_and_net_the_worst_side() -> None:
    marks = {AAA: Decimal(100), BBB: Decimal(100)}
    bounds = reaches({AAA: Decimal(10), BBB: Decimal(-4)}, marks, [reservation(BBB, quantity="6")])

    assert bounds is not None
    assert gross(bounds) == 1400
    assert net(bounds) == 1200


def test_a_symbol_without_a_price_makes_exposure_unknown() -> None:
    assert reaches({AAA: Decimal(10)}, {}, []) is None
    assert reaches({}, {}, [reservation(BBB)]) is None
    assert reaches({AAA: Decimal(0)}, {}, []) == {}


@pytest.mark.parametrize(
    ("side", "quantity", "held", "expected"),
    [
        (Side.SELL, "10", "10", True),
        (Side.SELL, "11", "10", False),
        (Side.BUY, "10", "10", False),
        (Side.BUY, "10", "-10", True),
        (Side.BUY, "11", "-10", False),
        (Side.SELL, "1", "0", False),
    ],
)
def test_an_order_lowers_exposure_only_up_to_flat(
    side: Side, quantity: str, held: str, expected: bool
) -> None:
    order = request(side=side, quantity=quantity)

    assert lowers_exposure(order, Decimal(held), []) is expected


def test_two_exits_that_are_too_large_together_do_not_both_lower_exposure() -> None:
    working = [reservation(side=Side.SELL, quantity="6")]

    assert lowers_exposure(request(side=Side.SELL, quantity="4"), Decimal(10), working)
    assert not lowers_exposure(request(side=Side.SELL, quantity="5"), Decimal(10), working)
    assert lowers_exposure(
        request(side=Side.SELL, quantity="10"), Decimal(10), [reservation(BBB, Side.SELL)]
    )
