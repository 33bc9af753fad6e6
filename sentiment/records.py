"""What is kept of the headlines behind a decision: cleaned, bounded, without secrets."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote, urlsplit

from domain.market import HeadlineRecord, NewsItem
from sentiment.aggregation import relevance
from sentiment.cleaning import clean

MOST_RECORDS = 5_000
_LONGEST_NAME = 80
_LONGEST_URL = 300

Blot = Callable[[str], str]


def records(
    items: Iterable[NewsItem], as_of: dt.datetime, *, blot: Blot
) -> tuple[HeadlineRecord, ...]:
    """Return what may be kept, oldest first; of too many the newest.

    Args:
        items: the headlines that were scored.
        as_of: when they were, for those that do not say when they reached us.
        blot: takes every known secret out of a text.
    """
    ordered = sorted(items, key=lambda item: (item.published_at, item.item_id))
    return tuple(_record(item, as_of, blot) for item in ordered[-MOST_RECORDS:])


def blotting(secrets: Sequence[str]) -> Blot:
    """Return a function that takes the secrets out of a text."""
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def blot(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "[secret]")
        return text

    return blot


def _record(item: NewsItem, as_of: dt.datetime, blot: Blot) -> HeadlineRecord:
    cleaned = clean(item.headline)
    return HeadlineRecord(
        item_id=blot(clean(item.item_id).text)[:_LONGEST_NAME],
        source=blot(clean(item.source).text)[:_LONGEST_NAME],
        published_at=item.published_at,
        seen_at=item.seen_at or as_of,
        headline=blot(cleaned.text),
        url=blot(_address(item.url)),
        symbols=item.symbols,
        relevance=relevance(item),
        was_altered=cleaned.was_altered,
    )


def _address(url: str) -> str:
    """Return where a story stands, without user, query and fragment: keys travel in those."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host.isascii():
        return ""
    # JSON may hold half of an emoji, which no encoding has.
    path = quote(parts.path, safe="/%:@!$&()*+,;=~-._", errors="replace")
    plain = f"{parts.scheme}://{host}{port}{path}"
    return plain[:_LONGEST_URL]
