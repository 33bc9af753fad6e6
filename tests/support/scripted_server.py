"""An HTTP server on raw sockets that misbehaves to order.

It counts every request byte for byte, so a test can say what was on the wire and how
often.  Each request takes the next step of its script; the last step stays.
"""

import asyncio
import json
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass
class Seen:
    """One request as it was on the wire."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float
    connection: int

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Exchange:
    """What a step may do: look at the request, write, wait, close."""

    request: Seen
    writer: asyncio.StreamWriter
    keep_open: bool = field(default=True)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.keep_open = False


Step = Callable[[Exchange], Awaitable[None]]


class ScriptedServer:
    """``async with ScriptedServer() as server: server.on("GET", "/v2/clock", answer(...))``."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.received_bytes = 0
        self.connections = 0
        self._tls = tls
        self._writers: list[asyncio.StreamWriter] = []
        self._scripts: dict[tuple[str, str], list[Step]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "ScriptedServer":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        # Twice: a connection may have been accepted a moment before the end.
        for _ in range(2):
            for writer in self._writers:
                writer.transport.abort()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            await asyncio.sleep(0.01)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        scheme, host = ("https", "localhost") if self._tls else ("http", "127.0.0.1")
        return f"{scheme}://{host}:{self.port}"

    def on(self, method: str, path: str, *steps: Step) -> None:
        self._scripts[method, path] = list(steps)

    def shut_all_sockets_now(self) -> None:
        """Close as the kernel does: no turn of the loop passes."""
        for writer in self._writers:
            writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def count(self, method: str, path: str | None = None) -> int:
        return sum(seen.method == method and path in (None, seen.path) for seen in self.seen)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.ensure_future(self._serve(reader, writer, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        try:
            while True:
                seen = await self._read(reader, connection)
                self.seen.append(seen)
                exchange = Exchange(seen, writer)
                await self._step(seen)(exchange)
                if not exchange.keep_open:
                    return
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            return
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Seen:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.received_bytes += len(head) + len(body)
        start, *lines = head.decode().split("\r\n")
        method, target, _ = start.split(" ")
        parts = urlsplit(target)
        pairs = (line.split(": ", 1) for line in lines if line)
        return Seen(
            method=method,
            path=unquote(parts.path),
            params=dict(parse_qsl(parts.query)),
            headers={name.lower(): text for name, text in pairs},
            body=body,
            at=asyncio.get_running_loop().time(),
            connection=connection,
        )

    def _step(self, seen: Seen) -> Step:
        steps = self._scripts.get((seen.method, seen.path)) or self._scripts.get((seen.method, "*"))
        if steps is None:
            return answer(404, {"code": 40410000, "message": f"not scripted: {seen.path}"})
        return steps.pop(0) if len(steps) > 1 else steps[0]


def raw_reply(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    lines = {"Content-Type": "application/json", **(headers or {})}
    lines.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    return f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + body


def answer(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> Step:
    """Answer plainly; anything but bytes is sent as JSON."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def step(exchange: Exchange) -> None:
        await exchange.send(raw_reply(status, payload, headers))

    return step


def reply_with(make: Callable[[Seen], Any]) -> Step:
    """Answer 200 with what ``make`` returns for the request."""

    async def step(exchange: Exchange) -> None:
        await exchange.send(raw_reply(200, json.dumps(make(exchange.request)).encode()))

    return step


def html(status: int) -> Step:
    page = b"<html><body><h1>Down for maintenance</h1></body></html>"
    return answer(status, page, {"Content-Type": "text/html"})


async def hang(exchange: Exchange) -> None:
    """Take the request and say nothing, for ever."""
    await asyncio.Event().wait()


async def reset(exchange: Exchange) -> None:
    """Take the request and reset the connection."""
    exchange.reset()


async def close(exchange: Exchange) -> None:
    """Take the request and close without a word."""
    exchange.keep_open = False


def after(seconds: float, step: Step) -> Step:
    async def delayed(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await step(exchange)

    return delayed


def cut(body: Any, *, at: int) -> Step:
    """Promise the whole body, send ``at`` bytes of it, reset."""

    async def step(exchange: Exchange) -> None:
        payload = json.dumps(body).encode()
        head = raw_reply(200, b"", {"Content-Length": str(len(payload))})
        await exchange.send(head + payload[:at])
        await asyncio.sleep(0.01)
        exchange.reset()

    return step


def trickle(body: bytes, *, seconds: float) -> Step:
    """Send one byte at a time."""

    async def step(exchange: Exchange) -> None:
        reply = raw_reply(200, body)
        for position in range(len(reply)):
            await exchange.send(reply[position : position + 1])
            await asyncio.sleep(seconds)

    return step


def endless(chunk: bytes) -> Step:
    """Send a body without end."""

    async def step(exchange: Exchange) -> None:
        head = raw_reply(200, b"", {"Content-Length": str(10**12)})
        await exchange.send(head)
        while True:
            await exchange.send(chunk)

    return step


def then_close(step: Step) -> Step:
    """Answer, then close the connection although it was kept alive."""

    async def both(exchange: Exchange) -> None:
        await step(exchange)
        exchange.keep_open = False

    return both
