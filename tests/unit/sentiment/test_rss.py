"""Against RSS 2.0 (rssboard.org) and Atom 1.0 (RFC 4287)."""

import datetime as dt
from collections.abc import AsyncIterator

import pytest

from domain.clock import UTC
from domain.errors import ConfigError, DataError, ProviderUnavailable
from domain.ids import Symbol
from sentiment.newsdesk import NewsDesk
from sentiment.rss import RssNews, RssSettings, read_feed
from tests.support.scripted_server import ScriptedServer, Step, answer, hang, html
from transport.http import Deadlines

KEY = "made-up-key"
ACME, BETA = Symbol("ACME"), Symbol("BETA")
END = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
START = END - dt.timedelta(days=3)

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>News of ACME</title>
<item><title>Acme beats &amp;amp; raises</title><guid>1</guid>
<pubDate>Wed, 14 Dec 2022 07:30:00 -0500</pubDate>
<description>&lt;p&gt;Good&lt;/p&gt;</description></item>
<item><title><![CDATA[Acme <b>hires</b>]]></title><guid>2</guid>
<pubDate>Tue, 13 Dec 2022 12:00:00 GMT</pubDate></item>
<item><title>No date</title></item>
<item><title></title><pubDate>Tue, 13 Dec 2022 12:00:00 GMT</pubDate></item>
<item><title>No zone</title><pubDate>Tue, 13 Dec 2022 12:00:00</pubDate></item>
</channel></rss>"""
ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>
<entry><id>urn:1</id><title type="html">Acme sued</title>
<published>2022-12-14T12:59:59Z</published><updated>2022-12-14T13:30:00Z</updated></entry>
<entry><id>urn:2</id><title>Acme later</title><updated>2022-12-14T13:00:00Z</updated></entry>
</feed>"""


def xml(text: str) -> Step:
    return answer(200, text.encode(), {"Content-Type": "application/rss+xml"})


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


async def read(server: ScriptedServer, *symbols: Symbol, seconds: float = 5) -> list[str]:
    settings = RssSettings(
        urls=(f"{server.url}/feed?auth={KEY}&s={{symbol}}",),
        deadlines=Deadlines(read_seconds=seconds, total_seconds=seconds),
    )
    source = RssNews(settings)
    try:
        items = await source.headlines(symbols or [ACME], START, END)
    finally:
        await source.aclose()
    return [f"{item.headline}|{','.join(item.symbols)}" for item in items]


async def test_rss_entries_with_date_and_headline_are_read_oldest_first(
    server: ScriptedServer,
) -> None:
    server.on("GET", "/feed", xml(RSS))

    assert await read(server) == ["Acme <b>hires</b>|ACME", "Acme beats &amp; raises|ACME"]
    assert server.seen[0].params == {"auth": KEY, "s": "ACME"}


async def test_atom_entries_are_read_by_their_first_publication(server: ScriptedServer) -> None:
    server.on("GET", "/feed", xml(ATOM))

    assert await read(server) == ["Acme sued|ACME"]


async def test_an_entry_in_the_feeds_of_two_companies_is_one_story(
    server: ScriptedServer,
) -> None:
    server.on("GET", "/feed", xml(ATOM))

    assert await read(server, ACME, BETA) == ["Acme sued|ACME,BETA"]
    assert sorted(seen.params["s"] for seen in server.seen) == ["ACME", "BETA"]


async def test_one_feed_that_fails_leaves_the_others(server: ScriptedServer) -> None:
    server.on("GET", "/feed", html(503), xml(ATOM))

    assert len(await read(server, ACME, BETA)) == 1


async def test_feeds_that_fail_beside_others_are_named(server: ScriptedServer) -> None:
    server.on("GET", "/feed", html(503), html(503), xml(ATOM))
    settings = RssSettings(urls=(f"{server.url}/feed?s={{symbol}}",), concurrency=1)
    source = RssNews(settings)
    desk = NewsDesk([source], deadline_seconds=5)

    await desk.headlines([ACME, BETA, Symbol("CARL")], START, END)

    (told,) = desk.shortfalls
    assert told == "rss: 2 of 3 feeds failed, such as 127.0.0.1/feed for ACME: HTTP 503"
    server.on("GET", "/feed", xml(ATOM))
    await desk.headlines([ACME], START, END)
    assert desk.shortfalls == ()
    await source.aclose()


async def test_all_feeds_failing_is_an_unavailable_source(server: ScriptedServer) -> None:
    server.on("GET", "/feed", html(503))

    with pytest.raises(ProviderUnavailable, match="/feed for ACME: HTTP 503"):
        await read(server, ACME, BETA)


@pytest.mark.parametrize("act", [html(503), xml("<!DOCTYPE a>"), hang])
async def test_a_key_in_the_address_of_a_feed_is_in_no_error(
    server: ScriptedServer, act: Step
) -> None:
    server.on("GET", "/feed", act)

    with pytest.raises(ProviderUnavailable) as raised:
        await read(server, seconds=0.2)

    assert KEY not in str(raised.value)


async def test_a_silent_feed_is_cut_off(server: ScriptedServer) -> None:
    server.on("GET", "/feed", hang)

    with pytest.raises(ProviderUnavailable, match="timeout"):
        await read(server, seconds=0.2)


async def test_a_redirect_is_not_followed(server: ScriptedServer) -> None:
    server.on("GET", "/feed", answer(301, b"", {"Location": f"{server.url}/other"}))

    with pytest.raises(ProviderUnavailable, match="HTTP 301"):
        await read(server)

    assert server.count("GET", "/other") == 0


LAUGHS = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<rss><channel><item><title>&b;</title></item></channel></rss>"""
FILE = """<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<rss><channel><item><title>&x;</title></item></channel></rss>"""


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS.encode(),
        FILE.encode(),
        LAUGHS.encode("utf-16"),
        FILE.replace("DOCTYPE", "doctype").encode(),
        b"",
        b"<rss>",
        b"not xml",
        b"\xff\xfe\x00",
        b'<?xml version="1.0" encoding="no-such"?><rss/>',
        b"<a>" * 5000 + b"</a>" * 5000,
    ],
)
def test_a_document_no_honest_feed_sends_is_refused(body: bytes) -> None:
    with pytest.raises(DataError, match="feed"):
        list(read_feed(body, source="test", symbol=ACME))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-05:00"])
def test_the_first_and_the_last_moment_that_are_none_in_utc_leave_the_entry_out(
    moment: str,
) -> None:
    body = ATOM.replace("2022-12-14T12:59:59Z", moment).encode()

    assert [item.headline for item in read_feed(body, source="x", symbol=ACME)] == ["Acme later"]


def test_an_endless_list_is_cut() -> None:
    entry = "<item><title>x</title><pubDate>Tue, 13 Dec 2022 12:00:00 GMT</pubDate></item>"
    body = f"<rss><channel>{entry * 2000}</channel></rss>".encode()

    assert len(list(read_feed(body, source="test", symbol=ACME))) == 500


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("ftp://example.invalid/{symbol}", "not an http"),
        ("feed.xml", "not an http"),
        ("https://example.invalid/all.xml", "whose news"),
    ],
)
def test_an_address_that_cannot_serve_is_refused(url: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        RssNews(RssSettings(urls=(url,)))


def test_the_address_of_a_story_is_kept_from_either_kind_of_feed() -> None:
    rss = RSS.replace("<guid>1</guid>", "<guid>1</guid><link>https://x.example/rss</link>")
    atom = ATOM.replace("<id>urn:1</id>", '<id>urn:1</id><link href="https://x.example/atom"/>')

    found = [next(iter(read_feed(one.encode(), source="x", symbol=ACME))) for one in (rss, atom)]

    assert [item.url for item in found] == ["https://x.example/rss", "https://x.example/atom"]
