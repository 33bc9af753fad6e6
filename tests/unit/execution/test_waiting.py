"""Bounded concurrency and pauses."""

import asyncio
import itertools
import math

import pytest

from execution.waiting import doubling, each, retry_after
from tests.support.virtual_time import virtual


def test_pauses_double_up_to_the_longest() -> None:
    assert list(itertools.islice(doubling(1, 5), 5)) == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(
    ("told", "waited"), [(7, 7), (0, 1), (-1, 1), (1e9, 60), (math.nan, 1), (math.inf, 1)]
)
def test_retry_after_is_put_into_one_to_sixty_seconds(told: float, waited: float) -> None:
    assert retry_after(told) == waited


@virtual
async def test_each_starts_in_order_and_bounds_what_runs_at_once() -> None:
    started: list[int] = []
    running = [0, 0]

    async def work(item: int) -> None:
        started.append(item)
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(1)
        running[0] -= 1

    await each(range(7), work, at_most=3)

    assert started == list(range(7))
    assert running == [0, 3]


@virtual
async def test_each_lets_the_first_error_out_and_leaves_no_task_behind() -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        if item == 1:
            raise ValueError("second")
        await asyncio.sleep(1)
        done.append(item)

    with pytest.raises(ValueError, match="second"):
        await each(range(5), work, at_most=2)

    assert done == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
