import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence

import pytest

from domain.clock import ManualClock
from domain.errors import ProviderUnavailable
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from forecasts.fallback import FallbackForecaster, Source
from tests.support.forecast_scene import AS_OF, history_of
from transport.breaker import Breaker, BreakerSettings, BreakerState

AAPL = Symbol("AAPL")
SETTINGS = BreakerSettings(failures_to_open=2, open_seconds=60)


def forecast_by(source: ForecastSource) -> Forecast:
    return Forecast(
        symbol=AAPL,
        as_of=AS_OF,
        horizon=20,
        levels=(0.1, 0.5, 0.9),
        quantiles=(-0.1, 0.01, 0.12),
        mean=0.01,
        volatility=0.08,
        probability_up=0.6,
        source=source,
        model="lstm/1",
        model_hash="0" * 64,
        data_cutoff=dt.date(2022, 11, 9),
    )


class Engine:
    """Answers, or fails with the text it was given."""

    def __init__(self, source: ForecastSource, failure: str | None = None) -> None:
        self.name = source.value
        self.source = source
        self.failure = failure
        self.calls = 0
        self.is_empty = False

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        self.calls += 1
        if self.failure is not None:
            raise ProviderUnavailable(self.failure)
        return {} if self.is_empty else {AAPL: forecast_by(self.source)}


class Scene:
    def __init__(self, *, remote: str | None = None, local: str | None = None) -> None:
        self.clock = ManualClock(AS_OF)
        self.remote = Engine(ForecastSource.REMOTE, remote)
        self.local = Engine(ForecastSource.LOCAL, local)
        self.breaker = Breaker("forecasts", SETTINGS, clock=self.clock)
        self.chain = FallbackForecaster(
            [
                Source(kind=ForecastSource.REMOTE, engine=self.remote, breaker=self.breaker),
                Source(kind=ForecastSource.LOCAL, engine=self.local),
            ]
        )

    async def source(self) -> ForecastSource:
        found = await self.chain.forecast({}, AS_OF)
        return found[AAPL].source


async def test_the_remote_engine_answers_while_it_can() -> None:
    scene = Scene()

    assert await scene.source() is ForecastSource.REMOTE
    assert scene.local.calls == 0
    assert not scene.chain.last.is_degraded


async def test_the_local_engine_answers_when_the_remote_one_does_not() -> None:
    scene = Scene(remote="connection refused")

    assert await scene.source() is ForecastSource.LOCAL
    assert scene.chain.last.is_degraded
    assert scene.chain.last.source is ForecastSource.LOCAL
    assert scene.chain.last.reasons == {"remote": "connection refused"}


async def test_after_enough_failures_the_remote_engine_is_left_alone_until_one_probe() -> None:
    scene = Scene(remote="connection refused")
    for _ in range(5):
        assert await scene.source() is ForecastSource.LOCAL
    assert scene.remote.calls == 2
    assert scene.breaker.state is BreakerState.OPEN
    assert "not called" in scene.chain.last.reasons["remote"]

    scene.clock.advance(dt.timedelta(seconds=61))
    scene.remote.failure = None

    assert await scene.source() is ForecastSource.REMOTE
    assert scene.remote.calls == 3


async def test_when_nobody_answers_there_are_no_forecasts_and_both_reasons() -> None:
    scene = Scene(remote="connection refused", local="its process ended")

    with pytest.raises(ProviderUnavailable, match=r"remote: .*refused; local: its process ended"):
        await scene.source()

    assert scene.chain.last.source is ForecastSource.NONE


async def test_an_engine_whose_model_looks_back_too_far_for_every_symbol_gives_way() -> None:
    scene = Scene()
    scene.remote.is_empty = True

    found = await scene.chain.forecast(history_of("AAPL"), AS_OF)

    assert found[AAPL].source is ForecastSource.LOCAL
    assert "none of 1 symbols has as many bars" in scene.chain.last.reasons["remote"]
    assert scene.breaker.state is BreakerState.CLOSED
    scene.local.is_empty = True
    with pytest.raises(ProviderUnavailable, match="local: none of 1 symbols"):
        await scene.chain.forecast(history_of("AAPL"), AS_OF)


async def test_without_any_source_the_reason_says_so() -> None:
    with pytest.raises(ProviderUnavailable, match="no source is configured"):
        await FallbackForecaster([]).forecast({}, AS_OF)


async def test_h02_an_answer_after_the_deadline_is_not_used() -> None:
    scene = Scene()
    late = asyncio.Event()

    async def slow(
        history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        try:
            async with asyncio.timeout(0.01):
                await late.wait()
        except TimeoutError as exc:
            raise ProviderUnavailable("timeout") from exc
        return {AAPL: forecast_by(ForecastSource.REMOTE)}

    scene.remote.forecast = slow  # type: ignore[method-assign]

    found = await scene.chain.forecast({}, AS_OF)
    late.set()
    await asyncio.sleep(0.02)

    assert found[AAPL].source is ForecastSource.LOCAL
    assert scene.chain.last.source is ForecastSource.LOCAL


async def test_our_own_mistake_is_not_hidden_by_the_next_source() -> None:
    scene = Scene()

    async def wrong(
        history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        raise ValueError("a bug")

    scene.remote.forecast = wrong  # type: ignore[method-assign]

    with pytest.raises(ValueError, match="a bug"):
        await scene.source()


async def test_a_demoted_model_is_asked_and_recorded_but_not_used() -> None:
    scene = Scene()
    received: list[ForecastSource] = []
    chain = FallbackForecaster(
        [
            Source(
                kind=ForecastSource.REMOTE,
                engine=scene.remote,
                breaker=scene.breaker,
                demotion=lambda: "its 80 % band held 60%",
            ),
            Source(kind=ForecastSource.LOCAL, engine=scene.local, demotion=lambda: None),
        ],
        received=lambda source, found, history: received.append(source),
    )

    found = await chain.forecast({}, AS_OF)

    assert found[AAPL].source is ForecastSource.LOCAL
    assert received == [ForecastSource.REMOTE, ForecastSource.LOCAL]
    assert chain.last.reasons == {"remote": "demoted: its 80 % band held 60%"}
    assert scene.breaker.state is BreakerState.CLOSED


async def test_when_every_source_is_demoted_there_are_no_forecasts() -> None:
    scene = Scene()
    chain = FallbackForecaster(
        [Source(kind=ForecastSource.LOCAL, engine=scene.local, demotion=lambda: "drifted")]
    )

    with pytest.raises(ProviderUnavailable, match="local: demoted: drifted"):
        await chain.forecast({}, AS_OF)
