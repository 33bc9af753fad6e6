"""What a kill switches at the broker: the lock on new orders, and the ban on short sales.

Each is asked for until the broker reads it back as wanted, says that there is no such
switch, or time is up.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from brokers.base import Broker
from domain.clock import Clock
from domain.errors import (
    AuthRefused,
    BrokerError,
    OrderRejected,
    RateLimited,
    StateError,
)
from execution.cancel_all import Patience, Tell
from execution.waiting import doubling, retry_after
from state.latch import Latch

Ask = Callable[[], Awaitable[bool | None]]

_LOCK = "the broker's lock"
_BAN = "the ban on short sales"
_UNKNOWN = "the broker does not tell whether it forbids short sales"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortingBan:
    """Whether the broker refuses what would sell short, and which closing this is.

    ``closing`` counts the kills of this latch that began to close positions, from 0; it is
    0 as well where that could not be noted.  ``problem`` is for the operator.
    """

    is_set: bool = False
    closing: int = 0
    problem: str = ""


class AccountSwitches:
    """The switches of one account, for one kill."""

    def __init__(
        self, broker: Broker, latch: Latch, clock: Clock, *, patience: Patience, tell: Tell
    ) -> None:
        self._broker = broker
        self._latch = latch
        self._clock = clock
        self._patience = patience
        self._tell = tell

    async def lock(self, *, is_locked: bool, until: float) -> bool | None:
        """Return the lock as read back is as wanted; None when the account has no lock."""

        async def ask() -> bool:
            return await self._broker.set_suspended(is_suspended=is_locked) is is_locked

        return await self._answered(ask, what=_LOCK, until=until, otherwise=False)

    async def forbid_shorting(self, *, until: float) -> ShortingBan:
        """Let the broker refuse every sale of more than is held and free."""
        before = await self._answered(
            self._broker.is_shorting_forbidden, what=_BAN, until=until, otherwise=None
        )
        closing, problem = self._note(forbids_shorting=before is False)
        if before is None:
            return ShortingBan(closing=closing, problem=_UNKNOWN)
        if before or await self._is_forbidden(until=until):
            self._tell("the broker refuses to sell more than is held")
            return ShortingBan(is_set=True, closing=closing, problem=problem)
        return ShortingBan(closing=closing, problem="short sales could not be forbidden")

    async def _is_forbidden(self, *, until: float) -> bool:
        async def ask() -> bool:
            return await self._broker.set_shorting_forbidden(is_forbidden=True)

        return await self._answered(ask, what=_BAN, until=until, otherwise=False) is True

    def _note(self, *, forbids_shorting: bool) -> tuple[int, str]:
        # Before the broker is asked: a kill that is cut off in between is known to the resume.
        try:
            return self._latch.begin_closing(forbids_shorting=forbids_shorting).closings - 1, ""
        except (StateError, OSError) as exc:
            if not forbids_shorting:
                return 0, ""
            return 0, (
                "short sales stay forbidden at the broker after a resume, the latch could not"
                f" note it ({exc}): clear no_shorting there by hand"
            )

    async def _answered(
        self, ask: Ask, *, what: str, until: float, otherwise: bool | None
    ) -> bool | None:
        """Return the first clear answer, None for a refusal, ``otherwise`` when time is up."""
        pauses = doubling(self._patience.first_pause_seconds, self._patience.longest_pause_seconds)
        while True:
            wait = next(pauses)
            try:
                return await ask()
            except OrderRejected:
                return None
            except AuthRefused:
                raise
            except RateLimited as exc:
                wait = max(wait, retry_after(exc.retry_after_seconds))
            except Exception as exc:  # noqa: BLE001 - a bug at a switch must not end the kill
                self._tell(f"{what}: no clear answer: {exc}")
            if self._clock.monotonic() + wait >= until:
                return otherwise
            await self._clock.sleep(wait)


async def allow_shorting(broker: Broker) -> None:
    """Allow short sales again, as before the kill.

    Raises:
        BrokerUnavailable, BrokerError: it is not certain that they are allowed.
    """
    try:
        is_forbidden = await broker.set_shorting_forbidden(is_forbidden=False)
    except OrderRejected:
        # The account has no such setting any more, so a kill changed nothing that lasts.
        return
    if is_forbidden:
        raise BrokerError("short sales are still forbidden at the broker; resume again")
