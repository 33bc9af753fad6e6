"""Ports with a stopwatch: they pass every call on and note how long it took and how it ended."""

import contextlib
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from brokers.base import Broker, TradeStream
from daemon.health.broker_calls import BrokerCalls
from daemon.telemetry.metrics import Meters
from daemon.telemetry.vitals import Vitals
from domain.clock import Clock
from domain.errors import ProviderUnavailable
from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar, NewsItem
from domain.orders import TradeUpdate
from domain.signals import SentimentScore
from forecasts.base import Forecaster
from sentiment.base import SentimentScorer

Result = TypeVar("Result")


class MeteredBroker(BrokerCalls):
    """A Broker with a stopwatch."""

    def __init__(self, broker: Broker, meters: Meters) -> None:
        super().__init__(broker)
        self._meters = meters

    async def _call(self, operation: str, call: Awaitable[Result]) -> Result:
        began = time.perf_counter()
        self._meters.requests_running.inc()
        try:
            return await call
        except Exception as exc:
            self._meters.request_errors.labels(operation, type(exc).__name__).inc()
            raise
        finally:
            self._meters.requests_running.dec()
            self._meters.request_seconds.labels(operation).observe(time.perf_counter() - began)


class MeteredStream:
    """A TradeStream that shows whether it is connected, and when it last spoke."""

    def __init__(
        self, stream: TradeStream, *, meters: Meters | None, vitals: Vitals, clock: Clock
    ) -> None:
        self._stream = stream
        self._meters = meters
        self._vitals = vitals
        self._clock = clock

    async def run(
        self,
        *,
        on_ready: Callable[[], None],
        on_update: Callable[[TradeUpdate], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected until cancelled."""

        def ready() -> None:
            self._connected(is_connected=True)
            on_ready()

        def update(found: TradeUpdate) -> None:
            self._spoke()
            on_update(found)

        def lost(reason: str) -> None:
            self._connected(is_connected=False)
            on_lost(reason)

        await self._stream.run(
            on_ready=ready, on_update=update, on_unreadable=on_unreadable, on_lost=lost
        )

    def _connected(self, *, is_connected: bool) -> None:
        self._vitals.is_stream_connected = is_connected
        if self._meters is not None:
            self._meters.stream_connected.set(is_connected)

    def _spoke(self) -> None:
        self._vitals.stream_event_at = self._clock.now()
        if self._meters is not None:
            self._meters.stream_events.inc()
            self._meters.stream_event_at.set(self._clock.now().timestamp())


class MeteredForecaster:
    """A Forecaster with a stopwatch."""

    def __init__(self, forecaster: Forecaster, meters: Meters, *, best: str) -> None:
        self.name = forecaster.name
        self._forecaster = forecaster
        self._meters = meters
        self._best = best

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast each symbol from its complete bars."""
        began = time.perf_counter()
        try:
            found = await self._forecaster.forecast(history, as_of)
        except ProviderUnavailable:
            self._meters.forecast_errors.inc()
            raise
        source = next((forecast.source.value for forecast in found.values()), "none")
        self._meters.forecast_seconds.labels(source).observe(time.perf_counter() - began)
        if source != self._best:
            self._meters.forecast_fallbacks.inc()
        return found


class MeteredScorer:
    """A SentimentScorer with a stopwatch."""

    def __init__(self, scorer: SentimentScorer, meters: Meters) -> None:
        self.name = scorer.name
        self._scorer = scorer
        self._meters = meters

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        """Score every symbol that the items are tagged with."""
        self._meters.headlines.inc(len(items))
        with self._timed():
            return await self._scorer.score(items, as_of)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except ProviderUnavailable:
            self._meters.sentiment_errors.inc()
            raise
        finally:
            self._meters.sentiment_seconds.observe(time.perf_counter() - began)
