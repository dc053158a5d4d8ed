"""Quantise and dequantise nodes around a graph's convolutions (Jacob et al. 2018, section 2), as engines want them.

Weights are int8 per output channel (Krishnamoorthi 2018, section 3). Activations are uint8 with a zero point, the pair
that ONNX Runtime's kernels multiply fastest on a CPU, or symmetric int8, the only one that TensorRT takes.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stdout

import onnx
import onnxruntime
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata

_CARRY = ("Relu", "Add", "Resize")
"""What hands eight bits on. A pooling would: at a twentieth of its speed in ONNX Runtime."""

_ROUNDING = ("QuantizeLinear", "DequantizeLinear")

_ERRORS_ONLY, _WARNINGS = 3, 2


def rectified(graph: onnx.GraphProto) -> dict[str, str]:
    """Values that a ReLU alone reads -> its answer: the two are one operator."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    alone = {name: nodes[0] for name, nodes in readers.items() if len(nodes) == 1}
    return {name: node.output[0] for name, node in alone.items() if node.op_type == "Relu"}


def carriers(graph: onnx.GraphProto, convolutions: Collection[str]) -> set[str]:
    """Names of the nodes that stay in eight bits between convolutions of these names: all that they read is so, and
    what they answer is read so, or they are a ReLU behind one of them."""
    wanted = {node.input[0] for node in graph.node if node.name in convolutions}
    answers = {node.output[0] for node in graph.node if node.name in convolutions}
    values, found = wanted | answers, []
    for node in graph.node:
        read = node.input if node.op_type == "Add" else node.input[:1]
        if node.op_type in _CARRY and values.issuperset(read):
            values.update(node.output)
            found.append(node)
    names = set()
    for node in reversed(found):
        if node.output[0] in wanted or (node.op_type == "Relu" and node.input[0] in answers):
            wanted.update(node.input)
            names.add(node.name)
    return names


def in_eight_bits(
    model: onnx.ModelProto,
    ranges: TensorsData,
    nodes: Collection[str],
    weights: Collection[str] = (),
    values: Collection[str] = (),
    symmetric: bool = False,
    lone: bool = False,
) -> onnx.ModelProto:
    """A copy of the graph, its shapes inferred, in which these ``nodes`` compute in eight bits.

    ``weights`` names initialisers that are only stored in eight bits, ``values`` what else is rounded. What the nodes
    answer is rounded too, biases are int32, and all who read a rounded value read it so, as kernels on a CPU need it.
    Not so where ``lone``: there a node rounds what it reads for itself alone, and its answer and bias are float.
    """
    with quiet():
        quantizer = _quantizer(model, ranges, nodes, symmetric, lone)
        for name in weights:
            quantizer.quantize_weight_tensor_per_channel(name, 0)
        for name in values:
            quantizer.quantize_activation_tensor(name)
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantised: onnx.ModelProto = quantizer.model.model
    if lone:
        _spare_others(quantised.graph, {*nodes}, {*values})
    _restore_description(quantised, model)
    return quantised


def _quantizer(
    model: onnx.ModelProto, ranges: TensorsData, nodes: Collection[str], symmetric: bool, lone: bool
) -> QDQQuantizer:
    """The library's, on a copy of the graph. To it no nodes are all of these kinds, and no kinds are none."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    add_infer_metadata(copied)
    kinds = sorted({node.op_type for node in copied.graph.node if node.name in nodes})
    return QDQQuantizer(
        copied,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=list(nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=kinds,
        extra_options={
            "ActivationSymmetric": symmetric,
            "OpTypesToExcludeOutputQuantization": kinds if lone else [],
            "QuantizeBias": not lone,
        },
    )


def _spare_others(graph: onnx.GraphProto, nodes: set[str], values: set[str]) -> None:
    """Let all but these nodes read what was there before it was rounded, but for these values."""
    made_by = {node.output[0]: node for node in graph.node if node.op_type in _ROUNDING}
    exact = {
        name: made_by[node.input[0]].input[0]
        for name, node in made_by.items()
        if node.input[0] in made_by and made_by[node.input[0]].input[0] not in values
    }
    for node in graph.node:
        if node.name not in nodes and node.op_type not in _ROUNDING:
            node.input[:] = [exact.get(name, name) for name in node.input]


def _restore_description(quantised: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Shapes as the graph had them before are no longer its own, and the library writes its own mark beside ours."""
    del quantised.graph.value_info[:], quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)


@contextmanager
def quiet() -> Iterator[None]:
    """The library prints its progress and advises a preparation that the exporter has done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    try:
        with redirect_stdout(None):
            yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)
        logger.setLevel(level)
