"""Against the wire format of Alpaca's OpenAPI for news (June 2026)."""

import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from domain.clock import UTC, ManualClock
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.secrets import Secret
from sentiment.alpaca import AlpacaNews, AlpacaNewsSettings
from tests.support.scripted_server import ScriptedServer, Seen, answer, hang, html, reply_with

NEWS = "/v1beta1/news"
END = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
START = END - dt.timedelta(days=3)
AAPL = Symbol("AAPL")

Connect = Callable[..., AlpacaNews]


def article(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "headline": f"Apple story {number}",
        "author": "Desk",
        "created_at": f"2022-12-14T0{number}:00:00Z",
        "updated_at": f"2022-12-14T0{number}:02:00Z",
        "summary": "",
        "content": "",
        "url": "https://example.invalid/1",
        "images": [],
        "symbols": ["AAPL"],
        "source": "benzinga",
    } | changes


def page(articles: list[Any], token: str | None = None) -> dict[str, Any]:
    return {"news": articles, "next_page_token": token}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def connect(server: ScriptedServer) -> AsyncIterator[Connect]:
    made: list[AlpacaNews] = []

    def build(**changes: Any) -> AlpacaNews:
        source = AlpacaNews.connect(
            AlpacaNewsSettings(data_url=server.url, **changes),
            key_id=Secret("key-of-a-test"),
            secret_key=Secret("secret-of-a-test"),
            clock=ManualClock(END),
        )
        made.append(source)
        return source

    yield build
    for source in made:
        await source.aclose()


async def test_articles_come_oldest_first_with_the_vendors_tags(
    server: ScriptedServer, connect: Connect
) -> None:
    rows = [article(9, symbols=["MSFT", "AAPL", "BTCUSD", "not a tag", 7]), article(8)]
    server.on("GET", NEWS, answer(200, page(rows)))

    items = await connect().headlines([AAPL], START, END)

    assert [item.item_id for item in items] == ["alpaca-8", "alpaca-9"]
    assert items[1].symbols == ("AAPL", "BTCUSD", "MSFT")
    assert items[0].source == "benzinga"
    assert items[0].published_at == dt.datetime(2022, 12, 14, 8, tzinfo=UTC)


async def test_the_request_is_bounded(server: ScriptedServer, connect: Connect) -> None:
    server.on("GET", NEWS, answer(200, page([])))

    await connect().headlines([Symbol("MSFT"), AAPL], START, END)

    (seen,) = server.seen
    assert seen.params["symbols"] == "AAPL,MSFT"
    assert seen.params["limit"] == "50"
    assert seen.params["include_content"] in ("False", "false")
    assert seen.params["start"].startswith("2022-12-11T13:00:00")
    assert seen.params["end"].startswith("2022-12-14T13:00:00")
    assert seen.headers["apca-api-key-id"] == "key-of-a-test"


async def test_pages_are_followed_but_not_the_whole_archive(
    server: ScriptedServer, connect: Connect
) -> None:
    def reply(seen: Seen) -> Any:
        rows = [
            article(8, id=len(server.seen) * 1000 + n) for n in range(int(seen.params["limit"]))
        ]
        return page(rows, "more")

    server.on("GET", NEWS, reply_with(reply))

    items = await connect(most_items=120).headlines([AAPL], START, END)

    assert len(items) == 120
    assert len(server.seen) == 3


async def test_nothing_from_the_moment_of_decision_or_later_is_given(
    server: ScriptedServer, connect: Connect
) -> None:
    rows = [
        article(1, created_at="2022-12-14T13:00:00Z"),
        article(2, created_at="2022-12-14T12:59:59.999999999Z"),
        article(3, created_at="2022-12-11T12:59:59Z"),
        article(4, created_at="2022-12-11T13:00:00Z"),
    ]
    server.on("GET", NEWS, answer(200, page(rows)))

    items = await connect().headlines([AAPL], START, END)

    assert [item.item_id for item in items] == ["alpaca-4", "alpaca-2"]


async def test_a_text_that_was_written_after_the_moment_of_decision_is_not_given(
    server: ScriptedServer, connect: Connect
) -> None:
    rows = [
        article(7, headline="Apple halved after probe", updated_at="2022-12-14T15:00:00Z"),
        article(8, updated_at="2022-12-14T13:00:00Z"),
        article(9, updated_at="2022-12-14T12:59:59Z"),
        article(6, updated_at=None),
    ]
    server.on("GET", NEWS, answer(200, page(rows)))

    items = await connect().headlines([AAPL], START, END)

    assert [item.item_id for item in items] == ["alpaca-6", "alpaca-9"]


async def test_a_revised_article_counts_once_from_its_first_appearance(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("GET", NEWS, answer(200, page([article(8), article(8)])))

    assert len(await connect().headlines([AAPL], START, END)) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"headline": "no id", "created_at": "2022-12-14T08:00:00Z"},
        article(8, id="x"),
        article(8, headline=""),
        article(8, headline=None),
        article(8, created_at="soon"),
        article(8, created_at="2022-12-14T08:00:00"),
        article(8, created_at=None),
        article(8, created_at="0001-01-01T00:00:00+02:00"),
        "text",
        None,
    ],
)
async def test_an_article_without_id_moment_or_headline_is_left_out(
    server: ScriptedServer, connect: Connect, bad: Any
) -> None:
    server.on("GET", NEWS, answer(200, page([bad, article(9)])))

    assert [item.item_id for item in await connect().headlines([AAPL], START, END)] == ["alpaca-9"]


async def test_a_giant_headline_is_cut(server: ScriptedServer, connect: Connect) -> None:
    server.on("GET", NEWS, answer(200, page([article(8, headline="word " * 100_000)])))

    (item,) = await connect().headlines([AAPL], START, END)

    assert len(item.headline) <= 1600


async def test_many_symbols_are_asked_in_groups(server: ScriptedServer, connect: Connect) -> None:
    server.on("GET", NEWS, answer(200, page([article(8)])))

    items = await connect(group_size=2).headlines(
        [Symbol(f"S{number}") for number in range(5)], START, END
    )

    assert len(server.seen) == 3
    assert len(items) == 1


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "APCA_API_KEY_ID"), (403, "APCA_API_KEY_ID"), (422, "HTTP 422")]
)
async def test_a_refusal_is_final(
    server: ScriptedServer, connect: Connect, status: int, hint: str
) -> None:
    server.on("GET", NEWS, answer(status, {"message": "no"}))

    with pytest.raises(ProviderUnavailable, match=hint):
        await connect().headlines([AAPL], START, END)

    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b'{"news": null}', b'{"news": {}}', b"{}"])
async def test_an_answer_of_another_shape_is_an_unavailable_source(
    server: ScriptedServer, connect: Connect, body: bytes
) -> None:
    server.on("GET", NEWS, answer(200, body))

    with pytest.raises(ProviderUnavailable):
        await connect().headlines([AAPL], START, END)


async def test_a_failing_server_is_asked_three_times(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("GET", NEWS, html(502))

    with pytest.raises(ProviderUnavailable, match="HTTP 502"):
        await connect().headlines([AAPL], START, END)

    assert len(server.seen) == 3


async def test_a_silent_server_is_given_up_in_time(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("GET", NEWS, hang)

    with pytest.raises(ProviderUnavailable, match=r"within 0\.3 s"):
        await connect(fetch_seconds=0.3).headlines([AAPL], START, END)
