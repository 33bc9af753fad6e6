"""The models hosted: every version in the registry, each verified before its first use."""

import asyncio
import contextlib
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import structlog

from domain.errors import ConfigError, StateError
from forecasts.card import ModelCard
from forecasts.local_process import ModelProcess
from forecasts.model_files import StoredModel
from forecasts.model_store import ModelStore
from modelserver.agreement import check_agreement
from modelserver.lane import Engine, Lane
from modelserver.metrics import ServerMetrics
from modelserver.refusals import NOT_FOUND, InferenceRefused, unavailable
from modelserver.settings import CPU, ServerSettings

# Its own process only, for it imports torch.
TORCH_WORKER = "modelserver.torch_worker"
# What CUDA needs to find its device and its libraries.
TORCH_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HOME", "LD_LIBRARY_PATH", "NVIDIA_VISIBLE_DEVICES")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostedModel:
    """A verified model and the way to it."""

    card: ModelCard
    lane: Lane
    engines: tuple[Engine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One line of the repository index."""

    name: str
    version: str
    is_ready: bool
    reason: str


class Catalog:
    """Finds the model that a request means.

    The version in use is read at each request, so a promotion takes effect at once; a
    version that was published after the start is loaded when it is first asked for.
    """

    def __init__(
        self,
        store: ModelStore,
        settings: ServerSettings,
        *,
        metrics: ServerMetrics,
        pool: Executor,
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._pool = pool
        self._workers: list[asyncio.Task[None]] = []
        self._hosted: dict[tuple[str, str], HostedModel] = {}
        self._damaged: dict[tuple[str, str], str] = {}
        self._lock = asyncio.Lock()
        self._log = structlog.get_logger("models")

    @property
    def hosted(self) -> Mapping[tuple[str, str], HostedModel]:
        """Everything loaded, by name and version."""
        return self._hosted

    @property
    def waiting(self) -> int:
        """Number of requests in line, before all models."""
        return sum(model.lane.waiting for model in self._hosted.values())

    async def load_all(self) -> None:
        """Verify every version and warm those in use.

        Raises:
            ConfigError: there is no usable model at all.
        """
        for name in self._store.names():
            for version in self._store.versions(name):
                with contextlib.suppress(InferenceRefused):
                    await self.find(name, version)
            with contextlib.suppress(InferenceRefused):
                await _warm(await self.find(name, None))
        if not self._hosted:
            raise ConfigError("there is no usable model to serve; run `openbell train`")

    async def find(
        self, name: str, version: str | None, *, model_hash: str | None = None
    ) -> HostedModel:
        """Return the model asked for: of a version, of a hash, or the one in use.

        Raises:
            InferenceRefused: there is none, or it is damaged.
        """
        try:
            if version is None and model_hash is not None:
                return await self._of_hash(name, model_hash)
            return await self._load(name, version or self._store.current(name))
        except ConfigError as exc:
            raise InferenceRefused(NOT_FOUND, str(exc)) from exc
        except StateError as exc:
            raise unavailable(str(exc), retry_after_seconds=60) from exc

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions of a model that can be asked for.

        Raises:
            InferenceRefused: no such model.
        """
        try:
            found = self._store.versions(name)
        except ConfigError as exc:
            raise InferenceRefused(NOT_FOUND, str(exc)) from exc
        return tuple(version for version in found if (name, version) not in self._damaged)

    def index(self) -> tuple[Listing, ...]:
        """List every version in the registry with its state."""
        listings = []
        for name in self._store.names():
            for version in self._store.versions(name):
                key = name, version
                reason = self._damaged.get(key, "")
                listings.append(
                    Listing(name=name, version=version, is_ready=not reason, reason=reason)
                )
        return tuple(listings)

    async def _of_hash(self, name: str, model_hash: str) -> HostedModel:
        # Tried first: nearly always it is the one in use.
        current = self._store.current(name)
        others = [version for version in self._store.versions(name)[::-1] if version != current]
        for version in (current, *others):
            with contextlib.suppress(StateError):
                model = await self._load(name, version)
                if model.card.sha256 == model_hash:
                    return model
        raise InferenceRefused(
            NOT_FOUND, f"no version of model {name} here has the hash {model_hash[:64]}"
        )

    async def _load(self, name: str, version: str) -> HostedModel:
        key = name, version
        if key in self._hosted:
            return self._hosted[key]
        async with self._lock:
            if key not in self._hosted:
                try:
                    stored = await asyncio.to_thread(self._store.load, name, version)
                    engines = await asyncio.to_thread(self._engines, stored)
                except StateError as exc:
                    self._damaged[key] = str(exc)
                    self._log.error("model.damaged", model=f"{name}/{version}", reason=str(exc))
                    raise
                self._damaged.pop(key, None)
                self._hosted[key] = self._host(stored, engines)
        return self._hosted[key]

    def _engines(self, stored: StoredModel) -> tuple[Engine, ...]:
        settings, card = self._settings, stored.card
        if settings.device == CPU:
            return tuple(ModelProcess(stored.onnx) for _ in range(settings.workers))
        weights = self._store.weights(card.name, card.version)
        worker = TORCH_WORKER, settings.device
        checked, *engines = (
            ModelProcess(weights, worker=worker, variables=TORCH_VARIABLES)
            for _ in range(1 + settings.workers)
        )
        try:
            check_agreement(stored, checked, settings.answer_seconds)
        finally:
            # All are checked at the start; a version that nobody asks for holds no device memory.
            checked.close()
        return tuple(engines)

    def _host(self, stored: StoredModel, engines: tuple[Engine, ...]) -> HostedModel:
        card, settings = stored.card, self._settings
        lane = Lane(
            batch_rows=settings.batch_rows,
            deadline_seconds=settings.answer_seconds,
            pool=self._pool,
            observe=partial(self._metrics.observe_pass, card),
        )
        self._metrics.hosting(card)
        self._log.info("model.hosted", model=card.title, model_hash=card.sha256)
        model = HostedModel(card=card, lane=lane, engines=engines)
        self._workers += [
            asyncio.create_task(lane.work(engine), name=f"model-{card.title}") for engine in engines
        ]
        return model

    async def aclose(self) -> None:
        """End every worker and every model's process."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for model in self._hosted.values():
            for engine in model.engines:
                await asyncio.to_thread(engine.close)


async def _warm(model: HostedModel) -> None:
    card = model.card
    await model.lane.ask(np.zeros((1, card.lookback, len(card.features)), dtype=np.float32))
