"""Order-book snapshots of a small market: a synthetic one, a CSV to collect them in, features.

It was made for a market of GPU hours, five minutes a bar; any market with one bid and one ask
fits.  The synthetic prices have a daily cycle and return to it, which real prices do not: what
a model scores on them says nothing about money.
"""

import csv
import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from domain.errors import DataError

Floats = NDArray[np.float64]

BAR = dt.timedelta(minutes=5)
LONGEST_WINDOW = 24
BOOK_FEATURES: tuple[str, ...] = (
    "momentum_1", "momentum_3", "momentum_12",
    "average_ratio_5", "average_ratio_12", "average_ratio_24",
    "volatility_5", "volatility_12",
    "spread", "spread_change", "spread_ratio_12",
    "bid_volume", "ask_volume", "imbalance", "imbalance_5", "volume_ratio_12",
    "hour_sine", "hour_cosine", "weekday_sine", "weekday_cosine",
)  # fmt: skip

_PRICE = 2.0
_CYCLE = 0.05
_PULL = 0.02
_SHOCK = 0.004
_HALF_SPREAD = 0.002
_BARS_A_DAY = 288
_VOLUME = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSnapshot:
    """Best bid and ask of a moment, with what stands there."""

    at: dt.datetime
    bid: float
    ask: float
    bid_volume: float
    ask_volume: float

    def __post_init__(self) -> None:
        """Refuse a book that cannot be."""
        if not 0 < self.bid <= self.ask < np.inf:
            raise DataError(f"order book of {self.at}: bid {self.bid} and ask {self.ask} cross")
        if not (0 <= self.bid_volume < np.inf and 0 <= self.ask_volume < np.inf):
            raise DataError(f"order book of {self.at}: a volume is not a number above 0")

    @property
    def middle(self) -> float:
        """Price between bid and ask."""
        return (self.bid + self.ask) / 2


def synthetic_book(count: int, *, seed: int, start: dt.datetime) -> tuple[BookSnapshot, ...]:
    """Make up ``count`` snapshots, five minutes apart."""
    generator = np.random.default_rng(seed)
    cycle = _CYCLE * np.sin(2 * np.pi * np.arange(count) / _BARS_A_DAY)
    shocks = generator.normal(0, _SHOCK, count)
    level = np.empty(count)
    here = 0.0
    for place in range(count):
        here += _PULL * (cycle[place] - here) + shocks[place]
        level[place] = here
    middle = _PRICE * np.exp(level)
    half = _HALF_SPREAD * middle * np.exp(generator.normal(0, 0.3, count))
    # More stands on the side that the price is about to leave, as in real books, weakly.
    lean = 20 * np.append(np.diff(level), 0.0)
    volumes = _VOLUME * np.exp(generator.normal(0, 0.5, (2, count)) + np.stack((lean, -lean)))
    return tuple(
        BookSnapshot(
            at=start + place * BAR,
            bid=round(float(middle[place] - half[place]), 6),
            ask=round(float(middle[place] + half[place]), 6),
            bid_volume=round(float(volumes[0, place]), 3),
            ask_volume=round(float(volumes[1, place]), 3),
        )
        for place in range(count)
    )


def append_csv(path: Path, snapshots: Iterable[BookSnapshot]) -> None:
    """Add snapshots to a CSV file, with a header if it is new."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow([field.name for field in fields(BookSnapshot)])
        for one in snapshots:
            writer.writerow([one.at.isoformat(), *astuple(one)[1:]])


def read_csv(path: Path) -> tuple[BookSnapshot, ...]:
    """Read a CSV file.

    Raises:
        DataError: a line is not a snapshot, or times do not rise.
    """
    with path.open(newline="", encoding="utf-8") as file:
        found = tuple(_snapshot(path, line) for line in csv.DictReader(file))
    if any(later.at <= earlier.at for earlier, later in itertools.pairwise(found)):
        raise DataError(f"{path}: times do not rise; sort it and remove doubles")
    return found


def book_features(book: Sequence[BookSnapshot]) -> Floats:
    """Return (n - 24, 20) features of the snapshots from the 25th on; none looks ahead."""
    middle = np.array([one.middle for one in book])
    bid = np.array([one.bid_volume for one in book])
    ask = np.array([one.ask_volume for one in book])
    spread = np.array([one.ask - one.bid for one in book]) / middle
    returns = np.diff(np.log(middle), prepend=np.log(middle[0]))
    imbalance = (bid - ask) / (bid + ask + 1e-9)
    hour = np.array([one.at.hour + one.at.minute / 60 for one in book])
    weekday = np.array([float(one.at.weekday()) for one in book])
    columns = [
        *(_last(returns, k).sum(axis=1) for k in (1, 3, 12)),
        *(middle[LONGEST_WINDOW:] / _last(middle, k).mean(axis=1) - 1 for k in (5, 12, 24)),
        *(_last(returns, k).std(axis=1) for k in (5, 12)),
        spread[LONGEST_WINDOW:],
        np.diff(spread)[LONGEST_WINDOW - 1 :],
        spread[LONGEST_WINDOW:] / _last(spread, 12).mean(axis=1) - 1,
        np.log1p(bid)[LONGEST_WINDOW:],
        np.log1p(ask)[LONGEST_WINDOW:],
        imbalance[LONGEST_WINDOW:],
        _last(imbalance, 5).mean(axis=1),
        (bid + ask)[LONGEST_WINDOW:] / (_last(bid + ask, 12).mean(axis=1) + 1e-9) - 1,
        *_circle(hour[LONGEST_WINDOW:], 24),
        *_circle(weekday[LONGEST_WINDOW:], 7),
    ]
    return np.column_stack(columns)


def _last(values: Floats, length: int) -> Floats:
    return sliding_window_view(values, length)[LONGEST_WINDOW + 1 - length :]


def _circle(values: Floats, period: int) -> tuple[Floats, Floats]:
    angle = 2 * np.pi * values / period
    return np.sin(angle), np.cos(angle)


def _snapshot(path: Path, line: dict[str, str]) -> BookSnapshot:
    try:
        return BookSnapshot(
            at=dt.datetime.fromisoformat(line["at"]),
            bid=float(line["bid"]),
            ask=float(line["ask"]),
            bid_volume=float(line["bid_volume"]),
            ask_volume=float(line["ask_volume"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{path}: a line is not an order-book snapshot ({exc})") from exc
