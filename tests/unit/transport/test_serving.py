"""Whoever asks nothing takes neither the place of a request nor the files of the process."""

import asyncio
import contextlib
from typing import Any

from transport.serving import cut_off, listen, start_serving

MOST = 8
WHOLE = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"GET / HTTP/1.1\r\nhost:"
NO_BODY = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf"

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Served:
    """A server that answers when it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Semaphore(0)
        self._writers: list[asyncio.StreamWriter] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            continue
        self.asked.release()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def __aenter__(self) -> "Served":
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.server = await start_serving(self, listener, ws="none", limit_concurrency=MOST)
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await cut_off(self.server)

    async def say(self, text: bytes) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        writer.write(text)
        return reader, writer


async def status_of(peer: Peer) -> bytes:
    async with asyncio.timeout(5):
        return (await peer[0].readline()).split(b" ")[1]


async def test_a_request_is_answered_however_many_connections_ask_nothing() -> None:
    async with Served() as served:
        served.may_answer.set()
        for number in range(60):
            await served.say((b"", HEAD, NO_BODY)[number % 3])

        assert await status_of(await served.say(WHOLE)) == b"200"
        assert len(served.server.server_state.connections) < MOST


async def test_who_waits_for_an_answer_is_not_cut_off_by_those_who_come() -> None:
    async with Served() as served:
        waiting = [await served.say(WHOLE) for _ in range(3)]
        async with asyncio.timeout(5):
            for _ in waiting:
                await served.asked.acquire()
        for _ in range(60):
            await served.say(HEAD)
        served.may_answer.set()

        assert [await status_of(peer) for peer in waiting] == [b"200"] * 3
