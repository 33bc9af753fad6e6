"""Which file format for the local bar store: size, and seconds to write and to read.

    python -m bench.bar_formats [--symbols 500] [--years 5]

The prices are block-bootstrapped returns of the recorded closes: realistic figures, not
real ones.  Parquet is measured when pyarrow can be imported.
"""

import argparse
import csv
import datetime as dt
import importlib.util
import itertools
import random
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from domain.clock import SystemClock
from marketdata.recording import recording

_COLUMNS = ("day", "open", "high", "low", "close", "volume")
_SESSIONS_A_YEAR = 252
Panel = Mapping[str, NDArray[np.float64]]


def panel(symbols: int, years: int) -> Panel:
    """Return made-up bars, shape (sessions, 6), by symbol."""
    source = random.Random(7)  # noqa: S311 - picks stretches of prices
    recorded = recording()
    closes = [
        [bar.close for bar in recorded.bars(symbol, dt.date.min, dt.date.max)]
        for symbol in recorded.symbols
    ]
    returns = [b / a for series in closes for a, b in itertools.pairwise(series)]
    rows = years * _SESSIONS_A_YEAR
    made = {}
    for number in range(symbols):
        place = source.randrange(len(returns) - rows)
        price = np.round(50 * np.cumprod(returns[place : place + rows]), 2) + 1
        day = np.arange(rows, dtype=float) + 18_000
        made[f"S{number:03d}"] = np.column_stack(
            [day, price - 0.1, price + 0.5, price - 0.5, price, np.round(price * 10_007)]
        )
    return made


def write_npz(root: Path, bars: Panel) -> None:
    """Write one .npz a symbol."""
    for symbol, rows in bars.items():
        with (root / f"{symbol}.npz").open("wb") as file:
            np.savez(file, **dict(zip(_COLUMNS, rows.T, strict=True)))


def read_npz(root: Path, symbols: Sequence[str]) -> int:
    """Read them all."""
    total = 0
    for symbol in symbols:
        with np.load(root / f"{symbol}.npz", allow_pickle=False) as file:
            total += sum(len(file[name]) for name in _COLUMNS)
    return total


def write_csv(root: Path, bars: Panel) -> None:
    """Write one .csv a symbol."""
    for symbol, rows in bars.items():
        with (root / f"{symbol}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            writer.writerows(rows.tolist())


def read_csv(root: Path, symbols: Sequence[str]) -> int:
    """Read them all."""
    total = 0
    for symbol in symbols:
        with (root / f"{symbol}.csv").open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            next(lines)
            total += len([tuple(map(float, line)) for line in lines])
    return total


def write_sqlite(root: Path, bars: Panel) -> None:
    """Write one database."""
    with sqlite3.connect(root / "bars.db") as database:
        database.execute(
            "create table bars (symbol text, day real, open real, high real, low real, close real,"
            " volume real, primary key (symbol, day)) without rowid"
        )
        for symbol, rows in bars.items():
            values = ((symbol, *row) for row in rows.tolist())
            database.executemany("insert into bars values (?, ?, ?, ?, ?, ?, ?)", values)


def read_sqlite(root: Path, symbols: Sequence[str]) -> int:
    """Read them all."""
    with sqlite3.connect(root / "bars.db") as database:
        return sum(
            len(database.execute("select * from bars where symbol = ?", (symbol,)).fetchall())
            for symbol in symbols
        )


def write_parquet(root: Path, bars: Panel) -> None:
    """Write one .parquet a symbol."""
    for symbol, rows in bars.items():
        pd.DataFrame(rows, columns=list(_COLUMNS)).to_parquet(root / f"{symbol}.parquet")


def read_parquet(root: Path, symbols: Sequence[str]) -> int:
    """Read them all."""
    return sum(len(pd.read_parquet(root / f"{symbol}.parquet")) for symbol in symbols)


FORMATS: dict[str, tuple[Callable[[Path, Panel], None], Callable[[Path, Sequence[str]], int]]] = {
    "npz": (write_npz, read_npz),
    "csv": (write_csv, read_csv),
    "sqlite": (write_sqlite, read_sqlite),
    "parquet": (write_parquet, read_parquet),
}


def main() -> None:
    """Measure every format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--years", type=int, default=5)
    arguments = parser.parse_args()
    bars = panel(arguments.symbols, arguments.years)
    clock = SystemClock()
    print(f"{'format':8} {'MB':>7} {'write s':>8} {'read s':>8}")
    for name, (write, read) in FORMATS.items():
        if name == "parquet" and importlib.util.find_spec("pyarrow") is None:
            continue
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            start = clock.monotonic()
            write(root, bars)
            middle = clock.monotonic()
            read(root, list(bars))
            end = clock.monotonic()
            size = sum(file.stat().st_size for file in root.iterdir()) / 1e6
        print(f"{name:8} {size:7.1f} {middle - start:8.2f} {end - middle:8.2f}")


if __name__ == "__main__":
    main()
