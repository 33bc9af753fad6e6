"""Sockets of the HTTP client, on the running event loop so that deadlines follow its time."""

import asyncio
import select
import ssl

from transport.failures import FailureKind

_READ_HIGH_WATER_BYTES = 256 * 1024
# One address that answers nothing must not use up the connect deadline.
_HAPPY_EYEBALLS_SECONDS = 0.25


class WireError(Exception):
    """The connection failed; the caller knows what that means for its request."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Wire(asyncio.Protocol):
    """One connection: a bounded buffer of what came in, and writes that leave at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = bytearray()
        self._is_eof = False
        self._error: Exception | None = None
        self._is_read_paused = False
        self._is_write_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Buffer bytes; above the mark the peer has to wait."""
        self._buffer += data
        if len(self._buffer) > _READ_HIGH_WATER_BYTES and self._transport is not None:
            self._transport.pause_reading()
            self._is_read_paused = True
        _wake(self._reader)

    def eof_received(self) -> bool:
        """Note that the peer has said its last word; asyncio then closes."""
        self._is_eof = True
        _wake(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and why."""
        self._is_eof = True
        self._error = exc
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        """Note that the peer takes no more for now."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """Note that the peer takes bytes again."""
        self._is_write_paused = False
        _wake(self._writer)

    @property
    def is_usable(self) -> bool:
        """True while an idle connection is open and the peer has said nothing unasked."""
        transport = self._transport
        if self._buffer or self._is_eof or transport is None or transport.is_closing():
            return False
        sock = transport.get_extra_info("socket")
        # The loop may not have looked since the peer closed; a write now would be lost.
        return sock is not None and not _is_readable(sock.fileno())

    def write(self, data: bytes) -> None:
        """Write now, without waiting: the caller's section stays free of awaits."""
        if self._transport is None or self._transport.is_closing():
            # asyncio drops such bytes silently; nobody may believe that they were sent.
            raise WireError(FailureKind.BROKEN, "the connection was closed")
        self._transport.write(data)

    async def drain(self, *, within: float) -> None:
        """Wait until the peer has taken what was written."""
        while self._is_write_paused and not self._is_eof:
            self._writer = self._loop.create_future()
            await self._expect(self._writer, within)

    async def read(self, *, within: float) -> bytes:
        """Return what has come in, or nothing at the end of the stream."""
        while not self._buffer:
            if self._error is not None:
                raise WireError(FailureKind.BROKEN, str(self._error)) from self._error
            if self._is_eof:
                return b""
            self._reader = self._loop.create_future()
            await self._expect(self._reader, within)
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._is_read_paused and self._transport is not None:
            self._is_read_paused = False
            self._transport.resume_reading()
        return data

    def abort(self) -> None:
        """Close now; what was not sent yet is dropped."""
        if self._transport is not None:
            self._transport.abort()

    async def _expect(self, waiter: asyncio.Future[None], within: float) -> None:
        # A timer of our own: asyncio.timeout() costs as much as the read it guards.
        timer = self._loop.call_later(within, _expire, waiter)
        try:
            await waiter
        finally:
            timer.cancel()


async def connect(host: str, port: int, *, tls: ssl.SSLContext | None, within: float) -> Wire:
    """Open a connection; both address families are tried, one shortly after the other.

    Raises:
        WireError: nobody is there, or the peer did not prove who it is.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within):
            _, wire = await loop.create_connection(
                lambda: Wire(loop),
                host,
                port,
                ssl=tls,
                server_hostname=None if tls is None else host,
                happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS,
            )
    except TimeoutError as exc:
        raise WireError(FailureKind.TIMEOUT, "no connection before the connect deadline") from exc
    except ssl.SSLError as exc:
        raise WireError(FailureKind.TLS, str(exc)) from exc
    except (OSError, UnicodeError) as exc:
        raise WireError(FailureKind.CONNECT, str(exc)) from exc
    return wire


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(WireError(FailureKind.TIMEOUT, "the peer was silent for too long"))


def _is_readable(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
