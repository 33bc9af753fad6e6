"""Serve an ASGI application on the running event loop: dashboard, paper and model server."""

import asyncio
import itertools
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

# Timers of idle connections would be steps of simulated time.
NEVER_SECONDS = 10 * 365 * 86_400
_GRACEFUL_SECONDS = 2
# So many are taken at once, before one that is too many can be closed again.
_BACKLOG = 64


def listen(host: str, port: int) -> socket.socket:
    """Take a port; 0 lets the system choose.

    Raises:
        OSError: it is taken, or the address is not of this machine.
    """
    host = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


async def start_serving(
    app: Any, listener: socket.socket, *, keep_alive_seconds: int = NEVER_SECONDS, **options: Any
) -> uvicorn.Server:
    """Answer on ``listener`` until ``cut_off`` or ``shutdown`` of what is returned.

    Args:
        app: the ASGI application; its lifespan is not run.
        listener: from ``listen``.
        keep_alive_seconds: how long a silent connection stays.
        options: further ones of ``uvicorn.Config``; with ``limit_concurrency`` there are never
            more connections than that, and who asks nothing makes room for who comes.
    """
    config = uvicorn.Config(
        app,
        http=_Bounded,
        backlog=_BACKLOG,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        date_header=False,
        server_header=False,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        **options,
    )
    config.load()
    server = uvicorn.Server(config)
    # Server.serve() would tick ten times a second, each a step of simulated time, and take
    # the signals that a command handles itself.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    return server


async def cut_off(server: uvicorn.Server) -> None:
    """Close at once, whoever is connected."""
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    await server.shutdown()


class _Bounded(H11Protocol):
    """A connection that makes room when it is one too many.

    uvicorn counts connections where a request is whole: those that ask nothing were never
    counted, and any program of this machine could take all file descriptors with them.
    """

    _numbers = itertools.count()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and close the one that has asked nothing for longest."""
        self._number = next(self._numbers)
        super().connection_made(transport)
        if self.limit_concurrency and len(self.connections) >= self.limit_concurrency:
            known = (one for one in self.connections if isinstance(one, _Bounded))
            loser = min((one for one in known if one._is_silent), key=lambda one: one._number)
            # uvicorn forgets it a turn of the loop later, and would count it until then.
            self.connections.discard(loser)
            loser.transport.abort()

    @property
    def _is_silent(self) -> bool:
        """True before a request is whole, its body included, and after its answer."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body
