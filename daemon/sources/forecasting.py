"""The forecast engines of the configuration, with their breaker remembered and their falls told."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import structlog

from daemon.after_close.track_keeping import TrackKeeper
from daemon.config import Config, state_directory
from daemon.credentials import FORECAST_TOKEN, Credentials
from daemon.sources.breaker_memory import RememberedBreaker
from daemon.sources.budget import ForecastBudget
from daemon.sources.current_model import CurrentModel
from domain.clock import Clock
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from forecasts.base import Forecaster
from forecasts.fallback import FallbackForecaster, Source
from forecasts.local import LocalForecaster
from forecasts.model_store import SHIPPED, ModelStore
from forecasts.remote import RemoteForecaster
from forecasts.remote_access import auth_headers
from state.breakers import Breakers
from state.store import Store
from transport.breaker import BreakerSettings
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.replay_loop import ReplayLoop

REMOTE = "forecasts.remote"
_LONGEST_ANSWER_BYTES = 32 * 1024 * 1024


class WatchedForecaster:
    """A Forecaster that says when it fell back, and remembers its breaker."""

    name = "forecasts"

    def __init__(self, chain: FallbackForecaster, remembered: RememberedBreaker | None) -> None:
        self._chain = chain
        self._remembered = remembered
        self._log = structlog.get_logger("forecasts")

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast with the first source that answers; see FallbackForecaster."""
        try:
            return await self._chain.forecast(history, as_of)
        finally:
            if self._remembered is not None:
                self._remembered.remember()
            if self._chain.last.is_degraded:
                self._log.warning(
                    "forecast.fell_back",
                    reason="; ".join(self._chain.last.reasons.values()),
                    source=self._chain.last.source.value,
                    breaker=self._remembered.breaker.state.value if self._remembered else "none",
                )


def model_store(config: Config) -> ModelStore:
    """Return the models: the user's own come before the shipped ones."""
    return ModelStore((state_directory(config) / "models", SHIPPED))


def local_engine(config: Config) -> LocalForecaster:
    """Verify the local model and make its engine; its process starts with the first forecast.

    Raises:
        ConfigError: the model or the horizon cannot be used.
        StateError: a model file does not match its card.
    """
    settings = config.forecasts
    return LocalForecaster(
        model_store(config).load(settings.local.model),
        horizon=settings.horizon,
        timeout_seconds=settings.local.timeout_seconds,
    )


class OutsideForecaster:
    """A Forecaster in another process, which answers in real time whatever the clock here.

    Without this a replay that steps would take the time of its answer for silence.
    """

    def __init__(self, engine: Forecaster, *, longest_seconds: float) -> None:
        self.name = engine.name
        self._engine = engine
        self._longest_seconds = longest_seconds

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast while simulated time stands still, but no longer than it may."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, ReplayLoop):
            return await self._engine.forecast(history, as_of)
        with loop.hold(self._longest_seconds):
            return await self._engine.forecast(history, as_of)


@contextlib.asynccontextmanager
async def forecast_engine(
    config: Config,
    store: Store,
    clock: Clock,
    *,
    time_scale: float,
    note: Callable[[str, str], None] | None = None,
) -> AsyncIterator[Forecaster]:
    """Open the engines: remote behind its breaker if there is one, then the local model.

    Raises:
        ConfigError: the model or the horizon cannot be used.
        StateError: a model file does not match its card.
    """
    settings, models = config.forecasts, model_store(config)
    local = CurrentModel(models, model=settings.local.model, engine=lambda: local_engine(config))
    keeper = _keeper(config, store, clock, models, local)
    sources = [
        Source(
            kind=ForecastSource.LOCAL,
            engine=local,
            demotion=lambda: keeper.demotion(ForecastSource.LOCAL),
        )
    ]
    remembered: RememberedBreaker | None = None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(local.aclose)
        if settings.remote.url:
            budget = ForecastBudget(store, config.costs, clock=clock, note=note)
            remote = _remote(config, models, budget, time_scale)
            stack.push_async_callback(remote.aclose)
            remembered = _breaker(config, store, clock)
            # Two exchanges at most: what the server can do, and the forecasts.
            longest = 2 * settings.remote.timeout_seconds + settings.remote.warm_up_seconds
            outside = OutsideForecaster(remote, longest_seconds=longest)
            sources.insert(
                0,
                Source(
                    kind=ForecastSource.REMOTE,
                    engine=outside,
                    breaker=remembered.breaker,
                    demotion=lambda: keeper.demotion(ForecastSource.REMOTE),
                ),
            )
        chain = FallbackForecaster(sources, received=keeper.received)
        yield WatchedForecaster(chain, remembered)


def _keeper(
    config: Config, store: Store, clock: Clock, models: ModelStore, local: CurrentModel
) -> TrackKeeper:
    settings = config.forecasts
    # Without a server nobody asks for its model, so it need not be one we know.
    remote = models.card(settings.remote.model) if settings.remote.url else None

    def base_rate(source: ForecastSource) -> float:
        card = remote if source is ForecastSource.REMOTE and remote is not None else local.card
        return card.base_rate(settings.horizon)

    return TrackKeeper(store, clock=clock, base_rate=base_rate, rule=settings.tracking.rule)


def _remote(
    config: Config, models: ModelStore, budget: ForecastBudget, time_scale: float
) -> RemoteForecaster:
    remote = config.forecasts.remote
    token = Credentials.of(config).find(FORECAST_TOKEN)
    client = BoundedClient(
        HttpSettings(
            base_url=remote.url.rstrip("/"),
            deadlines=Deadlines(
                connect_seconds=min(remote.timeout_seconds, Deadlines().connect_seconds),
                read_seconds=remote.timeout_seconds,
                total_seconds=remote.timeout_seconds,
            ),
            body_cap_bytes=_LONGEST_ANSWER_BYTES,
            time_scale=time_scale,
        ),
        auth_headers(token, header=remote.auth_header, scheme=remote.auth_scheme),
    )
    return RemoteForecaster(
        client,
        model=remote.model,
        card=models.card(remote.model),
        horizon=config.forecasts.horizon,
        budget=budget,
        warm_up_seconds=remote.warm_up_seconds,
    )


def _breaker(config: Config, store: Store, clock: Clock) -> RememberedBreaker:
    remote = config.forecasts.remote
    settings = BreakerSettings(
        failures_to_open=remote.breaker_failures, open_seconds=remote.breaker_reset_seconds
    )
    return RememberedBreaker(REMOTE, settings, memory=Breakers(store), clock=clock)
