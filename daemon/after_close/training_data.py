"""What models are trained on: the recorded prices, bars that were fetched, or one's own files."""

import asyncio
import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from daemon.config import Config, state_directory
from daemon.sources.bar_feed import BAR_DIRECTORY
from domain.clock import SystemClock
from domain.errors import DataError
from domain.ids import Symbol
from forecasts.features import BarColumns, columns_of
from marketdata.csv_files import FileBars
from marketdata.recording import recording
from marketdata.session_calendar import NyseCalendar
from marketdata.store import BarStore

_FIRST = dt.date(1980, 1, 1)
_LAST = dt.date(2100, 1, 1)
FILES = "csv"

Panel = dict[str, BarColumns]


def recorded_panel(end: dt.date = _LAST) -> Panel:
    """Return every recorded series until ``end`` as columns."""
    recorded = recording()
    return {symbol: columns_of(recorded.bars(symbol, _FIRST, end)) for symbol in recorded.symbols}


def stored_panel(directory: Path, symbols: Iterable[str]) -> Panel:
    """Return the stored bars of some symbols as columns.

    Raises:
        DataError: nothing is stored, or a file is damaged.
    """
    store = BarStore(directory)
    stored = {symbol: store.read(Symbol(symbol)) for symbol in sorted(symbols)}
    panel = {one: columns_of(series.bars) for one, series in stored.items() if series is not None}
    if not panel:
        raise DataError(
            f"no bars are stored in {directory}; run `openbell fetch --from 1995-01-01`"
        )
    return panel


def file_panel(directory: Path, symbols: Iterable[str]) -> Panel:
    """Return the bars in one's own files of some symbols as columns.

    Raises:
        DataError: there is none, or a file is not understood.
    """
    source = FileBars(directory, clock=SystemClock(), calendar=NyseCalendar())
    wanted = [Symbol(symbol) for symbol in symbols]
    found = asyncio.run(source.daily_bars(wanted, _FIRST, _LAST))
    if not found:
        raise DataError(f"{directory} has no file of {', '.join(wanted[:3])}; put them there")
    return {symbol: columns_of(found[symbol]) for symbol in sorted(found)}


def bar_folder(config: Config) -> Path:
    """Return where the bars lie that the daemon decides from: files, or what was fetched."""
    if config.marketdata.provider == FILES:
        return Path(config.marketdata.csv.directory).expanduser().absolute()
    return state_directory(config) / BAR_DIRECTORY


def own_panel(config: Config) -> Panel:
    """Return the bars of the universe that the daemon decides from.

    Raises:
        DataError: there are none, or a file is damaged or not understood.
    """
    read = file_panel if config.marketdata.provider == FILES else stored_panel
    return read(bar_folder(config), config.universe.symbols)
