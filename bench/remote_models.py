"""The models that the remote half is sized for, from bars to forecasts: NHITS, TFT, ensemble.

NHITS sees 168 steps and forecasts 24, the transformer sees 720 and forecasts 24, the ensemble
is three LSTMs.  Their weights are random, which costs the same time as trained ones.  Ours is the
whole way: features of every symbol, the request over loopback, the answer read, checked and made
into forecasts.  The floor is the bare forward pass in the same run: on the CPU by ONNX Runtime in
a process like the server's, on a GPU the same network captured as a CUDA graph.  Without a CUDA
device the rows of the GPU are left out, and that is said.
"""

import asyncio
import dataclasses
import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.model_server import (
    AS_OF,
    history_of,
    known_batch,
    pass_seconds,
    rate_row,
    remote_of,
    serving,
)
from bench.table import Row
from domain.ids import Symbol
from domain.market import Bar
from forecasts.card import Calibration
from forecasts.features import FeatureSet
from forecasts.local_process import ModelProcess
from forecasts.model_files import StoredModel, publish
from forecasts.model_store import ModelStore
from forecasts.screening import bars_needed
from forecasts.training.config import ENSEMBLE, TrainingConfig
from forecasts.training.export import to_onnx
from forecasts.training.networks import QuantileNetwork, build_network, joined
from forecasts.training.weights import weights_of

COMMAND = "python -m bench remote_models"
TURNS = 7
CPU, CUDA = "cpu", "cuda"
SYMBOLS = {CPU: (100,), CUDA: (100, 500)}
_GRAPH_TURNS = 20

History = Mapping[Symbol, tuple[Bar, ...]]
Floor = Callable[[NDArray[np.float32]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One model, and the figure that it must stay below for 100 symbols."""

    config: TrainingConfig
    target_ms: int

    @property
    def title(self) -> str:
        """Name and window."""
        return f"{self.config.model} {self.config.lookback} -> {self.config.horizon}"


SPECS = (
    Spec(config=TrainingConfig(model="nhits", lookback=168, horizon=24), target_ms=200),
    Spec(config=TrainingConfig(model="tft", lookback=720, horizon=24), target_ms=500),
    Spec(config=TrainingConfig(model=ENSEMBLE), target_ms=500),
)


def measure() -> list[Row]:
    """Time each model on the CPU and, where there is one, on a GPU."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        networks = {spec.title: network_of(spec) for spec in SPECS}
        models = [_published(spec, networks[spec.title], Path(directory)) for spec in SPECS]
        with serving(Path(directory)) as (url, token):
            rows += asyncio.run(_on_cpu(models, url, token))
        if not torch.cuda.is_available():
            print("bench: no CUDA device here; the rows of the GPU are left out", file=sys.stderr)
            return rows
        with serving(Path(directory), CUDA) as (url, token):
            for spec, model in zip(SPECS, models, strict=True):
                graphs = _graphs(networks[spec.title])
                rows += asyncio.run(_rows(spec, model, (url, token), graphs, CUDA))
    return rows


def network_of(spec: Spec) -> QuantileNetwork:
    """Build the network of a spec with random weights."""
    config = spec.config
    torch.manual_seed(config.seed)
    is_ensemble = config.model == ENSEMBLE
    single = dataclasses.replace(config, model="lstm") if is_ensemble else config
    features = len(config.features.names)
    base = torch.linspace(-1.6, 1.6, len(config.levels)).repeat(config.horizon, 1)
    parts = [
        build_network(
            single, mean=torch.zeros(features), deviation=torch.ones(features), base=base.clone()
        )
        for _ in range(config.members if is_ensemble else 1)
    ]
    return joined(parts).eval()


def _published(spec: Spec, network: QuantileNetwork, directory: Path) -> StoredModel:
    root, config = directory / "var" / "models", spec.config
    onnx = to_onnx(network, config.lookback)
    card = dataclasses.replace(
        ModelStore().card("lstm"),
        name=config.model,
        version="1",
        features=FeatureSet.BARS.names,
        lookback=config.lookback,
        horizon=config.horizon,
        calibration=Calibration(
            method="none: random weights",
            samples=0,
            table=tuple(tuple(row) for row in network.base.tolist()),
            stretch_of_80_band=(1.0,) * config.horizon,
        ),
        parameters=network.parameter_count,
        sha256=hashlib.sha256(onnx).hexdigest(),
    )
    publish(root, card, onnx, weights=weights_of(network, config))
    store = ModelStore([root])
    store.promote(card.name, card.version)
    return store.load(card.name)


async def _on_cpu(models: list[StoredModel], url: str, token: str) -> list[Row]:
    rows: list[Row] = []
    for spec, model in zip(SPECS, models, strict=True):
        process = ModelProcess(model.onnx)
        floor = _forward(process)
        rows += await _rows(spec, model, (url, token), floor, CPU)
        process.close()
        history = _history(model, SYMBOLS[CPU][0])
        rows.append(await rate_row(model, url, token, known_batch(model, history), COMMAND))
    return rows


async def _rows(
    spec: Spec, model: StoredModel, server: tuple[str, str], floor: Floor, device: str
) -> list[Row]:
    return [await _row(spec, model, server, floor, device, count) for count in SYMBOLS[device]]


async def _row(
    spec: Spec,
    model: StoredModel,
    server: tuple[str, str],
    floor: Floor,
    device: str,
    count: int,
) -> Row:
    history = _history(model, count)
    contexts = known_batch(model, history).contexts
    remote = remote_of(model, *server)
    ours: list[float] = []
    bare: list[float] = []
    # The first turn loads what is loaded once; it does not count.
    for _ in range(TURNS + 1):
        start = time.perf_counter()
        found = await remote.forecast(history, AS_OF)
        ours.append(time.perf_counter() - start)
        bare.append(floor(contexts))
        if len(found) != count:
            raise ValueError(f"{spec.title}: {len(found)} of {count} symbols were answered")
    await remote.aclose()
    return Row(
        name=f"{spec.title} on {device}, {count} symbols, bars to forecasts over loopback",
        ours=statistics.median(ours[1:]) * 1000,
        unit="ms",
        floor=statistics.median(bare[1:]) * 1000,
        floor_name="CUDA graph" if device == CUDA else "bare forward pass",
        command=COMMAND,
        target=f"< {spec.target_ms} ms" if count == SYMBOLS[CPU][0] else "",
    )


def _history(model: StoredModel, count: int) -> History:
    return history_of(count, bars_needed(model.card.lookback))


def _forward(process: ModelProcess) -> Floor:
    return lambda contexts: pass_seconds(process, contexts)


def _graphs(network: QuantileNetwork) -> Floor:
    moved = network.to(CUDA)
    replays: dict[int, Callable[[], None]] = {}

    def floor(contexts: NDArray[np.float32]) -> float:
        count = contexts.shape[0]
        if count not in replays:
            replays[count] = _captured(moved, torch.from_numpy(contexts).to(CUDA))
        return min(_replayed(replays[count]))

    return floor


def _captured(network: QuantileNetwork, context: torch.Tensor) -> Callable[[], None]:
    # A capture wants its libraries warm, on a stream of their own.
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode():
        with torch.cuda.stream(side):
            for _ in range(3):
                network(context)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            network(context)

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return replay


def _replayed(replay: Callable[[], None]) -> Iterator[float]:
    for _ in range(_GRAPH_TURNS):
        start = time.perf_counter()
        replay()
        yield time.perf_counter() - start
