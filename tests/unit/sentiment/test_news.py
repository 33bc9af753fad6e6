import datetime as dt

import pytest

from domain.clock import UTC
from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.news import NoNews, SampleNews, fingerprint, select

NOW = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
DAY = dt.timedelta(days=1)


def item(
    headline: str, minutes: float, source: str = "wire", symbols: tuple[str, ...] = ("ACME",)
) -> NewsItem:
    return NewsItem(
        item_id=f"{source}-{minutes}",
        source=source,
        published_at=NOW + dt.timedelta(minutes=minutes),
        headline=headline,
        symbols=tuple(Symbol(one) for one in symbols),
    )


@pytest.mark.parametrize("source", [NoNews(), SampleNews()])
async def test_no_news_is_given_and_the_reason_said(source: NoNews) -> None:
    assert await source.headlines([Symbol("ACME")], NOW - DAY, NOW) == ()
    assert source.note


def test_s10_nothing_published_at_or_after_the_decision_is_known() -> None:
    items = [item("old", -1), item("now", 0), item("future", 1)]

    assert [one.headline for one in select(items, as_of=NOW, max_age=DAY)] == ["old"]


def test_s10_stale_news_is_left_out() -> None:
    items = [item("yesterday", -60 * 24), item("older", -60 * 24 - 1)]

    assert [one.headline for one in select(items, as_of=NOW, max_age=DAY)] == ["yesterday"]


def test_time_without_zone_and_news_without_symbol_are_left_out() -> None:
    naive = NewsItem(
        item_id="x",
        source="wire",
        published_at=dt.datetime(2022, 12, 14, 12),  # noqa: DTZ001
        headline="naive",
        symbols=(Symbol("ACME"),),
    )

    assert select([naive, item("untagged", -5, symbols=())], as_of=NOW, max_age=DAY) == ()


def test_s10_a_reprint_counts_once_from_its_first_appearance_for_all_tagged() -> None:
    reprint = item("ACME  Beats - Estimates!", -5, "second", ("BETA", "ACME"))
    first = item("Acme beats estimates", -9, "first")

    (story,) = select([reprint, first], as_of=NOW, max_age=DAY)

    assert (story.source, story.symbols) == ("first", ("ACME", "BETA"))


def test_stories_come_oldest_first_whatever_the_order_of_arrival() -> None:
    items = [item("b", -1), item("c", -3), item("a", -2)]

    once = select(items, as_of=NOW, max_age=DAY)

    assert [one.headline for one in once] == ["c", "a", "b"]
    assert select(reversed(items), as_of=NOW, max_age=DAY) == once


def test_different_figures_are_different_stories() -> None:
    assert fingerprint("Acme up 5%") != fingerprint("Acme up 6%")
