"""FinBERT's own process: reads headlines, runs ONNX Runtime, writes probabilities.

Started for one run and gone after it, so that a model that crashes, hangs or eats memory
costs the run its opinion and not the daemon.  It reads ONNX and JSON; nothing it loads can
carry code.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# A headline is short; what is longer is cut, as it was in training.
LONGEST_TOKENS = 64
_BATCH = 16
# Enough for a run of some hundred headlines, and one core stays for the daemon.
_THREADS = 2


def main() -> int:
    """Answer one request on the standard input: model, tokenizer, digest, texts."""
    request = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"probabilities": probabilities(request)}
    except Exception as exc:  # noqa: BLE001 - whatever it is, the parent names it
        answer = {"error": f"{type(exc).__name__}: {exc}"[:500]}
    json.dump(answer, sys.stdout)
    return 0


def probabilities(request: dict[str, Any]) -> list[list[float]]:
    """Return the probability of each class for each text.

    Raises:
        ValueError: the model is not the one that was meant.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415

    model = Path(request["model"]).read_bytes()
    if hashlib.sha256(model).hexdigest() != request["sha256"]:
        raise ValueError("the model is not the one that sentiment.finbert.sha256 names")
    tokenizer = Tokenizer.from_str(Path(request["tokenizer"]).read_text(encoding="utf-8"))
    tokenizer.enable_truncation(max_length=LONGEST_TOKENS)
    tokenizer.enable_padding()
    session = _session(model)
    wanted = {one.name for one in session.get_inputs()}
    rows: list[list[float]] = []
    for batch in _batches(request["texts"]):
        encoded = tokenizer.encode_batch(batch)
        feeds = {
            "input_ids": [one.ids for one in encoded],
            "attention_mask": [one.attention_mask for one in encoded],
            "token_type_ids": [one.type_ids for one in encoded],
        }
        arrays = {name: np.array(feeds[name], dtype=np.int64) for name in sorted(wanted)}
        rows += _softmax(session.run(None, arrays)[0]).tolist()
    return rows


def _session(model: bytes) -> Any:
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for place in range(0, len(texts), _BATCH):
        yield texts[place : place + _BATCH]


def _softmax(logits: Any) -> Any:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


if __name__ == "__main__":
    raise SystemExit(main())
