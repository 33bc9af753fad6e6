"""Checks of what the decision is fed from, as far as it lies on this machine."""

import asyncio
import datetime as dt
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from daemon.config import Config
from daemon.doctor.finding import Finding, failed, ok
from daemon.sources.earnings_feed import open_earnings
from daemon.sources.news_feed import open_news
from daemon.sources.scoring import finbert_of
from domain.clock import SystemClock
from domain.errors import DataError
from marketdata.event_files import FileEvents

_DOCS = "see docs/marketdata.md, Events"


def earnings(config: Config) -> Iterator[Finding]:
    """See that who tells earnings dates can be asked, and that one's own file can be read.

    Raises:
        ConfigError: a key or a package is missing.
    """
    vendor, file = config.marketdata.earnings, config.marketdata.events_file
    if vendor == "none" and not file:
        return
    asyncio.run(_open(config))
    if file:
        try:
            asyncio.run(FileEvents(Path(file).expanduser()).events((), dt.date.min, dt.date.max))
        except DataError as exc:
            yield failed("earnings", str(exc), fix=_DOCS)
            return
    told = [name for name in (vendor, file) if name not in ("none", "")]
    yield ok("earnings", f"dates come from {' and '.join(told)}")


def finbert(config: Config) -> Iterator[Finding]:
    """See that the model of one's own is the one that was meant.

    Raises:
        ConfigError: it is not.
    """
    settings = config.sentiment.finbert
    if settings.model:
        finbert_of(settings)
        yield ok("finbert", f"{settings.model} has the SHA-256 that was named")


def news(config: Config) -> Iterator[Finding]:
    """See that who tells news can be asked.

    Raises:
        ConfigError: a key is missing, or a feed cannot be used.
    """
    if config.news.provider in ("none", "sample"):
        return
    asyncio.run(_open_news(config))
    yield ok("news", f"{config.news.provider} can be asked")


async def _open_news(config: Config) -> None:
    # Without the stream, which would connect.
    quiet = replace(config, news=replace(config.news, stream=False))
    async with open_news(quiet, clock=SystemClock(), time_scale=1.0):
        pass


async def _open(config: Config) -> None:
    # Nothing is sent: vendors are asked when a decision is made.
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_earnings(config, clock=SystemClock(), time_scale=1.0))
