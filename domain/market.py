"""Market data as decisions see it."""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from domain.account import Account, Asset, Position
from domain.errors import DataError
from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.signals import SentimentScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar; ``at`` is its left edge in UTC, prices are USD.

    A source that knows closes only leaves ``open``, ``high``, ``low`` and ``volume``
    None; nothing invents them.
    """

    symbol: Symbol
    at: dt.datetime
    close: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None

    def __post_init__(self) -> None:
        """Refuse a bar that cannot have happened."""
        if self._is_plain():
            return
        prices = [p for p in (self.open, self.high, self.low, self.close) if p is not None]
        if not all(math.isfinite(price) and price > 0 for price in prices):
            raise DataError(f"{self.symbol}: bar of {self.at:%Y-%m-%d} has a price not above 0")
        is_inside = (self.high is None or max(prices) <= self.high) and (
            self.low is None or self.low <= min(prices)
        )
        if not is_inside:
            raise DataError(f"{self.symbol}: bar of {self.at:%Y-%m-%d} leaves its high-low range")
        if self.volume is not None and not (math.isfinite(self.volume) and self.volume >= 0):
            raise DataError(f"{self.symbol}: bar of {self.at:%Y-%m-%d} has a bad volume")

    def _is_plain(self) -> bool:
        # The usual bar in three comparisons: years of 500 symbols pass through here.
        opens, high, low, volume = self.open, self.high, self.low, self.volume
        if opens is None or high is None or low is None or volume is None:
            return False
        return (
            0 < low <= opens <= high < math.inf
            and low <= self.close <= high
            and 0 <= volume < math.inf
        )

    @property
    def has_range(self) -> bool:
        """True when open, high, low and volume are recorded, so fills can be simulated."""
        return None not in (self.open, self.high, self.low, self.volume)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One trading session of the exchange; times are UTC."""

    date: dt.date
    open: dt.datetime
    close: dt.datetime
    is_half_day: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsItem:
    """One headline, mapped to symbols by its vendor's tags.

    ``seen_at`` is when it reached us; None when that is as it is decided on.
    """

    item_id: str
    source: str
    published_at: dt.datetime
    headline: str
    symbols: tuple[Symbol, ...]
    summary: str = ""
    url: str = ""
    seen_at: dt.datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadlineRecord:
    """What is kept of a headline that entered a decision; all text is cleaned.

    ``relevance`` in (0, 1] is how much it is about each of its symbols; ``was_altered`` when
    the text hid something from a reader, so that it had no voice.
    """

    item_id: str
    source: str
    published_at: dt.datetime
    seen_at: dt.datetime
    headline: str
    url: str
    symbols: tuple[Symbol, ...]
    relevance: float
    was_altered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """Everything one decision may know, frozen at ``as_of``.

    ``history`` holds bars that were complete before ``as_of``, oldest first;
    ``excluded`` names the symbols that sit out, with the reason; ``reporting`` those that
    report earnings so soon, or may, that nothing should be opened in them; ``ending`` those
    that a merger or another name is about to end.
    """

    as_of: dt.datetime
    session: Session
    account: Account
    history: Mapping[Symbol, tuple[Bar, ...]]
    forecasts: Mapping[Symbol, Forecast]
    sentiment: Mapping[Symbol, SentimentScore]
    positions: Mapping[Symbol, Position]
    assets: Mapping[Symbol, Asset]
    excluded: Mapping[Symbol, str] = field(default_factory=dict)
    reporting: Mapping[Symbol, str] = field(default_factory=dict)
    ending: Mapping[Symbol, str] = field(default_factory=dict)

    def last_close(self, symbol: Symbol) -> Decimal | None:
        """Last known close in USD, or None."""
        bars = self.history.get(symbol)
        # repr() of a float is its shortest exact text, so a recorded 143.21 stays 143.21.
        return Decimal(repr(bars[-1].close)) if bars else None
