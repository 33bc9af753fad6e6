"""Models for other places: plain ONNX, a Triton repository, a ModelScope package."""

import json
from enum import StrEnum, unique
from pathlib import Path

from domain.errors import ConfigError
from forecasts.card import ModelCard
from forecasts.model_files import CARD_FILE, MODEL_FILE, StoredModel

# As many symbols as a configuration may hold, in one request.
_LARGEST_BATCH = 1024
NETWORK_SUFFIX = "-network"
# Packaged as text: it runs inside Triton only.
_FRONT = Path(__file__).with_name("triton_front.py")


@unique
class PackageFormat(StrEnum):
    """Where a model is to go."""

    ONNX = "onnx"
    TRITON = "triton"
    MODELSCOPE = "modelscope"


def package(model: StoredModel, form: PackageFormat, out: Path) -> Path:
    """Write a model in a form; ``out`` must not exist, so that nothing is overwritten.

    Raises:
        ConfigError: ``out`` exists.
    """
    if out.exists():
        raise ConfigError(f"{out} exists; name a folder that does not")
    files = {
        PackageFormat.ONNX: _onnx,
        PackageFormat.TRITON: _triton,
        PackageFormat.MODELSCOPE: _modelscope,
    }[form](model)
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return out


def _onnx(model: StoredModel) -> dict[str, bytes | str]:
    return {MODEL_FILE: model.onnx, CARD_FILE: model.card.to_json()}


def _triton(model: StoredModel) -> dict[str, bytes | str]:
    # The network, and before it a model of the name that clients ask for, which binds each
    # answer to its request as the client checks it.
    card = model.card
    name, network = card.name, card.name + NETWORK_SUFFIX
    shape_in = f"{card.lookback}, {len(card.features)}"
    shape_out = f"{card.horizon}, {len(card.levels)}"
    versions = f"version_policy: {{ specific: {{ versions: [ {card.version} ] }} }}"
    front_config = f"""name: "{name}"
backend: "python"
max_batch_size: 0
input [
  {{ name: "context" data_type: TYPE_FP32 dims: [ -1, {shape_in} ] }},
  {{ name: "symbols" data_type: TYPE_STRING dims: [ -1 ] }}
]
output [
  {{ name: "quantiles" data_type: TYPE_FP32 dims: [ -1, {shape_out} ] }},
  {{ name: "symbols" data_type: TYPE_STRING dims: [ -1 ] }}
]
{versions}
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
parameters: {{ key: "model_hash" value: {{ string_value: "{card.sha256}" }} }}
parameters: {{ key: "levels" value: {{ string_value: "{_levels(card)}" }} }}
"""
    network_config = f"""name: "{network}"
backend: "onnxruntime"
max_batch_size: {_LARGEST_BATCH}
input [ {{ name: "context" data_type: TYPE_FP32 dims: [ {shape_in} ] }} ]
output [ {{ name: "quantiles" data_type: TYPE_FP32 dims: [ {shape_out} ] }} ]
{versions}
instance_group [ {{ count: 1 kind: KIND_AUTO }} ]
dynamic_batching {{ }}
"""
    return {
        f"{name}/config.pbtxt": front_config,
        f"{name}/{card.version}/model.py": _FRONT.read_text(encoding="utf-8"),
        f"{name}/{card.version}/{CARD_FILE}": card.to_json(),
        f"{network}/config.pbtxt": network_config,
        f"{network}/{card.version}/{MODEL_FILE}": model.onnx,
    }


def _modelscope(model: StoredModel) -> dict[str, bytes | str]:
    card = model.card
    configuration = {
        "framework": "onnx",
        "task": "time-series-forecasting",
        "model": {"type": f"openbell-{card.name}", "file": MODEL_FILE, "sha256": card.sha256},
        "preprocessor": {"features": list(card.features), "lookback": card.lookback},
        "pipeline": {"type": "openbell-quantiles"},
    }
    scaler = {
        "note": "part of the network already; for information",
        "mean": card.scaler.mean,
        "deviation": card.scaler.deviation,
    }
    return {
        MODEL_FILE: model.onnx,
        CARD_FILE: card.to_json(),
        "configuration.json": json.dumps(configuration, indent=1) + "\n",
        "scaler.json": json.dumps(scaler, indent=1) + "\n",
        "inference.py": _INFERENCE,
        "requirements.txt": "numpy>=2\nonnxruntime>=1.23\n",
        "README.md": _readme(card),
    }


def _readme(card: ModelCard) -> str:
    rows = "\n".join(
        f"| {step} | {known['accuracy']:.3f} | {known['accuracy_always_up']:.3f} | "
        f"{known['brier']:.4f} | {known['brier_base_rate']:.4f} | {known['pinball']:.4f} | "
        f"{known['pinball_unconditional']:.4f} | {known['coverage_of_80_band']:.3f} |"
        for step, known in card.metrics.items()
    )
    return f"""---
license: apache-2.0
tasks:
- time-series-forecasting
frameworks:
- onnx
language:
- en
tags:
- quantile-forecast
- finance
---
# openbell {card.title}

Quantiles of a share's cumulative log return over the next 1 to {card.horizon} sessions, from
{card.lookback} sessions of {len(card.features)} features. Research software: no advice, and no
edge in direction beyond what the table shows.

Input `context` FP32 [n, {card.lookback}, {len(card.features)}]: {", ".join(card.features)}.
Output `quantiles` FP32 [n, {card.horizon}, {len(card.levels)}] at the levels {_levels(card)}.

Fitted on {_span(card.training_span)}, stopped on {_span(card.validation_span)}, calibrated on
{_span(card.calibration_span)} ({card.calibration.method}). The recorded companies are survivors, so
the figures are flattered. Measured on the second half of the calibration span, with widths
from the first:

| step | right | always "up" | Brier | base rate | pinball | unconditional | 80 % band holds |
|---|---|---|---|---|---|---|---|
{rows}

Weights {card.parameters:,}, seed {card.seed}, SHA-256 {card.sha256}.
"""


def _span(span: tuple[object, object]) -> str:
    return f"{span[0]} to {span[1]}"


def _levels(card: ModelCard) -> str:
    return ", ".join(f"{level:g}" for level in card.levels)


_INFERENCE = '''"""Run the model on features: python inference.py windows.npy quantiles.npy"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import onnxruntime

HERE = pathlib.Path(__file__).parent


def load():
    """Open the model after checking it against its card."""
    card = json.loads((HERE / "card.json").read_text())
    model = (HERE / "model.onnx").read_bytes()
    if hashlib.sha256(model).hexdigest() != card["sha256"]:
        raise SystemExit("model.onnx does not match card.json")
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def main():
    """Read windows (n, lookback, features), write quantiles (n, horizon, levels)."""
    windows = np.load(sys.argv[1], allow_pickle=False).astype(np.float32)
    (quantiles,) = load().run(None, {"context": windows})
    np.save(sys.argv[2], quantiles)


if __name__ == "__main__":
    main()
'''
