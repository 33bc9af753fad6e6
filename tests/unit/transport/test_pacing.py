import asyncio
import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clock import LoopClock
from tests.support.virtual_time import loop_clock, virtual
from transport.pacing import (
    Pacer,
    PacingSettings,
    Priority,
    retry_after_seconds,
    seconds_until_reset,
)

NOW = dt.datetime(2022, 12, 14, 14, 30, tzinfo=dt.UTC)


def a_pacer(clock: LoopClock | None = None, **settings: float) -> Pacer:
    return Pacer(PacingSettings(**settings), clock=clock or loop_clock())  # type: ignore[arg-type]


async def departures(pacer: Pacer, priority: Priority, count: int) -> list[float]:
    """Ask for ``count`` admissions at once; return when each came, on the loop's time."""
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def one() -> None:
        await pacer.admit(priority)
        moments.append(loop.time())

    await asyncio.gather(*(one() for _ in range(count)))
    return moments


def most_in_a_window(moments: list[float], seconds: float = 60) -> int:
    return max(sum(start <= moment <= start + seconds for moment in moments) for start in moments)


@virtual
async def test_five_hundred_orders_never_exceed_the_limit_and_take_little_more_than_it_forces() -> (
    None
):
    moments = await departures(a_pacer(), Priority.ENTRY, 500)

    assert most_in_a_window(moments) <= 200
    # 500 at 200 a minute need two changes of the window: 120 s.
    assert max(moments) <= 122


@virtual
async def test_a30_cancels_find_room_when_reads_have_used_up_theirs() -> None:
    pacer = a_pacer()
    loop = asyncio.get_running_loop()
    reads = asyncio.create_task(departures(pacer, Priority.READ, 1000))
    await asyncio.sleep(1)

    cancels = await departures(pacer, Priority.KILL, 20)

    assert max(cancels) == loop.time() == pytest.approx(1)
    reads.cancel()
    await asyncio.wait([reads])


@virtual
async def test_a30_twenty_a_minute_stay_reserved_minute_after_minute() -> None:
    pacer = a_pacer()
    reads = asyncio.create_task(departures(pacer, Priority.READ, 2000))
    all_cancels: list[float] = []

    for _ in range(5):
        await asyncio.sleep(61)
        before = asyncio.get_running_loop().time()
        cancels = await departures(pacer, Priority.KILL, 20)
        assert max(cancels) == before
        all_cancels += cancels

    assert most_in_a_window(all_cancels) == 20
    reads.cancel()
    await asyncio.wait([reads])


@virtual
async def test_orders_that_reduce_risk_overtake_reads_and_entries_that_came_first() -> None:
    pacer = a_pacer(per_window=3, reserved=0)
    order: list[str] = []

    async def one(name: str, priority: Priority) -> None:
        await pacer.admit(priority)
        order.append(name)

    await departures(pacer, Priority.READ, 3)
    async with asyncio.TaskGroup() as group:
        for name, priority in (
            ("entry 1", Priority.ENTRY),
            ("entry 2", Priority.ENTRY),
            ("read", Priority.READ),
            ("exit 1", Priority.REDUCE),
            ("exit 2", Priority.REDUCE),
            ("cancel", Priority.KILL),
        ):
            group.create_task(one(name, priority))
            await asyncio.sleep(0.1)

    assert order == ["cancel", "exit 1", "exit 2", "read", "entry 1", "entry 2"]


@virtual
async def test_giving_up_while_waiting_leaves_the_place_to_the_next() -> None:
    pacer = a_pacer(per_window=2, reserved=0)
    await departures(pacer, Priority.READ, 2)
    waiting = [asyncio.create_task(pacer.admit(Priority.READ)) for _ in range(4)]
    await asyncio.sleep(1)

    waiting[0].cancel()
    waiting[2].cancel()
    await asyncio.wait(waiting)

    assert [task.cancelled() for task in waiting] == [True, False, True, False]


@virtual
async def test_a07_a_hold_stops_everybody_but_the_kill_switch() -> None:
    pacer = a_pacer()
    loop = asyncio.get_running_loop()

    pacer.hold(7)
    cancels = await departures(pacer, Priority.KILL, 3)
    orders = await departures(pacer, Priority.REDUCE, 3)

    assert max(cancels) == 0
    assert min(orders) == 7 == loop.time()


@virtual
async def test_a09_a_hold_is_never_longer_than_a_minute() -> None:
    pacer = a_pacer()
    pacer.hold(10**9)
    pacer.hold(-5)

    assert await departures(pacer, Priority.READ, 1) == [60]


@virtual
async def test_the_limit_is_read_from_the_headers() -> None:
    pacer = a_pacer()

    pacer.observe({"x-ratelimit-limit": "50"})
    moments = await departures(pacer, Priority.READ, 60)

    assert pacer.limit == 50
    assert most_in_a_window(moments) == 30  # 20 of 50 stay reserved


@virtual
async def test_room_used_up_by_another_program_is_respected_until_the_reset() -> None:
    clock = loop_clock()
    pacer = a_pacer(clock)
    reset = int(clock.now().timestamp()) + 30

    pacer.observe(
        {
            "x-ratelimit-limit": "200",
            "x-ratelimit-remaining": "25",
            "x-ratelimit-reset": str(reset),
        }
    )
    reads = await departures(pacer, Priority.READ, 10)
    cancels = await departures(pacer, Priority.KILL, 5)

    assert [moment for moment in reads if moment == 0] == [0] * 5
    assert min(moment for moment in reads if moment > 0) == 30
    assert max(cancels) == 30


@virtual
async def test_replies_that_overtake_each_other_do_not_give_room_back() -> None:
    clock = loop_clock()
    pacer = a_pacer(clock)
    reset = str(int(clock.now().timestamp()) + 30)
    for remaining in ("21", "90"):
        pacer.observe({"x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset})

    assert await departures(pacer, Priority.READ, 2) == [0, 30]


@virtual
async def test_a_window_that_begins_before_our_clock_says_so_has_its_own_room() -> None:
    clock = loop_clock()
    pacer = a_pacer(clock)

    def told(remaining: int, reset_in: float) -> dict[str, str]:
        reset = clock.now().timestamp() + reset_in
        return {"x-ratelimit-remaining": str(remaining), "x-ratelimit-reset": f"{reset:.0f}"}

    # The broker's clock is two seconds ahead of ours: its window ends in 10, not in 12.
    pacer.observe(told(25, reset_in=12))
    await asyncio.sleep(10.5)
    pacer.observe(told(199, reset_in=59))
    pacer.observe(told(24, reset_in=1.5))

    moments = await departures(pacer, Priority.ENTRY, 50)

    assert max(moments) - min(moments) < 1


@virtual
async def test_a_tiny_limit_still_lets_something_through() -> None:
    pacer = a_pacer()
    pacer.observe({"x-ratelimit-limit": "5", "x-ratelimit-remaining": "5"})

    moments = await departures(pacer, Priority.READ, 2)

    assert moments[0] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-limit": "zero", "x-ratelimit-remaining": "-1"},
        {"x-ratelimit-limit": "0"},
        {"x-ratelimit-limit": "9" * 40},
        {},
    ],
)
@virtual
async def test_nonsense_in_the_headers_changes_nothing(headers: dict[str, str]) -> None:
    pacer = a_pacer()

    pacer.observe(headers)

    assert pacer.limit == 200
    assert max(await departures(pacer, Priority.READ, 180)) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("-1", 0),
        ("61", 60),
        ("1000000000", 60),
        ("Wed, 14 Dec 2022 14:30:30 GMT", 30),
        ("Wed, 14 Dec 2022 13:00:00 GMT", 0),
        ("Wed, 14 Dec 2032 13:00:00 GMT", 60),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("7 seconds", None),
        ("\u0667", None),
        ("Wed, 99 Dec 2022 14:30:30 GMT", None),
    ],
)
def test_a09_retry_after_is_clamped_and_malformed_is_absent(
    text: str, seconds: float | None
) -> None:
    assert retry_after_seconds(text, now=NOW) == seconds


@given(text=st.one_of(st.text(), st.integers().map(str), st.floats().map(str)))
def test_a09_no_retry_after_can_break_out_of_its_bounds(text: str) -> None:
    seconds = retry_after_seconds(text, now=NOW)

    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= 60)


@given(text=st.one_of(st.text(), st.integers().map(str), st.floats().map(str)))
def test_a09_no_reset_header_can_break_out_of_its_bounds(text: str) -> None:
    seconds = seconds_until_reset({"x-ratelimit-reset": text}, now=NOW)

    assert seconds is None or 0 <= seconds <= 60


def test_no_retry_after_means_none() -> None:
    assert retry_after_seconds(None, now=NOW) is None
