"""During the session: compare with the broker and judge the account every 30 seconds."""

import datetime as dt

import structlog

from daemon.session.market_check import MarketCheck
from daemon.session.monitor import Monitor
from daemon.session.stops import Stops
from daemon.telemetry.vitals import Vitals
from domain.clock import Clock, sleep_until
from domain.errors import AuthRefused, ProviderUnavailable
from domain.market import Session
from execution.reconcile import Reconciler

RECONCILE_SECONDS = 30.0
SNAPSHOT_EVERY = 10
# Orders expire and their last events arrive shortly after the close.
_AFTER_CLOSE = dt.timedelta(minutes=1)


class Watch:
    """Looks for itself, however healthy the stream seems."""

    def __init__(
        self,
        *,
        reconciler: Reconciler,
        monitor: Monitor,
        stops: Stops,
        clock: Clock,
        market: MarketCheck | None = None,
        vitals: Vitals | None = None,
        every_seconds: float = RECONCILE_SECONDS,
    ) -> None:
        self._reconciler = reconciler
        self._monitor = monitor
        self._stops = stops
        self._clock = clock
        self._market = market
        self._vitals = vitals or Vitals()
        self._every_seconds = every_seconds
        self._log = structlog.get_logger("watch")

    async def over(self, session: Session) -> None:
        """Watch from the open to just after the close."""
        await sleep_until(self._clock, session.open)
        self._vitals.look_began()
        try:
            await self._until_closed(session)
        finally:
            self._vitals.watch_ended()

    async def _until_closed(self, session: Session) -> None:
        looks = 0
        while self._clock.now() <= session.close + _AFTER_CLOSE:
            await self._look(session, is_snapshot=looks % SNAPSHOT_EVERY == 0)
            looks += 1
            await self._clock.sleep(self._every_seconds)
        self._log.info("session.closed", looks=looks)

    async def _look(self, session: Session, *, is_snapshot: bool) -> None:
        seen = None
        try:
            seen = await self._reconciler.run("periodic")
        except (ProviderUnavailable, AuthRefused) as exc:
            self._log.warning("reconcile.failed", reason=str(exc))
        if is_snapshot and self._market is not None:
            await self._market.look(session)
        judged = await self._monitor.check(session, snapshot=is_snapshot, seen=seen)
        await self._stops.look(session, judged)
        self._vitals.look_finished(is_answered=seen is not None)
