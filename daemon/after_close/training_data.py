"""What models are trained on: the recorded prices, or the bars that were fetched."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from domain.errors import DataError
from domain.ids import Symbol
from forecasts.features import BarColumns, columns_of
from marketdata.recording import recording
from marketdata.store import BarStore

_FIRST = dt.date(1980, 1, 1)

Panel = dict[str, BarColumns]


def recorded_panel(end: dt.date = dt.date(2100, 1, 1)) -> Panel:
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
