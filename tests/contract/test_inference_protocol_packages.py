"""What `openbell models export` writes, loaded as its destination would load it."""

import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format

from forecasts import wire
from forecasts.local import LocalForecaster
from forecasts.local_process import ModelProcess
from forecasts.model_store import ModelStore
from forecasts.packaging import PackageFormat, package
from tests.support.forecast_scene import AS_OF, history_of
from tests.support.model_server import CARD, remote_forecaster
from tests.support.scripted_server import Exchange, ScriptedServer, Step, answer, raw_reply

MODEL = ModelStore().load("lstm")
SIX = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return package(MODEL, PackageFormat.TRITON, tmp_path / "repository")


def load(path: Path, name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "backend", "inputs", "outputs", "rows"),
    [
        (
            "lstm",
            "python",
            {"context": ("TYPE_FP32", [-1, 60, 20]), "symbols": ("TYPE_STRING", [-1])},
            {"quantiles": ("TYPE_FP32", [-1, 40, 11]), "symbols": ("TYPE_STRING", [-1])},
            0,
        ),
        (
            "lstm-network",
            "onnxruntime",
            {"context": ("TYPE_FP32", [60, 20])},
            {"quantiles": ("TYPE_FP32", [40, 11])},
            1024,
        ),
    ],
)
def test_tritons_own_schema_reads_the_configurations(
    repository: Path, name: str, backend: str, inputs: Any, outputs: Any, rows: int
) -> None:
    # Its package would import grpc, which nobody needs here.
    place = metadata.distribution("tritonclient").locate_file("tritonclient/grpc")
    schema = load(Path(str(place)) / "model_config_pb2.py", "triton_model_config")

    config = text_format.Parse(
        (repository / name / "config.pbtxt").read_text(), schema.ModelConfig()
    )

    def told(tensors: Any) -> dict[str, tuple[str, list[int]]]:
        return {one.name: (schema.DataType.Name(one.data_type), list(one.dims)) for one in tensors}

    assert (config.name, config.backend, config.max_batch_size) == (name, backend, rows)
    assert told(config.input) == inputs
    assert told(config.output) == outputs
    assert list(config.version_policy.specific.versions) == [1]
    assert (repository / name / "1").is_dir()


class Tensor:
    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name, self._values = name, values

    def as_numpy(self) -> np.ndarray:
        return self._values


class Response:
    def __init__(
        self, output_tensors: list[Tensor], error: Any = None, parameters: Any = None
    ) -> None:
        self.tensors = {one.name: one for one in output_tensors}
        self.parameters, self._error = parameters, error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> Any:
        return self._error


class TritonError:
    def __init__(self, text: str) -> None:
        self._text = text

    def message(self) -> str:
        return self._text


@pytest.fixture
def front(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The exported Python model, inside as much of Triton as it uses."""
    process = ModelProcess((repository / "lstm-network" / "1" / "model.onnx").read_bytes())

    class InferenceRequest:
        def __init__(self, **given: Any) -> None:
            self.given = given

        def exec(self) -> Response:
            assert self.given["model_name"] == "lstm-network"
            assert self.given["model_version"] == 1
            (context,) = self.given["inputs"]
            if not np.isfinite(context.as_numpy()).all():
                return Response([], TritonError("the network failed"))
            return Response([Tensor("quantiles", process.run(context.as_numpy(), 30))])

    inside = types.ModuleType("triton_python_backend_utils")
    named = {
        "Tensor": Tensor,
        "TritonError": TritonError,
        "InferenceResponse": Response,
        "InferenceRequest": InferenceRequest,
        "get_input_tensor_by_name": lambda request, name: request.tensors[name],
        "get_output_tensor_by_name": lambda response, name: response.tensors[name],
    }
    for name, thing in named.items():
        setattr(inside, name, thing)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", inside)
    model = load(repository / "lstm" / "1" / "model.py", "exported_front").TritonPythonModel()
    model.initialize({})
    yield model
    process.close()


class Request:
    """A request as Triton hands it to a Python model."""

    def __init__(self, message: wire.Message) -> None:
        self.tensors = {
            "context": Tensor("context", message.floats("context", 3)),
            "symbols": Tensor(
                "symbols", np.array([one.encode() for one in message.texts("symbols")], np.object_)
            ),
        }
        self._parameters = json.dumps(dict(message.parameters))

    def parameters(self) -> str:
        return self._parameters


def as_triton(front: Any) -> Step:
    """Answer over HTTP as Triton answers for the model."""

    async def step(exchange: Exchange) -> None:
        headers = exchange.request.headers
        asked = wire.decode_request(exchange.request.body, headers.get(wire.HEADER_LENGTH))
        (response,) = front.execute([Request(asked)])
        assert not response.has_error()
        symbols = response.tensors["symbols"].as_numpy()
        message = wire.Message(
            message_id=asked.message_id,
            tensors={
                "quantiles": response.tensors["quantiles"].as_numpy(),
                "symbols": tuple(one.decode() for one in symbols),
            },
            parameters=response.parameters,
        )
        encoded = wire.encode_response(
            message, model="lstm", version="1", binary=asked.wants_binary
        )
        await exchange.send(raw_reply(200, encoded.body, dict(encoded.headers)))

    return step


async def test_a_triton_with_the_exported_repository_answers_our_client(front: Any) -> None:
    history = history_of(*SIX)
    twin = LocalForecaster(MODEL, horizon=CARD.horizon)
    ours = await twin.forecast(history, AS_OF)
    await twin.aclose()
    async with ScriptedServer() as server:
        server.on(
            "GET", "/v2", answer(200, {"name": "triton", "extensions": ["binary_tensor_data"]})
        )
        server.on("POST", "/v2/models/lstm/infer", as_triton(front))
        async with remote_forecaster(server.url) as remote:
            theirs = await remote.forecast(history, AS_OF)

    assert sorted(theirs) == sorted(ours)
    for symbol, forecast in theirs.items():
        np.testing.assert_allclose(forecast.quantiles, ours[symbol].quantiles, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"parameters": {"model_hash": "0" * 64}}, "this is the model of hash"),
        ({"symbols": ("AAPL",)}, "symbols must name each of the 2 rows"),
        ({"number": np.nan}, "the network failed"),
    ],
)
def test_the_exported_model_refuses_what_it_cannot_answer(
    front: Any, change: dict[str, Any], text: str
) -> None:
    context = np.full((2, 60, 20), change.get("number", 0.0), dtype=np.float32)
    message = wire.Message(
        message_id="q",
        tensors={"context": context, "symbols": change.get("symbols", ("AAPL", "KO"))},
        parameters=change.get("parameters", {}),
    )

    (response,) = front.execute([Request(message)])

    assert text in response.error().message()


def test_the_exported_onnx_file_answers_as_the_registry_does(tmp_path: Path) -> None:
    out = package(MODEL, PackageFormat.ONNX, tmp_path / "onnx")
    context = np.random.default_rng(1).normal(size=(3, 60, 20)).astype(np.float32)
    context[:, :, 8] = -4

    session = onnxruntime.InferenceSession(
        str(out / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    (answered,) = session.run(None, {"context": context})
    process = ModelProcess(MODEL.onnx)
    expected = process.run(context, 30)
    process.close()

    np.testing.assert_allclose(answered, expected, rtol=1e-5, atol=1e-7)
