"""Serve the dashboard on the daemon's own event loop, on loopback."""

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.types import ASGIApp

from daemon.config import HttpConfig
from domain.errors import ConfigError

# Timers of idle connections would be steps of simulated time.
_NEVER_SECONDS = 10 * 365 * 86_400
_GRACEFUL_SECONDS = 2
_MOST_CONNECTIONS = 64


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve ``app`` until the block ends; open connections are cut then."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        date_header=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_NEVER_SECONDS,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )
    config.load()
    server = uvicorn.Server(config)
    # Server.serve() would tick ten times a second, each a step of simulated time, and take
    # the signals that the daemon handles.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield
    finally:
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await server.shutdown()


def listen(settings: HttpConfig) -> socket.socket:
    """Take the port.

    Raises:
        ConfigError: it is taken, or the address is not loopback.
    """
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    if not ipaddress.ip_address(host).is_loopback:
        raise ConfigError(f"http.host = {settings.host!r}: only loopback is served")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, settings.port))
    except OSError as exc:
        listener.close()
        raise ConfigError(
            f"http.port = {settings.port}: cannot be opened ({exc.strerror}); choose another"
        ) from exc
    return listener
