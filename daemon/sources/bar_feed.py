"""Bars and events of the configured vendors, with the local store in front.

A vendor's SDK is imported only where that vendor is asked for.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.config import Config, state_directory
from daemon.credentials import BROKER_KEY_ID, BROKER_SECRET_KEY, Credentials
from daemon.sources.earnings_feed import open_earnings
from domain.clock import Clock
from domain.ids import Symbol
from domain.secrets import Secret
from marketdata.base import BarSource, SessionCalendar
from marketdata.crosscheck import CheckRules, CrossCheckedBars
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
    """``actions`` are the vendor's splits and mergers, ``earnings`` the dates of reports."""

    bars: BarSource
    actions: EventSource | None
    earnings: EventSource | None
    alpaca: "AlpacaBars | None" = None

    async def check_keys(self, symbol: Symbol) -> None:
        """See that keys and plan open the vendor's feed, where it has any.

        Raises:
            ProviderRefused: they do not.
        """
        if self.alpaca is not None:
            await self.alpaca.check_keys(symbol)


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
        config: tells the provider, who checks it, and who tells earnings dates.
        clock: of the daemon.
        calendar: sessions of the exchange.
        time_scale: loop seconds in a real one.
        is_strict: raise when the vendor is silent, instead of giving what is stored, and
            compare with nobody: for filling the store.

    Raises:
        ConfigError: a key or a package is missing.
    """
    async with AsyncExitStack() as stack:
        opener = _Opener(config, clock, calendar, time_scale, stack)
        earnings = await stack.enter_async_context(
            open_earnings(config, clock=clock, time_scale=time_scale)
        )
        vendor = opener.vendor(config.marketdata.provider)
        source: BarSource = vendor
        if config.marketdata.provider in ("alpaca", "yahoo"):
            store = BarStore(state_directory(config) / BAR_DIRECTORY)
            source = StoredBars(store, vendor, clock=clock, calendar=calendar, is_strict=is_strict)
        if config.marketdata.cross_check != "none" and not is_strict:
            source = opener.checked(source)
        yield BarFeed(bars=source, actions=opener.actions, earnings=earnings, alpaca=opener.alpaca)


class _Opener:
    """Builds the sources by name; the first vendor that knows corporate actions tells them."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        calendar: SessionCalendar,
        time_scale: float,
        stack: AsyncExitStack,
    ) -> None:
        self._config = config
        self._clock = clock
        self._calendar = calendar
        self._time_scale = time_scale
        self._stack = stack
        self.actions: EventSource | None = None
        self.alpaca: AlpacaBars | None = None

    def vendor(self, name: str) -> BarSource:
        match name:
            case "alpaca":
                alpaca = alpaca_bars(self._config, self._clock, self._calendar, self._time_scale)
                self._stack.push_async_callback(alpaca.aclose)
                self.actions, self.alpaca = self.actions or alpaca, alpaca
                return alpaca
            case "yahoo":
                yahoo = _yahoo(self._clock, self._calendar)
                self.actions = self.actions or yahoo
                return yahoo
            case "csv":
                return file_bars(self._config, self._clock, self._calendar)
            case _:
                return SampleBars(clock=self._clock, calendar=self._calendar)

    def checked(self, source: BarSource) -> BarSource:
        settings = self._config.marketdata
        rules = CheckRules(
            look_back=settings.cross_check_sessions,
            max_return_difference=settings.cross_check_max_difference_pct / 100,
        )
        return CrossCheckedBars(source, self.vendor(settings.cross_check), rules=rules)


def file_bars(config: Config, clock: Clock, calendar: SessionCalendar) -> BarSource:
    """Return the bars of ``marketdata.csv``."""
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


def alpaca_bars(
    config: Config, clock: Clock, calendar: SessionCalendar, time_scale: float
) -> "AlpacaBars":
    """Return Alpaca's data API as ``marketdata.alpaca`` names it; nothing is sent yet.

    Raises:
        ConfigError: a key is missing.
    """
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
