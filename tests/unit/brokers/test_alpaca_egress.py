"""The count at the wire: what may leave, what is refused once, and what ends the process."""

import datetime as dt
import json
from typing import NoReturn

import pytest

from brokers.alpaca_egress import EgressBounds, EgressCounter
from domain.clock import ManualClock
from domain.errors import SendRefused

ORDERS = "/v2/orders"


class Aborted(Exception):
    """Stands for the end of the process."""


class Wire:
    """A counter, its latch and its clock."""

    def __init__(self, *, orders_per_day: int = 3) -> None:
        self.is_latched = False
        self.clock = ManualClock(dt.datetime(2022, 11, 14, 14, 30, tzinfo=dt.UTC))
        self.counter = EgressCounter(
            EgressBounds(orders_per_day=orders_per_day),
            is_latched=lambda: self.is_latched,
            clock=self.clock,
            abort=self.abort,
        )

    def abort(self, reason: str) -> NoReturn:
        raise Aborted(reason)

    def order(self, order_id: str = "ob-1", **fields: str) -> None:
        body = {"client_order_id": order_id, "type": "limit", **fields}
        self.counter("POST", ORDERS, json.dumps(body).encode())


def test_k15_the_first_order_at_an_engaged_latch_is_refused_and_the_second_ends_the_process() -> (
    None
):
    wire = Wire()
    wire.order()
    wire.is_latched = True

    with pytest.raises(SendRefused, match="a moment ago"):
        wire.order("ob-2")
    with pytest.raises(Aborted, match="kill latch is engaged"):
        wire.order("ob-3")


def test_k15_an_order_after_a_cancel_that_saw_the_latch_ends_the_process() -> None:
    wire = Wire()
    wire.is_latched = True

    wire.counter("DELETE", f"{ORDERS}/1", None)

    with pytest.raises(Aborted):
        wire.order()


def test_after_a_resume_orders_leave_again() -> None:
    wire = Wire()
    wire.is_latched = True
    wire.counter("DELETE", f"{ORDERS}/1", None)
    wire.is_latched = False

    wire.order()


def test_k09_cancels_the_lock_and_closing_orders_leave_at_an_engaged_latch() -> None:
    wire = Wire()
    wire.is_latched = True

    for _ in range(200):
        wire.counter("GET", "/v2/account", None)
        wire.counter("DELETE", f"{ORDERS}/1", None)
        wire.counter("PATCH", "/v2/account/configurations", b'{"suspend_trade": true}')
        wire.order("ob-20221114-AAPL-flatten-0-123", type="market")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", ORDERS, b'{"client_order_id": "ob-AAPL-flatten-0", "type": "limit"}'),
        ("POST", ORDERS, b"not json"),
        ("POST", ORDERS, b"[]"),
        ("POST", ORDERS, None),
        ("PATCH", f"{ORDERS}/1", b'{"qty": "5"}'),
        ("POST", "/v3/unheard-of", b"{}"),
        ("PUT", "/v2/account/configurations", b"{}"),
    ],
)
def test_whatever_is_not_known_to_lower_risk_does_not_leave_at_an_engaged_latch(
    method: str, path: str, body: bytes | None
) -> None:
    wire = Wire()
    wire.is_latched = True

    with pytest.raises(SendRefused):
        wire.counter(method, path, body)


def test_more_different_orders_in_a_day_than_allowed_end_the_process() -> None:
    wire = Wire(orders_per_day=3)
    for number in (1, 2, 3, 3, 2, 1):
        wire.order(f"ob-{number}")

    with pytest.raises(Aborted, match="3 different orders in a day"):
        wire.order("ob-4")


def test_a_new_day_begins_a_new_count() -> None:
    wire = Wire(orders_per_day=3)
    for day in range(3):
        for number in range(3):
            wire.order(f"ob-{day}-{number}")
        wire.clock.advance(dt.timedelta(days=1))


def test_one_order_sent_again_and_again_ends_the_process() -> None:
    wire = Wire()
    for _ in range(16):
        wire.order()
        wire.clock.advance(dt.timedelta(minutes=1))

    with pytest.raises(Aborted, match="more than 16 times"):
        wire.order()


def test_a_burst_ends_the_process() -> None:
    wire = Wire(orders_per_day=30)
    for number in range(120):
        wire.order(f"ob-{number % 30}")

    with pytest.raises(Aborted, match="120 order requests in a minute"):
        wire.order("ob-1")


def test_the_same_number_in_a_longer_time_is_fine() -> None:
    wire = Wire(orders_per_day=30)
    for number in range(300):
        wire.order(f"ob-{number % 30}")
        wire.clock.advance(dt.timedelta(seconds=1))
