"""Samples for training: windows of features and the returns that followed them.

Splits are in time, and a sample belongs to a span only if its outcome, too, was known
before the span ended; so no outcome of one span reaches into the next.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.errors import DataError
from forecasts.bar_features import LONGEST_WINDOW, Dates
from forecasts.features import BarColumns, FeatureSet, features, volatility

Panel = Mapping[str, BarColumns]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Windows into one table of features.

    ``table`` holds the feature rows of all symbols one after another; sample ``i`` looks
    at the ``lookback`` rows that end with row ``ends[i]``.  ``targets`` are cumulative log
    returns of 1..horizon sessions, ``scale`` the daily volatility known at that time.
    ``level`` is the log close of each row of the table, ``first_row`` the first row of the
    sample's symbol.
    """

    table: NDArray[np.float32]
    level: NDArray[np.float64]
    lookback: int
    ends: NDArray[np.int64]
    dates: Dates
    matured: Dates
    symbols: NDArray[np.int64]
    targets: NDArray[np.float32]
    scale: NDArray[np.float64]
    first_row: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Number of samples."""
        return int(self.ends.size)

    def contexts(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the windows of the chosen samples: (n, lookback, features)."""
        rows = self.ends[chosen][:, None] + np.arange(1 - self.lookback, 1)
        return np.asarray(self.table[rows])

    def between(self, start: dt.date, end: dt.date) -> "Samples":
        """Return the samples made from ``start`` on whose outcome was known before ``end``."""
        first, last = np.datetime64(start, "D"), np.datetime64(end, "D")
        return self.where((self.dates >= first) & (self.matured < last))

    def every(self, stride: int) -> "Samples":
        """Return every ``stride``-th sample; neighbors share most of their outcome."""
        return self.where(np.arange(self.size) % stride == 0)

    def where(self, mask: NDArray[np.bool_]) -> "Samples":
        """Return the samples of a mask."""
        return Samples(
            table=self.table,
            level=self.level,
            lookback=self.lookback,
            ends=self.ends[mask],
            dates=self.dates[mask],
            matured=self.matured[mask],
            symbols=self.symbols[mask],
            targets=self.targets[mask],
            scale=self.scale[mask],
            first_row=self.first_row[mask],
        )


def build_samples(
    panel: Panel, *, lookback: int, horizon: int, feature_set: FeatureSet = FeatureSet.BARS
) -> Samples:
    """Build every sample of a panel, in the order of symbols, then dates.

    Raises:
        DataError: no symbol has enough bars.
    """
    parts = []
    offset = 0
    for number, symbol in enumerate(sorted(panel)):
        columns = panel[symbol]
        if columns.close.size < LONGEST_WINDOW + lookback + horizon:
            continue
        table = features(columns, feature_set)
        parts.append(
            _samples_of(columns, table, number, offset, lookback=lookback, horizon=horizon)
        )
        offset += columns.close.size
    if not parts:
        raise DataError(
            f"no symbol has the {LONGEST_WINDOW + lookback + horizon} bars that training needs; "
            "pass a longer history"
        )
    return _joined(parts, lookback)


def _samples_of(
    columns: BarColumns,
    table: NDArray[np.float32],
    number: int,
    offset: int,
    *,
    lookback: int,
    horizon: int,
) -> Samples:
    level = np.log(columns.close)
    ends = np.arange(LONGEST_WINDOW + lookback - 1, level.size - horizon)
    steps = np.arange(1, horizon + 1)
    targets = level[ends[:, None] + steps] - level[ends][:, None]
    return Samples(
        table=table,
        level=level,
        lookback=lookback,
        ends=ends + offset,
        dates=columns.dates[ends],
        matured=columns.dates[ends + horizon],
        symbols=np.full(ends.size, number, dtype=np.int64),
        targets=targets.astype(np.float32),
        scale=volatility(columns)[ends],
        first_row=np.full(ends.size, offset, dtype=np.int64),
    )


def _joined(parts: list[Samples], lookback: int) -> Samples:
    return Samples(
        table=np.concatenate([part.table for part in parts]),
        level=np.concatenate([part.level for part in parts]),
        lookback=lookback,
        ends=np.concatenate([part.ends for part in parts]),
        dates=np.concatenate([part.dates for part in parts]),
        matured=np.concatenate([part.matured for part in parts]),
        symbols=np.concatenate([part.symbols for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        scale=np.concatenate([part.scale for part in parts]),
        first_row=np.concatenate([part.first_row for part in parts]),
    )
