"""The simulated market: sessions, prices of every moment, and bars; its own figures throughout."""

import datetime as dt
import functools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from domain.errors import ProviderUnavailable
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar, NewsItem, Session
from domain.signals import SentimentLabel, SentimentScore
from marketdata.session_calendar import NyseCalendar, day_start
from tests.simulation.faults import Faults

SYMBOLS = tuple(Symbol(name) for name in ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF"))
HISTORY_SESSIONS = 126
_NODES = 8
_CENT = Decimal("0.01")
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
        self.divisors: dict[Symbol, int] = dict.fromkeys(SYMBOLS, 1)
        self._nodes: dict[tuple[Symbol, dt.date], list[float]] = {}
        self._begun: list[Session] = []
        self._closes: dict[Symbol, dict[dt.date, float]] = {s: {} for s in SYMBOLS}
        self._slumps: set[dt.date] = set()
        for symbol in SYMBOLS:
            self._make_old(symbol)

    def _make_old(self, symbol: Symbol) -> None:
        draw = random.Random(f"{self._seed}:old:{symbol}")
        level = draw.uniform(20, 300)
        for session in self._old:
            level = max(2.0, level * math.exp(draw.gauss(0, 0.012)))
            self._closes[symbol][session.date] = round(level, 2)

    def begin(self, session: Session) -> None:
        """Draw the path of a session before it opens."""
        is_slump = self._faults.strikes("market.slump")
        self._begun.append(session)
        for symbol in SYMBOLS:
            draw = random.Random(f"{self._seed}:path:{symbol}:{session.date}")
            level = list(self._closes[symbol].values())[-1]
            drift = -0.025 if is_slump else 0.0
            nodes = []
            for node in range(_NODES):
                # Some openings jump beyond every limit price, so that orders rest.
                width = 0.018 if node == 0 else 0.006
                level = max(1.5, level * math.exp(draw.gauss(drift, width)))
                nodes.append(round(level, 2))
            self._nodes[symbol, session.date] = nodes
            self._closes[symbol][session.date] = nodes[-1]

    def price(self, symbol: Symbol, at: dt.datetime) -> Decimal:
        """Return the price at a moment: of the running session, or the last close."""
        for session in reversed(self._begun):
            if at < session.open:
                continue
            nodes = self._nodes[symbol, session.date]
            share = (at - session.open) / (session.close - session.open)
            return self._split(symbol, nodes[min(int(share * _NODES), _NODES - 1)])
        return self._split(symbol, self._closes[symbol][self._old[-1].date])

    def close_before(self, symbol: Symbol, date: dt.date) -> Decimal:
        """Return the last close before a date, on today's share count."""
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
                found.append(Bar(symbol=symbol, at=day_start(day), close=price, volume=4e6))
        return found


@functools.lru_cache(maxsize=4096)
def _divided(price: float, divisor: int) -> Decimal:
    exact = Decimal(repr(price)) / divisor
    return max(exact.quantize(_CENT, rounding=ROUND_HALF_EVEN), _CENT)


class SimBars:
    """A BarSource that is sometimes down, stale or incomplete."""

    name = "simulated"

    def __init__(self, market: Market, faults: Faults) -> None:
        self._market = market
        self._faults = faults

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        if self._faults.strikes("data.down"):
            raise ProviderUnavailable("the bars did not come")
        found: dict[Symbol, Sequence[Bar]] = {}
        for symbol in symbols:
            if self._faults.strikes("data.missing_symbol"):
                continue
            bars = [bar for bar in self._market.bars(symbol, end) if bar.at.date() >= start]
            found[symbol] = bars[:-1] if self._faults.strikes("data.stale") else bars
        return found


class SimForecaster:
    """A Forecaster whose views are drawn, and never by the same chance for two days."""

    name = "simulated"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        if self._faults.strikes("forecast.down"):
            raise ProviderUnavailable("the forecasts did not come")
        is_local = self._faults.strikes("forecast.degraded")
        source = ForecastSource.LOCAL if is_local else ForecastSource.REMOTE
        return {
            symbol: self._one(symbol, history[symbol], as_of, source) for symbol in sorted(history)
        }

    def _one(
        self, symbol: Symbol, bars: Sequence[Bar], as_of: dt.datetime, source: ForecastSource
    ) -> Forecast:
        # By symbol and day: a process that decides again sees the same.
        draw = random.Random(f"{self._faults.seed}:view:{symbol}:{as_of.date()}")
        probability = draw.choice([0.25, 0.28, 0.32, 0.66, 0.7, 0.74, 0.77])
        mean = (probability - 0.5) * 0.1
        return Forecast(
            symbol=symbol,
            as_of=as_of,
            horizon=5,
            levels=(0.1, 0.5, 0.9),
            quantiles=(mean - 0.03, mean, mean + 0.03),
            mean=mean,
            volatility=0.024,
            probability_up=probability,
            source=source,
            model="drawn",
            model_hash="0" * 64,
            data_cutoff=bars[-1].at.date(),
        )


class SimNews:
    """No headline is needed: the scores are drawn."""

    name = "simulated"

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        return [
            NewsItem(
                item_id=f"{symbol}-{end.date()}",
                source="simulated",
                published_at=start,
                headline="A headline",
                symbols=(symbol,),
            )
            for symbol in symbols
        ]


class SimScorer:
    """A SentimentScorer of drawn scores."""

    name = "simulated"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        scores = {}
        for item in items:
            symbol = item.symbols[0]
            draw = random.Random(f"{self._faults.seed}:news:{symbol}:{as_of.date()}")
            scores[symbol] = SentimentScore(
                symbol=symbol,
                score=draw.uniform(-1, 1),
                label=SentimentLabel.NEUTRAL,
                confidence=0.8,
                source="simulated",
                headlines=1,
                newest_at=item.published_at,
                as_of=as_of,
            )
        return scores
