"""Who tells earnings dates: a vendor, a file of one's own, both, or nobody."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from daemon.config import Config, state_directory
from daemon.credentials import ALPHAVANTAGE_KEY, FINNHUB_KEY, Credentials
from domain.clock import Clock
from marketdata.earnings import JoinedEvents, RememberedEarnings
from marketdata.event_files import FileEvents
from marketdata.events import EventSource

FILE = "earnings.csv"


@contextlib.asynccontextmanager
async def open_earnings(
    config: Config, *, clock: Clock, time_scale: float
) -> AsyncIterator[EventSource | None]:
    """Open what ``marketdata.earnings`` and ``marketdata.events_file`` name.

    Raises:
        ConfigError: a key or a package is missing.
    """
    sources: list[EventSource] = []
    async with AsyncExitStack() as stack:
        if file := config.marketdata.events_file:
            sources.append(_own_file(file))
        if config.marketdata.earnings != "none":
            vendor = _vendor(config, time_scale, stack)
            kept = state_directory(config) / FILE
            sources.append(RememberedEarnings(vendor, kept, clock=clock))
        # Nobody to ask is told from somebody who knows of no report.
        yield JoinedEvents(sources) if len(sources) > 1 else next(iter(sources), None)


def _own_file(name: str) -> EventSource:
    return FileEvents(Path(name).expanduser())


def _vendor(config: Config, time_scale: float, stack: AsyncExitStack) -> EventSource:
    credentials = Credentials.of(config)
    match config.marketdata.earnings:
        case "alphavantage":
            from marketdata.alphavantage import AlphaVantageEarnings

            vantage = AlphaVantageEarnings.connect(
                key=credentials.require(ALPHAVANTAGE_KEY), time_scale=time_scale
            )
            stack.push_async_callback(vantage.aclose)
            return vantage
        case "finnhub":
            from marketdata.finnhub import FinnhubEarnings

            finnhub = FinnhubEarnings.connect(
                key=credentials.require(FINNHUB_KEY), time_scale=time_scale
            )
            stack.push_async_callback(finnhub.aclose)
            return finnhub
        case _:
            from marketdata.yahoo_earnings import YahooEarnings

            return YahooEarnings.connect()
