"""Alpaca's trade stream: the SDK's TradingStream on our loop, under our supervision.

The SDK connects, authenticates and subscribes.  Reading, reconnecting and deciding what
a broken frame means are ours: the SDK's own loop polls every five seconds, loses an
event when a handler fails and retries refused keys without end.
"""

import asyncio
import datetime as dt
import importlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from brokers import alpaca_fields as fields
from brokers import alpaca_parsing as parsing
from domain.clock import Clock
from domain.errors import DataError
from domain.orders import TradeUpdate
from domain.secrets import Secret
from transport import strict_json

if TYPE_CHECKING:
    from brokers.alpaca_socket import HardenedStream

_TRADE_UPDATES = "trade_updates"
_FRAMES_PER_TURN = 64
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """Where the stream is and how it is watched; seconds are real seconds.

    ``ping_interval_seconds`` None sends no pings, for a replay whose hours take seconds.
    ``time_scale`` is the number of loop seconds in one real second.
    """

    url: str = "wss://paper-api.alpaca.markets/stream"
    ping_interval_seconds: float | None = 10.0
    ping_timeout_seconds: float | None = 20.0
    ready_seconds: float = 15.0
    close_seconds: float = 1.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0
    refused_pause_seconds: float = 30.0
    frame_cap_bytes: int = 1024 * 1024
    most_bad_frames: int = 5
    time_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callbacks:
    ready: Callable[[], None]
    update: Callable[[TradeUpdate], None]
    unreadable: Callable[[str], None]
    lost: Callable[[str], None]


class _Dropped(Exception):
    """The connection cannot be used any longer; the text says why."""


class AlpacaTradeStream:
    """The TradeStream port; see brokers.base."""

    def __init__(
        self, settings: StreamSettings, *, key_id: Secret, secret_key: Secret, clock: Clock
    ) -> None:
        self._settings = settings
        self._key_id = key_id
        self._secret_key = secret_key
        self._clock = clock
        self._jitter = random.Random(0)  # noqa: S311
        self.last_frame_at: dt.datetime | None = None

    async def run(
        self,
        *,
        on_ready: Callable[[], None],
        on_update: Callable[[TradeUpdate], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected until cancelled; reconnect with back-off."""
        callbacks = _Callbacks(
            ready=on_ready, update=on_update, unreadable=on_unreadable, lost=on_lost
        )
        failures = 0
        while True:
            life = _Life(self, self._settings, callbacks)
            reason, is_refused = await self._live(life)
            callbacks.lost(reason)
            failures = 1 if life.is_ready else failures + 1
            await self._clock.sleep(self._pause(failures, is_refused=is_refused))

    async def _live(self, life: "_Life") -> tuple[str, bool]:
        # In a thread: the SDK takes half a second to import, the event loop has not got it.
        await asyncio.to_thread(importlib.import_module, "brokers.alpaca_socket")
        from websockets.exceptions import WebSocketException  # noqa: PLC0415

        from brokers.alpaca_socket import KeysRefused, open_stream  # noqa: PLC0415

        stream = open_stream(self._settings, self._key_id, self._secret_key)
        try:
            await life.run(stream)
        except KeysRefused as exc:
            return str(exc), True
        except _Dropped as exc:
            return str(exc), False
        except TimeoutError:
            return "the stream was not ready before its deadline", False
        except (OSError, WebSocketException) as exc:
            return f"{type(exc).__name__}: {exc}"[:_LONGEST_SHOWN], False
        finally:
            await stream.shut()

    def _pause(self, failures: int, *, is_refused: bool) -> float:
        settings = self._settings
        ceiling = settings.first_pause_seconds * 2.0 ** min(failures - 1, 16)
        pause = min(ceiling, settings.longest_pause_seconds)
        if is_refused:
            pause = max(pause, settings.refused_pause_seconds)
        return pause * self._jitter.uniform(0.5, 1.0)

    def note_frame(self) -> None:
        """Remember when the server last said something."""
        self.last_frame_at = self._clock.now()


class _Life:
    """One connection, from its subscription to its loss."""

    def __init__(
        self, owner: AlpacaTradeStream, settings: StreamSettings, callbacks: _Callbacks
    ) -> None:
        self._owner = owner
        self._settings = settings
        self._callbacks = callbacks
        self._early: list[TradeUpdate] = []
        self._bad_frames = 0
        self.is_ready = False

    async def run(self, stream: "HardenedStream") -> NoReturn:
        async with asyncio.timeout(self._settings.ready_seconds * self._settings.time_scale):
            await stream.start(self._take)
            while not self.is_ready:
                await self._next(stream)
        frames = 0
        while True:
            await self._next(stream)
            frames += 1
            if frames % _FRAMES_PER_TURN == 0:
                # Queued frames are returned without a pause; the rest of the daemon lives too.
                await asyncio.sleep(0)

    async def _next(self, stream: "HardenedStream") -> None:
        frame = await stream.receive()
        self._owner.note_frame()
        try:
            message = _decoded(frame)
            await stream.dispatch(message)
        except DataError as exc:
            self._bad_frames += 1
            self._callbacks.unreadable(str(exc)[:_LONGEST_SHOWN])
            if self._bad_frames >= self._settings.most_bad_frames:
                raise _Dropped(f"{self._bad_frames} unreadable frames in a row") from exc
        else:
            self._bad_frames = 0

    def _take(self, message: Mapping[str, object]) -> None:
        """Act on one message; the SDK's dispatch hands over all of them, raw."""
        name, data = message.get("stream"), message.get("data")
        if name == _TRADE_UPDATES:
            self._take_update(parsing.trade_update(data))
        elif name == "listening":
            self._take_listening(data)
        elif message.get("action") == "error":
            raise _Dropped(f"the server reports an error: {str(data)[:_LONGEST_SHOWN]}")
        elif name == "authorization":
            raise _Dropped(f"the server changed its mind: {str(data)[:_LONGEST_SHOWN]}")

    def _take_update(self, update: TradeUpdate) -> None:
        if self.is_ready:
            self._callbacks.update(update)
        else:
            self._early.append(update)

    def _take_listening(self, data: object) -> None:
        streams = data.get("streams") if isinstance(data, dict) else None
        if not (isinstance(streams, list) and _TRADE_UPDATES in streams):
            raise _Dropped("the server does not send trade updates to us")
        if self.is_ready:
            return
        self.is_ready = True
        self._callbacks.ready()
        for update in self._early:
            self._callbacks.update(update)
        self._early.clear()


def _decoded(frame: str | bytes) -> Mapping[str, object]:
    body = frame.encode() if isinstance(frame, str) else frame
    return fields.row(strict_json.parse(body, what="trade stream"), what="trade stream")
