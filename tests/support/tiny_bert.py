"""A model with a BERT's inputs and outputs that knows one word of each canary, and nothing else."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sentiment.canaries import canaries

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
ORDER = ("POSITIVE", "NEGATIVE", "NEUTRAL")
_CLASS = {"BULLISH": 0, "BEARISH": 1, "NEUTRAL": 2}


def write_tiny_bert(directory: Path, *, order: tuple[int, int, int] = (0, 1, 2)) -> str:
    """Write model.onnx and tokenizer.json; return the model's SHA-256.

    ``order`` places the classes positive, negative and neutral among the outputs.
    """
    splitter = pre_tokenizers.BertPreTokenizer()
    folded = normalizers.BertNormalizer()
    words = [
        [word for word, _ in splitter.pre_tokenize_str(folded.normalize_str(one.headline))]
        for one in canaries()
    ]
    counts = Counter(word for some in words for word in set(some))
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *sorted(counts)))}
    table = np.zeros((len(vocabulary), 3), dtype=np.float32)
    for canary, some in zip(canaries(), words, strict=True):
        own = next(word for word in some if counts[word] == 1)
        table[vocabulary[own], order[_CLASS[canary.label.value]]] = 8.0
    table[vocabulary["[CLS]"], order[2]] = 2.0

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = folded
    tokenizer.pre_tokenizer = splitter
    ends = (("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    tokenizer.post_processor = processors.BertProcessing(*ends)
    tokenizer.save(str(directory / "tokenizer.json"))

    model = _model(table).SerializeToString()
    (directory / "model.onnx").write_bytes(model)
    return hashlib.sha256(model).hexdigest()


def _model(table: np.ndarray) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["mask", "types"], ["counted"]),
        helper.make_node("Unsqueeze", ["counted", "last"], ["wide"]),
        helper.make_node("Mul", ["embedded", "wide"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "middle"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        initializer=[
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "middle"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
