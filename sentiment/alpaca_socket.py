"""The SDK's NewsDataStream with its private parts checked, driven from outside.

Kept apart from alpaca_stream so that the SDK, half a second to import, is loaded only
where a stream is really opened.
"""

import contextlib
import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
from alpaca.data.live.news import NewsDataStream
from websockets.exceptions import WebSocketException
from websockets.legacy.client import Connect

from domain.errors import ConfigError
from domain.ids import Symbol
from domain.secrets import Secret

if TYPE_CHECKING:
    from sentiment.alpaca_stream import NewsStreamSettings

# What we call or override, with the parameters it has in the pinned SDK.
_PINNED: Mapping[str, tuple[str, ...]] = {
    "_connect": ("self",),
    "_auth": ("self",),
    "_send_subscribe_msg": ("self",),
}


class Refused(Exception):
    """The server refused the keys or the subscription."""


class _DirectConnect(Connect):
    """One attempt at one address: keys are never carried to where a redirect points."""

    MAX_REDIRECTS_ALLOWED = 1

    def handle_redirect(self, uri: str) -> None:
        raise WebSocketException(f"the news stream redirects to {uri[:200]}; check its url")


class HardenedNews(NewsDataStream):
    """Connects, authenticates and subscribes; reading is the caller's."""

    _ws: Any

    def __init__(self, settings: "NewsStreamSettings", key_id: Secret, secret_key: Secret) -> None:
        super().__init__(
            key_id.reveal(), secret_key.reveal(), raw_data=True, url_override=settings.url
        )
        scale, ping = settings.time_scale, settings.ping_interval_seconds
        self._params: dict[str, Any] = {
            "extra_headers": {"Content-Type": "application/msgpack"},
            "open_timeout": settings.ready_seconds * scale,
            "close_timeout": settings.close_seconds * scale,
            "ping_interval": None if ping is None else ping * scale,
            "ping_timeout": None if ping is None else 2 * ping * scale,
            "max_size": settings.frame_cap_bytes,
            "max_queue": 256,
            "compression": None,
        }

    async def start(self, symbols: Iterable[Symbol]) -> None:
        """Connect, authenticate and subscribe to the news of the symbols."""
        self._handlers["news"] = dict.fromkeys(symbols, _unused)
        await self._connect()
        try:
            await self._auth()
        except ValueError as exc:
            raise Refused(f"the news stream did not accept the keys ({exc})") from exc
        except (KeyError, IndexError, TypeError, msgpack.UnpackException) as exc:
            raise WebSocketException("the stream's first frames have no known form") from exc
        await self._send_subscribe_msg()

    async def receive(self) -> str | bytes:
        """Return the next frame."""
        if self._ws is None:
            raise WebSocketException("the news stream is not connected")
        frame: str | bytes = await self._ws.recv()
        return frame

    async def shut(self) -> None:
        """Close the socket: politely, and after ``close_seconds`` in any case."""
        socket, self._ws = self._ws, None
        if socket is not None:
            with contextlib.suppress(OSError, WebSocketException):
                await socket.close()

    async def _connect(self) -> None:
        self._ws = await _DirectConnect(self._endpoint, **self._params)
        try:
            (hello,) = msgpack.unpackb(await self._ws.recv())
            is_known = hello["T"] == "success" and hello["msg"] == "connected"
        except (ValueError, KeyError, TypeError, msgpack.UnpackException) as exc:
            raise WebSocketException("the stream's first frame has no known form") from exc
        if not is_known:
            raise WebSocketException(f"the news stream does not greet: {str(hello)[:200]}")


def open_news(settings: "NewsStreamSettings", key_id: Secret, secret_key: Secret) -> HardenedNews:
    """Build the stream; it connects when started.

    Raises:
        ConfigError: the installed SDK is not the one this was written for.
    """
    for name, parameters in _PINNED.items():
        method = getattr(NewsDataStream, name, None)
        if method is None or tuple(inspect.signature(method).parameters) != parameters:
            raise ConfigError(
                f"alpaca-py: NewsDataStream.{name} is not what this version needs;"
                " install alpaca-py==0.44.0"
            )
    return HardenedNews(settings, key_id, secret_key)


async def _unused(_: object) -> None:
    """Stand for the handler that the SDK wants; frames are read by the caller."""
