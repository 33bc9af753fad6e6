"""The GPU half of the model server, on the CPU: the same code computes on both."""

import dataclasses
import functools
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from domain.errors import BadArgument, StateError
from forecasts import wire
from forecasts.card import Calibration, ModelCard
from forecasts.local_process import ModelProcess
from forecasts.model_store import SHIPPED, WEIGHTS_FILE, ModelStore, publish
from forecasts.training.config import TrainingConfig
from forecasts.training.devices import check_device
from forecasts.training.export import to_onnx
from forecasts.training.networks import MODELS, QuantileNetwork, build_network, joined
from forecasts.training.weights import network_of, weights_of
from modelserver.torch_worker import computing
from tests.support.model_server import contexts as model_contexts
from tests.support.model_server import decoded, message, post, serving

WINDOW, AHEAD = 24, 6


def config_of(model: str) -> TrainingConfig:
    return TrainingConfig(model=model, lookback=WINDOW, horizon=AHEAD, hidden=16)


def network_like(config: TrainingConfig) -> QuantileNetwork:
    torch.manual_seed(1)
    single = dataclasses.replace(config, model="lstm") if "ensemble" in config.model else config
    parts = []
    for _ in range(3 if "ensemble" in config.model else 1):
        part = build_network(
            single,
            mean=torch.zeros(20),
            deviation=torch.ones(20),
            base=torch.linspace(-2, 2, 11).repeat(AHEAD, 1),
        )
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        parts.append(part)
    return joined(parts).eval()


def contexts(rows: int = 5) -> np.ndarray:
    made = np.random.default_rng(1).normal(size=(rows, WINDOW, 20)).astype(np.float32)
    made[:, :, 8] = -4
    return made


@pytest.mark.parametrize("model", MODELS)
def test_a_network_comes_back_from_its_weights(model: str) -> None:
    config = config_of(model)
    network = network_like(config)

    weights = weights_of(network, config)
    found = computing(weights, "cpu")(contexts())

    assert weights == weights_of(network, config)
    with torch.inference_mode():
        expected = network(torch.from_numpy(contexts())).numpy()
    np.testing.assert_array_equal(found, expected)
    assert np.ptp(found[:, 0, 0]) > 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: weights[:-1],
        lambda weights: b"",
        lambda weights: b"\x80\x04N.",
        lambda weights: weights.replace(b"lookback", b"lookbakk"),
        lambda weights: weights.replace(b'\\"hidden\\": 16', b'\\"hidden\\": 17'),
    ],
)
def test_weights_that_are_none_are_refused(spoil: object) -> None:
    config = config_of("lstm")
    spoilt = spoil(weights_of(network_like(config), config))  # type: ignore[operator]

    with pytest.raises(StateError, match="the weights of a model cannot be used"):
        network_of(spoilt)


@functools.cache
def exported() -> tuple[bytes, bytes]:
    """Weights and ONNX file of one small network; the export takes seconds."""
    config = config_of("nhits")
    network = network_like(config)
    return weights_of(network, config), to_onnx(network, WINDOW)


def published(root: Path) -> ModelCard:
    weights, onnx = exported()
    card = dataclasses.replace(
        ModelStore().card("lstm"),
        name="nhits",
        lookback=WINDOW,
        horizon=AHEAD,
        calibration=Calibration(
            method="none",
            samples=0,
            table=((0.0,) * 11,) * AHEAD,
            stretch_of_80_band=(1.0,) * AHEAD,
        ),
        sha256=hashlib.sha256(onnx).hexdigest(),
    )
    directory = publish(root, card, onnx, weights=weights)
    (directory.parent / "current").write_text(f"{card.version}\n")
    return card


def test_weights_are_verified_before_they_are_used(tmp_path: Path) -> None:
    card = published(tmp_path)
    store = ModelStore([tmp_path])
    file = tmp_path / "nhits" / card.version / WEIGHTS_FILE

    assert store.weights("nhits", card.version) == file.read_bytes()
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(StateError, match="does not match SHA256SUMS"):
        store.weights("nhits", card.version)
    file.unlink()
    with pytest.raises(StateError, match=r"has no weights\.safetensors, which a GPU needs"):
        store.weights("nhits", card.version)


def test_the_shipped_weights_are_those_of_the_shipped_network() -> None:
    store = ModelStore()
    given = model_contexts(3)
    process = ModelProcess(store.load("lstm", "1").onnx)
    expected = process.run(given, 60)
    process.close()

    found = computing(store.weights("lstm", "1"), "cpu")(given)

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_device_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")

    with pytest.raises(BadArgument, match="torch finds no CUDA device here"):
        check_device("cuda")


async def test_a_server_on_another_device_serves_what_has_weights(tmp_path: Path) -> None:
    card = published(tmp_path)
    bare = tmp_path / "lstm" / "1"
    shutil.copytree(SHIPPED / "lstm", bare.parent)
    (bare / WEIGHTS_FILE).unlink(missing_ok=True)
    twin = ModelProcess(exported()[1])
    given = contexts(70)
    expected = twin.run(given, 60)
    twin.close()
    symbols = tuple(f"S{number}" for number in range(70))
    request = wire.Message(message_id="q", tensors={"context": given, "symbols": symbols})

    # To torch "cpu:0" is a device like "cuda:0".
    async with serving(ModelStore([tmp_path]), device="cpu:0") as (_, client):
        reply = await post(client, request, path="/v2/models/nhits/infer", binary=True)
        index = {line["name"]: line for line in (await client.post("/v2/repository/index")).json()}
        refused = await post(client, message(3))

    assert reply.status_code == 200
    found = decoded(reply)
    np.testing.assert_allclose(found.floats("quantiles", 3), expected, rtol=1e-4, atol=1e-6)
    assert found.parameters["model_hash"] == card.sha256
    assert index["nhits"]["state"] == "READY"
    # What cannot be computed there is named, and does not keep the others from being served.
    assert (index["lstm"]["state"], refused.status_code) == ("UNAVAILABLE", 503)
    assert "has no weights.safetensors" in index["lstm"]["reason"]
