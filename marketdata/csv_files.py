"""Bars from files of one's own: ``AAPL.csv`` or ``AAPL.parquet``, one file per symbol.

The columns are date and close, and where known open, high, low and volume, in any order
and case.  A date is a session (2022-12-14) or a moment with its zone.  Parquet needs
pyarrow, an optional extra.
"""

import asyncio
import csv
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from domain.clock import UTC, Clock
from domain.errors import DataError
from domain.ids import Symbol
from domain.market import Bar
from marketdata.base import SessionCalendar
from marketdata.rows import Row, bars_of
from marketdata.session_calendar import day_start, last_complete, trading_date

_DATES = ("date", "time", "timestamp", "datetime")
_PRICES = ("open", "high", "low", "close", "volume")
_LARGEST_BYTES = 64 * 1024 * 1024


class FileBars:
    """A BarSource over a directory; it never shows a session that is not over yet."""

    name = "csv"

    def __init__(self, directory: Path, *, clock: Clock, calendar: SessionCalendar) -> None:
        self._directory = directory
        self._clock = clock
        self._calendar = calendar

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the complete daily bars of the dates ``start`` to ``end``, oldest first.

        A symbol without a file is absent.

        Raises:
            DataError: the directory is missing, or a file is not understood.
        """
        last = min(end, last_complete(self._calendar, self._clock.now()).date)
        return await asyncio.to_thread(self._read, sorted(set(symbols)), start, last)

    def _read(
        self, symbols: Sequence[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        if not self._directory.is_dir():
            raise DataError(
                f"{self._directory} is not a directory; set marketdata.csv.directory to the one"
                " with the bars"
            )
        found = {symbol: self._symbol(symbol, start, end) for symbol in symbols}
        return {symbol: bars for symbol, bars in found.items() if bars}

    def _symbol(self, symbol: Symbol, start: dt.date, end: dt.date) -> tuple[Bar, ...]:
        path = self._directory / f"{symbol}.csv"
        parquet = path.with_suffix(".parquet")
        if path.is_file():
            lines: Iterable[Mapping[str, str]] = _csv_lines(path)
        elif parquet.is_file():
            path, lines = parquet, _parquet_lines(parquet)
        else:
            return ()
        rows = (row for number, line in enumerate(lines, 2) for row in _row(path, number, line))
        inside = (row for row in rows if start <= trading_date(row.at) <= end)
        return bars_of(symbol, inside, source=str(path))


def _csv_lines(path: Path) -> Iterator[Mapping[str, str]]:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise DataError(f"{path} is larger than {_LARGEST_BYTES >> 20} MiB; split it")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            _check_names(path, names)
            reader.fieldnames = names
            yield from reader
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"{path} cannot be read as CSV ({exc})") from exc


def _parquet_lines(path: Path) -> Iterator[Mapping[str, str]]:
    try:
        import pandas as pd  # noqa: PLC0415 - heavy, and CSV does not need it

        frame = pd.read_parquet(path)
    except ImportError as exc:
        raise DataError(f"{path} needs pyarrow; run `pip install pyarrow`, or use CSV") from exc
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} cannot be read as Parquet ({exc})") from exc
    if frame.index.name is not None:
        frame = frame.reset_index()
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    _check_names(path, list(frame.columns))
    for record in frame.to_dict("records"):
        # What is missing is an empty place, as in a CSV file.
        yield {str(name): "" if pd.isna(one) else _text(one) for name, one in record.items()}


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _check_names(path: Path, names: Sequence[str]) -> None:
    if "close" not in names or not any(name in names for name in _DATES):
        raise DataError(f"{path} needs the columns date and close; it has {', '.join(names)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has the column {twice[0]} twice")


def _row(path: Path, number: int, line: Mapping[str, str]) -> Iterator[Row]:
    date = next((line[name] for name in _DATES if line.get(name)), "")
    try:
        prices = {name: _price(line.get(name)) for name in _PRICES}
        close = prices.pop("close")
        if close is None:
            raise ValueError("no close")
        yield Row(at=_moment(date), close=close, **prices)
    except ValueError as exc:
        raise DataError(f"{path}, line {number}: {exc}; correct or remove the line") from exc


def _price(text: str | None) -> float | None:
    return float(text) if text is not None and text.strip() else None


def _moment(text: str) -> dt.datetime:
    """Return the left edge of the session that a date or a moment belongs to."""
    moment = dt.datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        if moment.time() != dt.time():
            raise ValueError(f"{text!r} has an hour but no zone")
        return day_start(moment.date())
    return day_start(trading_date(moment.astimezone(UTC)))
