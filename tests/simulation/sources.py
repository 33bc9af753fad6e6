"""The sources of a decision: bars, events, forecasts, news, each as unreliable as its seed says."""

import dataclasses
import datetime as dt
import math
import random
from collections.abc import Iterable, Mapping, Sequence

from domain.errors import DataError, ProviderUnavailable
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar, NewsItem
from domain.signals import SentimentLabel, SentimentScore
from marketdata.events import CorporateEvent, EventKind
from tests.simulation.faults import Faults
from tests.simulation.market import Market

_SURE = (0.25, 0.28, 0.32, 0.66, 0.7, 0.74, 0.77)
_UNDECIDED = (0.28, 0.42, 0.47, 0.5, 0.52, 0.56, 0.59, 0.7, 0.77)


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
            if self._faults.strikes("data.hole"):
                # Validation looks back 60 sessions, the covariance twice as far.
                bars.pop(-self._faults.dice("data.hole:at").randint(65, 100))
            found[symbol] = bars[:-1] if self._faults.strikes("data.stale") else bars
        return found


class SimEvents:
    """An EventSource: earnings, or what ends a symbol; sometimes it does not answer."""

    def __init__(self, faults: Faults, kind: EventKind, dates: Mapping[Symbol, dt.date]) -> None:
        self._faults = faults
        self._events = [
            CorporateEvent(symbol=symbol, kind=kind, date=date)
            for symbol, date in sorted(dates.items())
        ]

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        if self._faults.strikes("events.down"):
            raise ProviderUnavailable("the events did not come")
        return [one for one in self._events if start <= one.date <= end]


def events_of(faults: Faults, kind: EventKind, dates: Mapping[Symbol, dt.date]) -> SimEvents | None:
    """Return who tells of a kind of event; None in a seed that has nobody set up for it."""
    is_set_up = "events.known" in faults.rates or "events.down" in faults.rates
    return SimEvents(faults, kind, dates) if is_set_up else None


class SimForecaster:
    """A Forecaster whose views are drawn, and never by the same chance for two days."""

    name = "simulated"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        # Near one half nothing is opened, and what is held is mostly kept.
        self._views = _UNDECIDED if "forecast.undecided" in faults.rates else _SURE
        self._is_steady = "forecast.steady" in faults.rates

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        if self._faults.strikes("forecast.down"):
            raise ProviderUnavailable("the forecasts did not come")
        is_local = self._faults.strikes("forecast.degraded")
        source = ForecastSource.LOCAL if is_local else ForecastSource.REMOTE
        found = {
            symbol: self._one(symbol, history[symbol], as_of, source) for symbol in sorted(history)
        }
        return self._odd(found) if self._faults.strikes("forecast.odd") else found

    def _odd(self, found: dict[Symbol, Forecast]) -> dict[Symbol, Forecast]:
        """Return what a sick model says: too little, too much, or no number at all."""
        dice = self._faults.dice("forecast.odd:how")
        for symbol in sorted(found):
            how = dice.choice(["", "", "absent", "absent", "absurd", "certain", "nan"])
            if how == "absent":
                del found[symbol]
            elif how == "absurd":
                sign = 1 if found[symbol].mean > 0 else -1
                found[symbol] = dataclasses.replace(found[symbol], mean=2.0 * sign, horizon=1)
            elif how == "certain":
                found[symbol] = dataclasses.replace(found[symbol], volatility=1e-9)
            elif how == "nan" and dice.random() < 0.3:
                # The whole answer is refused where it is read.
                dataclasses.replace(found[symbol], volatility=math.nan)
        return found

    def _one(
        self, symbol: Symbol, bars: Sequence[Bar], as_of: dt.datetime, source: ForecastSource
    ) -> Forecast:
        # By symbol and day: a process that decides again sees the same.
        day = "" if self._is_steady else as_of.date()
        draw = random.Random(f"{self._faults.seed}:view:{symbol}:{day}")
        probability = draw.choice(self._views)
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

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        if self._faults.strikes("news.down"):
            raise ProviderUnavailable("the headlines did not come")
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
        if self._faults.strikes("news.unscored"):
            raise DataError("the scorer answered nonsense")
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
