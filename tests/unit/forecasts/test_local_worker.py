import hashlib
import io

import numpy as np
import pytest

from forecasts.local_worker import CONTEXT, FAILED, HEADER, MODEL, QUANTILES, READY, serve
from forecasts.model_store import ModelStore

ONNX = ModelStore().load("lstm").onnx
DIGEST = hashlib.sha256(ONNX).digest()
LOAD = HEADER.pack(MODEL, 0, len(ONNX), len(DIGEST), 0) + ONNX + DIGEST


def ask(number: int, contexts: np.ndarray) -> bytes:
    return HEADER.pack(CONTEXT, number, *contexts.shape) + contexts.astype("<f4").tobytes()


def answers(data: bytes) -> list[tuple[bytes, int, tuple[int, ...], bytes]]:
    sink = io.BytesIO()
    serve(io.BytesIO(data), sink)
    sink.seek(0)
    found = []
    while header := sink.read(HEADER.size):
        kind, number, *shape = HEADER.unpack(header)
        size = shape[0] if kind == FAILED else 4 * int(np.prod(shape))
        found.append((kind, number, tuple(shape), sink.read(size)))
    return found


def test_a_model_is_loaded_and_every_symbol_answered_in_order() -> None:
    contexts = np.random.default_rng(1).normal(size=(130, 60, 20)).astype(np.float32)

    ready, *many, one = answers(LOAD + ask(1, contexts) + ask(2, contexts[7:8]))

    assert ready[:2] == (READY, 0)
    assert {part[:2] for part in many} == {(QUANTILES, 1)}
    assert [part[2] for part in many] == [(43, 40, 11), (43, 40, 11), (44, 40, 11)]
    assert one[:3] == (QUANTILES, 2, (1, 40, 11))
    whole = np.frombuffer(b"".join(part[3] for part in many), dtype="<f4").reshape(130, 40, 11)
    alone = np.frombuffer(one[3], dtype="<f4").reshape(1, 40, 11)
    np.testing.assert_allclose(whole[7:8], alone, rtol=1e-4, atol=1e-7)


def test_a_part_is_answered_before_the_next_one_has_arrived() -> None:
    contexts = np.zeros((65, 60, 20), dtype=np.float32)
    half = len(LOAD) + HEADER.size + 32 * 60 * 20 * 4

    found = answers((LOAD + ask(1, contexts))[:half])

    assert [(one[0], one[2][0]) for one in found[:2]] == [(READY, 0), (QUANTILES, 32)]
    assert found[2][0] == FAILED


def test_a_model_that_changed_on_its_way_is_refused() -> None:
    (found,) = answers(LOAD[:-1] + b"\x00" if LOAD[-1] else LOAD[:-1] + b"\x01")

    assert found[0] == FAILED
    assert b"changed on its way" in found[3]


def test_h11_a_pickle_is_not_opened_as_a_model() -> None:
    fake = b"\x80\x04N."
    digest = hashlib.sha256(fake).digest()

    (found,) = answers(HEADER.pack(MODEL, 0, len(fake), len(digest), 0) + fake + digest)

    assert found[0] == FAILED


@pytest.mark.parametrize("shape", [(0, 60, 20), (2**31, 60, 20)])
def test_an_impossible_frame_is_answered_with_a_reason(shape: tuple[int, int, int]) -> None:
    found = answers(LOAD + HEADER.pack(CONTEXT, 1, *shape))

    assert [one[0] for one in found] == [READY, FAILED]
    assert b"a frame of" in found[1][3]


def test_an_input_that_ends_inside_a_frame_is_answered_with_a_reason() -> None:
    found = answers(LOAD + HEADER.pack(CONTEXT, 1, 1, 60, 20) + b"\x00" * 100)

    assert [one[0] for one in found] == [READY, FAILED]
    assert b"ended inside a frame" in found[1][3]


def test_a_context_before_its_model_is_answered_with_a_reason() -> None:
    found = answers(ask(1, np.zeros((1, 60, 20), dtype=np.float32)))

    assert [one[0] for one in found] == [FAILED]


def test_an_empty_input_ends_it() -> None:
    assert answers(b"") == []
