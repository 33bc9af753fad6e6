"""The simulated market: sessions, prices of every moment, and bars; its own figures throughout."""

import datetime as dt
import functools
import math
import random
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from domain.ids import Symbol
from domain.market import Bar, Session
from marketdata.session_calendar import NyseCalendar, day_start
from tests.simulation.faults import Faults

SYMBOLS = tuple(Symbol(name) for name in ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF"))
HISTORY_SESSIONS = 126
VOLUME = 4e6
# Nobody lends it.
UNSHORTABLE = SYMBOLS[4]
_NODES = 8
_CENT = Decimal("0.01")
# What swings gains so much by each node of one session, and loses so much in the next, whose
# first price lies further below: who is down over the night sees neither the top nor the way.
_CLIMB, _FALL, _GAP = 0.012, -0.02, -0.02
_SUB_DOLLAR_TICK = Decimal("0.0001")
# Below a dollar, about a dollar where the grid of prices changes, and a share that is a fortune.
_ODD_LEVELS = {"AAA": (0.3, 0.9), "BBB": (0.95, 1.1), "CCC": (2_000, 9_000), "DDD": (0.06, 0.2)}
_calendar = NyseCalendar()


def calendar() -> NyseCalendar:
    """Return the calendar, loaded once."""
    return _calendar


class Market:
    """Prices from a seed.  A split divides every price of a symbol from its date on."""

    def __init__(self, faults: Faults, sessions: Sequence[Session]) -> None:
        self._faults = faults
        self._seed = faults.seed
        self.sessions = sessions
        before = _calendar.sessions(sessions[0].date - dt.timedelta(days=220), sessions[0].date)
        self._old = [s for s in before if s.date < sessions[0].date][-HISTORY_SESSIONS:]
        self.ended: set[Symbol] = set()
        self.former: dict[Symbol, Symbol] = {}
        """By new name, the symbol that something had before."""
        self.divisors = dict.fromkeys(SYMBOLS, Decimal(1))
        self._nodes: dict[tuple[Symbol, dt.date], list[float]] = {}
        self._begun: list[Session] = []
        self._high: tuple[Symbol, ...] = ()
        self._closes: dict[Symbol, dict[dt.date, float]] = {s: {} for s in SYMBOLS}
        self.volumes: dict[Symbol, float | None] = {}
        if faults.has("data.odd_volume"):
            # Not told, and so small that a hundredth of it is a handful of shares.
            self.volumes = {SYMBOLS[4]: None, SYMBOLS[5]: 6e3}
        self._is_odd = faults.has("setup.odd_prices")
        self._least = 0.05 if self._is_odd else 1.5
        self.earnings: dict[Symbol, dt.date] = {}
        self.mergers: dict[Symbol, dt.date] = {}
        if faults.has("events.known"):
            dates = [session.date for session in sessions]
            dice = faults.dice("events.known")
            self.earnings = {symbol: dice.choice(dates) for symbol in SYMBOLS[:3]}
            self.mergers = {SYMBOLS[3]: dates[-1] + dt.timedelta(days=3)}
        for symbol in SYMBOLS:
            self._make_old(symbol)

    def _make_old(self, symbol: Symbol) -> None:
        draw = random.Random(f"{self._seed}:old:{symbol}")
        odd = _ODD_LEVELS.get(symbol) if self._is_odd else None
        level = draw.uniform(*(odd or (20, 300)))
        for session in self._old:
            level = max(self._least, level * math.exp(draw.gauss(0, 0.012)))
            self._closes[symbol][session.date] = _on_grid(level)

    def begin(self, session: Session) -> None:
        """Draw the path of a session before it opens."""
        is_slump = self._faults.strikes("market.slump")
        swing = self._swing()
        self._begun.append(session)
        for symbol in SYMBOLS:
            if symbol in self.ended:
                continue
            draw = random.Random(f"{self._seed}:path:{symbol}:{session.date}")
            level = list(self._closes[symbol].values())[-1]
            drift = swing.get(symbol, -0.025 if is_slump else 0.0)
            nodes = []
            for node in range(_NODES):
                # Some openings jump beyond every limit price, so that orders rest.
                width = 0.018 if node == 0 else 0.006
                gap = _GAP if node == 0 and drift == _FALL else 0.0
                level = max(self._least, level * math.exp(draw.gauss(drift + gap, width)))
                nodes.append(_on_grid(level))
            self._nodes[symbol, session.date] = nodes
            self._closes[symbol][session.date] = nodes[-1]

    def _swing(self) -> dict[Symbol, float]:
        """Return the drift of what climbs in this session, or of what climbed in the last."""
        high, self._high = self._high, ()
        if high:
            return dict.fromkeys(high, _FALL)
        if self._faults.strikes("market.swing"):
            dice = self._faults.dice("market.swing:which")
            self._high = tuple(dice.sample(SYMBOLS, dice.randint(2, len(SYMBOLS))))
        return dict.fromkeys(self._high, _CLIMB)

    def price(self, symbol: Symbol, at: dt.datetime) -> Decimal:
        """Return the price at a moment: of the running session, or the last close."""
        symbol = self.former.get(symbol, symbol)
        for session in reversed(self._begun):
            if at < session.open:
                continue
            nodes = self._nodes.get((symbol, session.date))
            if nodes is None:
                continue
            share = (at - session.open) / (session.close - session.open)
            return self._split(symbol, nodes[min(int(share * _NODES), _NODES - 1)])
        return self._split(symbol, self._closes[symbol][self._old[-1].date])

    def close_before(self, symbol: Symbol, date: dt.date) -> Decimal:
        """Return the last close before a date, on today's share count."""
        symbol = self.former.get(symbol, symbol)
        closes = [value for day, value in self._closes[symbol].items() if day < date]
        return self._split(symbol, closes[-1])

    def _split(self, symbol: Symbol, price: float) -> Decimal:
        return _divided(price, self.divisors[symbol])

    def bars(self, symbol: Symbol, end: dt.date) -> list[Bar]:
        """Return the daily bars up to a date, on today's share count."""
        found = []
        for day, close in self._closes[symbol].items():
            if day <= end:
                price = float(self._split(symbol, close))
                volume = self.volumes.get(symbol, VOLUME)
                found.append(Bar(symbol=symbol, at=day_start(day), close=price, volume=volume))
        return found


@functools.lru_cache(maxsize=4096)
def _divided(price: float, divisor: Decimal) -> Decimal:
    exact = Decimal(repr(price)) / divisor
    grid = _CENT if exact >= 1 else _SUB_DOLLAR_TICK
    return max(exact.quantize(grid, rounding=ROUND_HALF_EVEN), grid)


def _on_grid(level: float) -> float:
    return round(level, 2 if level >= 1 else 4)
