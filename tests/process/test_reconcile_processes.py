"""`openbell reconcile` by a person, against a broker that shows something else than our books."""

import datetime as dt
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal

from domain.clock import SystemClock
from state.reports import Reports
from state.store import Store
from tests.support.processes import World

Open = Callable[..., World]


def test_a_break_locks_is_told_and_ends_by_adoption_and_the_way_back(
    open_world: Open,
) -> None:
    # Long before the open: nothing moves but what we move.
    world = open_world(start="2022-11-14T06:00:00", speed=1)
    held = {"AAPL", "AMZN"}
    for symbol in sorted(held):
        order = {"symbol": symbol, "qty": "3", "side": "buy", "client_order_id": f"hand-{symbol}"}
        world.order_up("hand-trades", **order, type="limit", limit_price="50")
        world.order_up("hand-fills", client_order_id=f"hand-{symbol}", qty="3", price="50")
    equal = world.read("reconcile")
    assert equal["equal"] is True

    world.arm("short_page:path=/v2/positions,count=0")
    broken = world.read("reconcile")

    assert broken["equal"] is False
    [lost] = {found["symbol"] for found in broken["breaks"] if found["symbol"]}
    assert broken["locked"] == [lost]
    with world.reader() as reader:
        status = reader.status()
    assert status["locked_symbols"] == [lost]
    assert "shares" in status["lock_reasons"][lost]

    adopted = world.read("reconcile", "--adopt")

    assert adopted["equal"] is True
    assert adopted["unlocked"] == [lost]
    with world.reader() as reader:
        assert {row["symbol"] for row in reader.positions()} == held - {lost}
        assert reader.status()["locked_symbols"] == []
        told = [row["text"] for row in reader.incidents() if row["kind"] == "position.adopted"]
    assert told == [f"{lost}: -3 shares adopted: adopted by the operator"]

    # The broker was wrong after all: the same command takes the holding back.
    world.order_up("faults", clear=True)
    assert world.read("reconcile", "--adopt")["equal"] is True
    assert world.violations() == []


def test_an_adoption_beyond_a_limit_says_what_stays_locked(open_world: Open) -> None:
    world = open_world(start="2022-11-14T06:00:00", speed=1)
    order = {"symbol": "AAPL", "qty": "300", "side": "buy", "client_order_id": "by-hand"}
    world.order_up("hand-trades", **order, type="limit", limit_price="50")
    world.order_up("hand-fills", client_order_id="by-hand", qty="300", price="50")
    world.arm("short_page:path=/v2/positions,count=0")
    assert world.read("reconcile", "--adopt")["equal"] is True
    world.order_up("faults", clear=True)

    told = world.openbell("reconcile", "--adopt")

    assert told.returncode == 0, told.stderr
    text = " ".join(told.stdout.split())
    assert "Our books and the broker's agree." in text
    assert "AAPL takes exits only: limit: position is 11.55 % of equity" in text


def test_a_person_accepts_the_report_that_entries_wait_for(open_world: Open) -> None:
    world = open_world(start="2022-11-14T06:00:00", speed=1)
    assert world.read("reconcile")["report_unbalanced"] is None
    clock = SystemClock()
    with closing(Store.open(world.state, clock=clock)) as store:
        Reports(store).record(
            dt.date(2022, 11, 11),
            is_reconciled=False,
            residual=Decimal("-5.13"),
            digest="aa",
            at=clock.now(),
        )
    waiting = {"session_date": "2022-11-11", "residual": "-5.13"}

    status = " ".join(world.openbell("status").stdout.split())
    looked = world.openbell("reconcile")
    seen = world.read("reconcile")

    assert "REDUCING: the report of 2022-11-11 is NOT RECONCILED" in status
    assert "openbell reconcile --adopt" in " ".join(looked.stdout.split())
    assert (seen["report_unbalanced"], seen["report_accepted"]) == (waiting, None)

    accepted = world.read("reconcile", "--adopt")

    assert (accepted["report_unbalanced"], accepted["report_accepted"]) == (None, waiting)
    with world.reader() as reader:
        assert reader.status()["trading_state"] == "ACTIVE"
        assert "report.accepted" in {row["kind"] for row in reader.incidents()}
