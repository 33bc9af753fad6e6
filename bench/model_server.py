"""What the way to the model server costs: our client over loopback beside the bare forward pass.

The server is a process of its own with its defaults.  Ours is the exchange: the request
encoded, sent, computed, its answer read and checked.  The floor is the same forward pass
through a model's process here, without the protocol; both take turns, so that a busy machine
slows them alike.  What the client does besides, features and screening, has its own row.
Figures are medians.
"""

import asyncio
import contextlib
import datetime as dt
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.table import Row
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from domain.secrets import Secret
from forecasts import wire
from forecasts.local_process import ModelProcess
from forecasts.model_files import StoredModel
from forecasts.model_store import ModelStore
from forecasts.remote import RemoteForecaster
from forecasts.screening import Batch, Origin, batch_of, forecasts_of
from transport.http import BoundedClient, Deadlines, HttpSettings

COMMAND = "python -m bench model_server"
SYMBOLS = (100, 500)
TURNS = 9
CLIENTS = 4
SPAN_SECONDS = 6.0
DEADLINE_SECONDS = 120.0
AS_OF = dt.datetime(2022, 11, 10, 12, tzinfo=dt.UTC)
_BARS = 200
_MODEL = "lstm"
_LARGEST_BODY_BYTES = 64 * 1024 * 1024


def measure() -> list[Row]:
    """Time 100 and 500 symbols in both encodings, and requests a minute."""
    model = ModelStore().load(_MODEL)
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory)) as (url, token):
        return asyncio.run(_measured(model, url, token))


async def _measured(model: StoredModel, url: str, token: str) -> list[Row]:
    process = ModelProcess(model.onnx)
    rows: list[Row] = []
    for count in SYMBOLS:
        history = history_of(count)
        batch = known_batch(model, history)
        for binary in (True, False):
            rows.append(await _row(model, url, token, batch, process, binary=binary))
        rows += [_client_row(model, history, batch, process), _encoding_row(batch)]
    rows.append(await rate_row(model, url, token, known_batch(model, history_of(SYMBOLS[0]))))
    process.close()
    return rows


async def _row(
    model: StoredModel, url: str, token: str, batch: Batch, process: ModelProcess, *, binary: bool
) -> Row:
    ours: list[float] = []
    floor: list[float] = []
    remote = remote_of(model, url, token)
    # The server offers binary; the client would take it without being asked.
    remote._is_binary = binary
    for _ in range(TURNS + 1):
        start = time.perf_counter()
        await remote._ask(batch, AS_OF)
        ours.append(time.perf_counter() - start)
        floor.append(pass_seconds(process, batch.contexts))
    await remote.aclose()
    form = "binary" if binary else "JSON"
    count = len(batch.symbols)
    return Row(
        name=f"model server on CPU over loopback, {count} symbols, {form}",
        ours=statistics.median(ours[1:]) * 1000,
        unit="ms",
        floor=statistics.median(floor[1:]) * 1000,
        floor_name="bare forward pass",
        command=COMMAND,
        target="< 500 ms" if count == SYMBOLS[0] else "",
    )


def _client_row(
    model: StoredModel,
    history: Mapping[Symbol, tuple[Bar, ...]],
    batch: Batch,
    process: ModelProcess,
) -> Row:
    origin = Origin(
        source=ForecastSource.REMOTE,
        model=model.card.title,
        model_hash=model.card.sha256,
        levels=model.card.levels,
        horizon=model.card.horizon,
    )
    quantiles = process.run(batch.contexts, DEADLINE_SECONDS)
    ours: list[float] = []
    floor: list[float] = []
    for _ in range(TURNS):
        start = time.perf_counter()
        batch_of(history, AS_OF, model.card.lookback)
        forecasts_of(batch, quantiles, origin, AS_OF)
        ours.append(time.perf_counter() - start)
        floor.append(pass_seconds(process, batch.contexts))
    return Row(
        name=f"the client's own work, {len(batch.symbols)} symbols: features and screening",
        ours=statistics.median(ours) * 1000,
        unit="ms",
        floor=statistics.median(floor) * 1000,
        floor_name="bare forward pass",
        command=COMMAND,
    )


def _encoding_row(batch: Batch) -> Row:
    message = wire.Message(
        message_id="q", tensors={wire.CONTEXT: batch.contexts, wire.SYMBOLS: batch.symbols}
    )
    seconds: dict[bool, float] = {}
    for binary in (True, False):
        times = []
        for _ in range(TURNS):
            start = time.perf_counter()
            encoded = wire.encode_request(message, binary=binary)
            wire.decode_request(encoded.body, encoded.headers.get(wire.HEADER_LENGTH))
            times.append(time.perf_counter() - start)
        seconds[binary] = statistics.median(times)
    return Row(
        name=f"request of {len(batch.symbols)} symbols, encoded and decoded, binary",
        ours=seconds[True] * 1000,
        unit="ms",
        floor=seconds[False] * 1000,
        floor_name="JSON",
        command=COMMAND,
    )


async def rate_row(
    model: StoredModel, url: str, token: str, batch: Batch, command: str = COMMAND
) -> Row:
    """Count the requests that are answered in a while."""
    count = 0
    until = time.perf_counter() + SPAN_SECONDS

    async def client() -> None:
        nonlocal count
        remote = remote_of(model, url, token)
        while time.perf_counter() < until:
            await remote._ask(batch, AS_OF)
            count += 1
        await remote.aclose()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return Row(
        name=f"requests a minute, {CLIENTS} at once, {len(batch.symbols)} symbols each: "
        f"{model.card.name} {model.card.lookback} -> {model.card.horizon}",
        ours=count * 60 / (time.perf_counter() - start),
        unit="",
        command=command,
    )


def known_batch(model: StoredModel, history: Mapping[Symbol, tuple[Bar, ...]]) -> Batch:
    """Return the inputs of a model for made-up bars."""
    batch = batch_of(history, AS_OF, model.card.lookback)
    if batch is None:
        raise ValueError("the made-up bars cannot be forecast")
    return batch


def pass_seconds(process: ModelProcess, contexts: NDArray[np.float32]) -> float:
    """Return how long a bare forward pass takes."""
    start = time.perf_counter()
    process.run(contexts, DEADLINE_SECONDS)
    return time.perf_counter() - start


def remote_of(model: StoredModel, url: str, token: str) -> RemoteForecaster:
    """Return our client of a model."""
    deadlines = Deadlines(connect_seconds=5, read_seconds=60, total_seconds=60)
    settings = HttpSettings(base_url=url, deadlines=deadlines, body_cap_bytes=_LARGEST_BODY_BYTES)
    client = BoundedClient(settings, {"Authorization": Secret(f"Bearer {token}")})
    card = model.card
    return RemoteForecaster(client, model=card.name, card=card, horizon=card.horizon)


@contextlib.contextmanager
def serving(directory: Path, device: str = "cpu") -> Iterator[tuple[str, str]]:
    """Serve what is in ``directory`` and what ships; yields the address and the token."""
    token = secrets.token_hex(16)
    root = str(Path(__file__).resolve().parent.parent)
    environ = {**os.environ, "OPENBELL_FORECAST_TOKEN": token, "PYTHONPATH": root}
    with subprocess.Popen(
        [sys.executable, "-m", "daemon", "serve-models", "--port", "0", "--device", device],
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        try:
            announced = child.stdout.readline() if child.stdout else ""
            if " on http" not in announced:
                raise OSError("the model server did not start")
            yield announced.split()[-1], token
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(30)


def history_of(count: int, bars: int = _BARS) -> dict[Symbol, tuple[Bar, ...]]:
    """Return made-up bars of so many symbols."""
    generator = np.random.default_rng(1)
    days = [AS_OF.replace(hour=5) - dt.timedelta(days=bars - day) for day in range(bars)]
    found: dict[Symbol, tuple[Bar, ...]] = {}
    for number in range(count):
        symbol = Symbol("".join(chr(65 + number // 26**place % 26) for place in (2, 1, 0)))
        closes = 100 * np.exp(np.cumsum(generator.normal(0, 0.02, bars)))
        found[symbol] = tuple(
            Bar(
                symbol=symbol,
                at=day,
                open=float(close),
                high=float(close) * 1.01,
                low=float(close) * 0.99,
                close=float(close),
                volume=1e6,
            )
            for day, close in zip(days, closes, strict=True)
        )
    return found
