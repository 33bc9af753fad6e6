"""A circuit breaker: after enough failures nobody calls, then exactly one probe does.

Closed counts failures in a row; open refuses at once and waits; half-open lets one
caller through while all others are refused.  A failed probe doubles the wait.  Each
change of state starts a new generation: results of calls from an older one say nothing
about the present and are ignored.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TypeVar

from domain.clock import Clock
from domain.errors import ProviderUnavailable

Result = TypeVar("Result")


@unique
class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When to open, and for how long; a failed probe doubles the wait up to the longest."""

    failures_to_open: int = 3
    open_seconds: float = 60.0
    longest_open_seconds: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """What is stored and shown; ``retry_at`` is None while closed."""

    name: str
    state: BreakerState
    failures: int
    openings: int
    retry_at: dt.datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to make one call; hand it back with its outcome, once."""

    generation: int
    is_probe: bool


class BreakerOpen(ProviderUnavailable):
    """Nobody was called: the service failed too often a short while ago."""


class Breaker:
    """One per service.  Not for threads: everything happens on one event loop."""

    def __init__(self, name: str, settings: BreakerSettings, *, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._failures = 0
        self._openings = 0
        self._retry_at = 0.0
        self._reason = ""

    @property
    def state(self) -> BreakerState:
        """The state now.  Half-open only while its probe is out."""
        return self._state

    def admit(self) -> Permit:
        """Ask for one call.

        Raises:
            BreakerOpen: not now.
        """
        if self._state is BreakerState.CLOSED:
            return Permit(self._generation, is_probe=False)
        wait = self._retry_at - self._clock.monotonic()
        if self._state is BreakerState.OPEN and wait <= 0:
            self._enter(BreakerState.HALF_OPEN)
            return Permit(self._generation, is_probe=True)
        detail = f"next try in {wait:.0f} s" if wait > 0 else "one call is probing it"
        raise BreakerOpen(f"{self.name}: not called, {detail} ({self._reason})")

    def succeed(self, permit: Permit) -> None:
        """The call worked: close, or stay closed with a clean count."""
        if permit.generation != self._generation:
            return
        self._failures = 0
        if permit.is_probe:
            self._openings = 0
            self._reason = ""
            self._enter(BreakerState.CLOSED)

    def fail(self, permit: Permit, reason: str) -> None:
        """The call failed or took too long."""
        if permit.generation != self._generation:
            return
        self._failures += 1
        # It may quote a vendor's JSON, which has halves of emoji that no database takes.
        self._reason = reason.encode(errors="replace").decode()
        if permit.is_probe or self._failures >= self._settings.failures_to_open:
            self._open()

    def release(self, permit: Permit) -> None:
        """The call was given up by us: it says nothing, and the next caller may probe."""
        if permit.generation == self._generation and permit.is_probe:
            self._enter(BreakerState.OPEN)

    async def call(
        self,
        function: Callable[[], Awaitable[Result]],
        *,
        is_failure: Callable[[Exception], bool] = lambda _: True,
    ) -> Result:
        """Make one call under the breaker.

        Args:
            function: the call; a timeout inside it is an error like any other.
            is_failure: tells whether an error speaks against the service; one that
                does not (our own mistake) counts as an answer.

        Raises:
            BreakerOpen: it was not made.
            Whatever ``function`` raised.
        """
        permit = self.admit()
        try:
            result = await function()
        except asyncio.CancelledError:
            self.release(permit)
            raise
        except Exception as exc:
            if is_failure(exc):
                self.fail(permit, str(exc) or type(exc).__name__)
            else:
                self.succeed(permit)
            raise
        except BaseException:
            self.release(permit)
            raise
        self.succeed(permit)
        return result

    def snapshot(self) -> BreakerSnapshot:
        """Return what to store and show."""
        is_closed = self._state is BreakerState.CLOSED
        wait = dt.timedelta(seconds=max(0.0, self._retry_at - self._clock.monotonic()))
        return BreakerSnapshot(
            name=self.name,
            state=self._state,
            failures=self._failures,
            openings=self._openings,
            retry_at=None if is_closed else self._clock.now() + wait,
            reason=self._reason,
        )

    def restore(self, snapshot: BreakerSnapshot) -> None:
        """Go on from a stored state; a probe that was out when it was stored is lost."""
        self._failures = snapshot.failures
        self._openings = snapshot.openings
        self._reason = snapshot.reason
        if snapshot.retry_at is None:
            self._enter(BreakerState.CLOSED)
            return
        wait = (snapshot.retry_at - self._clock.now()).total_seconds()
        # A clock that was set back must not keep a service out for a day.
        wait = min(max(wait, 0.0), self._settings.longest_open_seconds)
        self._retry_at = self._clock.monotonic() + wait
        self._enter(BreakerState.OPEN)

    def _open(self) -> None:
        # The exponent is held down so that a service gone for a year cannot overflow it.
        doubled = self._settings.open_seconds * 2.0 ** min(self._openings, 32)
        self._openings += 1
        self._failures = 0
        self._retry_at = self._clock.monotonic() + min(doubled, self._settings.longest_open_seconds)
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
