import asyncio
import gzip
import socket
import ssl
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError, DataError, SendRefused
from domain.secrets import Secret
from tests.support.scripted_server import (
    ScriptedServer,
    answer,
    close,
    cut,
    endless,
    hang,
    raw_reply,
    reset,
    then_close,
    trickle,
)
from transport.failures import FailureKind, TransportError
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.replay_loop import ReplayLoop
from transport.sockets import WireError, connect


def a_client(url: str, **settings: Any) -> BoundedClient:
    return BoundedClient(HttpSettings(base_url=url, **settings), {"X-Key": Secret("k-e-y")})


def in_simulated_time(main: Callable[[], Coroutine[Any, Any, None]], speed: float = 0) -> None:
    with asyncio.Runner(loop_factory=lambda: ReplayLoop(speed=speed)) as runner:
        runner.run(main())


async def failure_of(client: BoundedClient, **request: Any) -> TransportError:
    try:
        await client.request("POST", "/orders", body=b'{"a":1}', **request)
    except TransportError as exc:
        return exc
    finally:
        await client.aclose()
    raise AssertionError("the request succeeded")


async def test_a_request_leaves_whole_with_its_headers_and_comes_back_once() -> None:
    async with ScriptedServer() as server:
        server.on("POST", "/orders", answer(200, {"price": 189.25}))
        client = a_client(server.url)

        reply = await client.request("POST", "/orders", params=(("a b", "c:d+"),), body=b'{"a":1}')

        assert reply.status == 200
        assert str(reply.json(what="x")) == "{'price': Decimal('189.25')}"
        [seen] = server.seen
        assert seen.params == {"a b": "c:d+"}
        assert seen.headers["x-key"] == "k-e-y"
        assert seen.body == b'{"a":1}'
        await client.aclose()


async def test_connections_are_kept_and_never_more_than_allowed() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/x", answer(200, {}))
        client = a_client(server.url, max_connections=4)

        await asyncio.gather(*(client.request("GET", "/x") for _ in range(40)))
        await asyncio.gather(*(client.request("GET", "/x") for _ in range(40)))

        assert len(server.seen) == 80
        assert server.connections == 4
        await client.aclose()


async def test_a_connection_that_the_server_closed_is_not_used_for_the_next_write() -> None:
    async with ScriptedServer() as server:
        server.on("POST", "/orders", then_close(answer(200, {})), answer(201, {}))
        client = a_client(server.url)
        await client.request("POST", "/orders", body=b"1")
        await asyncio.sleep(0.02)

        reply = await client.request("POST", "/orders", body=b"2")

        assert reply.status == 201
        assert server.connections == 2
        await client.aclose()


async def test_a_closed_connection_is_noticed_even_before_the_loop_has_looked() -> None:
    async with ScriptedServer() as server:
        server.on("POST", "/orders", answer(200, {}))
        client = a_client(server.url)
        await client.request("POST", "/orders", body=b"1")

        server.shut_all_sockets_now()
        reply = await client.request("POST", "/orders", body=b"2")

        assert reply.status == 200
        await client.aclose()


async def test_the_guard_is_asked_in_the_same_section_as_the_write() -> None:
    async with ScriptedServer() as server:
        server.on("POST", "/orders", answer(200, {}))
        client = a_client(server.url)
        events: list[str] = []
        await client.request("POST", "/orders", body=b"warm-up")
        [connection] = client._client._transport._idle  # type: ignore[attr-defined]
        transport = connection.wire._transport
        write = transport.write

        def noted_write(data: bytes) -> None:
            events.append("write")
            write(data)

        transport.write = noted_write
        loop = asyncio.get_running_loop()

        def guard() -> None:
            events.append("guard")
            loop.call_soon(events.append, "other code")

        await client.request("POST", "/orders", body=b"2", guard=guard)

        assert events[:3] == ["guard", "write", "other code"]
        assert events.count("write") == 1
        await client.aclose()


@pytest.mark.parametrize("is_warm", [False, True])
async def test_a_guard_that_refuses_stops_every_byte_and_its_error_reaches_the_caller(
    is_warm: bool,
) -> None:
    async with ScriptedServer() as server:
        server.on("POST", "/orders", answer(200, {}))
        client = a_client(server.url)
        if is_warm:
            await client.request("POST", "/orders", body=b"1")
        before = server.received_bytes

        def guard() -> None:
            raise SendRefused("the kill latch is engaged")

        with pytest.raises(SendRefused, match="latch"):
            await client.request("POST", "/orders", body=b"2", guard=guard)

        await asyncio.sleep(0.02)
        assert server.received_bytes == before
        await client.aclose()


@pytest.mark.parametrize("error", [TimeoutError("mine"), OSError("mine"), KeyboardInterrupt()])
async def test_even_an_error_that_looks_like_a_transport_failure_comes_through_unchanged(
    error: BaseException,
) -> None:
    async with ScriptedServer() as server:
        client = a_client(server.url)

        def guard() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            await client.request("POST", "/orders", body=b"2", guard=guard)

        assert caught.value is error
        assert server.received_bytes == 0
        await client.aclose()


async def test_a_refused_connection_was_surely_not_sent() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]

        failure = await failure_of(a_client(f"http://127.0.0.1:{port}"))

    assert failure.kind is FailureKind.CONNECT
    assert not failure.was_sent
    assert "before anything was sent" in str(failure)


@pytest.mark.parametrize("url", ["http://10.0.0.256", "http://[::1", "http://gpu:port"])
def test_an_address_that_nothing_can_be_sent_to_is_refused_before_the_first_request(
    url: str,
) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        a_client(url)


async def test_a_name_that_does_not_resolve_was_surely_not_sent() -> None:
    failure = await failure_of(a_client("http://nowhere.invalid"))

    assert failure.kind is FailureKind.CONNECT
    assert not failure.was_sent


@pytest.mark.parametrize("step", [reset, close, cut({"id": "x" * 50}, at=10)])
async def test_a_connection_that_breaks_after_the_write_may_have_sent(step: Any) -> None:
    async with ScriptedServer() as server:
        server.on("POST", "/orders", step)

        failure = await failure_of(a_client(server.url))

        assert failure.kind is FailureKind.BROKEN
        assert failure.was_sent
        assert server.count("POST") == 1


def test_a_silent_server_is_given_up_at_the_read_deadline() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with ScriptedServer() as server:
            server.on("POST", "/orders", hang)
            started = loop.time()

            failure = await failure_of(a_client(server.url))

            assert failure.kind is FailureKind.TIMEOUT
            assert failure.was_sent
            assert loop.time() - started == pytest.approx(10, abs=0.1)

    in_simulated_time(scenario)


def test_a_server_that_trickles_is_cut_at_the_total_deadline() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with ScriptedServer() as server:
            server.on("POST", "/orders", trickle(b"{}", seconds=9))
            started = loop.time()

            failure = await failure_of(a_client(server.url))

            assert failure.kind is FailureKind.TIMEOUT
            assert failure.was_sent
            assert loop.time() - started == pytest.approx(15, abs=0.1)

    in_simulated_time(scenario)


def test_waiting_for_a_free_connection_counts_and_was_surely_not_sent() -> None:
    async def scenario() -> None:
        async with ScriptedServer() as server:
            server.on("GET", "/x", hang)
            server.on("POST", "/orders", answer(200, {}))
            client = a_client(
                server.url,
                max_connections=1,
                deadlines=Deadlines(read_seconds=60, total_seconds=60),
            )
            first = asyncio.create_task(client.request("GET", "/x"))
            await asyncio.sleep(0.1)

            with pytest.raises(TransportError) as caught:
                await client.request(
                    "POST", "/orders", body=b"1", deadlines=Deadlines(total_seconds=5)
                )

            assert not caught.value.was_sent
            assert server.count("POST") == 0
            first.cancel()
            await asyncio.wait([first])
            await client.aclose()

    in_simulated_time(scenario)


def test_deadlines_stretch_with_a_scaled_clock() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with ScriptedServer() as server:
            server.on("POST", "/orders", hang)
            started = loop.time()
            deadlines = Deadlines(connect_seconds=0.1, read_seconds=0.2, total_seconds=0.3)

            await failure_of(a_client(server.url, deadlines=deadlines, time_scale=500))

            assert loop.time() - started == pytest.approx(100, rel=0.5)

    in_simulated_time(scenario, speed=500)


async def test_a_body_above_the_cap_is_cut_off() -> None:
    async with ScriptedServer() as server:
        server.on("POST", "/orders", endless(b"x" * 65536))

        failure = await failure_of(a_client(server.url))

        assert failure.kind is FailureKind.TOO_LARGE
        assert failure.was_sent


async def test_a_request_may_bring_its_own_cap() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/x", answer(200, b"x" * 1000))
        client = a_client(server.url, body_cap_bytes=100)

        reply = await client.request("GET", "/x", body_cap_bytes=1000)

        assert len(reply.body) == 1000
        with pytest.raises(TransportError):
            await client.request("GET", "/x")
        await client.aclose()


async def test_g10_a_compressed_reply_is_refused_before_it_unfolds() -> None:
    async with ScriptedServer() as server:
        bomb = gzip.compress(b"0" * 50_000_000)
        server.on("POST", "/orders", answer(200, bomb, {"Content-Encoding": "gzip"}))

        failure = await failure_of(a_client(server.url))

        assert failure.kind is FailureKind.ENCODED


async def test_a_redirect_is_returned_and_not_followed() -> None:
    async with ScriptedServer() as server:
        server.on("POST", "/orders", answer(307, b"", {"Location": f"{server.url}/elsewhere"}))
        client = a_client(server.url)

        reply = await client.request("POST", "/orders", body=b"1")

        assert reply.status == 307
        assert [seen.path for seen in server.seen] == ["/orders"]
        await client.aclose()


async def test_proxies_and_cookies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with ScriptedServer() as server:
        server.on("GET", "/x", answer(200, {}, {"Set-Cookie": "a=b"}))
        client = a_client(server.url)

        await client.request("GET", "/x")
        await client.request("GET", "/x")

        assert "cookie" not in server.seen[1].headers
        await client.aclose()


@pytest.mark.parametrize(
    "first_line", [b"<html>nonsense\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"\x00" * 99]
)
async def test_something_that_is_not_http_is_a_broken_exchange(first_line: bytes) -> None:
    async with ScriptedServer() as server:

        async def nonsense(exchange: Any) -> None:
            await exchange.send(first_line)
            exchange.keep_open = False

        server.on("POST", "/orders", nonsense)

        failure = await failure_of(a_client(server.url))

        assert failure.kind is FailureKind.BROKEN
        assert failure.was_sent


async def test_a_cancelled_request_frees_its_connection() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/slow", hang)
        server.on("GET", "/x", answer(200, {}))
        client = a_client(server.url, max_connections=1)
        task = asyncio.create_task(client.request("GET", "/slow"))
        await asyncio.sleep(0.02)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (await client.request("GET", "/x")).status == 200
        await client.aclose()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a":NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e401]",
        b"[" * 100_000,
    ],
    ids=["empty", "cut", "not-utf8", "nan", "infinity", "minus-infinity", "huge", "deep"],
)
async def test_g02_g10_json_that_cannot_be_trusted_is_a_data_error(body: bytes) -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/x", answer(200, body))
        client = a_client(server.url)
        reply = await client.request("GET", "/x")

        with pytest.raises(DataError, match=r"^quote: "):
            reply.json(what="quote")
        await client.aclose()


async def test_half_a_character_in_json_becomes_one_that_every_file_takes() -> None:
    # What cuts a text to a length can leave half an emoji, and nothing here could store it.
    body = (
        rb'{"id":"cut \ud83d","\uD83D":[{"note":"\udE80 whole: \ud83d\ude80"}],"literal":"\\ud83d"}'
    )
    async with ScriptedServer() as server:
        server.on("GET", "/x", answer(200, body))
        client = a_client(server.url)
        found = (await client.request("GET", "/x")).json(what="order")
        await client.aclose()

    assert found == {
        "id": "cut \ufffd",
        "\ufffd": [{"note": "\ufffd whole: \N{ROCKET}"}],
        "literal": r"\ud83d",
    }


async def test_a24_bytes_after_a_reply_never_become_the_reply_to_the_next_request() -> None:
    async with ScriptedServer() as server:

        async def two_at_once(exchange: Any) -> None:
            await exchange.send(raw_reply(200, b'"first"') + raw_reply(200, b'"stray"'))

        server.on("GET", "/x", two_at_once, answer(200, "second"))
        client = a_client(server.url)

        first = await client.request("GET", "/x")
        second = await client.request("GET", "/x")

        assert (first.body, second.body) == (b'"first"', b'"second"')
        assert server.connections == 2
        await client.aclose()


async def test_a24_bytes_that_come_while_idle_cost_the_connection_and_are_bounded() -> None:
    async with ScriptedServer() as server:

        async def answer_then_flood(exchange: Any) -> None:
            await exchange.send(raw_reply(200, b'"first"'))
            await asyncio.sleep(0.05)
            exchange.writer.write(raw_reply(200, b"x" * 50_000_000))

        server.on("GET", "/x", answer_then_flood, answer(200, "second"))
        client = a_client(server.url)

        await client.request("GET", "/x")
        [connection] = client._client._transport._idle  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        assert 0 < len(connection.wire._buffer) < 1_000_000
        second = await client.request("GET", "/x")

        assert second.body == b'"second"'
        await client.aclose()


async def test_early_hints_are_not_taken_for_the_reply() -> None:
    async with ScriptedServer() as server:

        async def hint_first(exchange: Any) -> None:
            await exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + raw_reply(200, b"1"))

        server.on("GET", "/x", hint_first)
        client = a_client(server.url)

        assert (await client.request("GET", "/x")).status == 200
        await client.aclose()


async def test_a_write_into_a_connection_that_is_closing_is_an_error_and_not_lost() -> None:
    async with ScriptedServer() as server:
        wire = await connect("127.0.0.1", server.port, tls=None, within=1)

        wire.abort()

        with pytest.raises(WireError, match="was closed"):
            wire.write(b"POST / HTTP/1.1")


def test_an_idle_connection_is_dropped_before_a_load_balancer_would_forget_it() -> None:
    async def scenario() -> None:
        async with ScriptedServer() as server:
            server.on("GET", "/x", answer(200, {}))
            client = a_client(server.url)
            for idle_seconds, connections in ((0, 1), (59, 1), (61, 2)):
                await asyncio.sleep(idle_seconds)
                await client.request("GET", "/x")
                assert server.connections == connections
            await client.aclose()

    in_simulated_time(scenario)


async def test_a_key_with_a_line_end_is_refused_by_name_and_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"X-Key: the key has characters") as caught:
        BoundedClient(HttpSettings(base_url="http://x"), {"X-Key": Secret("hunter2\n")})

    assert "hunter2" not in str(caught.value)


async def test_a_large_body_is_sent_whole_to_a_slow_reader() -> None:
    body = b"x" * 5_000_000
    async with ScriptedServer() as server:
        server.on("POST", "/x", answer(200, {}))
        client = a_client(server.url)

        await client.request("POST", "/x", body=body)

        assert server.seen[0].body == body
        await client.aclose()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [  # noqa: S607
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            folder / "key.pem",
            "-out",
            folder / "cert.pem",
        ],
        check=True,
        capture_output=True,
    )
    return folder


def a_tls_server(certificate: Path) -> ScriptedServer:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return ScriptedServer(tls=context)


async def test_tls_to_a_trusted_server_works_with_guard_and_reuse(certificate: Path) -> None:
    async with a_tls_server(certificate) as server:
        server.on("POST", "/orders", answer(200, {}))
        client = a_client(server.url, ca_file=certificate / "cert.pem")
        calls: list[int] = []

        for _ in range(3):
            reply = await client.request(
                "POST", "/orders", body=b"1", guard=lambda: calls.append(1)
            )
            assert reply.status == 200

        assert len(calls) == 3
        assert server.connections <= 2
        await client.aclose()


async def test_a21_a_self_signed_certificate_ends_the_exchange_before_anything_is_sent(
    certificate: Path,
) -> None:
    async with a_tls_server(certificate) as server:
        failure = await failure_of(a_client(server.url))

        assert failure.kind is FailureKind.TLS
        assert not failure.was_sent
        assert server.seen == []


async def test_a21_a_certificate_for_another_host_ends_the_exchange(certificate: Path) -> None:
    async with a_tls_server(certificate) as server:
        url = f"https://127.0.0.1:{server.port}"

        failure = await failure_of(a_client(url, ca_file=certificate / "cert.pem"))

        assert failure.kind is FailureKind.TLS
        assert not failure.was_sent


async def test_a21_a_server_that_only_speaks_plain_http_gets_no_request() -> None:
    async with ScriptedServer() as server:
        failure = await failure_of(a_client(server.url.replace("http:", "https:")))

        assert not failure.was_sent
        assert server.seen == []


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("hunter2")

    shown = f"{secret} {secret!r} {secret:>20} {[secret]} {vars(Secret)}"

    assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"
    assert secret
    assert not Secret("")
    with pytest.raises(TypeError):
        __import__("copy").copy(secret)
