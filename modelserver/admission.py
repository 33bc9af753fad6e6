"""Who may come in: so many requests at once, and none while the server goes down."""

import asyncio
import contextlib
import math
from collections.abc import Iterator

from modelserver.metrics import ServerMetrics
from modelserver.refusals import busy, unavailable

_LONGEST_RETRY_SECONDS = 30
_MEMORY = 0.8


class Admission:
    """Counts the inference requests in the house, from their heads to their answers."""

    def __init__(self, *, capacity: int, metrics: ServerMetrics) -> None:
        self._capacity = capacity
        self._metrics = metrics
        self._count = 0
        self._is_draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._typical_seconds = 0.0

    @property
    def is_draining(self) -> bool:
        """True once the server goes down."""
        return self._is_draining

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place for the length of the block.

        Raises:
            InferenceRefused: no place is free, or the server goes down.
        """
        if self._is_draining:
            raise unavailable("the server is going down")
        if self._count >= self._capacity:
            raise busy(
                f"{self._count} requests are waiting already, as many as may", self._retry_after()
            )
        self._count += 1
        self._empty.clear()
        self._metrics.in_house.set(self._count)
        try:
            yield
        finally:
            self._count -= 1
            self._metrics.in_house.set(self._count)
            if not self._count:
                self._empty.set()

    def note(self, seconds: float) -> None:
        """Remember how long an answer took, to tell others when to come back."""
        self._typical_seconds = _MEMORY * self._typical_seconds + (1 - _MEMORY) * seconds

    async def drain(self, seconds: float) -> bool:
        """Let nobody in and wait for those inside; false when some are left."""
        self._is_draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _retry_after(self) -> int:
        # A request spends its time in the whole line; half of it is free after half of that.
        return min(_LONGEST_RETRY_SECONDS, max(1, math.ceil(self._typical_seconds / 2)))
