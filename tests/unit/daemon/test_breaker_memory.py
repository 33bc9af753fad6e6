import datetime as dt
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from brokers.base import Broker
from daemon.health.broker_calls import BrokerCalls
from daemon.sources.breaker_memory import RememberedBreaker, RememberingBroker
from domain.clock import ManualClock
from domain.errors import ProviderUnavailable
from state.breakers import Breakers
from state.store import Store
from tests.support.fake_broker import FakeBroker
from transport.breaker import BreakerOpen, BreakerSettings, BreakerState

NOON = dt.datetime(2022, 12, 14, 12, tzinfo=dt.UTC)
SETTINGS = BreakerSettings(failures_to_open=1, open_seconds=60)


async def fails() -> None:
    raise ProviderUnavailable("dead")


async def works() -> str:
    return "alive"


def remembered(store: Store, clock: ManualClock) -> RememberedBreaker:
    return RememberedBreaker("service", SETTINGS, memory=Breakers(store), clock=clock)


async def test_h12_a_service_that_was_dead_is_not_called_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    store = Store.open(tmp_path, clock=clock)
    first = remembered(store, clock)
    with pytest.raises(ProviderUnavailable, match="dead"):
        await first.breaker.call(fails)
    first.remember()
    clock.advance(dt.timedelta(seconds=40))
    # A refused call is remembered too, and does not put the next try off.
    with pytest.raises(BreakerOpen):
        await first.breaker.call(works)
    first.remember()
    store.close()

    store = Store.open(tmp_path, clock=clock)
    second = remembered(store, clock)
    assert second.breaker.state is BreakerState.OPEN
    with pytest.raises(BreakerOpen, match="next try in 20 s"):
        await second.breaker.call(works)
    clock.advance(dt.timedelta(seconds=21))
    assert await second.breaker.call(works) == "alive"
    second.remember()
    found = Breakers(store).get("service")
    assert found is not None
    assert (found.state, found.opened_at) == ("closed", None)
    store.close()


async def test_a_reason_that_no_encoding_has_is_remembered_all_the_same(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    store = Store.open(tmp_path, clock=clock)
    first = remembered(store, clock)

    async def fails_oddly() -> None:
        # As JSON may say it: half an emoji.
        raise ProviderUnavailable("busy \ud83d")

    with pytest.raises(ProviderUnavailable):
        await first.breaker.call(fails_oddly)
    first.remember()

    found = Breakers(store).get("service")
    assert found is not None
    assert found.reason == "busy ?"
    store.close()


def test_a_new_service_starts_closed_and_unwritten(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    store = Store.open(tmp_path, clock=clock)

    assert remembered(store, clock).breaker.state is BreakerState.CLOSED
    assert Breakers(store).get("service") is None
    store.close()


async def test_a31_the_brokers_breaker_is_written_when_it_opens_and_closes(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    store = Store.open(tmp_path, clock=clock)
    first = remembered(store, clock)
    fake = FakeBroker(clock)
    broker = RememberingBroker(Guarded(fake, first), first)

    await broker.clock()
    assert Breakers(store).get("service") is None
    fake.is_down = True
    with pytest.raises(ProviderUnavailable):
        await broker.clock()
    found = Breakers(store).get("service")
    assert found is not None
    assert found.state == "open"

    fake.is_down = False
    clock.advance(dt.timedelta(seconds=61))
    await broker.clock()
    found = Breakers(store).get("service")
    assert found is not None
    assert found.state == "closed"
    store.close()


class Guarded(BrokerCalls):
    """A broker whose calls go through a breaker, as the adapter's reads do."""

    def __init__(self, broker: Broker, remembered: RememberedBreaker) -> None:
        super().__init__(broker)
        self._breaker = remembered.breaker

    async def _call(self, operation: str, call: Awaitable[Any]) -> Any:
        async def made() -> Any:
            return await call

        return await self._breaker.call(made)
