"""The GPU half of the model server, on the CPU: the same code computes on both."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from domain.errors import BadArgument, StateError
from forecasts.local_process import ModelProcess
from forecasts.model_files import WEIGHTS_FILE, publish
from forecasts.model_store import SHIPPED, ModelStore
from forecasts.training.config import TrainingConfig
from forecasts.training.devices import check_device
from forecasts.training.networks import MODELS, QuantileNetwork, build_network, joined
from forecasts.training.weights import network_of, weights_of
from modelserver.agreement import check_agreement
from modelserver.torch_worker import computing
from tests.support.model_server import contexts as model_contexts
from tests.support.model_server import decoded, message, post, serving

WINDOW, AHEAD = 24, 6
INDEX = "/v2/repository/index"


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


def copied(root: Path) -> ModelStore:
    shutil.copytree(SHIPPED / "lstm", root / "lstm")
    return ModelStore([root])


def test_weights_are_verified_before_they_are_used(tmp_path: Path) -> None:
    store = copied(tmp_path)
    file = tmp_path / "lstm" / "1" / WEIGHTS_FILE

    assert store.weights("lstm", "1") == file.read_bytes()
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(StateError, match="does not match SHA256SUMS"):
        store.weights("lstm", "1")
    file.unlink()
    with pytest.raises(StateError, match=r"has no weights\.safetensors, which a GPU needs"):
        store.weights("lstm", "1")


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


def test_weights_that_answer_otherwise_than_the_onnx_file_are_refused() -> None:
    stored = ModelStore().load("lstm", "1")
    right = ModelProcess(stored.onnx)

    class Other:
        def run(self, contexts: np.ndarray, deadline_seconds: float) -> np.ndarray:
            return np.asarray(right.run(contexts, deadline_seconds) + np.float32(0.001))

        def close(self) -> None:
            right.close()

    class Short(Other):
        def run(self, contexts: np.ndarray, deadline_seconds: float) -> np.ndarray:
            return right.run(contexts[:1], deadline_seconds)

    class Broken(Other):
        def run(self, contexts: np.ndarray, deadline_seconds: float) -> np.ndarray:
            return np.full((3, 40, 11), np.nan, dtype=np.float32)

    check_agreement(stored, right, 60)
    for engine in (Other(), Short(), Broken()):
        with pytest.raises(StateError, match="answer otherwise than its ONNX file"):
            check_agreement(stored, engine, 60)
    right.close()
    with pytest.raises(StateError, match=r"cannot be computed on this device: .* it was closed"):
        check_agreement(stored, right, 60)


async def test_a_server_on_another_device_serves_what_has_weights(tmp_path: Path) -> None:
    store = copied(tmp_path)
    stored = store.load("lstm", "1")
    publish(tmp_path, dataclasses.replace(stored.card, version="2"), stored.onnx)
    twin = ModelProcess(stored.onnx)
    expected = twin.run(model_contexts(70), 60)
    twin.close()

    # To torch "cpu:0" is a device like "cuda:0".
    weights = store.weights("lstm", "1")
    publish(tmp_path, dataclasses.replace(stored.card, version="3"), stored.onnx, weights=weights)
    async with serving(store, device="cpu:0") as (server, client):
        running = {
            version: [engine.pid is not None for engine in model.engines]  # type: ignore[attr-defined]
            for (_, version), model in server.catalog.hosted.items()
        }
        reply = await post(client, message(70), binary=True)
        index = {line["version"]: line for line in (await client.post(INDEX)).json()}
        refused = await post(client, message(3), path="/v2/models/lstm/versions/2/infer")

    # The one in use is warm; one that nobody asked for yet was checked and holds nothing.
    assert running == {"1": [True], "3": [False]}
    assert reply.status_code == 200
    found = decoded(reply)
    np.testing.assert_allclose(found.floats("quantiles", 3), expected, rtol=1e-4, atol=1e-6)
    assert found.parameters["model_hash"] == stored.card.sha256
    assert index["1"]["state"] == "READY"
    # What cannot be computed there is named, and does not keep the others from being served.
    assert (index["2"]["state"], refused.status_code) == ("UNAVAILABLE", 503)
    assert "has no weights.safetensors" in index["2"]["reason"]
