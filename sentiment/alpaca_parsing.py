"""Alpaca's articles, as its OpenAPI of June 2026 has them: from the archive and the stream."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from domain.clock import UTC
from domain.ids import Symbol, is_symbol
from domain.market import NewsItem
from sentiment.cleaning import MAX_CHARACTERS


def item_of(row: Mapping[str, Any]) -> NewsItem | None:
    """Read one article; None when it lacks an id, a moment or a headline."""
    try:
        published = _moment(row["created_at"])
        headline = row["headline"]
        tags = row.get("symbols") or []
        if published is None or not isinstance(headline, str) or not headline.strip():
            return None
        summary = row.get("summary")
        return NewsItem(
            item_id=f"alpaca-{int(row['id'])}",
            source=str(row.get("source") or "alpaca"),
            published_at=published,
            headline=headline[: 4 * MAX_CHARACTERS],
            symbols=tuple(sorted(Symbol(tag) for tag in set(tags) if _is_tag(tag))),
            summary=summary[: 4 * MAX_CHARACTERS] if isinstance(summary, str) else "",
            url=url[: 4 * MAX_CHARACTERS] if isinstance(url := row.get("url"), str) else "",
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def updated_at(row: Mapping[str, Any]) -> dt.datetime | None:
    """Return the moment of an article's last revision, or None."""
    try:
        return _moment(row.get("updated_at"))
    except (TypeError, ValueError, OverflowError):
        return None


def _moment(value: object) -> dt.datetime | None:
    """Read a text of RFC 3339, or what the stream's packing made of it."""
    moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
    return None if moment.tzinfo is None else moment.astimezone(UTC)


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and is_symbol(tag)
