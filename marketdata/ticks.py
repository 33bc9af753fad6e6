"""What a live feed says: quotes, trades, minute bars, halts; and its port."""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from domain.ids import Symbol
from domain.market import Bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and ask in USD, sizes in shares; None where that side has no quote."""

    symbol: Symbol
    at: dt.datetime
    bid: float | None
    ask: float | None
    bid_size: float
    ask_size: float

    @property
    def is_crossed(self) -> bool:
        """True when the bid is not below the ask: nobody should act on it."""
        return self.bid is not None and self.ask is not None and self.bid >= self.ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One execution in the market; ``number`` is the exchange's, by which it is taken back."""

    symbol: Symbol
    at: dt.datetime
    price: float
    size: float
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeTakenBack:
    """The exchange canceled or corrected an execution that was told: its price was none."""

    symbol: Symbol
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteBar:
    """A minute that is over; ``is_correction`` when late trades changed one told before."""

    bar: Bar
    is_correction: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingStatus:
    """Whether a symbol may trade, in the words of the exchange."""

    symbol: Symbol
    at: dt.datetime
    is_halted: bool
    reason: str


Tick = Quote | Trade | TradeTakenBack | MinuteBar | TradingStatus


class TickStream(Protocol):
    """Live market data.  It replays nothing: what was missed is read as bars."""

    async def run(
        self,
        symbols: Iterable[Symbol],
        *,
        on_ready: Callable[[], None],
        on_tick: Callable[[Tick], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected until cancelled; reconnect with back-off.

        ``on_ready`` is called after each subscription is confirmed, ``on_lost`` with the
        reason after each drop.  The callbacks are synchronous and must not raise.
        """
