"""What is kept of a headline: the words, and nothing that could do harm later."""

import dataclasses
import datetime as dt

import pytest

from domain.clock import UTC
from domain.ids import Symbol
from domain.market import HeadlineRecord, NewsItem
from sentiment.records import MOST_RECORDS, blotting, records

AT = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
PLAIN = NewsItem(
    item_id="alpaca-7",
    source="benzinga",
    published_at=AT - dt.timedelta(hours=2),
    headline="Apple beats estimates",
    symbols=(Symbol("AAPL"),),
    url="https://www.benzinga.com/news/7/apple-beats",
)


def kept(**changes: object) -> HeadlineRecord:
    item = dataclasses.replace(PLAIN, **changes)  # type: ignore[arg-type]
    (record,) = records([item], AT, blot=blotting(["hunter2"]))
    return record


def test_a_plain_headline_is_kept_as_it_is() -> None:
    assert kept() == HeadlineRecord(
        item_id="alpaca-7",
        source="benzinga",
        published_at=PLAIN.published_at,
        seen_at=AT,
        headline="Apple beats estimates",
        url="https://www.benzinga.com/news/7/apple-beats",
        symbols=(Symbol("AAPL"),),
        relevance=1.0,
        was_altered=False,
    )


def test_the_moment_it_reached_us_is_kept_where_it_is_known() -> None:
    heard = AT - dt.timedelta(hours=1)

    assert kept(seen_at=heard).seen_at == heard


def test_s12_secrets_do_not_get_in_by_any_field() -> None:
    record = kept(
        headline="your token is hunter2",
        source="hunter2",
        item_id="rss-hunter2",
        url="https://x.example/hunter2/feed",
    )

    assert "hunter2" not in repr(record)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:key@x.example:8443/a?apikey=1#b", "https://x.example:8443/a"),
        ("javascript:alert(1)", ""),
        ("file:///etc/passwd", ""),
        ("https://[broken", ""),
        ("https://x.example/\x1b[2J\u202e", "https://x.example/%1B%5B2J%E2%80%AE"),
        ("", ""),
        ("https://x.example/half-\ud83d", "https://x.example/half-%3F"),
    ],
)
def test_an_address_loses_what_could_carry_a_key(url: str, expected: str) -> None:
    assert kept(url=url).url == expected


def test_s02_control_and_format_characters_do_not_get_in() -> None:
    record = kept(
        headline="Apple \x1b[31mbeats\x00\u200b \u202eestimates\u202c",
        source="wi\x07re\u200b",
        item_id="a\x00b",
    )

    for text in (record.headline, record.source, record.item_id, record.url):
        assert text.isprintable()
    assert record.was_altered


def test_a_list_of_symbols_is_less_about_each() -> None:
    many = tuple(Symbol(name) for name in ("A", "B", "C", "D"))

    assert kept(symbols=many).relevance == 0.5


def test_of_too_many_the_newest_are_kept() -> None:
    items = [
        dataclasses.replace(
            PLAIN, item_id=f"{number:05d}", published_at=AT - dt.timedelta(seconds=number)
        )
        for number in range(MOST_RECORDS + 10)
    ]

    found = records(items, AT, blot=blotting([]))

    assert len(found) == MOST_RECORDS
    assert found[-1].item_id == "00000"
