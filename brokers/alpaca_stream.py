"""Alpaca's trade stream: the SDK's TradingStream on our loop, under our supervision.

The SDK connects, authenticates and subscribes.  Reading, reconnecting and deciding what
a broken frame means are ours: the SDK's own loop polls every five seconds, loses an
event when a handler fails and retries refused keys without end.
"""

import asyncio
import datetime as dt
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
from transport.alpaca_stream import (
    FRAMES_PER_TURN,
    LONGEST_SHOWN,
    BadFrames,
    Connections,
    Dropped,
    StreamSettings,
    ended,
    load,
)

if TYPE_CHECKING:
    from brokers.alpaca_socket import HardenedStream

_TRADE_UPDATES = "trade_updates"


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStreamSettings(StreamSettings):
    """Where the trade stream is; its loss is felt sooner than that of market data."""

    url: str = "wss://paper-api.alpaca.markets/stream"
    refused_pause_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callbacks:
    ready: Callable[[], None]
    update: Callable[[TradeUpdate], None]
    unreadable: Callable[[str], None]


class AlpacaTradeStream:
    """The TradeStream port; see brokers.base."""

    def __init__(
        self, settings: TradeStreamSettings, *, key_id: Secret, secret_key: Secret, clock: Clock
    ) -> None:
        self._settings = settings
        self._key_id = key_id
        self._secret_key = secret_key
        self._clock = clock
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
        callbacks = _Callbacks(ready=on_ready, update=on_update, unreadable=on_unreadable)

        async def live() -> tuple[Dropped, bool]:
            return await self._live(callbacks)

        await Connections(self._settings, clock=self._clock).keep(live, on_lost)

    async def _live(self, callbacks: _Callbacks) -> tuple[Dropped, bool]:
        await load("brokers.alpaca_socket")
        from brokers.alpaca_socket import open_stream  # noqa: PLC0415

        stream = open_stream(self._settings, self._key_id, self._secret_key)
        life = _Life(self, self._settings, callbacks)
        return await ended(life.run(stream), stream.shut, life.silence), life.is_ready

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
        self._frames = BadFrames(settings.most_bad_frames, callbacks.unreadable)
        self.is_ready = False

    def silence(self) -> str:
        """Return what a deadline that passed means now."""
        if not self.is_ready:
            return "the stream was not ready before its deadline"
        return f"the stream said nothing for {self._settings.silence_seconds:g} s"

    async def run(self, stream: "HardenedStream") -> NoReturn:
        async with asyncio.timeout(self._settings.ready_seconds * self._settings.time_scale):
            await stream.start(self._take)
            while not self.is_ready:
                await self._next(stream)
        frames = 0
        while True:
            await self._next(stream)
            frames += 1
            if frames % FRAMES_PER_TURN == 0:
                # Queued frames are returned without a pause; the rest of the daemon lives too.
                await asyncio.sleep(0)

    async def _next(self, stream: "HardenedStream") -> None:
        frame = await stream.receive()
        self._owner.note_frame()
        try:
            message = _decoded(frame)
            await stream.dispatch(message)
        except DataError as exc:
            self._frames.bad(exc)
        else:
            self._frames.good()

    def _take(self, message: Mapping[str, object]) -> None:
        """Act on one message; the SDK's dispatch hands over all of them, raw."""
        name, data = message.get("stream"), message.get("data")
        if name == _TRADE_UPDATES:
            self._take_update(parsing.trade_update(data))
        elif name == "listening":
            self._take_listening(data)
        elif message.get("action") == "error":
            raise Dropped(f"the server reports an error: {str(data)[:LONGEST_SHOWN]}")
        elif name == "authorization":
            raise Dropped(f"the server changed its mind: {str(data)[:LONGEST_SHOWN]}")

    def _take_update(self, update: TradeUpdate) -> None:
        if self.is_ready:
            self._callbacks.update(update)
        else:
            self._early.append(update)

    def _take_listening(self, data: object) -> None:
        streams = data.get("streams") if isinstance(data, dict) else None
        if not (isinstance(streams, list) and _TRADE_UPDATES in streams):
            raise Dropped("the server does not send trade updates to us")
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
