"""What every news source promises, whatever is behind it.

A new vendor adds one entry to ``SOURCES``.  Each stands before the same five stories, one
of them too old and one from the future.
"""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from domain.clock import UTC, ManualClock
from domain.ids import Symbol, is_symbol
from domain.secrets import Secret
from sentiment.alpaca import AlpacaNews, AlpacaNewsSettings
from sentiment.base import NewsSource
from sentiment.news import NoNews, SampleNews
from sentiment.newsdesk import NewsDesk
from sentiment.rss import RssNews, RssSettings
from tests.support.scripted_server import ScriptedServer, answer

END = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
START = END - dt.timedelta(days=3)
ACME = Symbol("ACME")
STORIES = {
    "too old": START - dt.timedelta(seconds=1),
    "the first": START,
    "the second": END - dt.timedelta(hours=30),
    "the last": END - dt.timedelta(seconds=1),
    "from the future": END,
}
INSIDE = ["the first", "the second", "the last"]

Build = Callable[[AsyncExitStack], Awaitable[NewsSource]]


async def alpaca(stack: AsyncExitStack) -> NewsSource:
    server = await stack.enter_async_context(ScriptedServer())
    rows: list[dict[str, Any]] = [
        {
            "id": number,
            "headline": headline,
            "summary": "",
            "created_at": at.isoformat().replace("+00:00", "Z"),
            "updated_at": at.isoformat().replace("+00:00", "Z"),
            "symbols": ["ACME"],
            "source": "benzinga",
        }
        for number, (headline, at) in enumerate(reversed(STORIES.items()))
    ]
    server.on("GET", "/v1beta1/news", answer(200, {"news": rows, "next_page_token": None}))
    source = AlpacaNews.connect(
        AlpacaNewsSettings(data_url=server.url),
        key_id=Secret("key"),
        secret_key=Secret("secret"),
        clock=ManualClock(END),
    )
    stack.push_async_callback(source.aclose)
    return source


async def rss(stack: AsyncExitStack) -> NewsSource:
    server = await stack.enter_async_context(ScriptedServer())
    entries = "".join(
        f"<item><title>{headline}</title><guid>{headline}</guid>"
        f"<pubDate>{at.strftime('%a, %d %b %Y %H:%M:%S GMT')}</pubDate></item>"
        for headline, at in reversed(STORIES.items())
    )
    body = f'<rss version="2.0"><channel>{entries}</channel></rss>'
    server.on("GET", "/feed", answer(200, body.encode()))
    source = RssNews(RssSettings(urls=(f"{server.url}/feed?s={{symbol}}",)))
    stack.push_async_callback(source.aclose)
    return source


async def desk(stack: AsyncExitStack) -> NewsSource:
    return NewsDesk([await rss(stack), await alpaca(stack)], deadline_seconds=10)


SOURCES: dict[str, Build] = {"alpaca": alpaca, "rss": rss, "desk": desk}


@pytest.fixture(params=list(SOURCES))
async def source(request: pytest.FixtureRequest) -> AsyncIterator[NewsSource]:
    async with AsyncExitStack() as stack:
        yield await SOURCES[request.param](stack)


async def test_what_was_published_in_the_span_comes_once_oldest_first(source: NewsSource) -> None:
    items = await source.headlines([ACME], START, END)

    assert [item.headline for item in items] == INSIDE


async def test_every_item_can_be_used(source: NewsSource) -> None:
    items = await source.headlines([ACME], START, END)

    assert len({item.item_id for item in items}) == len(items)
    for item in items:
        assert item.published_at.tzinfo is not None
        assert item.published_at.utcoffset() == dt.timedelta(0)
        assert item.source
        assert item.symbols == (ACME,)
        assert all(is_symbol(symbol) for symbol in item.symbols)


async def test_the_same_question_has_the_same_answer(source: NewsSource) -> None:
    one = await source.headlines([ACME], START, END)

    assert list(await source.headlines([ACME], START, END)) == list(one)


async def test_an_empty_span_has_no_news(source: NewsSource) -> None:
    assert list(await source.headlines([ACME], END, END)) == []


@pytest.mark.parametrize("source", [NoNews(), SampleNews()])
async def test_a_source_without_news_gives_none(source: NewsSource) -> None:
    assert list(await source.headlines([ACME], START, END)) == []
