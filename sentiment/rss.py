"""News from RSS 2.0 and Atom feeds.

A feed is tagged by where it comes from: its configuration names the symbol, as the feeds
of one company do.  A feed without a symbol in its address says nothing about anybody,
because symbols are never read out of a text.
"""

import asyncio
import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

from domain.clock import UTC
from domain.errors import ConfigError, DataError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.cleaning import MAX_CHARACTERS
from transport.http import BoundedClient, Deadlines, HttpSettings

_OK = 200
_BODY_CAP_BYTES = 2 * 1024 * 1024
_MOST_ENTRIES = 500
_DEEPEST = 32
_PLACE: Final = "{symbol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RssSettings:
    """Addresses of feeds; ``{symbol}`` in one stands for each symbol in turn."""

    urls: tuple[str, ...]
    deadlines: Deadlines = field(default_factory=Deadlines)
    concurrency: int = 8
    time_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    client: BoundedClient
    host: str
    path: str


class RssNews:
    """A NewsSource over feeds; one that fails is left out unless all of them fail.

    ``shortfalls`` says how many did.
    """

    name = "rss"

    def __init__(self, settings: RssSettings) -> None:
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._clients: dict[str, BoundedClient] = {}
        self.shortfalls: tuple[str, ...] = ()
        self._feeds = [self._feed(url, settings) for url in settings.urls]

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        """Return what was published in ``[start, end)``, oldest first.

        Raises:
            ProviderUnavailable: not one feed answered.
        """
        self.shortfalls = ()
        asked = [(feed, symbol) for feed in self._feeds for symbol in sorted(set(symbols))]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._read(feed, symbol)) for feed, symbol in asked]
        answers = [task.result() for task in tasks]
        failures = [one for one in answers if isinstance(one, ProviderUnavailable)]
        if asked and len(failures) == len(asked):
            raise failures[0]
        counted = f"{self.name}: {len(failures)} of {len(asked)} feeds failed"
        self.shortfalls = (f"{counted}, such as {failures[0]}",) if failures else ()
        found: dict[str, NewsItem] = {}
        for item in (item for one in answers if not isinstance(one, Exception) for item in one):
            # The feeds of two companies may carry the same entry: one story about both.
            first = found.setdefault(item.item_id, item)
            tags = tuple(sorted({*first.symbols, *item.symbols}))
            found[item.item_id] = replace(first, symbols=tags)
        inside = [item for item in found.values() if start <= item.published_at < end]
        return sorted(inside, key=lambda item: (item.published_at, item.item_id))

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    def _feed(self, url: str, settings: RssSettings) -> _Feed:
        # Keys travel in the query.
        parts, shown = urlsplit(url), url.partition("?")[0]
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"news.rss_urls: {shown!r} is not an http or https address")
        if _PLACE not in url:
            raise ConfigError(
                f"news.rss_urls: {shown!r} does not say whose news it holds; put {{symbol}} in it"
            )
        base = f"{parts.scheme}://{parts.netloc}"
        if base not in self._clients:
            http = HttpSettings(
                base_url=base,
                deadlines=settings.deadlines,
                body_cap_bytes=_BODY_CAP_BYTES,
                max_connections=settings.concurrency,
                time_scale=settings.time_scale,
            )
            accept = "application/rss+xml, application/atom+xml, application/xml;q=0.9"
            self._clients[base] = BoundedClient(http, {"Accept": accept})
        return _Feed(
            client=self._clients[base], host=parts.hostname, path=url.removeprefix(base) or "/"
        )

    async def _read(self, feed: _Feed, symbol: Symbol) -> Sequence[NewsItem] | ProviderUnavailable:
        path = feed.path.replace(_PLACE, quote(symbol, safe=""))
        # Keys travel in the query, and what is told here reaches the log.
        where = f"{feed.host}{path.partition('?')[0]} for {symbol}"
        try:
            async with self._slots:
                reply = await feed.client.request("GET", path)
            if reply.status != _OK:
                raise ProviderUnavailable(f"{where}: HTTP {reply.status}")
            return list(read_feed(reply.body, source=feed.host, symbol=symbol))
        except DataError as exc:
            return ProviderUnavailable(f"{where}: {exc}")
        except ProviderUnavailable as exc:
            return exc


def read_feed(body: bytes, *, source: str, symbol: Symbol) -> Iterator[NewsItem]:
    """Read the entries of an RSS or Atom document that have a moment and a headline.

    Raises:
        DataError: it is no such document, or one that no honest feed sends.
    """
    root = _parse(body)
    entries = [*root.iterfind("./channel/item"), *root.iterfind("./{*}entry")]
    for entry in entries[:_MOST_ENTRIES]:
        headline = _text(entry, "title")
        moment = _moment(
            _text(entry, "pubDate") or _text(entry, "published") or _text(entry, "updated")
        )
        if not headline or moment is None:
            continue
        mark = _text(entry, "guid") or _text(entry, "id") or f"{moment} {headline}"
        digest = hashlib.sha256(f"{source}\x1f{mark}".encode()).hexdigest()[:16]
        yield NewsItem(
            item_id=f"rss-{digest}",
            source=source,
            published_at=moment,
            headline=headline[: 4 * MAX_CHARACTERS],
            symbols=(symbol,),
            summary=_text(entry, "description")[: 4 * MAX_CHARACTERS],
            url=_link(entry)[: 4 * MAX_CHARACTERS],
        )


def _parse(body: bytes) -> ET.Element:
    # Entities are what makes XML dangerous: no feed needs to declare any, so a document
    # with a DOCTYPE is refused before it is parsed, in any encoding that could hide it.
    bare = body.replace(b"\x00", b"").lower()
    if b"<!doctype" in bare or b"<!entity" in bare:
        raise DataError("the feed declares a document type; it is not read")
    builder = ET.TreeBuilder()
    parser = ET.XMLParser(target=_Shallow(builder))  # noqa: S314 - no entities can come
    try:
        parser.feed(body)
        root = parser.close()
    except (ET.ParseError, ValueError, LookupError) as exc:
        raise DataError(f"the feed is not usable XML ({exc})") from exc
    if not isinstance(root, ET.Element):
        raise DataError("the feed is empty")
    return root


class _Shallow:
    """A tree builder that refuses a document nested like a trap."""

    def __init__(self, builder: ET.TreeBuilder) -> None:
        self._builder = builder
        self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> ET.Element:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        return self._builder.start(tag, attributes)

    def end(self, tag: str) -> ET.Element:
        self._depth -= 1
        return self._builder.end(tag)

    def data(self, text: str) -> None:
        self._builder.data(text)

    def close(self) -> ET.Element:
        return self._builder.close()


def _text(entry: ET.Element, name: str) -> str:
    found = entry.find(name)
    found = entry.find(f"{{*}}{name}") if found is None else found
    return "".join(found.itertext()).strip() if found is not None else ""


def _link(entry: ET.Element) -> str:
    """Return the address of the story: text in RSS, an attribute in Atom."""
    atom = entry.find("{*}link[@href]")
    return _text(entry, "link") or (atom.get("href", "") if atom is not None else "")


def _moment(text: str) -> dt.datetime | None:
    """Read an RFC 822 or RFC 3339 date; None without a zone: its hour would be a guess."""
    for read in (parsedate_to_datetime, dt.datetime.fromisoformat):
        try:
            moment = read(text)
            # The first or last moment there is, some feeds' way to have none, may be none in UTC.
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            continue
    return None
