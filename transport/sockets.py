"""Sockets for the HTTP client: asyncio transports behind httpcore's network interface.

A request travels with a :class:`Departure`.  Its head and body leave in one write, and
the caller's guard is asked in the same no-await section as that write, so nothing can
change between the last "yes" and the socket.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import httpcore

_READ_HIGH_WATER_BYTES = 256 * 1024
_HEAD_END = b"\r\n\r\n"
# One address that answers nothing must not use up the connect deadline.
_HAPPY_EYEBALLS_SECONDS = 0.25


class TlsError(httpcore.ConnectError):
    """The peer did not prove who it is."""


class Departure:
    """One request on its way out: what is held back, and whether anything has left."""

    __slots__ = ("_body_length", "_guard", "_held", "is_written", "refusal")

    def __init__(self, *, body_length: int, guard: Callable[[], None] | None) -> None:
        self._body_length = body_length
        self._guard = guard
        self._held = b""
        self.is_written = False
        self.refusal: BaseException | None = None

    def admit(self, data: bytes) -> bytes | None:
        """Take bytes of the request; return them once all are there and the guard agrees."""
        if self.is_written:
            return data
        self._held += data
        head_length = self._held.find(_HEAD_END) + len(_HEAD_END)
        if head_length < len(_HEAD_END) or len(self._held) < head_length + self._body_length:
            return None
        if self._guard is not None:
            try:
                self._guard()
            except BaseException as exc:
                self.refusal = exc
                raise
        self.is_written = True
        return self._held


DEPARTURE: ContextVar[Departure | None] = ContextVar("DEPARTURE", default=None)


class _Wire(asyncio.Protocol):
    """The asyncio side of one connection: a bounded buffer and two waiters."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = bytearray()
        self._is_eof = False
        self._error: Exception | None = None
        self._is_read_paused = False
        self._is_write_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _READ_HIGH_WATER_BYTES and self.transport is not None:
            self.transport.pause_reading()
            self._is_read_paused = True
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._is_eof = True
        _wake(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_eof = True
        self._error = exc
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        self._is_write_paused = True

    def resume_writing(self) -> None:
        self._is_write_paused = False
        _wake(self._writer)

    @property
    def has_news(self) -> bool:
        """True when an idle connection is closed, or says something nobody asked for."""
        if self._buffer or self._is_eof or self.transport is None or self.transport.is_closing():
            return True
        sock = self.transport.get_extra_info("socket")
        # The loop may not have looked since the peer closed; a write now would be lost.
        return sock is None or _is_readable(sock.fileno())

    async def read(self, max_bytes: int) -> bytes:
        while not self._buffer:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error)) from self._error
            if self._is_eof:
                return b""
            self._reader = self._loop.create_future()
            await self._reader
        data = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        if self._is_read_paused and self.transport is not None:
            self._is_read_paused = False
            self.transport.resume_reading()
        return data

    async def drain(self) -> None:
        while self._is_write_paused and not self._is_eof:
            self._writer = self._loop.create_future()
            await self._writer


class SocketStream(httpcore.AsyncNetworkStream):
    """One connection, as httpcore sees it."""

    def __init__(self, wire: _Wire, loop: asyncio.AbstractEventLoop) -> None:
        self._wire = wire
        self._loop = loop

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return some bytes, or none at the end of the stream."""
        try:
            async with asyncio.timeout(timeout):
                return await self._wire.read(max_bytes)
        except TimeoutError as exc:
            raise httpcore.ReadTimeout("no bytes before the read deadline") from exc

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write bytes of the current request; its departure decides when they leave."""
        transport = self._wire.transport
        if not buffer:
            return
        if transport is None or transport.is_closing():
            # asyncio drops such bytes silently; nobody may believe that they were sent.
            raise httpcore.WriteError("the connection was closed")
        departure = DEPARTURE.get()
        # No await between the guard inside admit() and the write below.
        payload = departure.admit(buffer) if departure is not None else buffer
        if payload is None:
            return
        transport.write(payload)
        try:
            async with asyncio.timeout(timeout):
                await self._wire.drain()
        except TimeoutError as exc:
            raise httpcore.WriteTimeout("the peer took no bytes before the deadline") from exc

    async def aclose(self) -> None:
        """Close now; the peer learns it from the socket."""
        if self._wire.transport is not None:
            self._wire.transport.abort()
            # One turn of the loop, in which the socket is really closed.
            await asyncio.sleep(0)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> "SocketStream":
        """Upgrade to TLS; a certificate that does not fit ends the connection."""
        if self._wire.transport is None:
            raise httpcore.ConnectError("the connection was closed")
        try:
            async with asyncio.timeout(timeout):
                transport = await self._loop.start_tls(
                    self._wire.transport, self._wire, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as exc:
            await self.aclose()
            raise httpcore.ConnectTimeout("no TLS before the connect deadline") from exc
        except OSError as exc:
            await self.aclose()
            kind = TlsError if isinstance(exc, ssl.SSLError) else httpcore.ConnectError
            raise kind(str(exc)) from exc
        if transport is None:
            raise httpcore.ConnectError("the connection was closed during TLS")
        self._wire.connection_made(transport)
        return self

    def get_extra_info(self, info: str) -> Any:
        """Answer httpcore's questions about the connection."""
        if info == "is_readable":
            return self._wire.has_news
        return None if self._wire.transport is None else self._wire.transport.get_extra_info(info)


class SocketBackend(httpcore.AsyncNetworkBackend):
    """Opens connections on the running loop, so that their deadlines follow its time."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> SocketStream:
        """Connect; both address families are tried, one shortly after the other."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                transport, wire = await loop.create_connection(
                    lambda: _Wire(loop),
                    host,
                    port,
                    local_addr=None if local_address is None else (local_address, 0),
                    happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS,
                )
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout("no connection before the connect deadline") from exc
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(str(exc)) from exc
        sock = transport.get_extra_info("socket")
        if isinstance(sock, socket.socket):
            for option in socket_options or ():
                sock.setsockopt(*option)
        return SocketStream(wire, loop)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> SocketStream:
        """Refuse: nothing of ours is reached that way."""
        raise httpcore.ConnectError(f"unix sockets are not used ({path})")

    async def sleep(self, seconds: float) -> None:
        """Wait on the loop."""
        await asyncio.sleep(seconds)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _is_readable(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
