"""Alpaca's documented news stream: msgpack, a list in every frame, nothing replayed."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from domain.clock import UTC, LoopClock, SystemClock
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.secrets import Secret
from sentiment.alpaca import AlpacaNews, AlpacaNewsSettings
from sentiment.alpaca_stream import AlpacaNewsStream, NewsStreamSettings, SeenNews
from tests.support.feed_server import KEY, SECRET, FeedServer, feed_server, say, until
from tests.support.vendor_day import ENVIRON, START, on_replay_loop, story, vendor_day

AAPL = Symbol("AAPL")
AT = dt.datetime(2022, 12, 14, 15, 30, tzinfo=UTC)


def row(number: int, *, revised: int = 0, **changes: Any) -> dict[str, Any]:
    known = {
        "T": "n",
        "id": number,
        "headline": f"Apple story {number}",
        "summary": "",
        "created_at": "2022-12-14T15:30:00Z",
        "updated_at": f"2022-12-14T15:30:{revised:02d}Z",
        "symbols": ["AAPL"],
        "source": "benzinga",
    }
    return known | changes


class Archive:
    """The REST side, in memory."""

    name = "archive"

    def __init__(self) -> None:
        self.items: list[NewsItem] = []
        self.asked: list[tuple[dt.datetime, dt.datetime]] = []
        self.is_down = False

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        self.asked.append((start, end))
        if self.is_down:
            raise ProviderUnavailable("archive: down")
        return self.items


@pytest.fixture
async def feed() -> AsyncIterator[FeedServer]:
    async with feed_server() as feed:
        yield feed


class Notes:
    def __init__(self) -> None:
        self.news: list[NewsItem] = []
        self.unreadable: list[str] = []
        self.lost: list[str] = []

    @property
    def ids(self) -> list[str]:
        return [item.item_id for item in self.news]


async def watch(
    feed: FeedServer, is_enough: Callable[[Notes], bool], archive: Archive | None = None
) -> Notes:
    settings = NewsStreamSettings(
        url=f"ws://127.0.0.1:{feed.port}/v1beta1/news",
        first_pause_seconds=0.01,
        refused_pause_seconds=0.01,
        ready_seconds=3.0,
    )
    notes = Notes()
    stream = AlpacaNewsStream(
        settings,
        archive or Archive(),
        key_id=Secret(KEY),
        secret_key=Secret(SECRET),
        clock=SystemClock(),
    )
    run = stream.run(
        [AAPL],
        on_news=notes.news.append,
        on_unreadable=notes.unreadable.append,
        on_lost=notes.lost.append,
    )
    await until(lambda: is_enough(notes), asyncio.ensure_future(run))
    return notes


async def test_a_story_arrives_as_the_archive_would_have_told_it(feed: FeedServer) -> None:
    feed.acts = [say([row(7)])]

    notes = await watch(feed, lambda notes: bool(notes.news))

    (item,) = notes.news
    assert (item.item_id, item.source, item.published_at) == ("alpaca-7", "benzinga", AT)
    assert (item.headline, item.symbols) == ("Apple story 7", (AAPL,))
    assert feed.subscriptions == [{"action": "subscribe", "news": ["AAPL"]}]


async def test_packed_moments_are_read_too(feed: FeedServer) -> None:
    feed.acts = [say([row(7, created_at=AT, updated_at=AT)])]

    notes = await watch(feed, lambda notes: bool(notes.news))

    assert notes.news[0].published_at == AT


async def test_a_revision_is_told_once_and_an_older_one_never(feed: FeedServer) -> None:
    revised = row(7, revised=5, headline="Apple story, corrected")
    feed.acts = [say([row(7), row(7), revised, revised, row(7), row(8)])]

    notes = await watch(feed, lambda notes: "alpaca-8" in notes.ids)

    assert notes.ids == ["alpaca-7", "alpaca-7", "alpaca-8"]
    assert notes.news[1].headline == "Apple story, corrected"


async def test_what_was_missed_while_away_comes_from_the_archive_once(feed: FeedServer) -> None:
    archive = Archive()
    feed.acts = [say([row(7)], stay=False), say([row(7), row(8), row(9)])]
    missed = NewsItem(
        item_id="alpaca-8",
        source="benzinga",
        published_at=AT,
        headline="Apple story 8",
        symbols=(AAPL,),
    )
    archive.items = [missed]

    notes = await watch(feed, lambda notes: "alpaca-9" in notes.ids, archive)

    assert sorted(notes.ids) == ["alpaca-7", "alpaca-8", "alpaca-9"]
    assert len(notes.lost) == 1
    (first, _), (again, _) = archive.asked
    # The second time only the hole is asked for, with an overlap.
    assert again - first > dt.timedelta(hours=23)


async def test_a_silent_archive_is_named_and_asked_again_and_live_news_go_on(
    feed: FeedServer,
) -> None:
    archive = Archive()
    archive.is_down = True
    feed.acts = [say([row(7)], stay=False), say([row(8)])]

    notes = await watch(feed, lambda notes: "alpaca-8" in notes.ids, archive)

    assert notes.ids == ["alpaca-7", "alpaca-8"]
    assert all("archive: down" in text for text in notes.unreadable)
    (first, _), (again, _) = archive.asked
    assert again - first < dt.timedelta(minutes=1)


async def test_an_odd_message_costs_itself_and_not_its_frame(feed: FeedServer) -> None:
    odd = [row(1, created_at="soon"), row(2, headline=""), {"T": "n"}, "text", None]
    feed.acts = [say([*odd, {"T": "new kind"}, row(9)])]

    notes = await watch(feed, lambda notes: bool(notes.news))

    assert notes.ids == ["alpaca-9"]
    assert len(notes.unreadable) == len(odd)
    assert notes.lost == []


async def test_refused_keys_are_said_to_be_the_keys(feed: FeedServer) -> None:
    feed.accepts = "another key"
    feed.acts = [say()]

    notes = await watch(feed, lambda notes: bool(notes.lost))

    assert notes.lost == ["the news stream did not accept the keys (auth failed)"]


def test_what_was_told_is_forgotten_only_when_there_is_too_much_of_it() -> None:
    seen = SeenNews(most=2)
    one, two, three = (story(number, f"story {number}", "AAPL") for number in (1, 2, 3))

    assert [seen.is_new(item, AT) for item in (one, two, one, three, two)] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert seen.is_new(one, AT)


def test_the_paper_servers_stream_and_archive_make_one_list(tmp_path: Path) -> None:
    old = story(1, "Apple beats estimates", "AAPL")
    later = dataclasses.replace(
        story(2, "Apple raises guidance", "AAPL"), published_at=START + dt.timedelta(minutes=5)
    )

    async def main() -> list[NewsItem]:
        async with vendor_day(tmp_path, old, later) as day:
            keys = {
                "key_id": Secret(ENVIRON["APCA_API_KEY_ID"]),
                "secret_key": Secret(ENVIRON["APCA_API_SECRET_KEY"]),
            }
            clock = LoopClock(START, asyncio.get_running_loop())
            archive = AlpacaNews.connect(
                AlpacaNewsSettings(data_url=day.alpaca.data_url), clock=clock, **keys
            )
            settings = NewsStreamSettings(
                url=day.alpaca.news_stream_url, ping_interval_seconds=None
            )
            told: list[NewsItem] = []
            problems: list[str] = []
            stream = AlpacaNewsStream(settings, archive, clock=clock, **keys)
            task = asyncio.ensure_future(
                stream.run(
                    [AAPL],
                    on_news=told.append,
                    on_unreadable=problems.append,
                    on_lost=problems.append,
                )
            )
            await asyncio.sleep(600)
            task.cancel()
            await asyncio.wait([task])
            await archive.aclose()
            assert problems == []
            return told

    told = on_replay_loop(main())

    assert [item.headline for item in told] == [old.headline, later.headline]
