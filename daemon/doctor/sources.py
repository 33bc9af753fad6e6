"""Checks of what the decision is fed from, as far as it lies on this machine."""

import asyncio
import datetime as dt
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from daemon.config import Config
from daemon.doctor.finding import Finding, failed, ok, warning
from daemon.sources.bar_feed import file_bars
from daemon.sources.earnings_feed import open_earnings
from daemon.sources.news_feed import open_news
from daemon.sources.scoring import finbert_of
from domain.clock import SystemClock
from domain.errors import DataError
from domain.ids import Symbol
from marketdata.event_files import FileEvents
from marketdata.session_calendar import NyseCalendar, trading_date

_DOCS = "see docs/marketdata.md, Events"


def bars(config: Config) -> Iterator[Finding]:
    """See that there are bars of one's own for enough symbols to decide anything."""
    if "csv" not in (config.marketdata.provider, config.marketdata.cross_check):
        return
    clock, symbols = SystemClock(), [Symbol(name) for name in config.universe.symbols]
    source = file_bars(config, clock, NyseCalendar())
    try:
        found = asyncio.run(source.daily_bars(symbols, dt.date.min, clock.now().date()))
    except DataError as exc:
        yield failed("bars", str(exc), fix="see docs/marketdata.md")
        return
    directory = config.marketdata.csv.directory
    text = f"{len(found)} of {len(symbols)} symbols have bars in {directory}"
    lacking = next((symbol for symbol in symbols if symbol not in found), None)
    if lacking is None:
        last = min(trading_date(series[-1].at) for series in found.values())
        yield ok("bars", f"{text}, ours up to {last}")
        return
    text, fix = f"{text}; {lacking} has none", f"put {lacking}.csv there"
    if 100 * len(found) < config.marketdata.min_symbols_pct * len(symbols):
        yield failed("bars", text, fix=f"{fix}, or lower marketdata.min_symbols_pct")
    else:
        yield warning("bars", text, fix=fix)


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
