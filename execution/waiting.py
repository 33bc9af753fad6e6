"""Waiting and doing things side by side, bounded: shared by the order path and kill."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

LONGEST_RETRY_AFTER_SECONDS = 60.0
_SHORTEST_RETRY_AFTER_SECONDS = 1.0

Item = TypeVar("Item")


def doubling(first: float, longest: float) -> Iterator[float]:
    """Yield ``first``, twice that, and so on up to ``longest``, without end; seconds."""
    delay = first
    while True:
        yield min(delay, longest)
        delay = min(delay * 2, longest)


def retry_after(seconds: float) -> float:
    """Put a server's wish for a pause into [1, 60] seconds; nonsense counts as 1."""
    if not math.isfinite(seconds):
        return _SHORTEST_RETRY_AFTER_SECONDS
    return min(max(seconds, _SHORTEST_RETRY_AFTER_SECONDS), LONGEST_RETRY_AFTER_SECONDS)


async def each(
    items: Sequence[Item], work: Callable[[Item], Awaitable[None]], *, at_most: int
) -> None:
    """Do ``work`` on every item, in order of start, at most ``at_most`` at a time.

    The first error cancels the rest and comes out by itself; no task outlives this call.
    """
    queue = iter(items)

    async def drain() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_most, len(items))):
                group.create_task(drain())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
