"""Breakers that outlive a restart: a dead provider stays known as dead."""

import datetime as dt

from domain.clock import Clock
from state.breakers import BreakerRecord, Breakers
from transport.breaker import Breaker, BreakerSettings, BreakerSnapshot, BreakerState


class RememberedBreaker:
    """One breaker and its record in the state."""

    def __init__(
        self, name: str, settings: BreakerSettings, *, memory: Breakers, clock: Clock
    ) -> None:
        self.breaker = Breaker(name, settings, clock=clock)
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
