"""Headlines a second of the local scorers: the lexicon, and a BERT of the usual size.

The weights of a FinBERT are its users' own, so this one has BERT-base's shape and random
weights, every layer the same: what it says means nothing, how long it takes does.  Loading
the model is part of its figure, as it is part of each run.
"""

import asyncio
import datetime as dt
import hashlib
import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.table import Row
from domain.clock import UTC
from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.canaries import canaries
from sentiment.finbert_worker import probabilities
from sentiment.lexicon import LexiconScorer

_NOON = dt.datetime(2022, 12, 14, 12, tzinfo=UTC)
_LEXICON_ROUNDS = 100
_BERT_HEADLINES = 200
_WIDTH, _HEADS, _LAYERS, _INNER, _WORDS = 768, 12, 12, 3072, 30_522
_UNKNOWN = "[UNK]"
_COMMAND = "python -m bench headlines"


def measure() -> list[Row]:
    """Time each scorer that can run here."""
    rows = [_lexicon()]
    if importlib.util.find_spec("onnx") and importlib.util.find_spec("tokenizers"):
        rows.append(_bert())
    return rows


def _lexicon() -> Row:
    items = [
        NewsItem(
            item_id=f"{turn}-{number}",
            source="wire",
            published_at=_NOON - dt.timedelta(minutes=number + 1),
            headline=f"{canary.headline} {turn}",
            symbols=(Symbol(f"S{number:03d}"),),
        )
        for turn in range(_LEXICON_ROUNDS)
        for number, canary in enumerate(canaries())
    ]
    began = time.process_time()
    asyncio.run(LexiconScorer().score(items, _NOON))
    spent = time.process_time() - began
    return Row(
        name="headlines a second of CPU, lexicon",
        ours=len(items) / spent,
        unit="1/s",
        command=_COMMAND,
    )


def _bert() -> Row:
    known = [canary.headline for canary in canaries()]
    texts = [known[number % len(known)] for number in range(_BERT_HEADLINES)]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        request = {**_files(directory), "texts": texts}
        wall, cpu = time.perf_counter(), time.process_time()
        probabilities(request)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Row(
        name=f"headlines a second, a BERT of {_LAYERS} layers, 2 threads"
        f" ({len(texts) / cpu:.0f} a second of CPU)",
        ours=len(texts) / wall,
        unit="1/s",
        command=_COMMAND,
    )


def _files(directory: Path) -> dict[str, str]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers  # noqa: PLC0415

    words = sorted({word for one in canaries() for word in one.headline.lower().split()})
    vocabulary = {word: number for number, word in enumerate(("[PAD]", _UNKNOWN, *words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    model = _model()
    (directory / "model.onnx").write_bytes(model)
    return {
        "model": str(directory / "model.onnx"),
        "tokenizer": str(directory / "tokenizer.json"),
        "sha256": hashlib.sha256(model).hexdigest(),
    }


def _model() -> bytes:
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    made = np.random.default_rng(0)
    shapes = {
        "words": (_WORDS, _WIDTH),
        "square": (_WIDTH, _WIDTH),
        "wide": (_WIDTH, _INNER),
        "narrow": (_INNER, _WIDTH),
        "last": (_WIDTH, 3),
    }
    weights = {
        name: made.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes.items()
    }
    weights |= {
        "one": np.ones(_WIDTH, dtype=np.float32),
        "eighth": np.full(1, 0.125, dtype=np.float32),
    }
    numbers = {"split": [0, 0, _HEADS, _WIDTH // _HEADS], "join": [0, 0, _WIDTH], "first": [0]}
    tensors = [numpy_helper.from_array(one, name) for name, one in weights.items()]
    tensors += [
        numpy_helper.from_array(np.array(some, dtype=np.int64), name)
        for name, some in numbers.items()
    ]
    nodes = [helper.make_node("Gather", ["words", "input_ids"], ["x0"])]
    for layer in range(_LAYERS):
        nodes += _layer(helper, layer)
    nodes += [
        helper.make_node("Gather", [f"x{_LAYERS}", "first"], ["heads"], axis=1),
        helper.make_node("Squeeze", ["heads", "axis"], ["head"]),
        helper.make_node("MatMul", ["head", "last"], ["logits"]),
    ]
    tensors.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"))
    graph = helper.make_graph(
        nodes,
        "bert",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        initializer=tensors,
    )
    opset = [helper.make_opsetid("", 20)]
    made_model: bytes = helper.make_model(
        graph, opset_imports=opset, ir_version=9
    ).SerializeToString()
    return made_model


def _layer(helper: Any, number: int) -> list[Any]:
    """Attention and the two dense layers behind it, with their sums and norms."""

    def name(part: str) -> str:
        return f"{part}{number}"

    def node(kind: str, inputs: list[str], output: str, **more: Any) -> Any:
        return helper.make_node(kind, inputs, [output], **more)

    x, y = name("x"), f"x{number + 1}"
    nodes = []
    for part in ("q", "k", "v"):
        turned = [0, 2, 3, 1] if part == "k" else [0, 2, 1, 3]
        nodes += [
            node("MatMul", [x, "square"], name(f"{part}a")),
            node("Reshape", [name(f"{part}a"), "split"], name(f"{part}b")),
            node("Transpose", [name(f"{part}b")], name(part), perm=turned),
        ]
    return [
        *nodes,
        node("MatMul", [name("q"), name("k")], name("s")),
        node("Mul", [name("s"), "eighth"], name("t")),
        node("Softmax", [name("t")], name("p"), axis=-1),
        node("MatMul", [name("p"), name("v")], name("c")),
        node("Transpose", [name("c")], name("d"), perm=[0, 2, 1, 3]),
        node("Reshape", [name("d"), "join"], name("e")),
        node("MatMul", [name("e"), "square"], name("f")),
        node("Add", [name("f"), x], name("g")),
        node("LayerNormalization", [name("g"), "one"], name("h"), axis=-1),
        node("MatMul", [name("h"), "wide"], name("i")),
        node("Gelu", [name("i")], name("j")),
        node("MatMul", [name("j"), "narrow"], name("l")),
        node("Add", [name("l"), name("h")], name("m")),
        node("LayerNormalization", [name("m"), "one"], y, axis=-1),
    ]
