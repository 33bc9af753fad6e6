"""Gathering what a decision may know, when every source takes 200 ms to answer.

Bars, news, account, positions and assets are asked for side by side, then forecasts and
sentiment, each as soon as it can be: two answers in a row are the floor.  What is above it
is ours: validation of some 550 bars a symbol, de-duplication of the news, the lexicon, and
the freezing of the view.  The bars are recorded ones under made-up names.
"""

import asyncio
import datetime as dt
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from bench.table import Row
from daemon.event_loop import spare_collections
from domain.account import Account, Asset, Position
from domain.clock import UTC, SystemClock
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar, NewsItem
from domain.signals import SentimentScore
from execution.gathering import Gathered, Sources, gather
from marketdata.recording import recording
from marketdata.session_calendar import NyseCalendar
from sentiment.lexicon import LexiconScorer
from sentiment.newsdesk import NewsDesk

SIZES = (20, 100, 500)
LATENCY_SECONDS = 0.2
_ROUND_TRIPS = 2
_NOW = dt.datetime(2022, 12, 14, 13, 30, tzinfo=UTC)
_HEADLINES = ("Maker beats estimates", "Maker shares fall", "Maker names a new officer")
_TURNS = 5
# One for all, as in the daemon: it loads decades of sessions once.
_CALENDAR = NyseCalendar()
_COMMAND = "python -m bench premarket"


class RecordedClock(SystemClock):
    """Real time, on the day of the recording."""

    def __init__(self) -> None:
        self._offset = _NOW - super().now()

    def now(self) -> dt.datetime:
        """Return the moment, moved to the recorded day."""
        return super().now() + self._offset


class Vendor:
    """Every port at once, each answer after the same wait."""

    name = "double"

    def __init__(self, size: int, *, seconds: float = LATENCY_SECONDS) -> None:
        self._seconds = seconds
        donors = itertools.cycle(recording().symbols)
        names = (f"S{number:03d}" for number in range(size))
        start, end = dt.date(2020, 10, 1), dt.date(2022, 12, 13)
        self.bars: dict[Symbol, tuple[Bar, ...]] = {}
        for name, donor in zip(names, donors, strict=False):
            symbol = Symbol(name)
            self.bars[symbol] = tuple(
                Bar(
                    symbol=symbol,
                    at=bar.at,
                    close=bar.close,
                    open=bar.open,
                    high=bar.high,
                    low=bar.low,
                    volume=bar.volume,
                )
                for bar in recording().bars(donor, start, end)
            )
        self.news = [
            NewsItem(
                item_id=f"{symbol}-{number}",
                source=self.name,
                published_at=_NOW - dt.timedelta(minutes=number + 5),
                headline=f"{symbol} {headline}",
                symbols=(symbol,),
            )
            for symbol in self.bars
            for number, headline in enumerate(_HEADLINES)
        ]

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Give all bars."""
        await asyncio.sleep(self._seconds)
        return self.bars

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        """Give all headlines."""
        await asyncio.sleep(self._seconds)
        return self.news

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        """Score with the lexicon."""
        await asyncio.sleep(self._seconds)
        return await LexiconScorer().score(items, as_of)

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast the same for all."""
        await asyncio.sleep(self._seconds)
        return {symbol: _forecast(symbol, as_of) for symbol in history}

    async def account(self) -> Account:
        """Give the account."""
        await asyncio.sleep(self._seconds)
        return ACCOUNT

    async def positions(self) -> Sequence[Position]:
        """Hold nothing."""
        await asyncio.sleep(self._seconds)
        return ()

    async def assets(self, symbols: Iterable[Symbol]) -> Mapping[Symbol, Asset]:
        """List nothing."""
        await asyncio.sleep(self._seconds)
        return {}


ACCOUNT = Account(
    account_number="DOUBLE",
    status="ACTIVE",
    equity=Decimal(100_000),
    last_equity=Decimal(100_000),
    cash=Decimal(100_000),
    buying_power=Decimal(100_000),
    is_trading_blocked=False,
    is_suspended_by_user=False,
)


def _forecast(symbol: Symbol, as_of: dt.datetime) -> Forecast:
    return Forecast(
        symbol=symbol,
        as_of=as_of,
        horizon=5,
        levels=(0.1, 0.5, 0.9),
        quantiles=(-0.02, 0.001, 0.02),
        mean=0.001,
        volatility=0.02,
        probability_up=0.52,
        source=ForecastSource.REMOTE,
        model="double",
        model_hash="0",
        data_cutoff=as_of.date(),
    )


def measure() -> list[Row]:
    """Gather for 20, 100 and 500 symbols."""
    spare_collections()
    return [row for size in SIZES for row in _measure(size)]


async def gathered(vendor: Vendor, clock: RecordedClock) -> Gathered:
    """Gather the view of a pre-market run from the double."""
    sources = Sources(
        broker=vendor,  # type: ignore[arg-type]  # the reads that gathering needs
        calendar=_CALENDAR,
        bars=vendor,
        news=NewsDesk([vendor], deadline_seconds=5),
        forecaster=vendor,
        scorer=vendor,
    )
    found = await gather(
        sources,
        symbols=list(vendor.bars),
        session=_CALENDAR.next_session(_NOW),
        clock=clock,
        min_history=60,
        news_look_back=dt.timedelta(days=1),
    )
    if len(found.view.history) < len(vendor.bars) * 0.8 or not found.view.sentiment:
        raise RuntimeError(f"the view is not complete: {found.shortfalls}")
    return found


def _measure(size: int) -> list[Row]:
    clock, vendor = RecordedClock(), Vendor(size)

    async def once() -> tuple[float, float]:
        start, worked = clock.monotonic(), time.process_time()
        await gathered(vendor, clock)
        # Not the view: asyncio.run writes out its result as text when it ends.
        return clock.monotonic() - start, time.process_time() - worked

    turns = [asyncio.run(once()) for _ in range(_TURNS)]
    return [
        Row(
            name=f"gathering for {size} symbols, sources at 200 ms",
            ours=min(wall for wall, _ in turns),
            floor=_ROUND_TRIPS * LATENCY_SECONDS,
            floor_name="two answers in a row",
            unit="s",
            command=_COMMAND,
        ),
        Row(
            name=f"gathering for {size} symbols, our part of it",
            ours=1000 * min(cpu for _, cpu in turns),
            unit="ms CPU",
            command=_COMMAND,
        ),
    ]
