"""What every data stream of Alpaca does on good days and bad, below what its messages mean."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from websockets.asyncio.server import ServerConnection, serve

from domain.clock import SystemClock
from domain.errors import ConfigError
from domain.ids import Symbol
from domain.secrets import Secret
from tests.support.feed_server import KEY, SECRET, FeedServer, feed_server, say, send, until
from transport.alpaca_feed import Feed, FeedReader
from transport.alpaca_stream import Connections, Dropped, StreamSettings

ONE = {"T": "t", "S": "AAPL", "n": 1}
TWO = {"T": "t", "S": "AAPL", "n": 2}


class Notes:
    """What the callbacks were told."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.unreadable: list[str] = []
        self.lost: list[str] = []
        self.ready = 0

    def on_ready(self) -> None:
        self.ready += 1

    def on_message(self, message: Mapping[str, Any]) -> None:
        if message["T"] == "t":
            self.told.append(message)


@pytest.fixture
async def feed() -> AsyncIterator[FeedServer]:
    async with feed_server() as feed:
        yield feed


async def watch(feed: FeedServer, is_enough: Callable[[Notes], bool], **changes: Any) -> Notes:
    url = f"ws://127.0.0.1:{feed.port}/v2/iex"
    known: dict[str, Any] = {
        "url": url,
        "refused_pause_seconds": 0.01,
        "ready_seconds": 3.0,
        "first_pause_seconds": 0.01,
    }
    settings = StreamSettings(**(known | changes))
    notes = Notes()
    stream = Feed("stock", settings, key_id=Secret(KEY), secret_key=Secret(SECRET))

    async def live() -> tuple[Dropped, bool]:
        reader = FeedReader(
            settings,
            tell=notes.on_message,
            on_unreadable=notes.unreadable.append,
            on_ready=notes.on_ready,
        )
        return await stream.live(reader, [Symbol("AAPL")], ["trades"])

    run = stream.connections(SystemClock()).keep(live, notes.lost.append)
    await until(lambda: is_enough(notes), asyncio.ensure_future(run))
    return notes


BEYOND_TIME = msgpack.packb([{"T": "t", "t": msgpack.Timestamp(2**40)}])


@pytest.mark.parametrize(
    "frame", [b"\xc1", b"", "text", msgpack.packb({"T": "t"}), b"\x93\x01", BEYOND_TIME]
)
async def test_a_frame_that_cannot_be_read_is_named_and_the_next_one_read(
    feed: FeedServer, frame: Any
) -> None:
    feed.acts = [say(frame, [ONE])]

    notes = await watch(feed, lambda notes: bool(notes.told))

    assert len(notes.unreadable) == 1
    assert notes.lost == []


async def test_too_many_bad_frames_are_a_dead_connection(feed: FeedServer) -> None:
    feed.acts = [say(*[b"\xc1"] * 5), say([ONE])]

    notes = await watch(feed, lambda notes: bool(notes.told))

    assert notes.lost == ["5 unreadable frames in a row"]
    assert notes.ready == 2


async def test_a_drop_is_reported_and_the_subscription_renewed(feed: FeedServer) -> None:
    feed.acts = [say([ONE], stay=False), say([TWO])]

    notes = await watch(feed, lambda notes: len(notes.told) == 2)

    assert len(notes.lost) == 1
    assert len(feed.subscriptions) == 2


async def test_silence_is_a_dead_connection_when_a_bound_is_set(feed: FeedServer) -> None:
    feed.acts = [say(), say([ONE])]

    notes = await watch(feed, lambda notes: bool(notes.told), silence_seconds=0.2)

    assert notes.lost == ["the stream said nothing for 0.2 s"]


async def test_a_server_that_never_confirms_is_given_up(feed: FeedServer) -> None:
    async def mute(socket: ServerConnection) -> None:
        await socket.wait_closed()

    feed.acts = [mute, say([ONE])]

    notes = await watch(feed, lambda notes: bool(notes.told), ready_seconds=0.3)

    assert notes.lost == ["the stream was not ready before its deadline"]


async def test_refused_keys_are_tried_again_only_slowly(feed: FeedServer) -> None:
    feed.accepts = "another key"

    notes = await watch(feed, lambda notes: bool(notes.lost), refused_pause_seconds=60)

    assert "did not accept the keys (auth failed)" in notes.lost[0]
    assert "secret-of-a-test" not in notes.lost[0]


@pytest.mark.parametrize("code", [405, 406, 409])
async def test_a_refused_subscription_is_named(feed: FeedServer, code: int) -> None:
    async def refuse(socket: ServerConnection) -> None:
        await send(socket, {"T": "error", "code": code, "msg": "limit exceeded"})

    feed.acts = [refuse]

    notes = await watch(feed, lambda notes: bool(notes.lost), refused_pause_seconds=60)

    assert str(code) in notes.lost[0]


async def test_a_flood_leaves_the_loop_alive(feed: FeedServer) -> None:
    feed.acts = [say(*[[ONE] * 20] * 500)]

    notes = await watch(feed, lambda notes: len(notes.told) == 10_000)

    assert notes.unreadable == []


async def test_what_is_unknown_is_passed_over_in_silence(feed: FeedServer) -> None:
    feed.acts = [say([{"T": "l", "S": "AAPL"}, {"T": "new kind"}, {"T": "subscription"}, ONE])]

    notes = await watch(feed, lambda notes: bool(notes.told))

    assert (notes.unreadable, notes.ready) == ([], 1)


async def test_keys_are_not_carried_to_where_a_redirect_points(feed: FeedServer) -> None:
    asked: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        place = f"ws://127.0.0.1:{feed.port}/v2/iex".encode()
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(elsewhere, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/v2/iex"
        notes = await watch(feed, lambda notes: bool(notes.lost), url=url)

    assert asked
    assert "redirects to" in notes.lost[0]
    assert feed.headers == []


async def test_a_server_that_does_not_greet_is_not_sent_the_keys(feed: FeedServer) -> None:
    heard: list[Any] = []

    async def stranger(socket: ServerConnection) -> None:
        await send(socket, {"T": "hello"})
        heard.extend([frame async for frame in socket])

    async with serve(stranger, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/"
        notes = await watch(feed, lambda notes: bool(notes.lost), url=url)

    assert "does not greet" in notes.lost[0]
    assert heard == []


def test_an_sdk_whose_private_parts_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from alpaca.data.live.stock import StockDataStream

    from transport.alpaca_socket import open_socket

    monkeypatch.setattr(StockDataStream, "_auth", lambda self, extra: None)

    with pytest.raises(ConfigError, match=r"StockDataStream\._auth .* alpaca-py==0\.44\.0"):
        open_socket("stock", StreamSettings(url="ws://127.0.0.1:9"), Secret(KEY), Secret(SECRET))


async def test_a_bug_in_one_connection_is_told_and_another_is_opened() -> None:
    lost: list[str] = []
    is_another_open = False

    async def live() -> tuple[Dropped, bool]:
        nonlocal is_another_open
        if not lost:
            raise KeyError("qty")
        is_another_open = True
        await asyncio.Event().wait()
        raise AssertionError

    settings = StreamSettings(url="ws://127.0.0.1:9", first_pause_seconds=0.01)
    task = asyncio.ensure_future(Connections(settings, clock=SystemClock()).keep(live, lost.append))
    await until(lambda: is_another_open, task)

    assert lost == ["KeyError('qty')"]


async def test_an_sdk_that_does_not_fit_ends_the_stream() -> None:
    async def live() -> tuple[Dropped, bool]:
        raise ConfigError("install alpaca-py")

    settings = StreamSettings(url="ws://127.0.0.1:9")
    with pytest.raises(ConfigError):
        await Connections(settings, clock=SystemClock()).keep(live, print)
