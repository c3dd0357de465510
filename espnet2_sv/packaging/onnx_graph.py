"""ONNX graphs of speaker networks: tracing, mixed batches and quantisation."""

import contextlib
import ctypes
import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from espnet2_sv.errors import SVError
from espnet2_sv.models.traceable import TraceableSpeakerModel

INPUTS = ("waveform", "lengths")
OUTPUT = "embedding"
OPSET = 17  # the first with LayerNormalization; runtimes of 2022 and later have it
IR_VERSION = 8  # of the same time
LARGEST_FILE = 2**31 - 2**24  # bytes; the format ends at 2 GiB
# In the graph of an utterance, which is the body of a loop
_UTTERANCE = ("utterance", "samples")
_UTTERANCE_OUTPUT = "utterance_embedding"
_FEATURES = "/backbone/features/"  # beginning of the front end's node names


def trace(network: TraceableSpeakerModel) -> onnx.ModelProto:
    """Turn a network into a graph.

    Args:
        network: The network; see its ``one_by_one`` for what the graph can process.

    Returns:
        The graph: of batches, or of one utterance, which :func:`over_utterances` makes
        one of batches.

    Raises:
        SVError: An operator or a module cannot be exported, or the file would be larger
            than the format allows.
    """
    size = sum(t.nbytes for t in network.state_dict().values())
    if size > LARGEST_FILE:
        raise SVError(
            f"the model has {size / 2**30:.1f} GiB of weights; an ONNX file holds 2 GiB"
        )
    batch, samples = 1 if network.one_by_one else 2, network.minimum_samples + 9999
    speech = 0.1 * torch.randn(batch, samples)
    lengths = torch.tensor([samples, samples - 2222][:batch])
    names = _UTTERANCE if network.one_by_one else INPUTS
    axes = {names[0]: {1: "S"}}
    if not network.one_by_one:
        axes = {names[0]: {0: "B", 1: "S"}, names[1]: {0: "B"}, OUTPUT: {0: "B"}}
    written = io.BytesIO()
    # The exporter that is based on torch.export takes forty times as long, and its
    # graphs compute the same. A trace warns of every shape that it finds a constant;
    # whether it is one is checked with the finished graph.
    with warnings.catch_warnings(), _stdout_discarded():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                (speech, lengths),
                written,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(names),
                output_names=[_UTTERANCE_OUTPUT if network.one_by_one else OUTPUT],
                dynamic_axes=axes,
            )
        except torch.onnx.errors.UnsupportedOperatorError as e:
            # e.g. "Exporting the operator 'aten::fft_rfft' to ONNX opset ..."
            operator = str(e).split("'")[1::2] or [str(e)]
            raise SVError(
                f"this model cannot be exported: operator {operator[0]}"
            ) from e
        except (RuntimeError, TypeError, ValueError) as e:
            reason = " ".join(str(e).split())[:200]
            raise SVError(
                f"this model cannot be exported: module {_failed_module(e)}: {reason}"
            ) from e
    model = onnx.load_from_string(written.getvalue())
    model.ir_version = IR_VERSION
    return model


@contextlib.contextmanager
def _stdout_discarded() -> Iterator[None]:
    """Discard what C++ code prints: the exporter prints all of a graph that fails."""
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    flush(None)
    with open(os.devnull, "wb") as devnull:
        stdout = os.dup(1)
        os.dup2(devnull.fileno(), 1)
        try:
            yield
        finally:
            flush(None)
            os.dup2(stdout, 1)
            os.close(stdout)


def _failed_module(error: BaseException) -> str:
    """Return the class of the innermost module that was running."""
    name = "unknown"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if isinstance(module, torch.nn.Module):
            name = type(module).__name__
    return name


def over_utterances(
    model: onnx.ModelProto, network: TraceableSpeakerModel
) -> onnx.ModelProto:
    """Return the graph of batches.

    A network that is not ``one_by_one`` has it already. For another one, a loop cuts
    the padding from each utterance and runs the graph on it alone.

    Args:
        model: What :func:`trace` returned, perhaps quantised.
        network: The network.
    """
    if not network.one_by_one:
        return model
    graph = model.graph
    size = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    constants = {
        "zero": [0],
        "one": [1],
        "both_axes": [0, 1],
        "minimum": [network.minimum_samples],
    }
    waveform, lengths = INPUTS
    utterance, samples = _UTTERANCE
    node = helper.make_node
    body = helper.make_graph(
        [
            node("Unsqueeze", ["index", "zero"], ["begin"]),
            node("Add", ["begin", "one"], ["end"]),
            node("Slice", [lengths, "begin", "end", "zero"], [samples]),
            # so that the network can run; what it gives for a wrong length is NaN
            node("Max", [samples, "minimum"], ["enough"]),
            node("Min", ["enough", "width"], ["cut"]),
            node("Concat", ["begin", "zero"], ["begins"], axis=0),
            node("Concat", ["end", "cut"], ["ends"], axis=0),
            node("Slice", [waveform, "begins", "ends", "both_axes"], [utterance]),
            *graph.node,
            node("Squeeze", [_UTTERANCE_OUTPUT, "zero"], ["row"]),
            node("Identity", ["going"], ["going_on"]),
        ],
        "utterance",
        [
            helper.make_tensor_value_info("index", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("row", TensorProto.FLOAT, [size]),
        ],
    )
    outer = helper.make_graph(
        [
            node("Shape", [waveform], ["batch"], start=0, end=1),
            node("Shape", [waveform], ["width"], start=1, end=2),
            node("Squeeze", ["batch", "zero"], ["count"]),
            node("Loop", ["count", ""], [OUTPUT], body=body),
        ],
        "utterances",
        [
            helper.make_tensor_value_info(waveform, TensorProto.FLOAT, ["B", "S"]),
            helper.make_tensor_value_info(lengths, TensorProto.INT64, ["B"]),
        ],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["B", size])],
        [
            *graph.initializer,
            *(
                numpy_helper.from_array(np.array(values, np.int64), name)
                for name, values in constants.items()
            ),
        ],
    )
    whole = helper.make_model(outer, opset_imports=model.opset_import)
    whole.ir_version = model.ir_version
    return whole


def quantize_linear(model: onnx.ModelProto) -> tuple[onnx.ModelProto, float]:
    """Quantise the linear layers to 8-bit integers, dynamically; not the front end.

    Args:
        model: What :func:`trace` returned.

    Returns:
        The quantised graph, and the fraction of the weights that are integers.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    features = [n.name for n in model.graph.node if n.name.startswith(_FEATURES)]
    with tempfile.TemporaryDirectory() as folder:
        prepared, path = Path(folder, "prepared.onnx"), Path(folder, "quantised.onnx")
        quant_pre_process(
            model, prepared, skip_optimization=True, skip_symbolic_shape=True
        )
        quantize_dynamic(
            prepared,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=True,  # else products overflow on processors without VNNI
            nodes_to_exclude=features,
        )
        quantised = onnx.load(path)
    sizes = {True: 0, False: 0}
    for tensor in quantised.graph.initializer:
        sizes[tensor.data_type == TensorProto.INT8] += int(np.prod(tensor.dims))
    return quantised, sizes[True] / max(1, sum(sizes.values()))


def serialize(model: onnx.ModelProto, facts: dict[str, str]) -> bytes:
    """Return a file's contents, with metadata, of a graph that is well-formed."""
    del model.metadata_props[:]
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    return model.SerializeToString()
