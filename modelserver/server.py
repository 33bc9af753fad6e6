"""The server: opens the models, listens, and goes down without dropping who is inside."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import structlog
import uvicorn

from domain.clock import Clock, SystemClock
from domain.errors import ConfigError
from forecasts.model_store import ModelStore
from modelserver.admission import Admission
from modelserver.catalog import Catalog
from modelserver.endpoints import Endpoints
from modelserver.metrics import ServerMetrics
from modelserver.settings import ServerSettings
from transport.serving import listen, start_serving

_KEEP_ALIVE_SECONDS = 75
_MOST_CONNECTIONS = 256
_MOST_THREADS = 64


class ModelServer:
    """``async with ModelServer(...) as server``: serves until the block ends."""

    def __init__(
        self, store: ModelStore, settings: ServerSettings, *, clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self._metrics = ServerMetrics()
        # Threads that wait for the models' processes; as many as there are of those.
        self._pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="model")
        self._admission = Admission(capacity=settings.queue_size, metrics=self._metrics)
        self._catalog = Catalog(store, settings, metrics=self._metrics, pool=self._pool)
        self._endpoints = Endpoints(
            self._catalog,
            settings,
            admission=self._admission,
            metrics=self._metrics,
            clock=SystemClock() if clock is None else clock,
        )
        self._uvicorn: uvicorn.Server | None = None
        self._port = settings.port
        self._log = structlog.get_logger("server")

    @property
    def port(self) -> int:
        """TCP port, chosen by the system when 0 was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """What ``forecasts.remote.url`` must say."""
        host = self._settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def catalog(self) -> Catalog:
        """The models hosted."""
        return self._catalog

    async def __aenter__(self) -> Self:
        """Load the models, then listen: whoever connects can be answered.

        Raises:
            ConfigError: the port is taken, or there is no usable model.
        """
        listener = _listen(self._settings)
        try:
            await self._catalog.load_all()
            self._port = listener.getsockname()[1]
            await self._serve(listener)
        except BaseException:
            listener.close()
            await self._close_models()
            raise
        self._metrics.is_ready.set(1)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take nobody in, finish what is inside, close."""
        self._metrics.is_ready.set(0)
        if not await self._admission.drain(self._settings.drain_seconds):
            self._log.warning("server.cut_off", seconds=self._settings.drain_seconds)
        if self._uvicorn is not None:
            await self._uvicorn.shutdown()
        await self._close_models()

    async def _serve(self, listener: socket.socket) -> None:
        self._uvicorn = await start_serving(
            self._endpoints.application(),
            listener,
            keep_alive_seconds=_KEEP_ALIVE_SECONDS,
            ws="none",
            limit_concurrency=_MOST_CONNECTIONS,
        )

    async def _close_models(self) -> None:
        await self._catalog.aclose()
        self._pool.shutdown(wait=False, cancel_futures=True)


async def serve(server: ModelServer, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set, then drain."""
    async with server:
        await stop.wait()


def _listen(settings: ServerSettings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as exc:
        raise ConfigError(
            f"serve-models: {settings.host} port {settings.port} cannot be opened "
            f"({exc.strerror}); choose another with --port"
        ) from exc
