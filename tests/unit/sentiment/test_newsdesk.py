import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence

import pytest

from domain.clock import UTC
from domain.errors import DataError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.newsdesk import NewsDesk

ACME = Symbol("ACME")
END = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
START = END - dt.timedelta(days=1)


class Wire:
    def __init__(
        self, name: str, *minutes: int, failure: Exception | None = None, seconds: float = 0
    ) -> None:
        self.name = name
        self.minutes = minutes
        self.failure = failure
        self.seconds = seconds

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return [
            NewsItem(
                item_id=f"{self.name}-{minute}",
                source=self.name,
                published_at=END - dt.timedelta(minutes=minute),
                headline=f"story of minute {minute}",
                symbols=tuple(symbols),
            )
            for minute in self.minutes
        ]


async def ids(desk: NewsDesk) -> list[str]:
    return [item.item_id for item in await desk.headlines([ACME], START, END)]


async def test_all_sources_are_asked_at_once_and_a_story_counts_once() -> None:
    desk = NewsDesk(
        [Wire("a", 5, 9, seconds=0.2), Wire("b", 5, 7, seconds=0.2)], deadline_seconds=5
    )

    started = asyncio.get_running_loop().time()
    found = await ids(desk)

    assert found == ["a-9", "b-7", "a-5"]
    assert asyncio.get_running_loop().time() - started < 0.38
    assert desk.name == "a+b"
    assert desk.shortfalls == ()


@pytest.mark.parametrize("failure", [ProviderUnavailable("down"), DataError("odd")])
async def test_a_source_that_fails_is_left_out_and_named(failure: Exception) -> None:
    desk = NewsDesk([Wire("a", failure=failure), Wire("b", 7)], deadline_seconds=5)

    assert await ids(desk) == ["b-7"]
    assert desk.shortfalls == (f"a: {failure}",)


async def test_s11_a_late_source_is_left_out_and_named() -> None:
    desk = NewsDesk([Wire("a", 5, seconds=60), Wire("b", 7)], deadline_seconds=0.1)

    assert await ids(desk) == ["b-7"]
    assert desk.shortfalls == ("a: no answer within 0.1 s",)


async def test_the_desk_fails_only_when_all_sources_do() -> None:
    down = ProviderUnavailable("down")
    desk = NewsDesk([Wire("a", failure=down), Wire("b", failure=down)], deadline_seconds=5)

    with pytest.raises(ProviderUnavailable, match="a: down; b: down"):
        await ids(desk)


async def test_a_desk_without_sources_has_no_news() -> None:
    assert await ids(NewsDesk([], deadline_seconds=5)) == []


async def test_a_source_that_shows_the_future_is_not_believed() -> None:
    assert await ids(NewsDesk([Wire("a", -5, 0, 3)], deadline_seconds=5)) == ["a-3"]
