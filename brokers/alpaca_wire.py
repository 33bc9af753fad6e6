"""Requests to Alpaca's trading API: paced, translated, and reads (only reads) repeated."""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from brokers import alpaca_errors as errors
from domain.clock import Clock
from domain.errors import BrokerUnavailable, DataError
from transport.breaker import Breaker, BreakerOpen, BreakerSettings
from transport.failures import TransportError
from transport.http import BoundedClient, Reply
from transport.pacing import Pacer, Priority

Params = Sequence[tuple[str, str]]

# Short waits: an unknown order must be looked up as soon as the broker is back.
BROKER_BREAKER = BreakerSettings(failures_to_open=5, open_seconds=5, longest_open_seconds=30)

_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRetry:
    """How often a read is tried, and how long between; pauses double and are jittered."""

    attempts: int = 3
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 8.0


class AlpacaWire:
    """One account's connection to the trading API.

    ``read_priority`` is KILL in the kill switch, so that its reads may use the reserve.
    ``breaker`` spares a broker that is away from reads; writes and the kill switch do
    not ask it.
    """

    def __init__(
        self,
        client: BoundedClient,
        pacer: Pacer,
        *,
        clock: Clock,
        retry: ReadRetry,
        jitter: random.Random,
        read_priority: Priority = Priority.READ,
        breaker: Breaker | None = None,
    ) -> None:
        self._client = client
        self._pacer = pacer
        self._clock = clock
        self._retry = retry
        self._jitter = jitter
        self._read_priority = read_priority
        self._breaker = breaker

    async def read(
        self,
        path: str,
        params: Params = (),
        *,
        what: str,
        body_cap_bytes: int | None = None,
    ) -> object:
        """Read a JSON document; None where the broker says that there is no such thing.

        Raises:
            BrokerUnavailable: no usable answer, also not when tried again.
            AuthRefused: the keys were refused; that is not tried again.
        """
        if self._breaker is None:
            return await self._read_with_retry(path, params, what, body_cap_bytes)
        try:
            return await self._breaker.call(
                lambda: self._read_with_retry(path, params, what, body_cap_bytes),
                is_failure=lambda exc: isinstance(exc, errors.Unanswered),
            )
        except BreakerOpen as exc:
            raise BrokerUnavailable(f"{what}: {exc}") from exc

    async def write(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        what: str,
        priority: Priority,
        guard: Callable[[], None] | None = None,
    ) -> Reply:
        """Send one write, once, and return whatever came back.

        Raises:
            NotSent: certainly nothing was written.
            OutcomeUnknown: written, or perhaps written, and not answered.
            Whatever ``guard`` raised: nothing was written.
        """
        await self._pacer.admit(priority)
        try:
            reply = await self._client.request(method, path, body=body, guard=guard)
        except TransportError as exc:
            raise errors.write_failure(exc, what=what) from exc
        self._learn(reply)
        return reply

    def urgent(self) -> "AlpacaWire":
        """Return the same connections without the breaker, its reads on the reserve."""
        other = copy.copy(self)
        other._breaker = None
        other._read_priority = Priority.KILL
        return other

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _read_with_retry(
        self, path: str, params: Params, what: str, body_cap_bytes: int | None
    ) -> object:
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(errors.Unanswered),
            stop=stop_after_attempt(self._retry.attempts),
            wait=self._pause,
            sleep=self._clock.sleep,
            reraise=True,
        )
        return await attempts(self._read_once, path, params, what, body_cap_bytes)

    async def _read_once(
        self, path: str, params: Params, what: str, body_cap_bytes: int | None
    ) -> object:
        await self._pacer.admit(self._read_priority)
        try:
            reply = await self._client.request(
                "GET", path, params=params, body_cap_bytes=body_cap_bytes
            )
        except TransportError as exc:
            raise errors.Unanswered(f"{what}: {exc}") from exc
        self._learn(reply)
        if errors.is_absent(reply):
            return None
        if reply.status != _OK:
            errors.raise_for_read(reply, what=what)
        try:
            found = reply.json(what=what)
        except DataError as exc:
            raise errors.Unanswered(str(exc)) from exc
        if found is None:
            # Absence is said by a 404 only.
            raise errors.Unanswered(f"{what}: the answer is null")
        return found

    def _learn(self, reply: Reply) -> None:
        self._pacer.observe(reply.headers)
        if reply.status == errors.TOO_MANY:
            self._pacer.hold(errors.wait_seconds(reply, now=self._clock.now()))

    def _pause(self, state: RetryCallState) -> float:
        ceiling = self._retry.first_pause_seconds * 2.0 ** (state.attempt_number - 1)
        return self._jitter.uniform(0.5, 1.0) * min(
            float(ceiling), self._retry.longest_pause_seconds
        )
