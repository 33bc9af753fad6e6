"""What the server tells about itself and its models, in the words of the protocol."""

import json
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from forecasts import wire
from forecasts.card import ModelCard
from modelserver.catalog import Listing

NAME = "openbell"
PLATFORM = "onnx_onnxv1"


def server_document() -> dict[str, Any]:
    """Describe the server."""
    return {
        "name": NAME,
        "version": metadata.version("openbell"),
        "extensions": [wire.BINARY_EXTENSION, "model_repository"],
    }


def model_document(card: ModelCard, versions: Sequence[str]) -> dict[str, Any]:
    """Describe a model; the parameters are those of the version asked for."""
    return {
        "name": card.name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [
            _tensor(wire.CONTEXT, "FP32", [-1, card.lookback, len(card.features)]),
            _tensor(wire.SYMBOLS, "BYTES", [-1]),
        ],
        "outputs": [
            _tensor(wire.QUANTILES, "FP32", [-1, card.horizon, len(card.levels)]),
            _tensor(wire.SYMBOLS, "BYTES", [-1]),
        ],
        "parameters": {
            "version": card.version,
            "model_hash": card.sha256,
            "data_cutoff": card.data_cutoff.isoformat(),
            "quantile_levels": json.dumps(card.levels),
            "features": json.dumps(card.features),
            "horizon": card.horizon,
            "lookback": card.lookback,
        },
    }


def index_document(listings: Sequence[Listing]) -> list[dict[str, str]]:
    """Describe the repository."""
    return [
        {
            "name": listing.name,
            "version": listing.version,
            "state": "READY" if listing.is_ready else "UNAVAILABLE",
            "reason": listing.reason,
        }
        for listing in listings
    ]


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}
