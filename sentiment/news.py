"""Headlines of all sources as one list: once each, none from the future."""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.cleaning import clean

_LETTERS = re.compile(r"[^\W_]+")


class NoNews:
    """The news source that is switched off."""

    name = "none"
    note = "news is switched off"

    async def headlines(
        self,
        symbols: Iterable[Symbol],
        start: dt.datetime,
        end: dt.datetime,
    ) -> Sequence[NewsItem]:
        """Return nothing."""
        return ()


class SampleNews(NoNews):
    """News of the recorded days: there is none, and none is invented."""

    name = "sample"
    note = "the recorded data holds no news of the day, so sentiment stays neutral"


def select(
    items: Iterable[NewsItem], *, as_of: dt.datetime, max_age: dt.timedelta
) -> tuple[NewsItem, ...]:
    """Return what may be known at ``as_of``, oldest first, each story once.

    A story that several sources carry counts from its first appearance and for all the
    symbols that any of them tagged.
    """
    known = [
        item
        for item in items
        if item.symbols
        and item.published_at.tzinfo is not None
        and as_of - max_age <= item.published_at < as_of
    ]
    stories: dict[str, NewsItem] = {}
    for item in sorted(known, key=lambda one: (one.published_at, one.source, one.item_id)):
        mark = fingerprint(item.headline)
        first = stories.setdefault(mark, item)
        if first is not item:
            symbols = tuple(sorted({*first.symbols, *item.symbols}))
            stories[mark] = replace(first, symbols=symbols)
    return tuple(stories.values())


def fingerprint(headline: str) -> str:
    """Return the letters and digits of a headline, so that reprints look the same."""
    return " ".join(_LETTERS.findall(clean(headline).text.casefold()))


def readable(items: Iterable[NewsItem], *, most: int) -> dict[str, str]:
    """Return the texts that may be shown to a model, by item id, newest first."""
    texts: dict[str, str] = {}
    newest = sorted(items, key=lambda item: (item.published_at, item.item_id), reverse=True)
    for item in newest:
        cleaned = clean(item.headline)
        if cleaned.text and not cleaned.was_altered and len(texts) < most:
            texts[item.item_id] = cleaned.text
    return texts
