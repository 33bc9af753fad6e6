"""What Alpaca's three streams have in common: settings, and staying connected.

The SDK connects, authenticates and subscribes; reading and reconnecting are ours.  The
SDK itself is imported only where a stream is opened: it takes half a second.
"""

import asyncio
import importlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

from domain.clock import Clock
from domain.errors import DataError, OpenbellError

LONGEST_SHOWN = 200
FRAMES_PER_TURN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """Where a stream is and how it is watched; seconds are real seconds.

    ``ping_interval_seconds`` None sends no pings, for a replay whose hours take seconds;
    ``silence_seconds`` without any frame is a dead connection, None waits for ever;
    ``time_scale`` is the number of loop seconds in one real second.
    """

    url: str
    ping_interval_seconds: float | None = 10.0
    ping_timeout_seconds: float | None = 20.0
    silence_seconds: float | None = None
    ready_seconds: float = 15.0
    close_seconds: float = 1.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0
    refused_pause_seconds: float = 60.0
    frame_cap_bytes: int = 1024 * 1024
    most_bad_frames: int = 5
    time_scale: float = 1.0


class Dropped(Exception):
    """The connection cannot be used any longer; the text says why."""

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.is_refused = is_refused


class Refused(Dropped):
    """The server refused the keys."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, is_refused=True)


class BadFrames:
    """Counts frames that cannot be read; too many in a row are a dead connection."""

    def __init__(self, most: int, on_unreadable: Callable[[str], None]) -> None:
        self._most = most
        self._on_unreadable = on_unreadable
        self._count = 0

    def good(self) -> None:
        """Forget the bad ones: this frame could be read."""
        self._count = 0

    def bad(self, why: DataError) -> None:
        """Tell of a frame that cannot be read.

        Raises:
            Dropped: it was one too many.
        """
        self._count += 1
        self._on_unreadable(str(why)[:LONGEST_SHOWN])
        if self._count >= self._most:
            raise Dropped(f"{self._count} unreadable frames in a row") from why


class Connections:
    """One connection after the other, with back-off between them."""

    def __init__(self, settings: StreamSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._jitter = random.Random(0)  # noqa: S311 - spreads reconnects, guards nothing

    async def keep(
        self, live: Callable[[], Awaitable[tuple[Dropped, bool]]], on_lost: Callable[[str], None]
    ) -> NoReturn:
        """Stay connected until cancelled; ``live`` tells why it ended and if it was ready.

        Raises:
            ConfigError: the SDK is not the one that this was written for.
        """
        failures = 0
        while True:
            try:
                end, was_ready = await live()
            except OpenbellError:
                raise
            except Exception as exc:  # noqa: BLE001 - a bug in one connection must not deafen us
                end, was_ready = Dropped(repr(exc)[:LONGEST_SHOWN]), False
            on_lost(str(end))
            failures = 1 if was_ready else failures + 1
            await self._clock.sleep(self._pause(failures, is_refused=end.is_refused))

    def _pause(self, failures: int, *, is_refused: bool) -> float:
        settings = self._settings
        ceiling = settings.first_pause_seconds * 2.0 ** min(failures - 1, 16)
        pause = min(ceiling, settings.longest_pause_seconds)
        if is_refused:
            pause = max(pause, settings.refused_pause_seconds)
        return pause * self._jitter.uniform(0.5, 1.0)


async def load(module: str) -> None:
    """Import a module that brings the SDK; in a thread, the event loop has not got the time."""
    await asyncio.to_thread(importlib.import_module, module)


async def ended(
    life: Awaitable[NoReturn], shut: Callable[[], Awaitable[None]], silence: Callable[[], str]
) -> Dropped:
    """Live one connection to its end; return why it ended.

    Args:
        life: reads until something is wrong.
        shut: closes the socket.
        silence: says what a deadline that passed means at that moment.
    """
    from websockets.exceptions import WebSocketException  # noqa: PLC0415

    try:
        await life
    except Dropped as end:
        return end
    except TimeoutError:
        return Dropped(silence())
    except (OSError, WebSocketException) as exc:
        return Dropped(f"{type(exc).__name__}: {exc}"[:LONGEST_SHOWN])
    finally:
        await shut()
