"""HTTP/1.1 over our sockets, as a transport of httpx.

httpx's own pool cannot ask a guard in the section that writes, tells "surely not sent"
from "maybe sent" only by guessing, and costs several times the CPU once a handful of
requests run side by side.  Protocol parsing is h11's.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import h11
import httpx

from transport.failures import FailureKind
from transport.sockets import Wire, WireError, connect

DEPARTURE = "openbell.departure"

_HEAD_CAP_BYTES = 64 * 1024


class Departure:
    """One request on its way out: its deadlines, its guard, and whether it has left."""

    __slots__ = ("_guard", "connect_seconds", "is_written", "read_seconds", "refusal")

    def __init__(
        self, *, connect_seconds: float, read_seconds: float, guard: Callable[[], None] | None
    ) -> None:
        self.connect_seconds = connect_seconds
        self.read_seconds = read_seconds
        self._guard = guard
        self.is_written = False
        self.refusal: BaseException | None = None

    def leave(self, wire: Wire, data: bytes) -> None:
        """Ask the guard and write, with nothing in between."""
        if self._guard is not None:
            try:
                self._guard()
            except BaseException as exc:
                self.refusal = exc
                raise
        self.is_written = True
        wire.write(data)


@dataclass(slots=True)
class _Connection:
    wire: Wire
    state: h11.Connection
    idle_since: float = 0.0


class Exchanges(httpx.AsyncBaseTransport):
    """A few kept-alive connections to one host; whoever waits longest goes first."""

    def __init__(
        self, *, tls: ssl.SSLContext | None, max_connections: int, keepalive_seconds: float
    ) -> None:
        self._tls = tls
        self._max_connections = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._idle: list[_Connection] = []
        self._places_taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return its reply's head; the body is read by the caller."""
        departure: Departure = request.extensions[DEPARTURE]
        await self._take_place()
        connection: _Connection | None = None
        try:
            connection = self._reused() or await self._opened(request, departure)
            return await self._exchange(connection, request, departure)
        except BaseException:
            self._give_back(connection, is_clean=False)
            raise

    async def aclose(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.wire.abort()
        self._idle.clear()
        # One turn of the loop, in which the sockets are really closed.
        await asyncio.sleep(0)

    async def _exchange(
        self, connection: _Connection, request: httpx.Request, departure: Departure
    ) -> httpx.Response:
        wire, state = connection.wire, connection.state
        departure.leave(wire, _written(state, request))
        await wire.drain(within=departure.read_seconds)
        head = await _next_event(connection, departure)
        while isinstance(head, h11.InformationalResponse):
            head = await _next_event(connection, departure)
        if not isinstance(head, h11.Response):
            raise WireError(FailureKind.BROKEN, "the server closed without an answer")
        return httpx.Response(
            status_code=head.status_code,
            headers=list(head.headers),
            stream=_Body(self, connection, departure),
        )

    async def _take_place(self) -> None:
        if self._places_taken < self._max_connections and not self._waiting:
            self._places_taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free_place()
            else:
                self._waiting.remove(turn)
            raise

    def _free_place(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._places_taken -= 1

    def _reused(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            is_fresh = now - connection.idle_since <= self._keepalive_seconds
            if is_fresh and connection.wire.is_usable:
                return connection
            connection.wire.abort()
        return None

    async def _opened(self, request: httpx.Request, departure: Departure) -> _Connection:
        default = 80 if self._tls is None else 443
        wire = await connect(
            request.url.raw_host.decode("ascii").strip("[]"),
            request.url.port or default,
            tls=self._tls,
            within=departure.connect_seconds,
        )
        return _Connection(
            wire, h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_CAP_BYTES)
        )

    def _give_back(self, connection: _Connection | None, *, is_clean: bool) -> None:
        if connection is not None:
            state = connection.state
            is_done = state.our_state is h11.DONE and state.their_state is h11.DONE
            # Bytes beyond the reply belong to nobody; the next caller must not get them.
            if is_clean and is_done and not state.trailing_data[0]:
                state.start_next_cycle()
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle.append(connection)
            else:
                connection.wire.abort()
        self._free_place()


class _Body(httpx.AsyncByteStream):
    """The reply's body; closing it gives the connection back, once."""

    def __init__(self, pool: Exchanges, connection: _Connection, departure: Departure) -> None:
        self._pool = pool
        self._connection: _Connection | None = connection
        self._departure = departure
        self._is_complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._connection is not None:
            event = await _next_event(self._connection, self._departure)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._is_complete = True
                return
            else:
                raise WireError(FailureKind.BROKEN, "the server closed within its answer")

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool._give_back(connection, is_clean=self._is_complete)
            if not self._is_complete:
                await asyncio.sleep(0)


def _written(state: h11.Connection, request: httpx.Request) -> bytes:
    try:
        head = h11.Request(
            method=request.method, target=request.url.raw_path, headers=request.headers.raw
        )
        parts = [state.send(head)]
        if request.content:
            parts.append(state.send(h11.Data(data=request.content)))
        parts.append(state.send(h11.EndOfMessage()))
    except h11.LocalProtocolError:
        # Its text may quote a header, and with it a key.
        raise WireError(FailureKind.BROKEN, "the request is not valid HTTP") from None
    return b"".join(part for part in parts if part)


async def _next_event(connection: _Connection, departure: Departure) -> h11.Event:
    while True:
        try:
            event = connection.state.next_event()
        except h11.RemoteProtocolError as exc:
            raise WireError(FailureKind.BROKEN, str(exc)) from exc
        if event is h11.NEED_DATA:
            connection.state.receive_data(await connection.wire.read(within=departure.read_seconds))
        elif isinstance(event, h11.Event):
            return event
        else:
            raise WireError(FailureKind.BROKEN, "the server changes the protocol")
