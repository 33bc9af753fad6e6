"""The SDK's TradingStream with its private parts checked and its gaps closed.

Kept apart from alpaca_stream so that the SDK, half a second to import, is loaded only
where a stream is really opened.
"""

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from alpaca.trading.stream import TradingStream
from websockets.exceptions import WebSocketException
from websockets.legacy.client import Connect

from domain.errors import ConfigError, DataError
from domain.secrets import Secret

if TYPE_CHECKING:
    from brokers.alpaca_stream import StreamSettings

Take = Callable[[Mapping[str, object]], None]

# What we call or override, with the parameters it has in the pinned SDK.
_PINNED: Mapping[str, tuple[str, ...]] = {
    "_start_ws": ("self",),
    "_connect": ("self",),
    "_auth": ("self",),
    "_dispatch": ("self", "msg"),
    "_subscribe_trade_updates": ("self",),
    "subscribe_trade_updates": ("self", "handler"),
}


class KeysRefused(Exception):
    """The stream did not accept the keys."""


class _DirectConnect(Connect):
    """One attempt at one address: keys are never carried to where a redirect points."""

    MAX_REDIRECTS_ALLOWED = 1

    def handle_redirect(self, uri: str) -> None:
        raise WebSocketException(f"the stream redirects to {uri[:200]}; check trade_stream_url")


class HardenedStream(TradingStream):
    """TradingStream driven from outside: connect, authenticate, subscribe, hand over frames."""

    _ws: Any

    def __init__(self, settings: "StreamSettings", key_id: Secret, secret_key: Secret) -> None:
        super().__init__(
            key_id.reveal(), secret_key.reveal(), raw_data=True, url_override=settings.url
        )
        scale = settings.time_scale
        self._open_params: dict[str, Any] = {
            "open_timeout": settings.ready_seconds * scale,
            "close_timeout": settings.close_seconds * scale,
            "ping_interval": _scaled(settings.ping_interval_seconds, scale),
            "ping_timeout": _scaled(settings.ping_timeout_seconds, scale),
            "max_size": settings.frame_cap_bytes,
            "max_queue": 1024,
            "compression": None,
        }
        self._take: Take = _refuse

    async def start(self, take: Take) -> None:
        """Connect, authenticate and ask for trade updates; ``take`` gets every message."""
        self._take = take
        self.subscribe_trade_updates(_unused)
        try:
            await self._start_ws()  # type: ignore[no-untyped-call]
        except (json.JSONDecodeError, AttributeError, TypeError) as exc:
            raise WebSocketException("the stream's first frame has no known form") from exc
        except ValueError as exc:
            raise KeysRefused(f"the trade stream did not accept the keys ({exc})") from exc

    async def receive(self) -> str | bytes:
        """Return the next frame."""
        frame: str | bytes = await self._socket().recv()
        return frame

    async def dispatch(self, message: Mapping[str, object]) -> None:
        """Hand a message over through the SDK's own seam."""
        await self._dispatch(dict(message))

    async def shut(self) -> None:
        """Close the socket: politely, and after ``close_seconds`` in any case."""
        socket, self._ws = self._ws, None
        if socket is None:
            return
        with contextlib.suppress(OSError, WebSocketException):
            await socket.close()

    async def _connect(self) -> None:
        self._ws = await _DirectConnect(self._endpoint, **self._open_params)

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        self._take(msg)

    def _socket(self) -> Any:
        if self._ws is None:
            raise WebSocketException("the stream is not connected")
        return self._ws


def open_stream(settings: "StreamSettings", key_id: Secret, secret_key: Secret) -> HardenedStream:
    """Build the stream; it connects when started.

    Raises:
        ConfigError: the installed SDK is not the one this was written for.
    """
    check_sdk()
    return HardenedStream(settings, key_id, secret_key)


def check_sdk() -> None:
    """See that the private parts of the SDK that we rely on are there.

    Raises:
        ConfigError: they are not; install the pinned version of alpaca-py.
    """
    for name, parameters in _PINNED.items():
        method = getattr(TradingStream, name, None)
        if method is None or tuple(inspect.signature(method).parameters) != parameters:
            raise ConfigError(
                f"alpaca-py: TradingStream.{name} is not what this version needs;"
                " install alpaca-py==0.44.0"
            )


async def _unused(_: object) -> None:
    """Stand for the handler that the SDK wants; messages go through dispatch()."""


def _refuse(_: Mapping[str, object]) -> None:
    raise DataError("trade stream: a message came before the stream was started")


def _scaled(seconds: float | None, factor: float) -> float | None:
    return None if seconds is None else seconds * factor
