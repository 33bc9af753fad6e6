"""Reading one connection of Alpaca's data streams: msgpack, a list in every frame."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import msgpack  # type: ignore[import-untyped]

from domain.clock import Clock
from domain.errors import DataError
from domain.ids import Symbol
from domain.secrets import Secret
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
    from transport.alpaca_socket import DataSocket

Tell = Callable[[Mapping[str, Any]], None]
"""Takes one message about the market; DataError, KeyError, TypeError, ValueError: damaged."""

_REFUSALS = frozenset({401, 402, 405, 406, 409, 410, 411})
_MOST_MESSAGES = 10_000


async def _nothing() -> None:
    """Fill no hole."""


class FeedReader:
    """One connection, from its subscription to its loss.

    An odd message costs itself, not the frame it came in: the SDK loses the rest.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        tell: Tell,
        on_unreadable: Callable[[str], None],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._on_unreadable = on_unreadable
        self._on_ready = on_ready
        self._frames = BadFrames(settings.most_bad_frames, on_unreadable)
        self.is_ready = False

    def silence(self) -> str:
        """Return what a deadline that passed means now."""
        if not self.is_ready:
            return "the stream was not ready before its deadline"
        return f"the stream said nothing for {self._settings.silence_seconds:g} s"

    async def subscribe(
        self, stream: "DataSocket", symbols: Iterable[Symbol], channels: Iterable[str]
    ) -> None:
        """Return when the server has confirmed the subscription."""
        async with asyncio.timeout(self._settings.ready_seconds * self._settings.time_scale):
            await stream.start(symbols, channels)
            while not self.is_ready:
                self.take_frame(await stream.receive())

    async def listen(self, stream: "DataSocket") -> NoReturn:
        """Read until the connection ends."""
        silence = self._settings.silence_seconds
        limit = None if silence is None else silence * self._settings.time_scale
        frames = 0
        while True:
            async with asyncio.timeout(limit):
                frame = await stream.receive()
            self.take_frame(frame)
            frames += 1
            if frames % FRAMES_PER_TURN == 0:
                # Queued frames are returned without a pause; the rest of the daemon lives too.
                await asyncio.sleep(0)

    def take_frame(self, frame: str | bytes) -> None:
        """Act on every message of a frame.

        Raises:
            Dropped: the server ends it, or too many frames could not be read.
        """
        try:
            messages = _decoded(frame)
        except DataError as exc:
            self._frames.bad(exc)
            return
        self._frames.good()
        for message in messages:
            self._take(message)

    def _take(self, message: object) -> None:
        try:
            if not isinstance(message, Mapping):
                raise DataError("a message is not an object")
            self._control(message)
            self._tell(message)
        except (DataError, KeyError, TypeError, ValueError, OverflowError) as exc:
            self._on_unreadable(f"{exc}: {message}"[:LONGEST_SHOWN])

    def _control(self, message: Mapping[str, Any]) -> None:
        kind = message.get("T")
        if kind == "subscription" and not self.is_ready:
            self.is_ready = True
            self._on_ready()
        elif kind == "error":
            raise Dropped(
                f"the server reports an error: {str(message)[:LONGEST_SHOWN]}",
                is_refused=message.get("code") in _REFUSALS,
            )


class Feed:
    """A data stream that stays connected: what to subscribe to, with whose keys."""

    def __init__(
        self, kind: str, settings: StreamSettings, *, key_id: Secret, secret_key: Secret
    ) -> None:
        self._kind = kind
        self._settings = settings
        self._key_id = key_id
        self._secret_key = secret_key

    async def live(
        self,
        reader: FeedReader,
        symbols: Sequence[Symbol],
        channels: Sequence[str],
        fill: Callable[[], Any] = _nothing,
    ) -> tuple[Dropped, bool]:
        """Live one connection; return why it ended and whether it was ever ready.

        ``fill`` is awaited once the subscription is confirmed, so that nothing falls
        between what it reads and what the stream tells.
        """
        await load("transport.alpaca_socket")
        from transport.alpaca_socket import open_socket  # noqa: PLC0415

        stream = open_socket(self._kind, self._settings, self._key_id, self._secret_key)

        async def life() -> NoReturn:
            await reader.subscribe(stream, symbols, channels)
            await fill()
            await reader.listen(stream)

        return await ended(life(), stream.shut, reader.silence), reader.is_ready

    def connections(self, clock: Clock) -> Connections:
        """Return what keeps it connected."""
        return Connections(self._settings, clock=clock)


def _decoded(frame: str | bytes) -> Sequence[object]:
    if isinstance(frame, str):
        raise DataError("a text frame on a binary stream")
    try:
        messages: object = msgpack.unpackb(
            frame, timestamp=3, strict_map_key=True, max_array_len=_MOST_MESSAGES
        )
    except (ValueError, OverflowError, TypeError, RecursionError, msgpack.UnpackException) as exc:
        raise DataError(f"a frame cannot be unpacked ({exc})") from exc
    if not isinstance(messages, list):
        raise DataError("a frame is not a list of messages")
    return messages
