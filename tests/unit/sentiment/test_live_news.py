import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Sequence

import pytest

from domain.clock import UTC
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.live_news import LiveNews
from sentiment.newsdesk import NewsDesk

AA, BB = Symbol("AA"), Symbol("BB")
NOON = dt.datetime(2022, 12, 14, 12, tzinfo=UTC)
HOUR = dt.timedelta(hours=1)


def item(number: int, *, at: dt.datetime = NOON, symbol: Symbol = AA, text: str = "") -> NewsItem:
    return NewsItem(
        item_id=f"alpaca-{number}",
        source="wire",
        published_at=at,
        headline=text or f"story {number}",
        symbols=(symbol,),
    )


class Archive:
    name = "alpaca"

    def __init__(self, *items: NewsItem) -> None:
        self.items = items
        self.is_down = False
        self.is_mute = False

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        if self.is_down:
            raise ProviderUnavailable("no answer")
        if self.is_mute:
            await asyncio.Event().wait()
        return self.items


class Stream:
    def __init__(self, *items: NewsItem) -> None:
        self.items = items
        self.symbols: list[Symbol] = []
        self.is_over = False

    async def run(
        self,
        symbols: Iterable[Symbol],
        *,
        on_news: Callable[[NewsItem], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.symbols = list(symbols)
        try:
            for one in self.items:
                on_news(one)
            await asyncio.Event().wait()
        finally:
            self.is_over = True


def live_news(archive: Archive, seconds: float = 0.1) -> LiveNews:
    return LiveNews(archive, deadline_seconds=seconds)


async def ask(live: LiveNews) -> Sequence[NewsItem]:
    return await live.headlines([AA], NOON - HOUR, NOON + HOUR)


async def test_archive_and_stream_make_one_list_in_order() -> None:
    live = live_news(Archive(item(2), item(1, text="revised")))
    for heard in (item(1), item(3, at=NOON - HOUR), item(4, symbol=BB), item(5, at=NOON + HOUR)):
        live.hear(heard)

    assert [one.headline for one in await ask(live)] == ["story 3", "revised", "story 2"]
    assert live.shortfalls == ()


async def test_a_silent_archive_leaves_what_was_heard_and_says_so() -> None:
    archive = Archive()
    archive.is_down = True
    live = live_news(archive)
    with pytest.raises(ProviderUnavailable, match="no answer"):
        await ask(live)
    live.hear(item(1))
    desk = NewsDesk([live], deadline_seconds=5)

    assert list(await ask(live)) == [item(1)]
    assert await desk.headlines([AA], NOON - HOUR, NOON + HOUR) == (item(1),)
    assert desk.shortfalls == ("alpaca: no answer; what was heard live stands in",)
    archive.is_down = False
    await ask(live)
    assert live.shortfalls == ()


async def test_an_archive_that_takes_too_long_is_silent_before_the_desk_gives_up() -> None:
    archive = Archive()
    archive.is_mute = True
    live = live_news(archive)
    live.hear(item(1))
    desk = NewsDesk([live], deadline_seconds=5)

    assert await desk.headlines([AA], NOON - HOUR, NOON + HOUR) == (item(1),)
    assert desk.shortfalls == ("alpaca: no answer within 0.1 s; what was heard live stands in",)


async def test_the_stream_is_listened_to_while_the_block_lasts() -> None:
    stream, live = Stream(item(1), item(1, text="revised")), live_news(Archive())

    async with live.listening(stream, [BB, AA]):
        await asyncio.sleep(0)
        assert [one.headline for one in await ask(live)] == ["revised"]

    assert (stream.symbols, stream.is_over) == ([AA, BB], True)


async def test_stories_of_last_week_are_let_go() -> None:
    live = live_news(Archive())
    for number in range(999):
        live.hear(item(number, at=NOON - dt.timedelta(days=8)))
    live.hear(item(999))

    assert len(live._heard) == 1
