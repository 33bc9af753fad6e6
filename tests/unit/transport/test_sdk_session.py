import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.clock import SystemClock
from domain.errors import ProviderUnavailable
from tests.support.scripted_server import ScriptedServer, answer, hang, html, reset
from transport.failures import FailureKind, TransportError
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.sdk_session import HttpRefusal, SdkCaller, SdkSession
from transport.sockets import WireError, connect


class QuickClock(SystemClock):
    """Real time, without the waits between attempts."""

    def __init__(self) -> None:
        self.naps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def clock() -> QuickClock:
    return QuickClock()


@pytest.fixture
async def caller(server: ScriptedServer, clock: QuickClock) -> AsyncIterator[SdkCaller]:
    deadlines = Deadlines(read_seconds=0.3, total_seconds=0.3)
    client = BoundedClient(HttpSettings(base_url=server.url, deadlines=deadlines), {})
    yield SdkCaller(client, clock=clock, max_requests=3)
    await client.aclose()


def get(path: str, **arguments: Any) -> Any:
    """What an SDK does with its session, in its thread."""

    def use(session: SdkSession) -> Any:
        response = session.request("GET", f"{BASE[0]}{path}", **arguments)
        response.raise_for_status()
        return response.json()

    return use


BASE = [""]


@pytest.fixture(autouse=True)
async def base(server: ScriptedServer) -> None:
    BASE[0] = server.url


async def test_an_answer_reaches_the_sdk(server: ScriptedServer, caller: SdkCaller) -> None:
    server.on("GET", "/x", answer(200, {"price": 143.21}))

    found = await caller.call(
        get("/x", params={"a": "b c", "none": None, "flag": True}, headers={"X-Key": "k"})
    )

    assert found == {"price": 143.21}
    assert server.seen[0].params == {"a": "b c", "flag": "True"}
    assert server.seen[0].headers["x-key"] == "k"


async def test_the_session_only_reads(server: ScriptedServer, caller: SdkCaller) -> None:
    def use(session: SdkSession) -> Any:
        return session.request("POST", f"{server.url}/v2/orders")

    with pytest.raises(ProviderUnavailable, match="only reads"):
        await caller.call(use)

    assert server.seen == []


async def test_another_host_is_not_called(server: ScriptedServer, caller: SdkCaller) -> None:
    def use(session: SdkSession) -> Any:
        return session.request("GET", "http://evil.invalid/x")

    with pytest.raises(ProviderUnavailable, match="not an address of"):
        await caller.call(use)


async def test_an_sdk_that_pages_for_ever_is_stopped(
    server: ScriptedServer, caller: SdkCaller
) -> None:
    server.on("GET", "/x", answer(200, {}))

    def use(session: SdkSession) -> Any:
        while True:
            session.request("GET", f"{server.url}/x")

    with pytest.raises(ProviderUnavailable, match="no end"):
        await caller.call(use)

    assert len(server.seen) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 404, 422])
async def test_a_refusal_for_good_is_told_at_once(
    server: ScriptedServer, caller: SdkCaller, status: int
) -> None:
    server.on("GET", "/x", answer(status, {"message": "no\n\nreally"}))

    with pytest.raises(HttpRefusal) as caught:
        await caller.call(get("/x"))

    assert caught.value.status == status
    assert len(server.seen) == 1


async def test_what_may_pass_is_tried_three_times(
    server: ScriptedServer, caller: SdkCaller, clock: QuickClock
) -> None:
    server.on("GET", "/x", html(503))

    with pytest.raises(HttpRefusal, match="HTTP 503"):
        await caller.call(get("/x"))

    assert len(server.seen) == 3
    assert clock.naps == [1, 2]


async def test_a_rate_limit_is_obeyed(
    server: ScriptedServer, caller: SdkCaller, clock: QuickClock
) -> None:
    limited = answer(429, b"", {"Retry-After": "17"})
    server.on("GET", "/x", limited, reset, answer(200, {"a": 1}))

    assert await caller.call(get("/x")) == {"a": 1}
    assert clock.naps == [17, 2]


async def test_a_connection_that_takes_too_long_is_opened_again(
    server: ScriptedServer,
    caller: SdkCaller,
    clock: QuickClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.on("GET", "/x", answer(200, {"a": 1}))
    attempts = iter(range(9))

    async def late_once(*where: Any, **how: Any) -> Any:
        if next(attempts) == 0:
            raise WireError(FailureKind.TIMEOUT, "no connection before the connect deadline")
        return await connect(*where, **how)

    monkeypatch.setattr("transport.exchanges.connect", late_once)

    assert await caller.call(get("/x")) == {"a": 1}
    assert clock.naps == [1]


async def test_a_silent_server_is_not_asked_again(
    server: ScriptedServer, caller: SdkCaller
) -> None:
    server.on("GET", "/x", hang)

    with pytest.raises(TransportError, match="timeout"):
        await caller.call(get("/x"))

    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[NaN]", b"[" * 100_000])
async def test_what_is_not_json_is_an_unavailable_service(
    server: ScriptedServer, caller: SdkCaller, body: bytes
) -> None:
    server.on("GET", "/x", answer(200, body))

    with pytest.raises(ProviderUnavailable, match="cannot be read"):
        await caller.call(get("/x"))


@pytest.mark.parametrize(
    "error",
    [KeyError("bars"), AttributeError("items"), TypeError("None"), OverflowError("date value")],
)
async def test_what_an_sdk_makes_of_a_strange_answer_is_an_unavailable_service(
    caller: SdkCaller, error: Exception
) -> None:
    def use(session: SdkSession) -> Any:
        raise error

    with pytest.raises(ProviderUnavailable, match="cannot be read"):
        await caller.call(use)


async def test_a_caller_who_leaves_stops_the_sdk(server: ScriptedServer, caller: SdkCaller) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def use(session: SdkSession) -> Any:
        loop.call_soon_threadsafe(asked.set)
        while True:
            session.request("GET", f"{server.url}/x").json()

    server.on("GET", "/x", hang)
    task = asyncio.ensure_future(caller.call(use))
    await asked.wait()
    task.cancel()
    await asyncio.wait([task])
    await loop.shutdown_default_executor()

    assert len(server.seen) <= 1
