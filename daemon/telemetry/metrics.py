"""The instruments that the running daemon plays: counters, histograms, live gauges.

What the database knows anyway is read at the scrape (see ``collector``).  Every label has
a bounded set of values.
"""

from collections.abc import Iterable
from importlib import metadata
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from daemon.schedule import RunKind
from daemon.telemetry.hub import Notice
from state.runs import RunState

_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_MODEL_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WRITE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_FILL_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 23400)
_RUN_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_BPS_BUCKETS = (-100, -50, -25, -10, -5, -2, 0, 2, 5, 10, 25, 50, 100)
_ENDED = [state.value for state in RunState if state is not RunState.RUNNING]
# A kind comes from our own code; the cap holds even if that should change.
_MOST_KINDS = 64


class Meters:
    """Every instrument; one set per daemon, each set in a registry of its own."""

    def __init__(self, *, mode: str) -> None:
        # A second series per counter, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(namespace="openbell", registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._kinds: set[str] = set()
        Info("openbell_build", "Version and mode.", registry=self.registry).info(
            {"version": metadata.version("openbell"), "mode": mode}
        )
        self._broker()
        self._engines()
        self._books()
        self._machine()
        self._wires()

    def _broker(self) -> None:
        self.request_seconds = self._histogram(
            "broker_request_duration_seconds",
            "Requests to the broker, by operation.",
            _CALL_BUCKETS,
            "operation",
        )
        self.request_errors = self._counter(
            "broker_request_errors", "Failed requests to the broker.", "operation", "error"
        )
        self.requests_running = self._gauge(
            "broker_requests_in_flight", "Requests to the broker under way."
        )
        self.order_ack = self._histogram(
            "order_ack_latency_seconds", "From sending an order to its answer.", _CALL_BUCKETS
        )
        self.order_fill = self._histogram(
            "order_fill_latency_seconds", "From sending an order to an execution.", _FILL_BUCKETS
        )
        self.slippage = self._histogram(
            "slippage_bps",
            "Execution price against the decision's, 1/10,000; above 0 costs money.",
            _BPS_BUCKETS,
        )
        self.stream_connected = self._gauge(
            "stream_connected", "1 while the trade stream is subscribed."
        )
        self.stream_gaps = self._counter("stream_gaps", "Times the trade stream was lost.")
        self.stream_events = self._counter("stream_events", "Trade updates received.")
        self.stream_event_at = self._gauge(
            "stream_last_event_timestamp_seconds", "When the last trade update came."
        )

    def _engines(self) -> None:
        self.forecast_seconds = self._histogram(
            "forecast_latency_seconds", "Forecasts of a run, by source.", _MODEL_BUCKETS, "source"
        )
        self.forecast_errors = self._counter("forecast_errors", "Runs without any forecast.")
        self.forecast_fallbacks = self._counter(
            "forecast_fallbacks", "Runs whose forecasts came from a lesser source."
        )
        self.sentiment_seconds = self._histogram(
            "sentiment_latency_seconds", "Scoring the headlines of a run.", _MODEL_BUCKETS
        )
        self.sentiment_errors = self._counter("sentiment_errors", "Failed scorings.")
        self.headlines = self._counter("headlines", "Headlines scored.")

    def _books(self) -> None:
        self.reconcile_seconds = self._histogram(
            "reconcile_duration_seconds", "Comparisons with the broker.", _CALL_BUCKETS
        )
        self.reconciles = self._counter(
            "reconciles",
            "Comparisons with the broker, by outcome.",
            "outcome",
            known=(("equal",), ("broken",)),
        )
        self.breaks = self._gauge(
            "reconcile_breaks", "Breaks that the last comparison found, by kind.", "kind"
        )
        self.run_seconds = self._histogram(
            "run_duration_seconds", "Runs of the schedule, by phase.", _RUN_BUCKETS, "kind"
        )
        self.runs = self._counter(
            "runs",
            "Runs of the schedule, by phase and outcome.",
            "kind",
            "state",
            known=product((kind.value for kind in RunKind), _ENDED),
        )
        self.notices = self._counter("notices", "Incidents and alerts, by kind.", "kind")

    def _machine(self) -> None:
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop came round.", _LAG_BUCKETS
        )
        self.write_seconds = self._histogram(
            "database_write_duration_seconds", "Transactions, fsync included.", _WRITE_BUCKETS
        )
        self.beat_at = self._gauge(
            "heartbeat_timestamp_seconds", "When the daemon last proved that it lives."
        )
        self.started_at = self._gauge("start_timestamp_seconds", "When the daemon started.")
        self.clock_speed = self._gauge(
            "clock_speed_ratio", "Simulated seconds in a real one; 1 on the system clock."
        )
        self.error_ratio = self._gauge(
            "error_ratio", "Share of operations that failed within the window, 0-1."
        )
        self.self_checks = self._counter(
            "self_checks", "Looks at itself after too many errors, by outcome.", "outcome"
        )
        self.ready = self._gauge("ready", "1 when reconciled and able to trade.")
        self.healthy = self._gauge("healthy", "1 when loop, database and watch are alive.")

    def _wires(self) -> None:
        self.http_requests = self._counter(
            "http_requests", "Requests to the dashboard, by status class.", "status"
        )
        self.event_clients = self._gauge("http_event_clients", "Open event streams.")
        self.mqtt_connected = self._gauge("mqtt_connected", "1 while connected to the MQTT broker.")
        self.mqtt_sent = self._counter("mqtt_messages_sent", "MQTT messages published.")
        self.mqtt_dropped = self._counter(
            "mqtt_messages_dropped", "MQTT messages that a newer one replaced unsent."
        )
        self.mqtt_commands = self._counter(
            "mqtt_commands",
            "MQTT commands, by what became of them.",
            "outcome",
            known=(("obeyed",), ("refused",)),
        )
        self.notifications = self._counter(
            "notifications",
            "Alerts to people, by outcome.",
            "outcome",
            known=(("sent",), ("failed",), ("held_back",), ("dropped",)),
        )

    def hear(self, notice: Notice) -> None:
        """Count a notice."""
        kind = notice.kind
        if kind not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            kind = "other"
        self._kinds.add(kind)
        self.notices.labels(kind).inc()
        if kind == "stream.lost":
            self.stream_gaps.inc()

    def _counter(
        self, name: str, text: str, *labels: str, known: Iterable[tuple[str, ...]] = ()
    ) -> Counter:
        counter = Counter(f"openbell_{name}", text, labels, registry=self.registry)
        for values in known:
            # There at 0 from the start: in a series that begins with 1 Prometheus sees no
            # increase, and the first failure would alert nobody.
            counter.labels(*values)
        return counter

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"openbell_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"openbell_{name}", text, labels, buckets=buckets, registry=self.registry)
