"""A Triton Python model that binds answers to requests; packaged, never imported by openbell.

The network answers numbers.  This stands before it and adds what a client needs to know
that they are its own: the symbols, and the parameters of the request with the model's hash.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

CARD_FILE = "card.json"
NETWORK_SUFFIX = "-network"


class TritonPythonModel:
    """The name Triton looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the card that lies beside this file."""
        card = json.loads((Path(__file__).parent / CARD_FILE).read_text(encoding="utf-8"))
        self._network = card["name"] + NETWORK_SUFFIX
        self._version = int(card["version"])
        self._hash = card["sha256"]
        self._cutoff = card["data_cutoff"]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by the network."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        context = pb_utils.get_input_tensor_by_name(request, "context")
        symbols = pb_utils.get_input_tensor_by_name(request, "symbols")
        rows = context.as_numpy().shape[0]
        if symbols.as_numpy().shape != (rows,):
            return _refusal(f"symbols must name each of the {rows} rows")
        asked = json.loads(request.parameters() or "{}")
        if asked.get("model_hash", self._hash) != self._hash:
            return _refusal(f"this is the model of hash {self._hash}")
        reply = pb_utils.InferenceRequest(
            model_name=self._network,
            model_version=self._version,
            requested_output_names=["quantiles"],
            inputs=[context],
        ).exec()
        if reply.has_error():
            return _refusal(reply.error().message())
        quantiles = pb_utils.get_output_tensor_by_name(reply, "quantiles").as_numpy()
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("quantiles", np.ascontiguousarray(quantiles)),
                pb_utils.Tensor("symbols", symbols.as_numpy()),
            ],
            parameters={
                "model_hash": self._hash,
                "data_cutoff": asked.get("data_cutoff", self._cutoff),
                "input_hash": asked.get("input_hash", ""),
            },
        )


def _refusal(reason: str) -> Any:
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(reason))
