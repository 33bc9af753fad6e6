"""NVIDIA's own client, unmodified, against our model server."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from forecasts.local_process import ModelProcess
from forecasts.model_store import ModelStore
from tests.support.model_server import CARD, TOKEN, contexts, names, served_by_a_process

ROWS = 40


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # A process of its own: the client blocks its thread.
    with served_by_a_process(tmp_path_factory.mktemp("served")) as announced:
        yield announced["url"].removeprefix("http://")


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    made = triton.InferenceServerClient(url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    process = ModelProcess(ModelStore().load("lstm").onnx)
    answer = process.run(contexts(ROWS), 30)
    process.close()
    return answer


def right() -> dict[str, str]:
    # New ones each time: the client adds its own to the dictionary it is given.
    return {"Authorization": f"Bearer {TOKEN}"}


def inputs(*, binary: bool, given: np.ndarray | None = None) -> list[Any]:
    context = contexts(ROWS) if given is None else given
    first = triton.InferInput("context", list(context.shape), "FP32")
    first.set_data_from_numpy(context, binary_data=binary)
    second = triton.InferInput("symbols", [ROWS], "BYTES")
    second.set_data_from_numpy(np.array(names(ROWS), dtype=np.object_), binary_data=binary)
    return [first, second]


def texts(symbols: np.ndarray) -> tuple[str, ...]:
    # Bytes where the answer was binary, text where it was JSON.
    return tuple(one.decode() if isinstance(one, bytes) else str(one) for one in symbols.ravel())


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("lstm", headers=right())
    assert client.is_model_ready("lstm", "1", headers=right())
    assert not client.is_model_ready("nhits", headers=right())
    assert "binary_tensor_data" in client.get_server_metadata(headers=right())["extensions"]
    metadata = client.get_model_metadata("lstm", headers=right())
    assert [one["name"] for one in metadata["inputs"]] == ["context", "symbols"]
    index = client.get_model_repository_index(headers=right())
    assert {"name": "lstm", "version": "1", "state": "READY", "reason": ""} in index


@pytest.mark.parametrize("binary", [False, True])
def test_inference_with_all_outputs(client: Any, expected: np.ndarray, binary: bool) -> None:
    result = client.infer(
        "lstm",
        inputs(binary=binary),
        request_id="q-1",
        headers=right(),
        parameters={"data_cutoff": "2022-11-09"},
    )

    np.testing.assert_allclose(result.as_numpy("quantiles"), expected, rtol=1e-5, atol=1e-7)
    assert texts(result.as_numpy("symbols")) == names(ROWS)
    response = result.get_response()
    assert (response["id"], response["model_version"]) == ("q-1", "1")
    assert response["parameters"]["model_hash"] == CARD.sha256
    assert response["parameters"]["data_cutoff"] == "2022-11-09"


@pytest.mark.parametrize("binary", [False, True])
def test_inference_with_outputs_asked_for_by_name(
    client: Any, expected: np.ndarray, binary: bool
) -> None:
    outputs = [triton.InferRequestedOutput("quantiles", binary_data=binary)]

    result = client.infer("lstm", inputs(binary=True), outputs=outputs, headers=right())

    np.testing.assert_allclose(result.as_numpy("quantiles"), expected, rtol=1e-5, atol=1e-7)
    assert result.as_numpy("symbols") is None


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_inference_with_packed_requests_and_a_version(
    client: Any, expected: np.ndarray, packing: str
) -> None:
    result = client.infer(
        "lstm",
        inputs(binary=True),
        model_version="1",
        headers=right(),
        request_compression_algorithm=packing,
        response_compression_algorithm=packing,
    )

    np.testing.assert_allclose(result.as_numpy("quantiles"), expected, rtol=1e-5, atol=1e-7)


def test_several_requests_at_once(url: str, expected: np.ndarray) -> None:
    client = triton.InferenceServerClient(url, concurrency=4)

    waiting = [client.async_infer("lstm", inputs(binary=True), headers=right()) for _ in range(8)]
    results = [one.get_result(timeout=30).as_numpy("quantiles") for one in waiting]
    client.close()

    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)


def test_errors_arrive_as_errors_of_the_client(client: Any) -> None:
    short = contexts(ROWS)[:, 1:]
    for model, headers, given, status in (
        ("lstm", {}, None, "401"),
        ("nhits", right(), None, "404"),
        ("lstm", right(), short, "400"),
    ):
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer(model, inputs(binary=True, given=given), headers=headers)
        assert caught.value.status() == status
        assert "decoding the response" not in caught.value.message()
