"""Alpaca's live market data: the SDK's StockDataStream on our loop, under our supervision.

The SDK connects, authenticates and subscribes.  Reading and reconnecting are ours: the
SDK loses the rest of a frame when one message in it is odd, polls every five seconds, and
says nothing when it is refused.
"""

import asyncio
import datetime as dt
import importlib
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import msgpack  # type: ignore[import-untyped]

from domain.clock import UTC, Clock
from domain.errors import DataError
from domain.ids import Symbol, is_symbol
from domain.market import Bar
from domain.secrets import Secret
from marketdata.ticks import MinuteBar, Quote, Tick, Trade, TradingStatus

if TYPE_CHECKING:
    from marketdata.alpaca_socket import HardenedTicks

CHANNELS = ("bars", "updatedBars", "quotes", "trades", "statuses")
_FRAMES_PER_TURN = 64
_MOST_MESSAGES = 10_000
_LONGEST_SHOWN = 200
_REFUSALS = frozenset({401, 402, 405, 406, 409, 410, 411})
# CTA and UTP codes of a halt; everything else lets trading go on.
_HALTS = frozenset({"2", "H", "P"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TickSettings:
    """Where the stream is and how it is watched; seconds are real seconds.

    ``silence_seconds`` without any frame is a dead connection; None waits for ever, as a
    quiet subscription needs.  ``ping_interval_seconds`` None sends no pings.
    """

    url: str = "wss://stream.data.alpaca.markets/v2/iex"
    channels: Sequence[str] = CHANNELS
    silence_seconds: float | None = None
    ping_interval_seconds: float | None = 10.0
    ping_timeout_seconds: float | None = 20.0
    ready_seconds: float = 15.0
    close_seconds: float = 1.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0
    refused_pause_seconds: float = 60.0
    frame_cap_bytes: int = 1024 * 1024
    most_bad_frames: int = 5
    time_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callbacks:
    ready: Callable[[], None]
    tick: Callable[[Tick], None]
    unreadable: Callable[[str], None]


class _Dropped(Exception):
    """The connection cannot be used any longer; the text says why."""


class AlpacaTicks:
    """A TickStream on Alpaca."""

    def __init__(
        self, settings: TickSettings, *, key_id: Secret, secret_key: Secret, clock: Clock
    ) -> None:
        self._settings = settings
        self._key_id = key_id
        self._secret_key = secret_key
        self._clock = clock
        self._jitter = random.Random(0)  # noqa: S311 - spreads reconnects, guards nothing

    async def run(
        self,
        symbols: Iterable[Symbol],
        *,
        on_ready: Callable[[], None],
        on_tick: Callable[[Tick], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected until cancelled; reconnect with back-off."""
        wanted = sorted(set(symbols))
        callbacks = _Callbacks(ready=on_ready, tick=on_tick, unreadable=on_unreadable)
        failures = 0
        while True:
            life = _Life(self._settings, callbacks)
            reason, is_refused = await self._live(life, wanted)
            on_lost(reason)
            failures = 1 if life.is_ready else failures + 1
            await self._clock.sleep(self._pause(failures, is_refused=is_refused))

    async def _live(self, life: "_Life", symbols: Sequence[Symbol]) -> tuple[str, bool]:
        # In a thread: the SDK takes half a second to import, the event loop has not got it.
        await asyncio.to_thread(importlib.import_module, "marketdata.alpaca_socket")
        from websockets.exceptions import WebSocketException  # noqa: PLC0415

        from marketdata.alpaca_socket import Refused, open_ticks  # noqa: PLC0415

        stream = open_ticks(self._settings, self._key_id, self._secret_key)
        try:
            await life.run(stream, symbols)
        except Refused as exc:
            return str(exc), True
        except _Dropped as exc:
            return str(exc), life.is_refused
        except TimeoutError:
            return life.silence, False
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


class _Life:
    """One connection, from its subscription to its loss."""

    def __init__(self, settings: TickSettings, callbacks: _Callbacks) -> None:
        self._settings = settings
        self._callbacks = callbacks
        self._bad_frames = 0
        self.is_ready = False
        self.is_refused = False

    @property
    def silence(self) -> str:
        """What a deadline that passed means now."""
        if not self.is_ready:
            return "the stream was not ready before its deadline"
        return f"the stream said nothing for {self._settings.silence_seconds:g} s"

    async def run(self, stream: "HardenedTicks", symbols: Sequence[Symbol]) -> NoReturn:
        scale = self._settings.time_scale
        async with asyncio.timeout(self._settings.ready_seconds * scale):
            await stream.start(symbols, self._settings.channels)
            while not self.is_ready:
                self._take_frame(await stream.receive())
        silence = self._settings.silence_seconds
        limit = None if silence is None else silence * scale
        frames = 0
        while True:
            async with asyncio.timeout(limit):
                frame = await stream.receive()
            self._take_frame(frame)
            frames += 1
            if frames % _FRAMES_PER_TURN == 0:
                # Queued frames are returned without a pause; the rest of the daemon lives too.
                await asyncio.sleep(0)

    def _take_frame(self, frame: str | bytes) -> None:
        try:
            messages = _decoded(frame)
        except DataError as exc:
            self._bad_frames += 1
            self._callbacks.unreadable(str(exc)[:_LONGEST_SHOWN])
            if self._bad_frames >= self._settings.most_bad_frames:
                raise _Dropped(f"{self._bad_frames} unreadable frames in a row") from exc
            return
        self._bad_frames = 0
        for message in messages:
            self._take(message)

    def _take(self, message: object) -> None:
        """Act on one message; an odd one costs itself, not the frame it came in."""
        try:
            if not isinstance(message, Mapping):
                raise DataError("a message is not an object")
            self._control(message)
            tick = tick_of(message)
        except (DataError, KeyError, TypeError, ValueError) as exc:
            self._callbacks.unreadable(f"{exc}: {message}"[:_LONGEST_SHOWN])
            return
        if tick is not None:
            self._callbacks.tick(tick)

    def _control(self, message: Mapping[str, Any]) -> None:
        kind = message.get("T")
        if kind == "subscription" and not self.is_ready:
            self.is_ready = True
            self._callbacks.ready()
        elif kind == "error":
            self.is_refused = message.get("code") in _REFUSALS
            raise _Dropped(f"the server reports an error: {str(message)[:_LONGEST_SHOWN]}")


def tick_of(message: Mapping[str, Any]) -> Tick | None:
    """Read one message of the feed; None when it is about something else.

    Raises:
        DataError: it is damaged; KeyError, TypeError and ValueError mean the same.
    """
    kind = message.get("T")
    if kind not in ("t", "q", "b", "u", "s"):
        return None
    symbol, at = message["S"], message["t"]
    if not is_symbol(symbol):
        raise DataError("not a symbol")
    if not isinstance(at, dt.datetime) or at.tzinfo is None:
        raise DataError("no moment")
    at, symbol = at.astimezone(UTC), Symbol(symbol)
    if kind == "t":
        price, size = _number(message["p"]), _number(message["s"])
        if not price > 0:
            raise DataError("a price not above 0")
        return Trade(symbol=symbol, at=at, price=price, size=size)
    if kind == "q":
        return _quote(symbol, at, message)
    if kind == "s":
        code = str(message.get("sc", ""))
        reason = str(message.get("rm") or message.get("sm") or "")[:_LONGEST_SHOWN]
        return TradingStatus(symbol=symbol, at=at, is_halted=code in _HALTS, reason=reason)
    prices = {
        name: _number(message[key])
        for name, key in (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c"))
    }
    bar = Bar(symbol=symbol, at=at, volume=_number(message["v"]), **prices)
    return MinuteBar(bar=bar, is_correction=kind == "u")


def _quote(symbol: Symbol, at: dt.datetime, message: Mapping[str, Any]) -> Quote:
    bid, ask = _number(message["bp"]), _number(message["ap"])
    # A price of 0 is Alpaca's way to say that nobody quotes that side.
    return Quote(
        symbol=symbol,
        at=at,
        bid=bid if bid > 0 else None,
        ask=ask if ask > 0 else None,
        bid_size=_number(message["bs"]),
        ask_size=_number(message["as"]),
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{value!r} is not a number")
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise DataError(f"{number} is not possible")
    return number


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
