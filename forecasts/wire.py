"""The Open Inference Protocol (V2) as forecasts speak it, for client and server alike.

Tensors travel as JSON, or as raw bytes behind the JSON when both ends know the binary
extension.  Nothing here trusts the other end: shapes, sizes and types are checked before
an array is made.
"""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from domain.errors import DataError
from domain.reasons import one_line

HEADER_LENGTH = "inference-header-content-length"
BINARY_EXTENSION = "binary_tensor_data"
BINARY_CONTENT_TYPE = "application/octet-stream"
CONTEXT = "context"
SYMBOLS = "symbols"
QUANTILES = "quantiles"

_LARGEST_ELEMENTS = 64 * 1024 * 1024
# NumPy has 32.  The product of a hundred thousand sizes takes minutes, in one step.
_MOST_DIMENSIONS = 8
_LENGTH_BYTES = 4
# A number of 400 digits is valid JSON, and neither an int of NumPy's nor a float.
_UNUSABLE = (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError)

Floats = NDArray[np.float32]
Tensor = Floats | tuple[str, ...]
Parameters = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request or a response: tensors by name, an id, and text parameters.

    ``requested`` names the outputs that a request asks for, true where in binary; empty
    means all of them, as ``wants_binary`` says.
    """

    message_id: str
    tensors: Mapping[str, Tensor]
    parameters: Parameters = field(default_factory=dict)
    wants_binary: bool = False
    requested: Mapping[str, bool] = field(default_factory=dict)

    def floats(self, name: str, dimensions: int) -> Floats:
        """Return a float tensor.

        Raises:
            DataError: absent, of another type or of other dimensions.
        """
        tensor = self.tensors.get(name)
        if not isinstance(tensor, np.ndarray) or tensor.ndim != dimensions:
            raise DataError(f"tensor {name} is not FP32 of {dimensions} dimensions")
        return tensor

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a tensor of texts.

        Raises:
            DataError: absent or of another type.
        """
        tensor = self.tensors.get(name)
        if not isinstance(tensor, tuple):
            raise DataError(f"tensor {name} is not BYTES")
        return tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Bytes for the wire, and the headers that describe them."""

    body: bytes
    headers: Mapping[str, str]


def input_hash(symbols: Sequence[str], context: Floats) -> str:
    """Hash what is asked, so that an answer can be bound to it."""
    digest = hashlib.sha256("\x1f".join(symbols).encode())
    digest.update(repr(context.shape).encode())
    digest.update(np.ascontiguousarray(context, dtype="<f4").tobytes())
    return digest.hexdigest()


def encode_request(message: Message, *, binary: bool) -> Encoded:
    """Encode a request; in binary, its answer is asked for in binary too."""
    document: dict[str, object] = {"id": message.message_id}
    parameters: dict[str, object] = dict(message.parameters)
    if binary:
        parameters["binary_data_output"] = True
    return _encode(message, document, "inputs", parameters, message.tensors if binary else ())


def encode_response(
    message: Message, *, model: str, version: str, binary: bool | Collection[str]
) -> Encoded:
    """Encode a response; ``binary`` is for all tensors, or the names of some."""
    document: dict[str, object] = {
        "id": message.message_id,
        "model_name": model,
        "model_version": version,
    }
    raw = (message.tensors if binary else ()) if isinstance(binary, bool) else binary
    return _encode(message, document, "outputs", dict(message.parameters), raw)


def decode_request(body: bytes, header_length: str | None) -> Message:
    """Decode a request.

    Raises:
        DataError: not a usable request.
    """
    return _decode(body, header_length, "inputs")


def decode_response(body: bytes, header_length: str | None) -> Message:
    """Decode a response.

    Raises:
        DataError: not a usable response.
    """
    return _decode(body, header_length, "outputs")


def error_text(body: bytes) -> str:
    """Return what a server says went wrong; every server says it differently."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return one_line(body[:200].decode(errors="replace"))
    if isinstance(document, dict):
        found = document.get("error") or document.get("errors") or document.get("detail")
        return one_line(str(found)[:200]) if found else ""
    return ""


def _encode(
    message: Message,
    document: dict[str, object],
    key: str,
    parameters: dict[str, object],
    raw: Collection[str],
) -> Encoded:
    tails: list[bytes] = []
    entries: list[str] = []
    for name, tensor in message.tensors.items():
        if name in raw:
            tail = _raw(tensor)
            tails.append(tail)
            entries.append(_entry(name, tensor, f'"parameters":{{"binary_data_size":{len(tail)}}}'))
        else:
            entries.append(_entry(name, tensor, f'"data":{_json_data(tensor)}'))
    document["parameters"] = parameters
    # The tensors are written by hand: json.dumps would print every float32 in 17 digits.
    head = json.dumps(document, separators=(",", ":"))[:-1]
    text = f'{head},"{key}":[{",".join(entries)}]}}'.encode()
    if not tails:
        return Encoded(body=text, headers={"content-type": "application/json"})
    headers = {"content-type": BINARY_CONTENT_TYPE, HEADER_LENGTH: str(len(text))}
    return Encoded(body=b"".join((text, *tails)), headers=headers)


def _entry(name: str, tensor: Tensor, rest: str) -> str:
    is_text = isinstance(tensor, tuple)
    shape = [len(tensor)] if isinstance(tensor, tuple) else list(tensor.shape)
    datatype = "BYTES" if is_text else "FP32"
    return f'{{"name":"{name}","datatype":"{datatype}","shape":{json.dumps(shape)},{rest}}}'


def _json_data(tensor: Tensor) -> str:
    if isinstance(tensor, tuple):
        return json.dumps(list(tensor))
    values = tensor.ravel().tolist()
    # Nine digits bring a float32 back exactly; one format for all is ten times faster.
    return "[" + ",".join(["%.9g"] * len(values)) % tuple(values) + "]"


def _raw(tensor: Tensor) -> bytes:
    if not isinstance(tensor, tuple):
        return np.ascontiguousarray(tensor, dtype="<f4").tobytes()
    parts = [text.encode() for text in tensor]
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "little") + part for part in parts)


def _decode(body: bytes, header_length: str | None, key: str) -> Message:
    try:
        split = len(body) if header_length is None else int(header_length)
        if not 0 <= split <= len(body):
            raise ValueError("its header length is wrong")
        document = json.loads(body[:split], parse_constant=_refuse_constant)
        is_request = key == "inputs"
        tensors, used = _tensors(document[key], memoryview(body)[split:])
        if used != len(body) - split:
            raise ValueError("bytes are left over")
        parameters = document.get("parameters") or {}
        wants_binary = parameters.get("binary_data_output") is True
        return Message(
            message_id=str(document.get("id", "")),
            tensors=tensors,
            parameters={name: str(value) for name, value in parameters.items()},
            wants_binary=wants_binary,
            requested=_requested(document.get("outputs") or [], wants_binary) if is_request else {},
        )
    except _UNUSABLE as exc:
        raise DataError(f"not a usable inference message: {exc}") from exc


def _requested(entries: list[dict[str, object]], wants_binary: bool) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for entry in entries:
        chosen = entry.get("parameters") or {}
        if not isinstance(chosen, dict):
            raise TypeError("parameters of an output are no object")
        found[str(entry["name"])] = chosen.get("binary_data", wants_binary) is True
    return found


def _tensors(entries: object, tail: memoryview) -> tuple[dict[str, Tensor], int]:
    if not isinstance(entries, list):
        raise TypeError("tensors are not a list")
    found: dict[str, Tensor] = {}
    used = 0
    for entry in entries:
        name, sizes = str(entry["name"]), entry["shape"]
        if len(sizes) > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name} has {len(sizes)} dimensions")
        shape = [int(size) for size in sizes]
        count = math.prod(shape)
        if name in found or min(shape, default=0) < 0 or count > _LARGEST_ELEMENTS:
            raise ValueError(f"tensor {name} is named twice or has an impossible shape")
        size = (entry.get("parameters") or {}).get("binary_data_size")
        if size is None:
            found[name] = _from_json(entry["datatype"], entry["data"], shape)
        else:
            part = tail[used : used + int(size)]
            if len(part) != int(size):
                raise ValueError(f"tensor {name} is cut short")
            used += int(size)
            found[name] = _from_raw(entry["datatype"], part, shape)
    return found, used


def _from_json(datatype: str, data: list[object], shape: list[int]) -> Tensor:
    if datatype == "BYTES":
        texts = tuple(data)
        if len(texts) != math.prod(shape) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a BYTES tensor is not one text per element")
        return cast(tuple[str, ...], texts)
    if datatype not in {"FP32", "FP64"}:
        raise ValueError(f"datatype {datatype} is not used here")
    # Flat and nested data are both legal.
    return np.array(data, dtype=np.float32).reshape(shape)


def _from_raw(datatype: str, part: memoryview, shape: list[int]) -> Tensor:
    if datatype == "FP32":
        return np.frombuffer(part, dtype="<f4").reshape(shape)
    if datatype != "BYTES":
        raise ValueError(f"datatype {datatype} is not used here")
    texts: list[str] = []
    place = 0
    while place < len(part):
        start = place + _LENGTH_BYTES
        end = start + int.from_bytes(part[place:start], "little")
        if start > len(part) or end > len(part):
            raise ValueError("a BYTES tensor is cut short")
        texts.append(bytes(part[start:end]).decode())
        place = end
    if len(texts) != math.prod(shape):
        raise ValueError("a BYTES tensor has a wrong number of elements")
    return tuple(texts)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
