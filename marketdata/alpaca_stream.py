"""Alpaca's live market data: the SDK's StockDataStream on our loop, under our supervision.

The SDK connects, authenticates and subscribes.  Reading and reconnecting are ours (see
transport.alpaca_feed): the SDK loses the rest of a frame when one message in it is odd,
polls every five seconds, and says nothing when it is refused.
"""

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.clock import UTC, Clock
from domain.errors import DataError
from domain.ids import Symbol, is_symbol
from domain.market import Bar
from domain.secrets import Secret
from marketdata.ticks import MinuteBar, Quote, Tick, Trade, TradeTakenBack, TradingStatus
from transport.alpaca_feed import Feed, FeedReader
from transport.alpaca_stream import LONGEST_SHOWN, Dropped, StreamSettings

CHANNELS = ("bars", "updatedBars", "quotes", "trades", "statuses")
# CTA and UTP codes of a halt; everything else lets trading go on.
_HALTS = frozenset({"2", "H", "P"})
# Sale conditions of CTA and UTP of a trade whose price is not that of the market at its moment:
# settled otherwise (C, N, R), outside the session (T, U), told late or unordered (G, L, Z, 2, 3),
# of an earlier price, an average or a contract (P, H, W, 4, 7, V), or said twice (M, Q, 9).
_PRICED_ELSEWHERE = frozenset("CNRTUGLZ23PHW47VMQ9")
# On the tapes A and B, of NYSE and the regional exchanges, an average is a B.
_AVERAGE_ON_CTA, _UTP = "B", "C"

# A cancel and a correction come with the trades, and name the one that they mean.
_TAKEN_BACK: Mapping[str, str] = {"x": "i", "c": "oi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TickSettings(StreamSettings):
    """Where the stream is, and which channels are wanted."""

    url: str = "wss://stream.data.alpaca.markets/v2/iex"
    channels: Sequence[str] = CHANNELS


class AlpacaTicks:
    """A TickStream on Alpaca."""

    def __init__(
        self, settings: TickSettings, *, key_id: Secret, secret_key: Secret, clock: Clock
    ) -> None:
        self._settings = settings
        self._feed = Feed("stock", settings, key_id=key_id, secret_key=secret_key)
        self._clock = clock

    async def run(
        self,
        symbols: Iterable[Symbol],
        *,
        on_ready: Callable[[], None],
        on_tick: Callable[[Tick], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected until cancelled; reconnect with back-off."""
        wanted = sorted(set(symbols))

        def tell(message: Mapping[str, Any]) -> None:
            tick = tick_of(message)
            if tick is not None:
                on_tick(tick)

        async def live() -> tuple[Dropped, bool]:
            reader = FeedReader(
                self._settings, tell=tell, on_unreadable=on_unreadable, on_ready=on_ready
            )
            return await self._feed.live(reader, wanted, self._settings.channels)

        await self._feed.connections(self._clock).keep(live, on_lost)


def tick_of(message: Mapping[str, Any]) -> Tick | None:
    """Read one message of the feed; None when it is about something else.

    Raises:
        DataError: it is damaged; KeyError, TypeError and ValueError mean the same.
    """
    kind = message.get("T")
    if kind not in ("t", "q", "b", "u", "s", *_TAKEN_BACK):
        return None
    symbol, at = message["S"], message["t"]
    if not is_symbol(symbol):
        raise DataError("not a symbol")
    if not isinstance(at, dt.datetime) or at.tzinfo is None:
        raise DataError("no moment")
    at, symbol = at.astimezone(UTC), Symbol(symbol)
    if kind == "t":
        price, size = _number(message["p"]), _number(message["s"])
        if not price > 0:
            raise DataError("a price not above 0")
        if _is_priced_elsewhere(message):
            return None
        return Trade(symbol=symbol, at=at, price=price, size=size, number=message.get("i"))
    if kind in _TAKEN_BACK:
        return TradeTakenBack(symbol=symbol, number=message[_TAKEN_BACK[kind]])
    if kind == "q":
        return _quote(symbol, at, message)
    if kind == "s":
        code = str(message.get("sc", ""))
        reason = str(message.get("rm") or message.get("sm") or "")[:LONGEST_SHOWN]
        return TradingStatus(symbol=symbol, at=at, is_halted=code in _HALTS, reason=reason)
    prices = {
        name: _number(message[key])
        for name, key in (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c"))
    }
    bar = Bar(symbol=symbol, at=at, volume=_number(message["v"]), **prices)
    return MinuteBar(bar=bar, is_correction=kind == "u")


def _is_priced_elsewhere(message: Mapping[str, Any]) -> bool:
    conditions = frozenset(message.get("c") or ())
    is_average = _AVERAGE_ON_CTA in conditions and message.get("z", _UTP) != _UTP
    return is_average or bool(conditions & _PRICED_ELSEWHERE)


def _quote(symbol: Symbol, at: dt.datetime, message: Mapping[str, Any]) -> Quote:
    bid, ask = _number(message["bp"]), _number(message["ap"])
    # A price of 0 is Alpaca's way to say that nobody quotes that side.
    return Quote(
        symbol=symbol,
        at=at,
        bid=bid if bid > 0 else None,
        ask=ask if ask > 0 else None,
        bid_size=_number(message["bs"]),
        ask_size=_number(message["as"]),
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{value!r} is not a number")
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise DataError(f"{number} is not possible")
    return number
