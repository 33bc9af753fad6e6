"""How the SDK's streams are opened: one attempt at one address, bounded, on known code."""

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any, NoReturn

from websockets.exceptions import WebSocketException
from websockets.legacy.client import Connect

from domain.errors import ConfigError
from transport.alpaca_stream import StreamSettings

MOST_QUEUED = 1024


class DirectConnect(Connect):
    """One attempt at one address: keys are never carried to where a redirect points."""

    MAX_REDIRECTS_ALLOWED = 1

    def handle_redirect(self, uri: str) -> NoReturn:
        """Refuse to follow.

        Raises:
            WebSocketException: always.
        """
        raise WebSocketException(
            f"the stream redirects to {uri[:200]}; check its address in the configuration"
        )


class Socket:
    """What is done with an open socket of the SDK; ``_ws`` is the SDK's name for it."""

    _ws: Any

    async def receive(self) -> str | bytes:
        """Return the next frame."""
        if self._ws is None:
            raise WebSocketException("the stream is not connected")
        frame: str | bytes = await self._ws.recv()
        return frame

    async def shut(self) -> None:
        """Close the socket: politely, and after ``close_seconds`` in any case."""
        socket, self._ws = self._ws, None
        if socket is not None:
            with contextlib.suppress(OSError, WebSocketException):
                await socket.close()


def parameters(settings: StreamSettings) -> dict[str, Any]:
    """Return what the WebSocket client is opened with."""
    scale = settings.time_scale
    return {
        "open_timeout": settings.ready_seconds * scale,
        "close_timeout": settings.close_seconds * scale,
        "ping_interval": _scaled(settings.ping_interval_seconds, scale),
        "ping_timeout": _scaled(settings.ping_timeout_seconds, scale),
        "max_size": settings.frame_cap_bytes,
        "max_queue": MOST_QUEUED,
        "compression": None,
    }


def check_sdk(kind: type[object], pinned: Mapping[str, tuple[str, ...]]) -> None:
    """See that the private parts of the SDK that we rely on are there.

    Raises:
        ConfigError: they are not; install the pinned version of alpaca-py.
    """
    for name, wanted in pinned.items():
        method = getattr(kind, name, None)
        if method is None or tuple(inspect.signature(method).parameters) != wanted:
            raise ConfigError(
                f"alpaca-py: {kind.__name__}.{name} is not what this version needs;"
                " install alpaca-py==0.44.0"
            )


async def unused(_: object) -> None:
    """Stand for the handler that the SDK wants; frames are read by the caller."""


def _scaled(seconds: float | None, factor: float) -> float | None:
    return None if seconds is None else seconds * factor
