import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from domain.errors import DataError
from forecasts import wire
from forecasts.wire import Message

SYMBOLS = ("AAPL", "BRK.B", "KO")
CONTEXT = np.random.default_rng(3).normal(size=(3, 4, 2)).astype(np.float32)
REQUEST = Message(
    message_id="q-1",
    tensors={"context": CONTEXT, "symbols": SYMBOLS},
    parameters={"input_hash": "abc"},
)


@pytest.mark.parametrize("binary", [False, True])
def test_a_request_comes_back_bit_for_bit(binary: bool) -> None:
    encoded = wire.encode_request(REQUEST, binary=binary)

    found = wire.decode_request(encoded.body, encoded.headers.get(wire.HEADER_LENGTH))

    assert found.message_id == "q-1"
    assert found.texts("symbols") == SYMBOLS
    assert found.floats("context", 3).tobytes() == CONTEXT.tobytes()
    assert found.parameters["input_hash"] == "abc"
    assert found.wants_binary is binary


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=4),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_any_finite_float_survives_json(values: np.ndarray) -> None:
    message = Message(message_id="", tensors={"quantiles": values})

    encoded = wire.encode_response(message, model="lstm", version="1", binary=False)

    found = wire.decode_response(encoded.body, None).floats("quantiles", 3)
    assert found.tobytes() == (values + np.float32(0)).tobytes() or np.array_equal(found, values)


def test_the_json_is_what_the_protocol_says() -> None:
    document = json.loads(wire.encode_request(REQUEST, binary=False).body)

    context, symbols = document["inputs"]
    assert (context["name"], context["datatype"], context["shape"]) == (
        "context",
        "FP32",
        [3, 4, 2],
    )
    assert len(context["data"]) == 24
    assert (symbols["datatype"], symbols["shape"], symbols["data"]) == ("BYTES", [3], list(SYMBOLS))


def test_the_binary_form_is_what_the_extension_says() -> None:
    encoded = wire.encode_request(REQUEST, binary=True)
    split = int(encoded.headers[wire.HEADER_LENGTH])
    document = json.loads(encoded.body[:split])

    sizes = [entry["parameters"]["binary_data_size"] for entry in document["inputs"]]
    assert encoded.headers["content-type"] == "application/octet-stream"
    assert sizes == [3 * 4 * 2 * 4, sum(4 + len(symbol) for symbol in SYMBOLS)]
    assert len(encoded.body) == split + sum(sizes)
    assert encoded.body[split : split + sizes[0]] == CONTEXT.astype("<f4").tobytes()
    assert encoded.body[split + sizes[0] :][:8] == b"\x04\x00\x00\x00AAPL"
    assert document["parameters"]["binary_data_output"] is True


def test_nested_data_is_as_good_as_flat_data() -> None:
    body = {
        "outputs": [
            {
                "name": "quantiles",
                "datatype": "FP32",
                "shape": [1, 2, 2],
                "data": [[[1, 2], [3, 4]]],
            }
        ]
    }

    found = wire.decode_response(json.dumps(body).encode(), None)

    assert found.floats("quantiles", 3).tolist() == [[[1, 2], [3, 4]]]


def entry(**changes: object) -> dict[str, object]:
    return {"name": "q", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0], **changes}


@pytest.mark.parametrize(
    "outputs",
    [
        [entry(shape=[3])],
        [entry(shape=[-1])],
        [entry(shape=[10**6, 10**6])],
        [entry(datatype="INT64")],
        [entry(data=["a", "b"])],
        [entry(data=None)],
        [entry(data=[1, 10**400])],
        [entry(), entry()],
        [entry(datatype="BYTES", data=["a"])],
        [entry(datatype="BYTES", data=[1, 2])],
        [{"name": "q"}],
        "none",
        None,
    ],
    ids=lambda outputs: str(outputs)[:80],
)
def test_a_tensor_that_contradicts_itself_is_refused(outputs: object) -> None:
    with pytest.raises(DataError, match="not a usable inference message"):
        wire.decode_response(json.dumps({"outputs": outputs}).encode(), None)


def test_a_shape_of_thousands_of_sizes_is_refused_before_they_are_multiplied() -> None:
    # 100,000 of them kept the event loop for a minute and a half, in one step.
    body = {"outputs": [entry(shape=[2**63 - 1] * 5_000, data=[])]}

    with pytest.raises(DataError, match="tensor q has 5000 dimensions"):
        wire.decode_response(json.dumps(body).encode(), None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"outputs": [',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"outputs": [{"name": "q", "datatype": "FP32", "shape": [1e999], "data": [1]}]}',
        b'{"outputs": [{"name": "q", "shape": [1], "parameters": {"binary_data_size": 1e999}}]}',
    ],
    ids=lambda body: repr(body[-12:]),
)
def test_a_body_that_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(DataError):
        wire.decode_response(body, None)


def test_nan_in_json_is_refused() -> None:
    body = b'{"outputs":[{"name":"q","datatype":"FP32","shape":[1],"data":[NaN]}]}'

    with pytest.raises(DataError, match="NaN is not a number"):
        wire.decode_response(body, None)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_binary_body_cut_short_is_refused(cut: int) -> None:
    encoded = wire.encode_request(REQUEST, binary=True)

    with pytest.raises(DataError):
        wire.decode_request(encoded.body[:-cut], encoded.headers[wire.HEADER_LENGTH])


def test_bytes_left_over_are_refused() -> None:
    encoded = wire.encode_request(REQUEST, binary=True)

    with pytest.raises(DataError, match="left over"):
        wire.decode_request(encoded.body + b"x", encoded.headers[wire.HEADER_LENGTH])


@pytest.mark.parametrize("length", ["-1", "999999", "many"])
def test_a_wrong_header_length_is_refused(length: str) -> None:
    with pytest.raises(DataError):
        wire.decode_request(wire.encode_request(REQUEST, binary=True).body, length)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(-5, 250).map(str)))
def test_garbage_never_escapes_as_anything_but_a_data_error(
    body: bytes, length: str | None
) -> None:
    with pytest.raises(DataError):
        wire.decode_response(body, length)


def test_tensors_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(DataError):
        REQUEST.floats("symbols", 1)
    with pytest.raises(DataError):
        REQUEST.floats("context", 2)
    with pytest.raises(DataError):
        REQUEST.texts("context")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": "no such model"}', "no such model"),
        (b'{"detail": [{"msg": "field required"}]}', "[{'msg': 'field required'}]"),
        (b'{"errors": {"message": "x"}}', "{'message': 'x'}"),
        (b"Traceback (most recent call last)", "Traceback (most recent call last)"),
        (rb'{"error": "\u001b]0;title\u0007 cut \ud83d"}', "]0;title  cut"),
        (b"", ""),
        (b"[]", ""),
        (b"{}", ""),
    ],
)
def test_what_a_server_says_of_an_error_is_found(body: bytes, expected: str) -> None:
    assert wire.error_text(body) == expected


def test_the_input_hash_depends_on_every_value_and_on_the_order() -> None:
    changed = CONTEXT.copy()
    changed[2, 3, 1] = np.nextafter(changed[2, 3, 1], np.float32(9))

    hashes = {
        wire.input_hash(SYMBOLS, CONTEXT),
        wire.input_hash(SYMBOLS[::-1], CONTEXT),
        wire.input_hash(SYMBOLS, changed),
        wire.input_hash(SYMBOLS, CONTEXT.reshape(3, 2, 4)),
    }

    assert len(hashes) == 4
