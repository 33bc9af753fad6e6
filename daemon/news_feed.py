"""News of the configuration: one source or several at one desk."""

import contextlib
from collections.abc import AsyncIterator

from daemon.bar_feed import data_keys
from daemon.config import Config
from domain.clock import Clock
from sentiment.base import NewsSource
from sentiment.news import NoNews, SampleNews
from sentiment.newsdesk import NewsDesk


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
            from sentiment.alpaca import AlpacaNews, AlpacaNewsSettings

            key_id, secret_key = data_keys(config)
            settings = AlpacaNewsSettings(
                data_url=config.marketdata.alpaca.data_url, time_scale=time_scale
            )
            alpaca = AlpacaNews.connect(settings, key_id=key_id, secret_key=secret_key, clock=clock)
            stack.push_async_callback(alpaca.aclose)
            sources.append(alpaca)
        if "rss" in names:
            from sentiment.rss import RssNews, RssSettings

            rss = RssNews(RssSettings(urls=config.news.rss_urls, time_scale=time_scale))
            stack.push_async_callback(rss.aclose)
            sources.append(rss)
        yield NewsDesk(
            sources, deadline_seconds=config.news.deadline_seconds, time_scale=time_scale
        )
