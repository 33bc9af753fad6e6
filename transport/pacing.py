"""Pacing: stay under a request limit, the urgent first.

The server counts in windows whose edge we do not know, so this allows at most the limit
in *any* such window: no burst can straddle an edge.  A part is reserved for what must
always go through, and its callers never queue behind others.
"""

import asyncio
import datetime as dt
import heapq
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import IntEnum, unique

from domain.clock import Clock

LONGEST_RETRY_AFTER_SECONDS = 60.0
# A reset is told in whole seconds, and replies take different times to come.
_RESET_GRAIN_SECONDS = 2.0
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")


@unique
class Priority(IntEnum):
    """Who goes first when there is not room for all; lower is more urgent."""

    KILL = 0  # cancels, the kill switch and its reads: may use the reserve
    REDUCE = 1  # orders that lower exposure
    READ = 2
    ENTRY = 3  # orders that raise exposure


@dataclass(frozen=True, slots=True, kw_only=True)
class PacingSettings:
    """The limit before the server has told its own.

    ``margin_seconds`` widens the window, for requests that travel at different speeds.
    """

    per_window: int = 200
    window_seconds: float = 60.0
    reserved: int = 20
    margin_seconds: float = 0.5


@dataclass(order=True, slots=True)
class _Ticket:
    priority: int
    number: int
    turn: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class Pacer:
    """Admits requests; one instance per account and process."""

    def __init__(self, settings: PacingSettings, *, clock: Clock) -> None:
        self._clock = clock
        self._limit = settings.per_window
        self._reserved = settings.reserved
        self._span = settings.window_seconds + settings.margin_seconds
        self._sent: deque[float] = deque()
        self._hold_until = 0.0
        self._server_room: int | None = None
        self._server_reset_at = 0.0
        self._queue: list[_Ticket] = []
        self._tickets = 0

    @property
    def limit(self) -> int:
        """Requests allowed in a window, as last told by the server."""
        return self._limit

    async def admit(self, priority: Priority) -> None:
        """Wait until a request of this priority may go."""
        if not self._is_ahead(priority) or self._delay(priority) > 0:
            await self._queue_up(priority)
        self._sent.append(self._clock.monotonic())
        if self._server_room is not None:
            self._server_room -= 1

    def hold(self, seconds: float) -> None:
        """Admit nobody but KILL for ``seconds``: the server asked for it."""
        until = self._clock.monotonic() + min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
        self._hold_until = max(self._hold_until, until)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Learn from X-RateLimit-Limit, -Remaining and -Reset; others may use the account too."""
        limit = _count(headers.get("x-ratelimit-limit"))
        remaining = _count(headers.get("x-ratelimit-remaining"))
        if limit is not None and limit > 0:
            self._limit = limit
        if remaining is None:
            return
        wait = seconds_until_reset(headers, now=self._clock.now())
        now = self._clock.monotonic()
        reset_at = now + (LONGEST_RETRY_AFTER_SECONDS if wait is None else wait)
        if self._server_room is not None and now < self._server_reset_at:
            later = 0.0 if wait is None else reset_at - self._server_reset_at
            if later < -_RESET_GRAIN_SECONDS:
                return
            # Replies overtake each other; within a window the room only shrinks.  Where our clock
            # is behind, the next one begins before the end of this one by our count.
            if later <= _RESET_GRAIN_SECONDS:
                remaining = min(remaining, self._server_room)
        self._server_room = remaining
        self._server_reset_at = reset_at

    async def _queue_up(self, priority: Priority) -> None:
        self._tickets += 1
        ticket = _Ticket(int(priority), self._tickets)
        heapq.heappush(self._queue, ticket)
        try:
            while True:
                if self._queue[0] is not ticket:
                    ticket.turn.clear()
                    await ticket.turn.wait()
                elif (delay := self._delay(priority)) > 0:
                    # Only the first in line watches the clock.
                    await self._clock.sleep(delay)
                else:
                    return
        finally:
            self._queue.remove(ticket)
            heapq.heapify(self._queue)
            if self._queue:
                self._queue[0].turn.set()

    def _is_ahead(self, priority: Priority) -> bool:
        return not self._queue or int(priority) < self._queue[0].priority

    def _delay(self, priority: Priority) -> float:
        now = self._clock.monotonic()
        while self._sent and self._sent[0] <= now - self._span:
            self._sent.popleft()
        is_urgent = priority is Priority.KILL
        room = self._limit if is_urgent else max(1, self._limit - self._reserved)
        wait = 0.0 if is_urgent else self._hold_until - now
        if len(self._sent) >= room:
            wait = max(wait, self._sent[len(self._sent) - room] + self._span - now)
        return max(wait, 0.0 if is_urgent else self._server_wait(now))

    def _server_wait(self, now: float) -> float:
        if self._server_room is None:
            return 0.0
        if now >= self._server_reset_at:
            self._server_room = None
            return 0.0
        reserve = min(self._reserved, self._limit - 1)
        return self._server_reset_at - now if self._server_room <= reserve else 0.0


def retry_after_seconds(text: str | None, *, now: dt.datetime) -> float | None:
    """Read a Retry-After header: seconds or an HTTP date, held to [0, 60]; None if malformed."""
    if text is None:
        return None
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _clamped(float(text))
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    return _clamped((moment - now).total_seconds())


def seconds_until_reset(headers: Mapping[str, str], *, now: dt.datetime) -> float | None:
    """Read X-RateLimit-Reset (epoch seconds), as a wait held to [0, 60]; None if malformed."""
    text = headers.get("x-ratelimit-reset", "").strip()
    if not _NUMBER.fullmatch(text):
        return None
    return _clamped(float(text) - now.timestamp())


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text.strip()) else None
