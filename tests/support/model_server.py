"""A model server on loopback, and requests to it as any client would write them."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import httpx
import numpy as np

from domain.clock import SystemClock
from domain.secrets import Secret
from forecasts import wire
from forecasts.model_store import ModelStore
from forecasts.remote import RemoteForecaster
from modelserver.server import ModelServer
from modelserver.settings import ServerSettings
from transport.http import BoundedClient, Deadlines, HttpSettings

TOKEN = "made-up-token-of-a-good-length"
INFER = "/v2/models/lstm/infer"
CARD = ModelStore().card("lstm")


@contextlib.asynccontextmanager
async def serving(
    store: ModelStore | None = None, **changes: Any
) -> AsyncIterator[tuple[ModelServer, httpx.AsyncClient]]:
    """Serve on a free port; the client has the right token."""
    settings = ServerSettings(port=0, token=Secret(TOKEN), **changes)
    async with (
        ModelServer(store or ModelStore(), settings, clock=SystemClock()) as server,
        httpx.AsyncClient(
            base_url=server.url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=30,
        ) as client,
    ):
        yield server, client


@contextlib.asynccontextmanager
async def remote_forecaster(
    url: str, *, horizon: int = CARD.horizon, token: str = TOKEN, model: str = "lstm"
) -> AsyncIterator[RemoteForecaster]:
    """Open our own client."""
    deadlines = Deadlines(connect_seconds=5, read_seconds=30, total_seconds=30)
    client = BoundedClient(
        HttpSettings(base_url=url, deadlines=deadlines, body_cap_bytes=32 * 1024 * 1024),
        {"Authorization": Secret(f"Bearer {token}")},
    )
    forecaster = RemoteForecaster(client, model=model, card=CARD, horizon=horizon)
    yield forecaster
    await forecaster.aclose()


REPOSITORY = Path(__file__).parents[2]


def environment(**extra: str) -> dict[str, str]:
    """Return ours without any openbell setting."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OPENBELL")}
    kept.pop("CREDENTIALS_DIRECTORY", None)
    return {**kept, "PYTHONPATH": str(REPOSITORY), **extra}


@contextlib.contextmanager
def served_by_a_process(cwd: Path, *arguments: str, token: str = TOKEN) -> Iterator[dict[str, Any]]:
    """Run `openbell serve-models` and yield what it announces; it must end well."""
    with (
        (cwd / "serve-models.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", "daemon", "serve-models", "--json", "--port", "0", *arguments],
            cwd=cwd,
            env=environment(OPENBELL_FORECAST_TOKEN=token),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            text=True,
        ) as child,
    ):
        try:
            yield _document(child.stdout)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                status = child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
        if status != 0:
            raise AssertionError(f"serve-models ended with {status}")


def _document(stream: IO[str] | None) -> dict[str, Any]:
    lines: list[str] = []
    while stream is not None and (line := stream.readline()):
        lines.append(line)
        if line.rstrip() == "}":
            return dict(json.loads("".join(lines)))
    raise AssertionError(f"serve-models announced nothing: {lines}")


def contexts(rows: int, *, seed: int = 1) -> np.ndarray:
    """Return inputs that look like ours."""
    made = np.random.default_rng(seed).normal(0, 1, (rows, CARD.lookback, len(CARD.features)))
    made[:, :, 8] = -4 + 0.1 * made[:, :, 8]
    return made.astype(np.float32)


def names(rows: int) -> tuple[str, ...]:
    """Return as many symbols."""
    return tuple(f"S{row:04d}" for row in range(rows))


def message(rows: int = 3, **changes: Any) -> wire.Message:
    """Return a request that is right, after some changes."""
    symbols, given = names(rows), contexts(rows)
    right = wire.Message(
        message_id="q-17",
        tensors={wire.CONTEXT: given, wire.SYMBOLS: symbols},
        parameters={"input_hash": wire.input_hash(symbols, given), "data_cutoff": "2022-11-09"},
    )
    return dataclasses.replace(right, **changes)


async def post(
    client: httpx.AsyncClient, request: wire.Message, *, binary: bool = False, path: str = INFER
) -> httpx.Response:
    """Send a request."""
    encoded = wire.encode_request(request, binary=binary)
    return await client.post(path, content=encoded.body, headers=dict(encoded.headers))


def decoded(reply: httpx.Response) -> wire.Message:
    """Read an answer."""
    return wire.decode_response(reply.content, reply.headers.get(wire.HEADER_LENGTH))


def body_of(**tensors: Sequence[Any]) -> dict[str, Any]:
    """Return a request as a document, one (datatype, shape, data) for each tensor."""
    inputs = [
        {"name": name, "datatype": datatype, "shape": shape, "data": data}
        for name, (datatype, shape, data) in tensors.items()
    ]
    return {"inputs": inputs}
