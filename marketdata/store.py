"""The local bar store: one NumPy file per symbol, written whole or not at all.

NumPy's own format, because it reads fastest, needs no further package and keeps every
price exact (docs/marketdata.md has the figures).  Each file knows where its bars came
from, how they are adjusted, when they were fetched and from which date they were asked
for, so that "there is nothing before" differs from "nobody asked".
"""

import datetime as dt
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from domain.clock import UTC
from domain.errors import DataError, StorageError
from domain.ids import Symbol, is_symbol
from domain.market import Bar, Session
from marketdata.session_calendar import trading_date

Array = NDArray[Any]

_VERSION = 1
_SUFFIX = ".npz"
_PRICES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where bars came from; ``asked_from`` is the first date that was asked for."""

    source: str
    adjustment: str
    fetched_at: dt.datetime
    asked_from: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSeries:
    """The stored bars of one symbol, oldest first."""

    symbol: Symbol
    bars: tuple[Bar, ...]
    provenance: Provenance

    def gaps(self, sessions: Sequence[Session]) -> tuple[dt.date, ...]:
        """Return the sessions between the first and the last bar that have none."""
        there = {trading_date(bar.at) for bar in self.bars}
        if not there:
            return ()
        first, last = min(there), max(there)
        return tuple(
            one.date for one in sessions if first <= one.date <= last and one.date not in there
        )


class BarStore:
    """Daily bars under one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def symbols(self) -> tuple[Symbol, ...]:
        """Return the stored symbols, sorted."""
        names = (path.stem for path in self._directory.glob(f"*{_SUFFIX}"))
        return tuple(Symbol(name) for name in sorted(names) if is_symbol(name))

    def read(self, symbol: Symbol) -> StoredSeries | None:
        """Return what is stored of a symbol, or None.

        Raises:
            DataError: the file is damaged.
        """
        path = self._path(symbol)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise DataError(f"{path} cannot be read ({exc}); check its permissions") from exc
        try:
            return _decode(symbol, content)
        except (ValueError, KeyError, TypeError, EOFError, BadZipFile, DataError) as exc:
            raise DataError(f"{path} is damaged ({exc}); delete it and fetch again") from exc

    def write(self, symbol: Symbol, bars: Sequence[Bar], provenance: Provenance) -> None:
        """Replace what is stored of a symbol.

        Raises:
            StorageError: nothing was changed.
        """
        path = self._path(symbol)
        fresh = path.with_suffix(".new")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                file.write(_encode(bars, provenance))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as exc:
            fresh.unlink(missing_ok=True)
            raise StorageError(f"{path} cannot be written ({exc}); make room there") from exc

    def _path(self, symbol: Symbol) -> Path:
        if not is_symbol(symbol):
            raise DataError(f"{symbol!r} is not a symbol")
        return self._directory / f"{symbol}{_SUFFIX}"


def _encode(bars: Sequence[Bar], provenance: Provenance) -> bytes:
    about = {
        "version": _VERSION,
        "source": provenance.source,
        "adjustment": provenance.adjustment,
        "fetched_at": provenance.fetched_at.isoformat(),
        "asked_from": provenance.asked_from.isoformat(),
    }
    arrays = {name: _column(bars, name) for name in _PRICES}
    arrays["at"] = np.array([int(bar.at.timestamp()) for bar in bars], dtype=np.int64)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _column(bars: Sequence[Bar], name: str) -> Array:
    values = [getattr(bar, name) for bar in bars]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _decode(symbol: Symbol, content: bytes) -> StoredSeries:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        moments: list[int] = file["at"].tolist()
        columns: list[list[float]] = [file[name].tolist() for name in _PRICES]
    if about["version"] != _VERSION:
        raise ValueError(f"version {about['version']} is not known")
    bars = tuple(
        _bar(symbol, moment, values) for moment, *values in zip(moments, *columns, strict=True)
    )
    provenance = Provenance(
        source=about["source"],
        adjustment=about["adjustment"],
        fetched_at=dt.datetime.fromisoformat(about["fetched_at"]),
        asked_from=dt.date.fromisoformat(about["asked_from"]),
    )
    return StoredSeries(symbol=symbol, bars=bars, provenance=provenance)


def _bar(symbol: Symbol, moment: int, values: Sequence[float]) -> Bar:
    opens, high, low, close, volume = (None if math.isnan(one) else one for one in values)
    if close is None:
        raise ValueError("a bar has no close")
    return Bar(
        symbol=symbol,
        at=dt.datetime.fromtimestamp(moment, UTC),
        open=opens,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )
