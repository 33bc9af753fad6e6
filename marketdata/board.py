"""What the live feed said last: quotes, trades, the minute bars of today, and halts.

For what acts within the day.  The stream replays nothing, so whenever it is ready again
the minutes that were missed are read as bars.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import structlog

from domain.clock import Clock
from domain.ids import Symbol
from domain.market import Bar, Session
from marketdata.base import SessionCalendar
from marketdata.ticks import (
    MinuteBar,
    Quote,
    Tick,
    TickStream,
    Trade,
    TradeTakenBack,
    TradingStatus,
)

MAX_JUMP_FRACTION = 0.40
_MINUTE = dt.timedelta(minutes=1)
# A bar is told when its minute is over; the last ones before a drop may be missing.
_OVERLAP = dt.timedelta(minutes=2)
_CLOCK_TOLERANCE = dt.timedelta(seconds=5)

_LOG = structlog.get_logger(__name__)


class MinuteSource(Protocol):
    """Reads the minutes that a stream did not tell."""

    async def minute_bars(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime, *, minutes: int
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the bars of ``minutes`` that were complete before ``end``, oldest first.

        Raises:
            ProviderUnavailable: no usable answer in time.
        """


class MarketBoard:
    """The market as of now; everything is forgotten when the next session begins."""

    def __init__(self, minutes: MinuteSource, *, clock: Clock, calendar: SessionCalendar) -> None:
        self._minutes = minutes
        self._clock = clock
        self._calendar = calendar
        self._session: Session | None = None
        self._bars: dict[Symbol, dict[dt.datetime, Bar]] = {}
        self._quotes: dict[Symbol, Quote] = {}
        self._trades: dict[Symbol, Trade] = {}
        self._halts: dict[Symbol, str] = {}
        self._jumps: dict[Symbol, str] = {}
        self._known_until: dt.datetime | None = None
        self._fills: set[asyncio.Task[None]] = set()
        self.is_connected = False

    @contextlib.asynccontextmanager
    async def listening(self, stream: TickStream, symbols: Iterable[Symbol]) -> AsyncIterator[None]:
        """Listen until the block ends."""
        wanted = sorted(set(symbols))
        run = stream.run(
            wanted,
            on_ready=lambda: self._ready(wanted),
            on_tick=self.take,
            on_unreadable=lambda text: _LOG.warning("market.unreadable", reason=text),
            on_lost=self._lost,
        )
        task = asyncio.create_task(self._followed(run))
        try:
            yield
        finally:
            for one in (task, *self._fills):
                one.cancel()
            await asyncio.wait([task, *self._fills])

    async def _followed(self, run: Awaitable[None]) -> None:
        try:
            await run
        except Exception as exc:  # noqa: BLE001 - nobody waits for this task
            self._lost(f"for good, restart to hear it again: {exc!r}")

    def quote(self, symbol: Symbol) -> Quote | None:
        """Return the best bid and ask that were told last."""
        return self._quotes.get(symbol)

    def trade(self, symbol: Symbol) -> Trade | None:
        """Return the last execution in the market that was told."""
        return self._trades.get(symbol)

    def last_price(self, symbol: Symbol) -> Decimal | None:
        """Return the price of a trade of the last minute in USD; None when there was none."""
        trade = self._trades.get(symbol)
        if trade is None or not abs(self._clock.now() - trade.at) <= _MINUTE:
            return None
        return Decimal(repr(trade.price))

    def minute_bars(self, symbol: Symbol) -> tuple[Bar, ...]:
        """Return the minutes of this session that are over, oldest first."""
        bars = self._bars.get(symbol, {})
        return tuple(bars[at] for at in sorted(bars))

    def doubts(self) -> Mapping[Symbol, str]:
        """Return why nothing should be opened now, by symbol."""
        crossed = {
            symbol: "its bid is not below its ask"
            for symbol, quote in self._quotes.items()
            if quote.is_crossed
        }
        return dict(sorted({**crossed, **self._jumps, **self._halts}.items()))

    def take(self, tick: Tick) -> None:
        """Note what was told; a bar that cannot be is left out."""
        self._turn_page()
        match tick:
            case Quote():
                self._quotes[tick.symbol] = tick
            case Trade():
                self._trades[tick.symbol] = tick
            case TradeTakenBack():
                self._take_back(tick)
            case TradingStatus():
                self._take_status(tick)
            case MinuteBar():
                self._take_bar(tick.bar)

    def _take_back(self, tick: TradeTakenBack) -> None:
        trade = self._trades.get(tick.symbol)
        if trade is not None and trade.number == tick.number:
            del self._trades[tick.symbol]
            _LOG.warning("market.trade_taken_back", symbol=tick.symbol, price=trade.price)

    def _take_status(self, status: TradingStatus) -> None:
        if status.is_halted:
            self._halts[status.symbol] = f"halted: {status.reason or 'no reason given'}"
            _LOG.warning("market.halted", symbol=status.symbol, reason=status.reason)
        elif self._halts.pop(status.symbol, None) is not None:
            _LOG.info("market.resumed", symbol=status.symbol)

    def _take_bar(self, bar: Bar) -> None:
        session = self._session
        is_over = bar.at + _MINUTE <= self._clock.now() + _CLOCK_TOLERANCE
        if session is None or not (session.open <= bar.at < session.close and is_over):
            return
        bars = self._bars.setdefault(bar.symbol, {})
        before = max((at for at in bars if at < bar.at), default=None)
        if before is not None:
            move = bar.close / bars[before].close - 1
            if not abs(move) <= MAX_JUMP_FRACTION:
                self._jumps[bar.symbol] = f"moved {move:+.0%} in the minute {bar.at:%H:%M} UTC"
                _LOG.warning("market.jump", symbol=bar.symbol, reason=self._jumps[bar.symbol])
                return
        bars[bar.at] = bar

    def _turn_page(self) -> None:
        now = self._clock.now()
        if self._session is not None and now < self._session.close:
            return
        self._session = self._calendar.next_session(now)
        for page in (self._bars, self._quotes, self._trades, self._halts, self._jumps):
            page.clear()
        self._known_until = None

    def _ready(self, symbols: Sequence[Symbol]) -> None:
        _LOG.info("market.connected", symbols=len(symbols))
        self.is_connected = True
        self._turn_page()
        fill = asyncio.create_task(self._fill(symbols))
        self._fills.add(fill)
        fill.add_done_callback(self._fills.discard)

    def _lost(self, reason: str) -> None:
        _LOG.warning("market.stream_lost", reason=reason)
        if self.is_connected and self._known_until is not None:
            self._known_until = self._clock.now() - _OVERLAP
        self.is_connected = False
        # What was told last is of the past now, and a halt may have ended unheard.
        self._quotes.clear()
        self._trades.clear()
        self._halts.clear()

    async def _fill(self, symbols: Sequence[Symbol]) -> None:
        session, now = self._session, self._clock.now()
        if session is None or now < session.open:
            self._known_until = now
            return
        start = max(session.open, self._known_until or session.open)
        try:
            found = await self._minutes.minute_bars(symbols, start, now, minutes=1)
        except Exception as exc:  # noqa: BLE001 - nobody waits for this task
            # The hole stays open; the next connection asks for it again.
            _LOG.warning("market.not_filled", reason=str(exc) or repr(exc))
            return
        for symbol in sorted(found):
            for bar in found[symbol]:
                self._take_bar(bar)
        self._known_until = now
