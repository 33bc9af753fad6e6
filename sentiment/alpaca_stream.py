"""Alpaca's news as it is published, for what acts within the day.

The stream replays nothing, so whenever it is ready again the archive is asked for what
was missed.  A story is told once for each of its revisions, whichever way it comes.
"""

import asyncio
import collections
import datetime as dt
import importlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import msgpack  # type: ignore[import-untyped]

from domain.clock import Clock
from domain.errors import DataError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.secrets import Secret
from sentiment.alpaca_parsing import item_of, updated_at
from sentiment.base import NewsSource

if TYPE_CHECKING:
    from sentiment.alpaca_socket import HardenedNews

_REFUSALS = frozenset({401, 402, 405, 406, 409, 410, 411})
_LONGEST_SHOWN = 200
_MOST_MESSAGES = 1_000
_MOST_REMEMBERED = 20_000
# What was published just before the connection broke may not have been sent any more.
_OVERLAP = dt.timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsStreamSettings:
    """Where the stream is and how it is watched; seconds are real seconds.

    News are sparse, so silence says nothing; the pings tell a dead connection.
    ``first_look_back`` is what the archive is asked for at the first start.
    """

    url: str = "wss://stream.data.alpaca.markets/v1beta1/news"
    ping_interval_seconds: float | None = 10.0
    ready_seconds: float = 15.0
    close_seconds: float = 1.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0
    refused_pause_seconds: float = 60.0
    first_look_back: dt.timedelta = dt.timedelta(hours=24)
    frame_cap_bytes: int = 1024 * 1024
    most_bad_frames: int = 5
    time_scale: float = 1.0


class _Dropped(Exception):
    """The connection cannot be used any longer; the text says why."""


class SeenNews:
    """Which revision of each story was told; the oldest are forgotten first."""

    def __init__(self, most: int = _MOST_REMEMBERED) -> None:
        self._most = most
        self._told: collections.OrderedDict[str, tuple[NewsItem, dt.datetime | None]] = (
            collections.OrderedDict()
        )

    def is_new(self, item: NewsItem, revised_at: dt.datetime | None) -> bool:
        """Tell whether to pass it on, and remember it; the archive gives no ``revised_at``."""
        before = self._told.get(item.item_id)
        if before is not None:
            told, when = before
            is_older = revised_at is not None and when is not None and revised_at <= when
            if told == item or is_older:
                return False
            revised_at = revised_at or when
        self._told[item.item_id] = (item, revised_at)
        self._told.move_to_end(item.item_id)
        while len(self._told) > self._most:
            self._told.popitem(last=False)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callbacks:
    news: Callable[[NewsItem], None]
    unreadable: Callable[[str], None]


class AlpacaNewsStream:
    """News of some symbols, live; ``archive`` fills the holes."""

    def __init__(
        self,
        settings: NewsStreamSettings,
        archive: NewsSource,
        *,
        key_id: Secret,
        secret_key: Secret,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._key_id = key_id
        self._secret_key = secret_key
        self._clock = clock
        self._seen = SeenNews()
        self._known_until: dt.datetime | None = None
        self._jitter = random.Random(0)  # noqa: S311 - spreads reconnects, guards nothing

    async def run(
        self,
        symbols: Iterable[Symbol],
        *,
        on_news: Callable[[NewsItem], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected until cancelled; reconnect with back-off."""
        wanted = sorted(set(symbols))
        callbacks = _Callbacks(news=on_news, unreadable=on_unreadable)
        failures = 0
        while True:
            life = _Life(self._settings, self._seen, callbacks)
            reason, is_refused = await self._live(life, wanted)
            if life.is_filled:
                self._known_until = self._clock.now()
            on_lost(reason)
            failures = 1 if life.is_ready else failures + 1
            await self._clock.sleep(self._pause(failures, is_refused=is_refused))

    async def _live(self, life: "_Life", symbols: Sequence[Symbol]) -> tuple[str, bool]:
        # In a thread: the SDK takes half a second to import, the event loop has not got it.
        await asyncio.to_thread(importlib.import_module, "sentiment.alpaca_socket")
        from websockets.exceptions import WebSocketException  # noqa: PLC0415

        from sentiment.alpaca_socket import Refused, open_news  # noqa: PLC0415

        stream = open_news(self._settings, self._key_id, self._secret_key)
        try:
            await life.subscribe(stream, symbols)
            # Subscribed first, so that nothing falls between the archive and the stream.
            await self._fill(symbols, life)
            await life.listen(stream)
        except Refused as exc:
            return str(exc), True
        except _Dropped as exc:
            return str(exc), life.is_refused
        except TimeoutError:
            return "the news stream was not ready before its deadline", False
        except (OSError, WebSocketException) as exc:
            return f"{type(exc).__name__}: {exc}"[:_LONGEST_SHOWN], False
        finally:
            await stream.shut()

    async def _fill(self, symbols: Sequence[Symbol], life: "_Life") -> None:
        now = self._clock.now()
        start = now - self._settings.first_look_back
        if self._known_until is not None:
            start = self._known_until - _OVERLAP
        try:
            items = await self._archive.headlines(symbols, start, now)
        except (ProviderUnavailable, DataError) as exc:
            # The hole stays open, and the next connection asks for it again; live news go on.
            life.unreadable(f"the archive, since {start:%H:%M} UTC: {exc}")
            return
        for item in items:
            life.take_item(item, None)
        life.is_filled = True

    def _pause(self, failures: int, *, is_refused: bool) -> float:
        settings = self._settings
        ceiling = settings.first_pause_seconds * 2.0 ** min(failures - 1, 16)
        pause = min(ceiling, settings.longest_pause_seconds)
        if is_refused:
            pause = max(pause, settings.refused_pause_seconds)
        return pause * self._jitter.uniform(0.5, 1.0)


class _Life:
    """One connection, from its subscription to its loss."""

    def __init__(self, settings: NewsStreamSettings, seen: SeenNews, callbacks: _Callbacks) -> None:
        self._settings = settings
        self._seen = seen
        self._callbacks = callbacks
        self._bad_frames = 0
        self.is_ready = False
        self.is_filled = False
        self.is_refused = False

    def unreadable(self, text: str) -> None:
        """Tell what could not be read."""
        self._callbacks.unreadable(text[:_LONGEST_SHOWN])

    async def subscribe(self, stream: "HardenedNews", symbols: Sequence[Symbol]) -> None:
        """Return when the server has confirmed the subscription."""
        async with asyncio.timeout(self._settings.ready_seconds * self._settings.time_scale):
            await stream.start(symbols)
            while not self.is_ready:
                self._take_frame(await stream.receive())

    async def listen(self, stream: "HardenedNews") -> NoReturn:
        """Read until the connection ends."""
        while True:
            self._take_frame(await stream.receive())

    def take_item(self, item: NewsItem, revised_at: dt.datetime | None) -> None:
        """Pass a story on, once for each revision."""
        if self._seen.is_new(item, revised_at):
            self._callbacks.news(item)

    def _take_frame(self, frame: str | bytes) -> None:
        try:
            messages = _decoded(frame)
        except DataError as exc:
            self._bad_frames += 1
            self.unreadable(str(exc))
            if self._bad_frames >= self._settings.most_bad_frames:
                raise _Dropped(f"{self._bad_frames} unreadable frames in a row") from exc
            return
        self._bad_frames = 0
        for message in messages:
            self._take(message)

    def _take(self, message: object) -> None:
        """Act on one message; an odd one costs itself, not the frame it came in."""
        kind = message.get("T") if isinstance(message, Mapping) else None
        if not isinstance(message, Mapping) or kind is None:
            self.unreadable(f"no message: {message}")
        elif kind == "subscription":
            self.is_ready = True
        elif kind == "error":
            self.is_refused = message.get("code") in _REFUSALS
            raise _Dropped(f"the server reports an error: {str(message)[:_LONGEST_SHOWN]}")
        elif kind == "n":
            self._take_news(message)

    def _take_news(self, message: Mapping[str, Any]) -> None:
        item = item_of(message)
        if item is None:
            self.unreadable(f"no story: {message}")
            return
        self.take_item(item, updated_at(message))


def _decoded(frame: str | bytes) -> Sequence[object]:
    if isinstance(frame, str):
        raise DataError("a text frame on a binary stream")
    try:
        messages: object = msgpack.unpackb(
            frame, timestamp=3, strict_map_key=True, max_array_len=_MOST_MESSAGES
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as exc:
        raise DataError(f"a frame cannot be unpacked ({exc})") from exc
    if not isinstance(messages, list):
        raise DataError("a frame is not a list of messages")
    return messages
