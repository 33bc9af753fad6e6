"""Rows of a vendor, made into bars; a row that cannot have happened is dropped and logged.

The hole it leaves is what validation then finds, so the symbol sits out.
"""

import datetime as dt
import itertools
import math
import struct
from collections.abc import Iterable
from typing import NamedTuple

import structlog

from domain.errors import DataError
from domain.ids import Symbol
from domain.market import Bar

_LOG = structlog.get_logger(__name__)


class Row(NamedTuple):
    """One bar as a vendor gave it; ``at`` is the left edge in UTC."""

    at: dt.datetime
    close: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None


def bars_of(symbol: Symbol, rows: Iterable[Row], *, source: str) -> tuple[Bar, ...]:
    """Build the bars of one symbol, oldest first, each moment once.

    Of two rows for the same moment neither is taken when they differ: which one is true
    cannot be known.
    """
    given = list(rows)
    if not all(one.at < two.at for one, two in itertools.pairwise(given)):
        given = _sorted_once(symbol, given, source=source)
    bars: list[Bar] = []
    for row in given:
        try:
            bars.append(_bar(symbol, row))
        except DataError as exc:
            _LOG.warning("bar.rejected", source=source, symbol=symbol, reason=str(exc))
    return tuple(bars)


def _sorted_once(symbol: Symbol, rows: Iterable[Row], *, source: str) -> list[Row]:
    unique: dict[dt.datetime, Row] = {}
    doubtful: set[dt.datetime] = set()
    for row in rows:
        if unique.setdefault(row.at, row) != row:
            doubtful.add(row.at)
    for at in sorted(doubtful):
        reason = f"two different bars for {at:%Y-%m-%d %H:%M}"
        _LOG.warning("bar.rejected", source=source, symbol=symbol, reason=reason)
    return [row for at, row in sorted(unique.items()) if at not in doubtful]


def _bar(symbol: Symbol, row: Row) -> Bar:
    return Bar(
        symbol=symbol,
        at=row.at,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
    )


def as_quoted(wide: float) -> float:
    """Undo the widening of a 32-bit price: 27.770000457763672 was quoted as 27.77."""
    if not math.isfinite(wide):
        return wide
    for digits in range(6, 10):
        short = float(f"{wide:.{digits}g}")
        if struct.pack("f", short) == struct.pack("f", wide):
            return short
    return wide
