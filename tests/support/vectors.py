"""Reference vectors of the quantitative functions, and how a result is compared with them."""

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PATH = Path(__file__).parents[1] / "data" / "quant-vectors.json"
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@functools.cache
def _file() -> Any:
    return json.loads(PATH.read_text(encoding="utf-8"))


def cases(fn: str, *, refused: bool = False) -> list[Any]:
    """Return the vectors of a function as parameters: those with a result, or the refusals."""
    found = [vector for vector in _file()["vectors"] if vector["fn"] == fn]
    chosen = [v for v in found if ("refuse" in v["expected"]) is refused]
    assert chosen, f"no vectors for {fn}"
    return [pytest.param(vector, id=vector["id"]) for vector in chosen]


def inputs(vector: Any) -> dict[str, Any]:
    """Return the inputs with series and words for numbers resolved."""
    return {key: resolved(value) for key, value in vector["inputs"].items()}


def resolved(value: Any) -> Any:
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if isinstance(value, str) and value.startswith("@"):
        return _file()["series"][value[1:]]
    return value


def assert_matches(vector: Any, actual: Any, *names: str) -> None:
    """Compare attributes of ``actual`` with the expected values, all of them or ``names``."""
    for name in names or vector["expected"]:
        value = actual[name] if isinstance(actual, dict) else getattr(actual, name)
        assert_close(vector, value, vector["expected"][name], name)


def assert_close(vector: Any, actual: Any, expected: Any, name: str) -> None:
    expected = resolved(expected)
    is_undefined = expected is None or (isinstance(expected, float) and math.isnan(expected))
    if is_undefined:
        assert actual is None, f"{name}: {actual} should be undefined"
        return
    np.testing.assert_allclose(
        np.asarray(actual, dtype=float),
        np.asarray(expected, dtype=float),
        rtol=vector["rel_tol"],
        atol=vector["abs_tol"],
        err_msg=name,
    )
