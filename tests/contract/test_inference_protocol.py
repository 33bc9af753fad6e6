"""The Open Inference Protocol, spoken to our model server over sockets."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
import pytest_asyncio

from domain.errors import ProviderUnavailable
from domain.forecasts import ForecastSource
from domain.secrets import Secret
from forecasts import wire
from forecasts.local import LocalForecaster
from forecasts.local_process import ModelProcess
from forecasts.model_store import ModelStore
from forecasts.remote import RemoteForecaster
from forecasts.remote_access import auth_headers
from modelserver.server import ModelServer
from tests.support.forecast_scene import AS_OF, history_of
from tests.support.model_server import (
    CARD,
    INFER,
    TOKEN,
    body_of,
    contexts,
    decoded,
    message,
    names,
    post,
    remote_forecaster,
    serving,
)
from transport.http import BoundedClient, HttpSettings

SIX = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
Served = tuple[ModelServer, httpx.AsyncClient]


# One server for all of them: a request must leave no trace for the next.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(served: Served) -> httpx.AsyncClient:
    return served[1]


async def test_our_client_gets_the_forecasts_of_its_local_twin(served: Served) -> None:
    twin = LocalForecaster(ModelStore().load("lstm"), horizon=CARD.horizon)
    history = history_of(*SIX, *(f"S{chr(65 + i)}" for i in range(26)))

    async with remote_forecaster(served[0].url) as remote:
        theirs = await remote.forecast(history, AS_OF)
    ours = await twin.forecast(history, AS_OF)
    await twin.aclose()

    assert sorted(theirs) == sorted(ours) == sorted(history)
    for symbol, forecast in theirs.items():
        assert forecast.source is ForecastSource.REMOTE
        assert forecast.model_hash == ours[symbol].model_hash
        np.testing.assert_allclose(forecast.quantiles, ours[symbol].quantiles, atol=1e-5)
        assert forecast.probability_up == pytest.approx(ours[symbol].probability_up, abs=1e-5)


async def test_our_client_with_a_wrong_token_is_told_which_one(served: Served) -> None:
    async with remote_forecaster(served[0].url, token="wrong") as remote:
        with pytest.raises(ProviderUnavailable, match="OPENBELL_FORECAST_TOKEN"):
            await remote.forecast(history_of(*SIX), AS_OF)


async def test_health_needs_no_token_and_everything_else_does(served: Served) -> None:
    server, _ = served
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as stranger:
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert (await stranger.get(path)).status_code == 200
        for path in ("/v2", "/v2/models", "/v2/models/lstm", "/v2/models/lstm/ready", "/metrics"):
            reply = await stranger.get(path)
            assert reply.status_code == 401
            assert "token" in reply.json()["error"]
            assert reply.headers["www-authenticate"] == "Bearer"
        for value in ("Bearer wrong", "Basic dTpw", "Bearer", "made-up-token-of-a-good-length"):
            reply = await stranger.post(INFER, content=b"{}", headers={"Authorization": value})
            assert reply.status_code == 401


async def test_where_a_host_keeps_authorization_the_token_travels_in_another_header(
    served: Served,
) -> None:
    server, _ = served
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as guest:
        for headers, status in (
            ({"X-Api-Key": TOKEN}, 200),
            ({"X-Api-Key": TOKEN, "Authorization": "Basic dTpw"}, 200),
            ({"X-Api-Key": "wrong"}, 401),
            ({"X-Api-Key": ""}, 401),
            ({"X-Api-Key": TOKEN, "Authorization": "Bearer wrong"}, 401),
        ):
            assert (await guest.get("/v2", headers=headers)).status_code == status


async def test_our_client_and_our_server_agree_on_the_other_header(served: Served) -> None:
    headers = auth_headers(Secret(TOKEN), header="X-Api-Key", scheme="")
    client = BoundedClient(
        HttpSettings(base_url=served[0].url, body_cap_bytes=32 * 1024 * 1024), headers
    )
    remote = RemoteForecaster(client, model="lstm", card=CARD, horizon=20, warm_up_seconds=30)

    found = await remote.forecast(history_of(*SIX), AS_OF)
    await remote.aclose()

    assert sorted(found) == list(SIX)


async def test_the_server_announces_the_binary_extension(client: httpx.AsyncClient) -> None:
    document = (await client.get("/v2")).json()

    assert document["name"] == "openbell"
    assert wire.BINARY_EXTENSION in document["extensions"]


@pytest.mark.parametrize("path", ["/v2/models/lstm", "/v2/models/lstm/versions/1"])
async def test_metadata_tells_shapes_levels_hash_and_cut_off(
    client: httpx.AsyncClient, path: str
) -> None:
    document = (await client.get(path)).json()

    assert (document["name"], document["versions"]) == ("lstm", ["1"])
    assert document["inputs"] == [
        {"name": "context", "datatype": "FP32", "shape": [-1, CARD.lookback, len(CARD.features)]},
        {"name": "symbols", "datatype": "BYTES", "shape": [-1]},
    ]
    assert document["outputs"] == [
        {"name": "quantiles", "datatype": "FP32", "shape": [-1, CARD.horizon, len(CARD.levels)]},
        {"name": "symbols", "datatype": "BYTES", "shape": [-1]},
    ]
    told = document["parameters"]
    assert json.loads(told["quantile_levels"]) == list(CARD.levels)
    assert json.loads(told["features"]) == list(CARD.features)
    assert told["model_hash"] == CARD.sha256
    assert told["data_cutoff"] == CARD.data_cutoff.isoformat()
    assert all(isinstance(value, str | int | float | bool) for value in told.values())


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("path", [INFER, "/v2/models/lstm/versions/1/infer"])
async def test_an_answer_is_bound_to_its_request_and_equals_the_bare_model(
    client: httpx.AsyncClient, binary: bool, path: str
) -> None:
    request = message(70)

    reply = await post(client, request, binary=binary, path=path)

    assert reply.status_code == 200
    assert (wire.HEADER_LENGTH in reply.headers) is binary
    answer = decoded(reply)
    process = ModelProcess(ModelStore().load("lstm").onnx)
    expected = process.run(contexts(70), 30)
    process.close()
    assert answer.message_id == "q-17"
    assert answer.texts("symbols") == names(70)
    np.testing.assert_allclose(answer.floats("quantiles", 3), expected, rtol=1e-5, atol=1e-7)
    assert answer.parameters == {
        "model_hash": CARD.sha256,
        "data_cutoff": "2022-11-09",
        "input_hash": request.parameters["input_hash"],
    }


async def test_a_request_without_parameters_is_told_what_it_got(client: httpx.AsyncClient) -> None:
    reply = await post(client, message(2, parameters={}))

    parameters = decoded(reply).parameters
    assert parameters["data_cutoff"] == CARD.data_cutoff.isoformat()
    assert parameters["input_hash"] == wire.input_hash(names(2), contexts(2))


async def test_nested_json_and_a_missing_id_are_legal(client: httpx.AsyncClient) -> None:
    given = contexts(2)
    body = body_of(
        context=("FP32", list(given.shape), given.tolist()), symbols=("BYTES", [2], ["A", "B"])
    )

    reply = await client.post(INFER, json=body)

    assert reply.status_code == 200
    document = reply.json()
    assert (document["model_name"], document["model_version"]) == ("lstm", "1")
    assert [output["name"] for output in document["outputs"]] == ["quantiles", "symbols"]


async def test_only_the_outputs_asked_for_are_sent_each_in_its_own_form(
    client: httpx.AsyncClient,
) -> None:
    given = contexts(2)
    body = body_of(
        context=("FP32", list(given.shape), given.tolist()), symbols=("BYTES", [2], ["A", "B"])
    )

    one = await client.post(INFER, json={**body, "outputs": [{"name": "quantiles"}]})
    asked = [{"name": "symbols"}, {"name": "quantiles", "parameters": {"binary_data": True}}]
    mixed = await client.post(INFER, json={**body, "outputs": asked})
    wrong = await client.post(INFER, json={**body, "outputs": [{"name": "score"}]})

    assert [output["name"] for output in one.json()["outputs"]] == ["quantiles"]
    head = json.loads(mixed.content[: int(mixed.headers[wire.HEADER_LENGTH])])
    assert head["outputs"][0]["data"] == ["A", "B"]
    assert "data" not in head["outputs"][1]
    np.testing.assert_allclose(
        decoded(mixed).floats("quantiles", 3), decoded(one).floats("quantiles", 3)
    )
    assert wrong.status_code == 400
    assert "'score'; outputs: quantiles, symbols" in wrong.json()["error"]


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_a_packed_request_is_understood(client: httpx.AsyncClient, packing: str) -> None:
    encoded = wire.encode_request(message(5), binary=True)
    pack = gzip.compress if packing == "gzip" else zlib.compress
    headers = {**encoded.headers, "content-encoding": packing}

    reply = await client.post(INFER, content=pack(encoded.body), headers=headers)

    assert reply.status_code == 200
    assert decoded(reply).texts("symbols") == names(5)


def _wrong_requests() -> dict[str, wire.Message]:
    right = message(3)
    given, symbols = contexts(3), names(3)
    tensors = {
        "no symbols": {"context": given},
        "no context": {"symbols": symbols},
        "too few symbols": {"context": given, "symbols": symbols[:2]},
        "a symbol twice": {"context": given, "symbols": ("A", "A", "B")},
        "another look-back": {"context": given[:, 1:], "symbols": symbols},
        "other features": {"context": given[:, :, 1:], "symbols": symbols},
        "two dimensions": {"context": given[0], "symbols": symbols},
        "no rows": {"context": given[:0], "symbols": ()},
        "symbols as numbers": {"context": given, "symbols": np.ones(3, dtype=np.float32)},
    }
    found = {name: message(3, tensors=given, parameters={}) for name, given in tensors.items()}
    found["changed on its way"] = message(
        3, parameters={**right.parameters, "input_hash": "0" * 64}
    )
    return found


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", _wrong_requests())
async def test_a_wrong_request_is_400_with_a_reason(
    client: httpx.AsyncClient, name: str, binary: bool
) -> None:
    reply = await post(client, _wrong_requests()[name], binary=binary)

    assert reply.status_code == 400
    assert len(reply.json()["error"]) > 20
    assert (await post(client, message())).status_code == 200


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
async def test_numbers_that_are_not_finite_are_refused(
    client: httpx.AsyncClient, number: float
) -> None:
    given = contexts(2)
    given[1, 30, 3] = number
    request = message(2, tensors={"context": given, "symbols": names(2)}, parameters={})

    reply = await post(client, request, binary=True)

    assert reply.status_code == 400
    assert "not finite" in reply.json()["error"]


async def test_inputs_that_explode_the_model_name_the_symbol(client: httpx.AsyncClient) -> None:
    given = contexts(2)
    given[1, -1, 8] = 1000.0
    request = message(2, tensors={"context": given, "symbols": names(2)}, parameters={})

    reply = await post(client, request)

    assert (reply.status_code, reply.json()["error"]) == (
        500,
        "the model has no finite answer for S0001",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"inputs": 1}',
        b'{"inputs": [{"name": "context"}]}',
        b'{"inputs": [{"name": "context", "datatype": "FP32", "shape": [1], "data": [NaN]}]}',
        b'{"inputs": [{"name":"context","datatype":"FP32","shape":[99999999,999],"data":[]}]}',
        b"[" * 100_000,
        b"\x80\x04\x95",
    ],
)
async def test_bytes_that_are_no_request_are_400(client: httpx.AsyncClient, body: bytes) -> None:
    reply = await client.post(INFER, content=body)

    assert reply.status_code == 400
    assert reply.json()["error"]


@pytest.mark.parametrize("length", ["99999999", "-1", "x", "3"])
async def test_a_wrong_header_length_is_400(client: httpx.AsyncClient, length: str) -> None:
    encoded = wire.encode_request(message(2), binary=True)
    headers = {**encoded.headers, wire.HEADER_LENGTH: length}

    reply = await client.post(INFER, content=encoded.body, headers=headers)

    assert reply.status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/nhits",
        "/v2/models/nhits/ready",
        "/v2/models/lstm/versions/99",
        "/v2/models/lstm/versions/latest",
        "/v2/models/..%2f..%2fetc",
        "/v2/models/LSTM",
        "/v1/models",
    ],
)
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, path: str) -> None:
    reply = await client.get(path)

    assert reply.status_code == 404
    assert reply.json()["error"]


async def test_inference_with_an_unknown_model_or_method_says_so(client: httpx.AsyncClient) -> None:
    assert (await post(client, message(), path="/v2/models/gru/infer")).status_code == 404
    assert (
        await post(client, message(), path="/v2/models/lstm/versions/2/infer")
    ).status_code == 404
    assert (await client.get(INFER)).status_code == 405


async def test_a_model_of_another_hash_is_refused_before_it_computes(
    client: httpx.AsyncClient,
) -> None:
    reply = await post(client, message(2, parameters={"model_hash": "0" * 64}))

    assert reply.status_code == 404
    assert "has the hash 000" in reply.json()["error"]


async def test_a_body_over_the_cap_is_413_announced_chunked_or_packed() -> None:
    encoded = wire.encode_request(message(20), binary=True)
    cap = len(encoded.body) - 1
    async with serving(body_cap_bytes=cap) as (_, client):

        async def parts() -> AsyncIterator[bytes]:
            yield encoded.body

        replies = [
            await client.post(INFER, content=encoded.body, headers=dict(encoded.headers)),
            await client.post(INFER, content=parts(), headers=dict(encoded.headers)),
            await client.post(
                INFER,
                content=gzip.compress(b"0" * 1000 * cap),
                headers={"content-encoding": "gzip"},
            ),
        ]

        assert [reply.status_code for reply in replies] == [413, 413, 413]
        assert replies[0].json() == {"error": f"the body may have {cap} bytes"}
        assert (await post(client, message(3), binary=True)).status_code == 200


@pytest.mark.parametrize(("encoding", "status"), [("br", 415), ("gzip", 400)])
async def test_a_body_that_cannot_be_unpacked_is_refused(
    client: httpx.AsyncClient, encoding: str, status: int
) -> None:
    headers = {"content-encoding": encoding}

    assert (await client.post(INFER, content=b"{}", headers=headers)).status_code == status


async def test_a_body_that_never_ends_is_given_up() -> None:
    async with serving(body_seconds=0.2) as (_, client):

        async def slow() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(1)
            yield b"}"

        reply = await client.post(INFER, content=slow())

    assert reply.status_code == 408
