"""News of the configuration: one source or several at one desk."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator

from daemon.config import Config
from daemon.sources.bar_feed import data_keys
from domain.clock import Clock
from domain.ids import Symbol
from sentiment.base import NewsSource
from sentiment.news import NoNews, SampleNews
from sentiment.newsdesk import NewsDesk

# Of the desk's deadline: what was heard live must still be told before it gives up.
_ARCHIVE_SHARE = 0.9


@contextlib.asynccontextmanager
async def open_news(
    config: Config, *, clock: Clock, time_scale: float
) -> AsyncIterator[NewsSource]:
    """Open the sources of ``news.provider``; a SDK is imported only for its own source.

    Raises:
        ConfigError: a key is missing, or a feed cannot be used.
    """
    names = config.news.provider.split("+")
    if "none" in names or "sample" in names:
        yield SampleNews() if "sample" in names else NoNews()
        return
    sources: list[NewsSource] = []
    async with contextlib.AsyncExitStack() as stack:
        if "alpaca" in names:
            sources.append(await stack.enter_async_context(_alpaca(config, clock, time_scale)))
        if "rss" in names:
            from sentiment.rss import RssNews, RssSettings

            rss = RssNews(RssSettings(urls=config.news.rss_urls, time_scale=time_scale))
            stack.push_async_callback(rss.aclose)
            sources.append(rss)
        yield NewsDesk(
            sources, deadline_seconds=config.news.deadline_seconds, time_scale=time_scale
        )


@contextlib.asynccontextmanager
async def _alpaca(config: Config, clock: Clock, time_scale: float) -> AsyncIterator[NewsSource]:
    from sentiment.alpaca import AlpacaNews, AlpacaNewsSettings

    key_id, secret_key = data_keys(config)
    archive = AlpacaNews.connect(
        AlpacaNewsSettings(data_url=config.marketdata.alpaca.data_url, time_scale=time_scale),
        key_id=key_id,
        secret_key=secret_key,
        clock=clock,
    )
    async with contextlib.aclosing(archive):
        if not config.news.stream:
            yield archive
            return
        from sentiment.alpaca_stream import AlpacaNewsStream, NewsStreamSettings
        from sentiment.live_news import LiveNews

        # A replayed day lasts seconds: pings would be its busiest traffic.
        is_replay = config.clock.kind == "replay"
        settings = NewsStreamSettings(
            url=config.news.stream_url,
            ping_interval_seconds=None if is_replay else 10.0,
            first_look_back=dt.timedelta(hours=config.news.look_back_hours),
            time_scale=time_scale,
        )
        stream = AlpacaNewsStream(
            settings, archive, key_id=key_id, secret_key=secret_key, clock=clock
        )
        live = LiveNews(
            archive,
            deadline_seconds=_ARCHIVE_SHARE * config.news.deadline_seconds,
            time_scale=time_scale,
        )
        async with live.listening(stream, map(Symbol, config.universe.symbols)):
            yield live
