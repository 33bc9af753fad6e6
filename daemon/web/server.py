"""Serve the dashboard on the daemon's own event loop, on loopback."""

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator

from starlette.types import ASGIApp

from daemon.config import HttpConfig
from domain.errors import ConfigError
from transport import serving as loop_server

_MOST_CONNECTIONS = 64


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve ``app`` until the block ends; open connections are cut then."""
    server = await loop_server.start_serving(
        app, listener, ws="none", limit_concurrency=_MOST_CONNECTIONS
    )
    try:
        yield
    finally:
        await loop_server.cut_off(server)


def listen(settings: HttpConfig) -> socket.socket:
    """Take the port.

    Raises:
        ConfigError: it is taken, or the address is not loopback.
    """
    if settings.host != "localhost" and not ipaddress.ip_address(settings.host).is_loopback:
        raise ConfigError(f"http.host = {settings.host!r}: only loopback is served")
    try:
        return loop_server.listen(settings.host, settings.port)
    except OSError as exc:
        raise ConfigError(
            f"http.port = {settings.port}: cannot be opened ({exc.strerror}); choose another"
        ) from exc
