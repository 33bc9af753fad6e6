"""SIGKILL at random moments of trading days, over sockets: every execution once, no order twice.

A few cycles run always; `make test ARGS='-m slow'` runs 200, and
`OPENBELL_CRASH_CYCLES=1000` as many as wanted.
"""

import datetime as dt
import os
import random
import time
from collections.abc import Callable

import pytest

from tests.support.processes import Process, World, wait_for

Open = Callable[..., World]

SPEED = 60
FAULTS = (
    "lose_answer:order=2,mode=reset",
    "lose_answer:order=7,mode=504",
    "drop_stream:fill=3,seconds=60",
    "duplicate_event:event=5,count=2",
    "deliver_late:order=11,seconds=40",
)


def crash(world: World, source: random.Random) -> str:
    """Let a daemon live for a random while, from its first breath to after the fills; kill it."""
    daemon = world.daemon()
    moment = source.choice(["boot", "started", "decided", "posted", "filled", "later"])
    if moment != "boot":
        _reach(world, daemon, moment)
    time.sleep(source.uniform(0, 2.5 if moment == "boot" else 0.3))
    daemon.kill()
    return moment


def _reach(world: World, daemon: Process, moment: str) -> None:
    posts, executions = len(world.posts()), len(world.truth()["executions"])
    looks: dict[str, Callable[[], bool]] = {
        "started": lambda: bool(daemon.events()),
        "decided": lambda: any(e["event"] == "decision.made" for e in daemon.events()),
        "posted": lambda: len(world.posts()) > posts,
        "filled": lambda: len(world.truth()["executions"]) > executions,
        "later": lambda: any(e["event"] == "orders.sent" for e in daemon.events()),
    }
    deadline = time.monotonic() + 5
    # What does not come any more on this day is no reason to wait for it.
    while not looks[moment]() and time.monotonic() < deadline and daemon.child.poll() is None:
        time.sleep(0.01)


def next_morning(world: World) -> None:
    """Move the market to shortly before the next open that falls on a weekday."""
    now = dt.datetime.fromisoformat(world.truth()["now"])
    day = now + dt.timedelta(days=1)
    while day.weekday() > 4:
        day += dt.timedelta(days=1)
    moment = day.replace(hour=14, minute=27, second=0, microsecond=0)
    world.order_up("clock", to=moment.isoformat())


def live_through(world: World, cycles: int, seed: int) -> None:
    source = random.Random(seed)
    told = []
    for cycle in range(cycles):
        if cycle and source.random() < 0.5:
            next_morning(world)
        told.append(crash(world, source))
    survivor = world.daemon()
    survivor.wait_event("account.read")
    wait_for("no doubt", lambda: world.doubts() == [])
    try:
        world.wait_for_agreement()
    except AssertionError as exc:
        raise AssertionError(f"seed {seed}, crashes {told}: {exc}") from None
    assert survivor.terminate() == 0
    assert_one_entry_a_day(world)


def assert_one_entry_a_day(world: World) -> None:
    """An intent is a session, a symbol and a leg: the exchange has one order of each."""
    parts = [order_id.split("-")[:5] for order_id in world.truth()["orders"]]
    assert len({tuple(part) for part in parts}) == len(parts), sorted(world.truth()["orders"])


@pytest.mark.parametrize("seed", [1, 2])
def test_d01_d02_sigkill_at_random_moments_of_a_day_loses_and_doubles_nothing(
    open_world: Open, seed: int
) -> None:
    world = open_world(start="2022-11-14T09:26:00", speed=SPEED, faults=FAULTS)

    live_through(world, cycles=3, seed=seed)


@pytest.mark.slow
def test_d01_d02_sigkill_200_times_loses_and_doubles_nothing(open_world: Open) -> None:
    cycles = int(os.environ.get("OPENBELL_CRASH_CYCLES", "200"))
    world = open_world(start="2022-11-14T09:26:00", speed=SPEED, faults=FAULTS)

    live_through(world, cycles=cycles, seed=cycles)

    assert len(world.truth()["executions"]) > cycles / 10
