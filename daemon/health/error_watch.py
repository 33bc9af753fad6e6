"""Errors of the whole daemon: too many, and it looks at itself and begins anew.

A restart clears what only this process has: a wedged connection, a leak, a confused task.
It does not bring a broker back, so it waits for one that a start would need, and it is
rationed, so that a fault which survives it cannot make it loop.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from typing import TypeVar

from brokers.base import Broker
from daemon.config import HealthConfig
from daemon.health.broker_calls import BrokerCalls
from daemon.health.self_check import BROKER, look_at_ourselves
from daemon.telemetry.hub import Notice
from daemon.telemetry.vitals import Vitals
from domain.clock import Clock
from domain.errors import (
    DuplicateOrder,
    OpenbellError,
    OrderRejected,
    RateLimited,
    SendRefused,
)
from execution.desk import Desk
from risk.error_rate import ErrorLimit, ErrorWindow
from state.facts import Facts

Result = TypeVar("Result")

RATION = dt.timedelta(days=1)
_RESTARTS = "self_restarts"
_TELLING_SECONDS = 5.0
# Answers that say no are answers.
_CLEAR = (DuplicateOrder, OrderRejected, RateLimited, SendRefused)
_FAILURES = frozenset(
    {"heartbeat.unwritten", "run.failed", "stream.dead_letter", "stream.unreadable"}
)


class ErrorWatch:
    """Counts every operation; ``restarting`` acts on what the count says.

    ``error_ratio`` is that of the window at the last operation; ``outcomes`` counts what
    became of the looks at ourselves.
    """

    def __init__(self, config: HealthConfig, *, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._window = ErrorWindow(
            ErrorLimit(
                max_pct=Decimal(str(config.max_error_pct)),
                least_errors=config.min_errors,
                window_seconds=config.error_window_seconds,
            )
        )
        self._reason = ""
        self._wake = asyncio.Event()
        self.error_ratio = 0.0
        self.told: Callable[[str], None] = lambda _outcome: None
        self.is_restarting = False

    def broker(self, broker: Broker) -> Broker:
        """Count what a broker answers."""
        return _CountedBroker(broker, self)

    def hear(self, notice: Notice) -> None:
        """Count what other parts tell of."""
        if notice.kind in _FAILURES:
            self.record(is_error=True)

    def record(self, *, is_error: bool) -> None:
        """Count one operation."""
        now = self._clock.monotonic()
        before = self._window.tally(now)
        reason = self._window.record(now, is_error=is_error)
        # Not of the window as it is now: what was too much has just left it.
        self.error_ratio = (before.errors + is_error) / (before.operations + 1)
        if reason:
            self._reason = reason
            self._wake.set()

    @contextlib.asynccontextmanager
    async def restarting(
        self, desk: Desk, vitals: Vitals, *, stop: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Watch until the block ends.

        Args:
            desk: for the look at the broker and the books.
            vitals: for the look at the loop.
            stop: ends the daemon as SIGTERM does: a run under way is finished first.
        """

        async def watch() -> None:
            while not self.is_restarting:
                await self._wake.wait()
                self._wake.clear()
                self.is_restarting = await self._look(desk, vitals)
            # Whoever tells people ends with us.
            await self._clock.sleep(_TELLING_SECONDS)
            stop()

        task = asyncio.create_task(watch(), name="error watch")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _look(self, desk: Desk, vitals: Vitals) -> bool:
        """Look once; True when a restart is to come. What stops one look stops no other."""
        try:
            return self._judge(desk, await look_at_ourselves(desk, vitals))
        except Exception as exc:  # noqa: BLE001 - the next errors are watched for all the same
            problem = str(exc) if isinstance(exc, OpenbellError) else repr(exc)
            text = f"{self._reason}; looking at ourselves led to nothing: {problem}"
            desk.alert("health.checked", text, None)
            self.told("failed")
            return False

    def _judge(self, desk: Desk, problems: Mapping[str, str]) -> bool:
        """Write down what was found; True when a restart may help."""
        found = "; ".join(f"{part}: {text}" for part, text in problems.items()) or "nothing else"
        text = f"{self._reason}; looking at ourselves found {found}"
        if "database" in problems:
            desk.halt(f"health: {problems['database']}")
        if BROKER in problems:
            self._tell(desk, "health.checked", f"{text}; a restart brings no broker back", "waited")
            return False
        recent = self._recent_restarts(desk)
        if len(recent) >= self._config.restarts_per_day:
            self._tell(
                desk, "health.checked", f"{text}; not restarted again within a day", "rationed"
            )
            return False
        # Before it is told: a restart that is not counted could loop.
        moments = [*recent, self._clock.now().isoformat()]
        Facts(desk.store).put(**{_RESTARTS: ",".join(moments)})
        self._tell(desk, "daemon.restarting", text, "restarted")
        return True

    def _tell(self, desk: Desk, kind: str, text: str, outcome: str) -> None:
        desk.note(kind, text)
        self.told(outcome)

    def _recent_restarts(self, desk: Desk) -> list[str]:
        since = self._clock.now() - RATION
        written = (Facts(desk.store).get(_RESTARTS) or "").split(",")
        return [
            moment for moment in written if moment and dt.datetime.fromisoformat(moment) > since
        ]


class _CountedBroker(BrokerCalls):
    def __init__(self, broker: Broker, watch: ErrorWatch) -> None:
        super().__init__(broker)
        self._watch = watch

    async def _call(self, operation: str, call: Awaitable[Result]) -> Result:
        try:
            answer = await call
        except Exception as exc:
            self._watch.record(is_error=not isinstance(exc, _CLEAR))
            raise
        self._watch.record(is_error=False)
        return answer
