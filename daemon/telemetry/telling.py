"""Everything that tells about one daemon, built and run around it.

What is switched off is not imported, and costs nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import structlog

from brokers.base import Broker, TradeStream
from daemon.config import Config, state_directory
from daemon.credentials import HTTP_TOKEN, MQTT_PASSWORD, MQTT_USER, Credentials
from daemon.health.error_watch import ErrorWatch
from daemon.health.service import Notifier
from daemon.telemetry.heartbeat import Heartbeat
from daemon.telemetry.hub import Hub
from daemon.telemetry.vitals import Vitals
from domain.clock import Clock
from domain.errors import ConfigError, OpenbellError, first_cause
from execution.desk import Desk
from execution.reconcile import Reconciler
from forecasts.base import Forecaster
from marketdata.session_calendar import NyseCalendar
from sentiment.base import SentimentScorer
from state.facts import Facts
from state.store import Store
from transport.replay_loop import is_stepping

# A loop that steps would be at any deadline before another process could answer.
_STEPPING_PATIENCE = 100_000.0
# And each second of telling would be a step of the day.
_STEPPING_PACE = 30.0
_BEGUN_AGAIN_AFTER_SECONDS = 10.0

Service = Callable[[], Awaitable[None]]

if TYPE_CHECKING:
    from daemon.telemetry.alerts import AlertSender
    from daemon.telemetry.controls import Controls
    from daemon.telemetry.dead_man import DeadMansSwitch
    from daemon.telemetry.metrics import Meters
    from daemon.telemetry.mqtt import MqttBridge


class Telling:
    """Hub, vitals and meters of one daemon, and the services that show them."""

    def __init__(
        self, config: Config, *, clock: Clock, time_scale: float, notifier: Notifier
    ) -> None:
        self.hub = Hub(clock)
        self.vitals = Vitals(started_at=clock.now())
        self._started_at = clock.now().timestamp()
        self._config = config
        self._clock = clock
        self._scale = time_scale
        self._notifier = notifier
        self.errors = ErrorWatch(config.health, clock=clock)
        self.hub.listen(self.errors.hear)
        self._meters = self._build_meters()
        self._reconciled: object = None

    def _build_meters(self) -> "Meters | None":
        if not (self._config.http.enabled or self._config.mqtt.enabled):
            return None
        from daemon.telemetry.metrics import Meters

        meters = Meters(mode=self._config.mode)
        meters.started_at.set(self._started_at)
        meters.clock_speed.set(self._scale)
        meters.error_ratio.set_function(lambda: self.errors.error_ratio)
        self.errors.told = lambda outcome: meters.self_checks.labels(outcome).inc()
        self.hub.listen(meters.hear)
        return meters

    @property
    def is_needed(self) -> bool:
        """False when nobody listens: no page, no broker, no people, no service manager."""
        alerts = self._config.alerts
        is_told = bool(alerts.urls or alerts.heartbeat_url)
        return self._meters is not None or is_told or self._notifier.is_on

    def broker(self, broker: Broker) -> Broker:
        """Count what a broker answers, and put a stopwatch on it."""
        counted = self.errors.broker(broker)
        if self._meters is None:
            return counted
        from daemon.telemetry.meters import MeteredBroker

        return MeteredBroker(counted, self._meters)

    def stream(self, stream: TradeStream) -> TradeStream:
        """Watch whether a stream is connected."""
        if self._meters is None:
            return stream
        from daemon.telemetry.meters import MeteredStream

        return MeteredStream(stream, meters=self._meters, vitals=self.vitals, clock=self._clock)

    def forecaster(self, forecaster: Forecaster) -> Forecaster:
        """Put a stopwatch on the forecasts."""
        if self._meters is None:
            return forecaster
        from daemon.telemetry.meters import MeteredForecaster

        best = "remote" if self._config.forecasts.remote.url else "local"
        return MeteredForecaster(forecaster, self._meters, best=best)

    def scorer(self, scorer: SentimentScorer) -> SentimentScorer:
        """Put a stopwatch on the sentiment."""
        if self._meters is None:
            return scorer
        from daemon.telemetry.meters import MeteredScorer

        return MeteredScorer(scorer, self._meters)

    @contextlib.contextmanager
    def timed_run(self, kind: str) -> Iterator[list[str]]:
        """Time one run of the schedule; the block appends how it ended."""
        ended: list[str] = []
        began = time.perf_counter()
        try:
            yield ended
        finally:
            if self._meters is not None:
                self._meters.run_seconds.labels(kind).observe(time.perf_counter() - began)
                self._meters.runs.labels(kind, ended[-1] if ended else "FAILED").inc()

    @contextlib.asynccontextmanager
    async def open(self, desk: Desk, reconciler: Reconciler) -> AsyncIterator[None]:
        """Run the services until the block ends; none of them can end the daemon.

        Raises:
            ConfigError: a port is taken, or a setting cannot be used.
        """
        if not self.is_needed:
            # Nothing beats here: what an earlier life wrote would say that this one is dead.
            Facts(desk.store).forget("heartbeat_at")
            yield
            return
        from daemon.telemetry.controls import Controls

        self._listen_to(desk.store, reconciler)
        controls = Controls(desk, self.hub)
        services: list[Service] = [self._heartbeat(desk).run]
        async with contextlib.AsyncExitStack() as stack:
            if self._config.http.enabled:
                await stack.enter_async_context(self._web(controls))
            if self._config.mqtt.enabled:
                bridge = self._mqtt(desk, controls)
                services.append(bridge.run)
                stack.push_async_callback(bridge.farewell)
            if self._config.alerts.urls:
                sender = self._alerts()
                services.append(sender.run)
                # What ended the daemon may be what waits to be told.
                stack.push_async_callback(sender.farewell)
            if self._config.alerts.heartbeat_url and not is_stepping():
                switch = self._dead_mans_switch()
                stack.push_async_callback(switch.aclose)
                services.append(switch.run)
            await stack.enter_async_context(self._in_background(services))
            try:
                yield
            except Exception as exc:
                # What refused the daemon must not cut off a kill that is under way.
                await controls.settled()
                self._tell_end(exc)
                raise
            await controls.settled()

    def _tell_end(self, exc: Exception) -> None:
        """A daemon that is not begun again can tell nobody later."""
        cause = first_cause(exc)
        why = str(cause) if isinstance(cause, OpenbellError) else repr(cause)
        self.hub.alert("daemon.failed", f"the daemon ends: {why}")

    @contextlib.asynccontextmanager
    async def _in_background(self, services: list[Service]) -> AsyncIterator[None]:
        running = [asyncio.create_task(self._surviving(service)) for service in services]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _surviving(self, service: Service) -> None:
        """Telling must never end trading, and who waits to be told hears that it broke off."""
        while True:
            try:
                await service()
            except Exception as exc:  # noqa: BLE001 - whatever it was, it is told and begun again
                cause = first_cause(exc) if isinstance(exc, BaseExceptionGroup) else exc
                name = getattr(service, "__qualname__", repr(service)).removesuffix(".run")
                self.hub.alert("telemetry.failed", f"{name}: {cause!r}; it is begun again")
            await self._clock.sleep(_BEGUN_AGAIN_AFTER_SECONDS * self._scale)

    def _listen_to(self, store: Store, reconciler: Reconciler) -> None:
        def committed(seconds: float) -> None:
            self.vitals.written()
            self.hub.changed()
            if self._meters is not None:
                self._meters.write_seconds.observe(seconds)
                self._note_reconcile(reconciler, self._meters)

        store.on_commit = committed

    def _note_reconcile(self, reconciler: Reconciler, meters: "Meters") -> None:
        report = reconciler.last
        if report is None or report is self._reconciled:
            return
        self._reconciled = report
        span = (report.finished_at - report.started_at).total_seconds()
        meters.reconcile_seconds.observe(max(0.0, span))
        meters.reconciles.labels("equal" if report.is_equal else "broken").inc()
        meters.breaks.clear()
        for found in report.breaks:
            meters.breaks.labels(found.kind.value).inc()

    def _heartbeat(self, desk: Desk) -> Heartbeat:
        return Heartbeat(
            desk,
            hub=self.hub,
            vitals=self.vitals,
            meters=self._meters,
            notifier=self._notifier,
            time_scale=self._scale,
        )

    def _mqtt(self, desk: Desk, controls: "Controls") -> "MqttBridge":
        from daemon.telemetry.mqtt import MqttBridge
        from daemon.telemetry.mqtt_client import MqttParts

        if self._meters is None:
            raise ConfigError("mqtt.enabled: needs the meters")
        credentials = Credentials.of(self._config)
        return MqttBridge(
            MqttParts(
                config=self._config,
                account=desk.store.account() or "",
                user=credentials.find(MQTT_USER),
                password=credentials.find(MQTT_PASSWORD),
                controls=controls,
                hub=self.hub,
                meters=self._meters,
                clock=self._clock,
                pace=_STEPPING_PACE if is_stepping() else self._scale,
                patience=_STEPPING_PATIENCE if is_stepping() else self._scale,
            )
        )

    def _alerts(self) -> "AlertSender":
        from daemon.telemetry.alerts import AlertSender

        return AlertSender(
            self._config.alerts.urls,
            hub=self.hub,
            clock=self._clock,
            time_scale=self._scale,
            meters=self._meters,
        )

    def _dead_mans_switch(self) -> "DeadMansSwitch":
        from daemon.telemetry.dead_man import DeadMansSwitch

        return DeadMansSwitch(
            self._config.alerts, vitals=self.vitals, clock=self._clock, time_scale=self._scale
        )

    @contextlib.asynccontextmanager
    async def _web(self, controls: "Controls") -> AsyncIterator[None]:
        from daemon.telemetry.collector import StateCollector, exposition
        from daemon.web.api import Parts, build_api
        from daemon.web.events import EventStreams
        from daemon.web.guard import Guard, Token
        from daemon.web.overview import Overview
        from daemon.web.server import listen, serving

        meters = self._meters
        if meters is None:
            return
        token = Token(Credentials.of(self._config).find(HTTP_TOKEN) or None)
        collector = StateCollector(
            self._config, clock=self._clock, vitals=self.vitals, meters=meters
        )
        meters.registry.register(collector)
        overview = Overview(
            self._config,
            clock=self._clock,
            calendar=NyseCalendar(),
            vitals=self.vitals,
            time_scale=self._scale,
            is_control=token.is_set,
        )
        parts = Parts(
            directory=state_directory(self._config),
            overview=overview,
            controls=controls,
            token=token,
            streams=EventStreams(
                self.hub,
                document=overview.document,
                clock=self._clock,
                pace_seconds=_STEPPING_PACE if is_stepping() else self._scale,
                meters=meters,
            ),
            metrics=lambda: exposition(meters, collector),
        )
        app = Guard(
            build_api(parts),
            port=self._config.http.port,
            counted=lambda status: meters.http_requests.labels(f"{status // 100}xx").inc(),
        )
        async with serving(app, listen(self._config.http)):
            structlog.get_logger("web").info(
                "dashboard.serving", url=f"http://127.0.0.1:{self._config.http.port}/"
            )
            yield
