"""What the server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from forecasts.card import ModelCard

CONTENT_TYPE = CONTENT_TYPE_LATEST
UNKNOWN = "unknown"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_ROWS = (1, 5, 10, 25, 50, 100, 200, 500, 1000)


class ServerMetrics:
    """Requests, rows, seconds and the line before the models."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "openbell_model_requests",
            "Inference requests by model, version and status of the answer.",
            ("model", "version", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "openbell_model_request_seconds",
            "Time from the head of an inference request to its answer.",
            ("model", "version"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.forward_seconds = Histogram(
            "openbell_model_forward_seconds",
            "Time of one pass through a model, with all requests that it took along.",
            ("model", "version"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.rows = Histogram(
            "openbell_model_batch_rows",
            "Symbols in one pass through a model.",
            ("model", "version"),
            buckets=_ROWS,
            registry=registry,
        )
        self.in_house = Gauge(
            "openbell_model_requests_in_house",
            "Inference requests being read, waiting or being computed.",
            registry=registry,
        )
        self.is_ready = Gauge(
            "openbell_model_server_ready", "1 while inference is served.", registry=registry
        )
        self._info = Gauge(
            "openbell_model_info",
            "The models hosted; always 1.",
            ("model", "version", "model_hash", "data_cutoff"),
            registry=registry,
        )

    def hosting(self, card: ModelCard) -> None:
        """Note that a model is hosted."""
        self._info.labels(card.name, card.version, card.sha256, card.data_cutoff.isoformat()).set(1)

    def observe_pass(self, card: ModelCard, rows: int, seconds: float) -> None:
        """Note one pass through a model."""
        self.forward_seconds.labels(card.name, card.version).observe(seconds)
        self.rows.labels(card.name, card.version).observe(rows)

    def render(self) -> bytes:
        """Return everything in Prometheus' text form."""
        return generate_latest(self._registry)
