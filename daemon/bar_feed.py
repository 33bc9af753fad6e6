"""Bars and corporate actions of the configured vendor, with the local store in front.

A vendor's SDK is imported only where that vendor is asked for.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.config import Config, state_directory
from daemon.credentials import BROKER_KEY_ID, BROKER_SECRET_KEY, Credentials
from domain.clock import Clock
from domain.secrets import Secret
from marketdata.base import BarSource, SessionCalendar
from marketdata.event_files import FileEvents
from marketdata.events import EventSource
from marketdata.sample import SampleBars
from marketdata.store import BarStore
from marketdata.stored import StoredBars

if TYPE_CHECKING:
    from marketdata.alpaca import AlpacaBars
    from marketdata.yahoo import YahooBars

BAR_DIRECTORY = "bars"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFeed:
    """``actions`` are the vendor's splits and mergers, ``earnings`` the user's own file."""

    bars: BarSource
    actions: EventSource | None
    earnings: EventSource | None


@contextlib.asynccontextmanager
async def open_bar_feed(
    config: Config,
    *,
    clock: Clock,
    calendar: SessionCalendar,
    time_scale: float,
    is_strict: bool = False,
) -> AsyncIterator[BarFeed]:
    """Open what ``marketdata`` names.

    Args:
        config: tells the provider.
        clock: of the daemon.
        calendar: sessions of the exchange.
        time_scale: loop seconds in a real one.
        is_strict: raise when the vendor is silent, instead of giving what is stored.

    Raises:
        ConfigError: a key or a package is missing.
    """
    earnings = _earnings(config)
    match config.marketdata.provider:
        case "alpaca" | "yahoo" as name:
            async with contextlib.AsyncExitStack() as stack:
                vendor: AlpacaBars | YahooBars
                if name == "alpaca":
                    vendor = _alpaca(config, clock, calendar, time_scale)
                    stack.push_async_callback(vendor.aclose)
                else:
                    vendor = _yahoo(clock, calendar)
                store = BarStore(state_directory(config) / BAR_DIRECTORY)
                stored = StoredBars(
                    store, vendor, clock=clock, calendar=calendar, is_strict=is_strict
                )
                yield BarFeed(bars=stored, actions=vendor, earnings=earnings)
        case "csv":
            files = _files(config, clock, calendar)
            yield BarFeed(bars=files, actions=None, earnings=earnings)
        case _:
            sample = SampleBars(clock=clock, calendar=calendar)
            yield BarFeed(bars=sample, actions=None, earnings=earnings)


def _earnings(config: Config) -> EventSource | None:
    file = config.marketdata.events_file
    return FileEvents(Path(file).expanduser()) if file else None


def _files(config: Config, clock: Clock, calendar: SessionCalendar) -> BarSource:
    from marketdata.csv_files import FileBars

    directory = Path(config.marketdata.csv.directory).expanduser()
    return FileBars(directory, clock=clock, calendar=calendar)


def data_keys(config: Config) -> tuple[Secret, Secret]:
    """Return the keys of Alpaca's data; those of the embedded broker open nothing there.

    Raises:
        ConfigError: one is missing.
    """
    credentials = dataclasses.replace(Credentials.of(config), is_embedded=False)
    return credentials.require(BROKER_KEY_ID), credentials.require(BROKER_SECRET_KEY)


def _alpaca(
    config: Config, clock: Clock, calendar: SessionCalendar, time_scale: float
) -> "AlpacaBars":
    from marketdata.alpaca import AlpacaBars, AlpacaDataSettings

    data = config.marketdata.alpaca
    key_id, secret_key = data_keys(config)
    return AlpacaBars.connect(
        AlpacaDataSettings(data_url=data.data_url, feed=data.feed, time_scale=time_scale),
        key_id=key_id,
        secret_key=secret_key,
        clock=clock,
        calendar=calendar,
    )


def _yahoo(clock: Clock, calendar: SessionCalendar) -> "YahooBars":
    from marketdata.yahoo import YahooBars

    return YahooBars.connect(clock=clock, calendar=calendar)
