"""Our client against a server as strict as Triton, written from the protocol and not from our code.

It takes requests apart by hand, as Triton does, and refuses what Triton refuses; its
answers are laid out as Triton lays them out.
"""

import dataclasses
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from tests.support.forecast_scene import AS_OF, history_of
from tests.support.model_server import CARD, INFER, remote_forecaster
from tests.support.scripted_server import Exchange, ScriptedServer, answer, raw_reply

SIX = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
# What the server tells about itself, as a real one does.
SERVER = {
    "name": "triton",
    "version": "2.60.0",
    "extensions": [
        "classification",
        "sequence",
        "model_repository",
        "model_repository(unload_dependents)",
        "schedule_policy",
        "model_configuration",
        "system_shared_memory",
        "cuda_shared_memory",
        "binary_tensor_data",
        "parameters",
        "statistics",
        "trace",
        "logging",
    ],
}


class Refused(Exception):
    """A 400 with Triton's words."""


def parsed(body: bytes, headers: dict[str, str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Take a binary request apart; anything left over or missing is refused."""
    length = int(headers["inference-header-content-length"])
    document = json.loads(body[:length])
    if unknown := set(document) - {"id", "parameters", "inputs", "outputs"}:
        raise Refused(f"unexpected fields {unknown}")
    for name, value in document.get("parameters", {}).items():
        if not isinstance(value, str | int | bool) or name.startswith("triton_"):
            raise Refused(f"parameter '{name}' has invalid type or a reserved name")
    place, tails = length, {}
    for tensor in document["inputs"]:
        if set(tensor) != {"name", "shape", "datatype", "parameters"}:
            raise Refused(f"unexpected fields in input {tensor.get('name')}")
        size = tensor["parameters"]["binary_data_size"]
        tails[tensor["name"]] = body[place : place + size]
        place += size
    if place != len(body):
        raise Refused("unexpected additional input data")
    return document, tails


def texts(raw: bytes) -> list[str]:
    found = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        found.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return found


def respond(document: dict[str, Any], tails: dict[str, bytes]) -> tuple[bytes, dict[str, str]]:
    shapes = {one["name"]: (one["datatype"], one["shape"]) for one in document["inputs"]}
    rows = len(texts(tails["symbols"]))
    if shapes != {"context": ("FP32", [rows, 60, 20]), "symbols": ("BYTES", [rows])}:
        raise Refused(f"[request id: {document['id']}] unexpected shape for input 'context'")
    context = np.frombuffer(tails["context"], dtype="<f4").reshape(rows, 60, 20)
    unit = np.exp(context[:, -1, 8])[:, None, None]
    steps = np.sqrt(np.arange(1, 41))[None, :, None]
    # A model that gave every symbol the same number of volatilities would pass for dead.
    told = np.linspace(-1.5, 1.7, 11) + 0.1 * np.arange(rows)[:, None, None]
    quantiles = (unit * steps * told).astype("<f4").tobytes()
    sizes = {"quantiles": len(quantiles), "symbols": len(tails["symbols"])}
    outputs = [
        {"name": "quantiles", "datatype": "FP32", "shape": [rows, 40, 11]},
        {"name": "symbols", "datatype": "BYTES", "shape": [rows]},
    ]
    asked = document["parameters"]
    assert asked["binary_data_output"] is True
    head = {
        "id": document["id"],
        "model_name": "lstm",
        "model_version": "1",
        "parameters": {name: asked[name] for name in ("model_hash", "data_cutoff", "input_hash")},
        "outputs": [
            one | {"parameters": {"binary_data_size": sizes[str(one["name"])]}} for one in outputs
        ],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(text)),
    }
    return text + quantiles + tails["symbols"], headers


async def infer(exchange: Exchange) -> None:
    try:
        body, headers = respond(*parsed(exchange.request.body, dict(exchange.request.headers)))
    except (Refused, KeyError) as exc:
        await answer(400, {"error": str(exc)})(exchange)
        return
    await exchange.send(raw_reply(200, body, headers))


@pytest.fixture
async def triton() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        server.on("GET", "/v2", answer(200, SERVER))
        server.on("POST", INFER, infer)
        yield server


async def test_a_server_as_strict_as_triton_takes_our_requests(triton: ScriptedServer) -> None:
    async with remote_forecaster(triton.url) as remote:
        found = await remote.forecast(history_of(*SIX), AS_OF)

    assert sorted(found) == list(SIX)
    one = found[Symbol("NVDA")]
    assert one.model_hash == CARD.sha256
    # Evenly spaced as they were made: no row and no byte was shifted on the way.
    np.testing.assert_allclose(np.diff(one.quantiles), np.diff(one.quantiles).mean(), atol=2e-6)
    request = triton.seen[-1]
    assert int(request.headers["content-length"]) == len(request.body)
    assert request.headers["content-type"] == "application/octet-stream"


async def test_what_triton_refuses_is_told_in_its_words(triton: ScriptedServer) -> None:
    async with remote_forecaster(triton.url) as remote:
        remote._card = dataclasses.replace(CARD, lookback=40)
        with pytest.raises(ProviderUnavailable, match=r"400: .*unexpected shape for input"):
            await remote.forecast(history_of(*SIX), AS_OF)


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (400, "Request for unknown model: 'lstm' is not found", "400: Request for unknown model"),
        (503, "Exceeds maximum queue size", "busy or not ready"),
        (500, "onnx runtime error 2: not enough memory", "500: onnx runtime error 2"),
    ],
)
async def test_failures_of_triton_are_no_forecasts(
    triton: ScriptedServer, status: int, error: str, told: str
) -> None:
    triton.on("POST", INFER, answer(status, {"error": error}))

    async with remote_forecaster(triton.url) as remote:
        with pytest.raises(ProviderUnavailable, match=told):
            await remote.forecast(history_of(*SIX), AS_OF)
