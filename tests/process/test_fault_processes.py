"""What the broker's answers and its stream can do wrong, one fault an order, over sockets.

Each world strikes several orders of one run at once; afterwards the books must show what
the exchange holds, and no order may have been taken twice.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.processes import World, wait_for

Open = Callable[..., World]

PACE = {"start": "2022-11-14T09:24:00", "speed": 60}


def lived(world: World) -> dict[str, int]:
    """Live until every order has an end and the books agree; return requests by order."""
    daemon = world.daemon()
    daemon.wait_event("orders.sent")
    wait_for("no doubt", lambda: world.doubts() == [] and world.working() == [])
    world.wait_for_agreement()
    assert daemon.terminate() == 0
    assert_only_absent_orders_were_given_up(world)
    return Counter(post["client_order_id"].split("-")[2] for post in world.posts())


def assert_only_absent_orders_were_given_up(world: World) -> None:
    """On a slow machine the proof of absence comes after the entry window has closed."""
    with world.reader() as reader:
        orders = reader.orders()
    given_up = {order["client_order_id"] for order in orders if order["state"] == "abandoned"}
    assert not given_up & set(world.truth()["orders"])


def open_with(open_world: Open, *faults: str) -> World:
    world = open_world(**PACE, faults=faults)
    world.be_impatient()
    return world


def test_a01_a02_a10_a20_answers_that_never_come_neither_double_nor_lose_an_order(
    open_world: Open,
) -> None:
    world = open_with(
        open_world,
        "refuse_before_accept:match=AAPL,mode=hang",
        "lose_answer:match=AMZN,mode=hang",
        "refuse_before_accept:match=GOOG,mode=500",
        "lose_answer:match=NFLX,mode=502",
    )

    requests = lived(world)

    assert requests["AMZN"] == requests["NFLX"] == 1
    assert {"AMZN", "NFLX"} <= set(world.truth()["positions"])


def test_a11_a16_a17_a24_answers_that_cannot_be_read_are_doubt_and_one_request(
    open_world: Open,
) -> None:
    world = open_with(
        open_world,
        "lose_answer:match=AAPL,mode=504",
        "truncated_json:match=AMZN,method=POST,path=/v2/orders",
        "html_200:match=GOOG,method=POST,path=/v2/orders",
        "crossed_answer:match=NFLX",
    )

    requests = lived(world)

    assert set(requests.values()) == {1}
    assert len(world.truth()["positions"]) == 4


def test_a07_a09_a22_a23_refusals_for_now_are_sent_again_with_the_same_id(
    open_world: Open,
) -> None:
    world = open_with(
        open_world,
        "rate_limit:match=AAPL,method=POST,seconds=7",
        "rate_limit:match=AMZN,method=POST,seconds=-1",
        "redirect:match=GOOG,method=POST",
        "refuse_before_accept:match=NFLX,mode=reset",
    )

    lived(world)

    posts = world.posts()
    for symbol in ("AAPL", "AMZN"):
        ids = {p["client_order_id"] for p in posts if symbol in p["client_order_id"]}
        assert len(ids) == 1
    assert {"AAPL", "AMZN"} <= set(world.truth()["positions"])


def test_a04_a05_a26_a32_orders_seen_late_twice_or_strangely_are_one_order(
    open_world: Open,
) -> None:
    world = open_with(
        open_world,
        "delay_visibility:match=AAPL,seconds=20",
        "lose_answer:match=AAPL,mode=reset",
        "deliver_late:match=AMZN,seconds=30",
        "unknown_status:match=GOOG,count=2",
        "regress:match=NFLX,count=1",
    )

    lived(world)

    assert "AAPL" in world.truth()["positions"]


def test_b06_an_order_rejected_by_the_market_ends_and_the_others_go_on(
    open_world: Open,
) -> None:
    world = open_with(open_world, "reject_after_accept:match=GOOG")

    lived(world)

    with world.reader() as reader:
        states = {order["symbol"]: order["state"] for order in reader.orders()}
    assert states["GOOG"] == "rejected"
    assert "GOOG" not in world.truth()["positions"]
    assert {"AAPL", "AMZN", "NFLX"} <= set(world.truth()["positions"])


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(
            ("lose_event:fill=1", "duplicate_event:event=3,count=3", "unknown_event:event=2"),
            id="c03_c05_c08",
        ),
        pytest.param(("reorder:event=1", "garbage_frame:event=4"), id="c04_c06"),
        pytest.param(("drop_stream:fill=1,seconds=60",), id="c01_c02"),
        pytest.param(("mute_stream",), id="c07"),
        pytest.param(("refuse_stream:count=2",), id="c10"),
    ],
)
def test_b01_b12_whatever_the_stream_does_every_execution_is_booked_once(
    open_world: Open, faults: tuple[str, ...]
) -> None:
    world = open_with(open_world, *faults)

    lived(world)

    assert len(world.truth()["positions"]) == 4
