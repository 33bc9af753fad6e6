"""From a fitted network to an ONNX file with a dynamic batch, the same bytes each time."""

import contextlib
import hashlib
import io
import logging
import warnings

import onnx
import torch

from domain.errors import StateError
from forecasts.training.networks import QuantileNetwork

OPSET = 18
INPUT_NAME = "context"
OUTPUT_NAME = "quantiles"


def to_onnx(network: QuantileNetwork, lookback: int) -> bytes:
    """Export a network: ``context`` (n, lookback, features) to ``quantiles``."""
    network.eval()
    # A batch of two: torch would take a batch of one for a constant.
    example = torch.zeros(2, lookback, network.mean.numel())
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=65_536)},),
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise StateError("the network could not be exported to ONNX")
    return _bare(program.model_proto)


def weights_hash(model: bytes) -> str:
    """Hash the weights alone: names, shapes and values, whatever wrote the file."""
    digest = hashlib.sha256()
    tensors = onnx.load_model_from_string(model).graph.initializer
    for tensor in sorted(tensors, key=lambda one: one.name):
        values = onnx.numpy_helper.to_array(tensor)
        digest.update(f"{tensor.name}{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _bare(model: onnx.ModelProto) -> bytes:
    # The exporter notes stack traces with paths of the machine; they are nobody's business
    # and would make the file differ from machine to machine.
    model.producer_name, model.producer_version, model.doc_string = "openbell", "", ""
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
