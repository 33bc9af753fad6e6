"""Breakers that outlive a restart: a dead provider stays known as dead."""

import contextlib
import datetime as dt
from collections.abc import Awaitable
from typing import TypeVar

from brokers.base import Broker
from daemon.health.broker_calls import BrokerCalls
from domain.clock import Clock
from domain.errors import StateError
from state.breakers import BreakerRecord, Breakers
from transport.breaker import Breaker, BreakerSettings, BreakerSnapshot, BreakerState

Result = TypeVar("Result")


class RememberedBreaker:
    """One breaker and its record in the state."""

    def __init__(
        self,
        name: str,
        settings: BreakerSettings,
        *,
        memory: Breakers,
        clock: Clock,
        breaker: Breaker | None = None,
    ) -> None:
        self.breaker = breaker or Breaker(name, settings, clock=clock)
        self._settings = settings
        self._memory = memory
        self._clock = clock
        stored = memory.get(name)
        if stored is not None and stored.opened_at is not None:
            self.breaker.restore(_snapshot(stored, settings))

    def remember(self) -> None:
        """Write down where it stands."""
        shot = self.breaker.snapshot()
        opened_at = None
        if shot.retry_at is not None:
            # Told from the end, so that refused calls do not put the next try off.
            opened_at = shot.retry_at - dt.timedelta(seconds=self._settings.open_seconds)
        self._memory.put(
            BreakerRecord(
                name=shot.name,
                state=shot.state.value,
                failures=shot.failures,
                opened_at=opened_at,
                updated_at=self._clock.now(),
                reason=shot.reason,
            )
        )


class RememberingBroker(BrokerCalls):
    """A broker whose breaker is written down whenever it opens or closes."""

    def __init__(self, broker: Broker, remembered: RememberedBreaker) -> None:
        super().__init__(broker)
        self._remembered = remembered
        self._written = remembered.breaker.state

    async def _call(self, operation: str, call: Awaitable[Result]) -> Result:
        try:
            return await call
        finally:
            state = self._remembered.breaker.state
            # Half-open lasts as long as its probe, whose end is written anyway.
            if state not in {self._written, BreakerState.HALF_OPEN}:
                self._written = state
                # A disk that refuses must not make a read fail.
                with contextlib.suppress(StateError):
                    self._remembered.remember()


def _snapshot(stored: BreakerRecord, settings: BreakerSettings) -> BreakerSnapshot:
    opened_at = stored.opened_at or stored.updated_at
    return BreakerSnapshot(
        name=stored.name,
        state=BreakerState.OPEN,
        failures=stored.failures,
        openings=1,
        retry_at=opened_at + dt.timedelta(seconds=settings.open_seconds),
        reason=stored.reason,
    )
