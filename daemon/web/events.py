"""Server-sent events: the overview whenever it changed, notices as they come."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from daemon.telemetry.hub import Hub, Notice
from daemon.telemetry.metrics import Meters
from domain.clock import Clock
from domain.errors import StateError

_MOST_CLIENTS = 16
_MOST_NOTICES = 32
_LONGEST_SILENCE_SECONDS = 15.0


class EventStreams:
    """Open pages.  A slow one gets the newest state, never a queue of old ones."""

    def __init__(
        self,
        hub: Hub,
        *,
        document: Callable[[], Any],
        clock: Clock,
        pace_seconds: float,
        meters: Meters,
    ) -> None:
        self._hub = hub
        self._document = document
        self._clock = clock
        self._pace = pace_seconds
        self._meters = meters
        self._clients = 0
        self._notices: deque[tuple[int, Notice]] = deque(maxlen=_MOST_NOTICES)
        self._count = 0
        hub.listen(self._hear)

    @property
    def is_full(self) -> bool:
        """True when no more pages are served."""
        return self._clients >= _MOST_CLIENTS

    async def follow(self) -> AsyncIterator[str]:
        """Yield events until the page is closed."""
        self._clients += 1
        self._meters.event_clients.set(self._clients)
        seen = self._count
        try:
            with self._hub.waker() as waker:
                while True:
                    for number, notice in [one for one in self._notices if one[0] > seen]:
                        seen = number
                        yield event("notice", _as_json(notice))
                    yield await self._overview()
                    await self._next(waker)
        finally:
            self._clients -= 1
            self._meters.event_clients.set(self._clients)

    async def _overview(self) -> str:
        try:
            return event("overview", await asyncio.to_thread(self._document))
        except StateError as exc:
            return event("unreadable", {"detail": str(exc)})

    async def _next(self, waker: asyncio.Event) -> None:
        # Many commits belong together: the page is told once, a moment later.
        await self._clock.sleep(self._pace)
        try:
            async with asyncio.timeout(self._pace * _LONGEST_SILENCE_SECONDS):
                await waker.wait()
        except TimeoutError:
            pass
        waker.clear()

    def _hear(self, notice: Notice) -> None:
        self._count += 1
        self._notices.append((self._count, notice))
        self._hub.changed()


def event(name: str, document: Any) -> str:
    """Write one event; JSON has no line breaks, so one data line is enough."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n"


def _as_json(notice: Notice) -> dict[str, Any]:
    return {
        "kind": notice.kind,
        "text": notice.text,
        "symbol": notice.symbol,
        "at": notice.at.isoformat(),
        "urgent": notice.is_urgent,
    }
