"""One inference request: is it usable, and what answers it."""

import numpy as np
from numpy.typing import NDArray

from domain.errors import DataError
from forecasts import wire
from forecasts.card import ModelCard
from modelserver.refusals import BAD_REQUEST, FAILED, InferenceRefused

Array = NDArray[np.float32]
MODEL_HASH = "model_hash"
DATA_CUTOFF = "data_cutoff"
INPUT_HASH = "input_hash"
OUTPUTS = (wire.QUANTILES, wire.SYMBOLS)


def decode(body: bytes, header_length: str | None) -> wire.Message:
    """Read a request.

    Raises:
        InferenceRefused: it is none.
    """
    try:
        return wire.decode_request(body, header_length)
    except DataError as exc:
        raise InferenceRefused(BAD_REQUEST, str(exc)) from exc


def contexts_of(message: wire.Message, card: ModelCard) -> Array:
    """Return the inputs of the model, once everything about the request is right.

    Raises:
        InferenceRefused: a tensor is missing or of another shape, a number is not finite,
            a symbol is there twice, or the request changed on its way.
    """
    try:
        contexts, symbols = message.floats(wire.CONTEXT, 3), message.texts(wire.SYMBOLS)
    except DataError as exc:
        raise InferenceRefused(BAD_REQUEST, f"{exc}; see /v2/models/{card.name}") from exc
    expected = (card.lookback, len(card.features))
    if contexts.shape[0] < 1 or contexts.shape[1:] != expected:
        raise InferenceRefused(
            BAD_REQUEST,
            f"tensor {wire.CONTEXT} has shape {list(contexts.shape)}; model {card.title} takes "
            f"[n, {expected[0]}, {expected[1]}]",
        )
    if len(symbols) != contexts.shape[0] or len(set(symbols)) != len(symbols):
        raise InferenceRefused(
            BAD_REQUEST,
            f"tensor {wire.SYMBOLS} must name each of the {contexts.shape[0]} rows once",
        )
    if not bool(np.isfinite(contexts).all()):
        raise InferenceRefused(
            BAD_REQUEST, f"tensor {wire.CONTEXT} has a number that is not finite"
        )
    _refuse_unknown_outputs(message)
    claimed = message.parameters.get(INPUT_HASH)
    if claimed is not None and claimed != wire.input_hash(symbols, contexts):
        raise InferenceRefused(BAD_REQUEST, f"{INPUT_HASH} is not that of what arrived")
    return contexts


def answer(message: wire.Message, card: ModelCard, quantiles: Array) -> wire.Encoded:
    """Encode the response, bound to its request by its parameters.

    Raises:
        InferenceRefused: the model made numbers that are not finite.
    """
    symbols = message.texts(wire.SYMBOLS)
    good = np.isfinite(quantiles).all(axis=(1, 2))
    if not bool(good.all()):
        first = symbols[int(np.flatnonzero(~good)[0])]
        raise InferenceRefused(FAILED, f"the model has no finite answer for {first[:16]}")
    tensors: dict[str, wire.Tensor] = {wire.QUANTILES: quantiles, wire.SYMBOLS: symbols}
    wanted = message.requested
    response = wire.Message(
        message_id=message.message_id,
        tensors={name: tensors[name] for name in wanted or OUTPUTS},
        parameters={
            MODEL_HASH: card.sha256,
            # Of the request if it tells, for that is what it must be bound to.
            DATA_CUTOFF: message.parameters.get(DATA_CUTOFF, card.data_cutoff.isoformat()),
            INPUT_HASH: message.parameters.get(INPUT_HASH)
            or wire.input_hash(symbols, message.floats(wire.CONTEXT, 3)),
        },
    )
    binary = [name for name, raw in wanted.items() if raw] if wanted else message.wants_binary
    return wire.encode_response(response, model=card.name, version=card.version, binary=binary)


def _refuse_unknown_outputs(message: wire.Message) -> None:
    unknown = sorted(set(message.requested) - set(OUTPUTS))
    if unknown:
        raise InferenceRefused(
            BAD_REQUEST, f"there is no output {unknown[0][:32]!r}; outputs: {', '.join(OUTPUTS)}"
        )
