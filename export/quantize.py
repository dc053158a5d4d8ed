"""A graph's network in eight bits, but for the layers that mind it most."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import TensorsData

from export.eight_bits import carriers, in_eight_bits
from export.network_part import NetworkPart, layers_of, network_part
from export.ranges import RangeMethod, value_ranges
from export.sensitivity import SENSITIVITY_PICTURES, cut, layer_errors
from scene.artifact import LayerSensitivity, Quantisation
from scene.errors import require

ERROR_BUDGET = 0.05
"""Error of the raw outputs that the layers in eight bits may sum up to by the table; the graph's was 1.4 times that.

At 0.043 the bundled network lost half a point of box AP and a fifth of mask AP, and no less with seven layers more in
float (0.029), which made it slower; with sixteen more (0.019) a fifth of both.
"""

_RESCORING = "maskiou_net."

_LARGE_WEIGHT = 2**14
"""Numbers. A layer of the rescoring network with more of them has many channels and a small map, so that reading its
weight anew each time costs nothing."""

_COLOURS = 3


def write_int8(
    graph: Path,
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    ranges: RangeMethod = "percentile",
    symmetric: bool = False,
    budget: float = ERROR_BUDGET,
    known: Quantisation | None = None,
) -> Quantisation:
    """Write the float graph of the contract with its network in eight bits, and answer how that came about.

    ``pictures`` uint8 RGB [H, W, 3] of the network's input size, one at least, show which values occur; they should
    look like what the network will see. Every layer's error is measured (``export.sensitivity``) and the fewest layers
    are kept as they were that the others together keep ``budget``; with ``known``, of the same network's other graph,
    its layers are kept and nothing is measured. Inputs and outputs stay as they are.

    Uint8 activations with a zero point for ONNX Runtime and OpenVINO, on a CPU, or all ``symmetric``, rounded before
    convolutions alone and with float biases, for TensorRT, which takes a graph of fixed rows: TensorRT-RTX without
    ``DeformConv``, full TensorRT with it.

    Kept whatever the table says: the convolution that reads the picture, of whose three channels eight-bit kernels make
    poor use, the pooling, and what follows the raw outputs. ``DeformConv`` computes in float32 in every engine: its
    weight, and the large ones of the rescoring, are only stored in eight bits.
    Raises ``ConfigurationError`` without a picture, ``ArtifactError`` for a graph that is none of ours.
    """
    require("pictures", len(pictures) > 0, "pictures to calibrate on", [])
    model = onnx.load(graph)
    _widen_weights(model.graph)
    model = onnx.shape_inference.infer_shapes(model)
    network = network_part(model)
    found = value_ranges(network, pictures, ranges, symmetric)
    table = known.layers if known else _measured(network, found, pictures, budget, symmetric)
    kept = _reads_colours(network).union(each.layer for each in table if each.kept)
    written = _quantised(model, network, found, kept, symmetric)
    onnx.checker.check_model(written, full_check=True)
    onnx.save(written, path)
    return Quantisation(len(pictures), ranges, table)


def _widen_weights(graph: onnx.GraphProto) -> None:
    """Widen once what the graph stores in half precision and widens in every run: large weights of ``DeformConv``."""
    weights = {each.name: each for each in graph.initializer}
    for node in [each for each in graph.node if each.op_type == "Cast" and each.input[0] in weights]:
        if node.attribute[0].i == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(weights[node.input[0]]).astype(np.float32)
            graph.initializer.append(onnx.numpy_helper.from_array(values, node.output[0]))
            graph.node.remove(node)


def _measured(
    network: NetworkPart, ranges: TensorsData, pictures: Sequence[NDArray[np.uint8]], budget: float, symmetric: bool
) -> list[LayerSensitivity]:
    step = max(1, len(pictures) // SENSITIVITY_PICTURES)
    errors = layer_errors(network, ranges, pictures[::step][:SENSITIVITY_PICTURES], symmetric)
    return cut(errors, budget, fixed=_reads_colours(network))


def _reads_colours(network: NetworkPart) -> set[str]:
    weights = {each.name: each.dims for each in network.model.graph.initializer}
    return {name for name, nodes in network.layers.items() if list(weights[nodes[0].input[1]])[1] == _COLOURS}


def _quantised(
    model: onnx.ModelProto, network: NetworkPart, ranges: TensorsData, kept: Collection[str], symmetric: bool
) -> onnx.ModelProto:
    """The whole graph; what it names as the network's part names it, it has itself."""
    chosen = [node for name, nodes in network.layers.items() if name not in kept for node in nodes]
    convolutions = {node.name for node in chosen if node.op_type == "Conv"}
    weights = {node.input[1] for node in chosen if node.op_type == "DeformConv"}
    if symmetric:
        return in_eight_bits(model, ranges, convolutions, weights, symmetric=True, lone=True)
    nodes = convolutions.union(carriers(network.model.graph, convolutions))
    written = in_eight_bits(model, ranges, nodes, weights.union(_large_rescoring(model.graph)))
    _shield_pooling(written.graph)
    return written


def _shield_pooling(graph: onnx.GraphProto) -> None:
    """Put another ReLU, which changes nothing, between the pooling of a ReLU's answer and its rounding. ONNX Runtime
    would round before it pools otherwise, and pool at a twentieth of its speed."""
    rectified = {node.output[0] for node in graph.node if node.op_type == "Relu"}
    for index, node in reversed(list(enumerate(graph.node))):
        if node.op_type == "MaxPool" and node.input[0] in rectified:
            answer = node.output[0]
            node.output[0] = f"{answer}_pooled"
            graph.node.insert(index + 1, onnx.helper.make_node("Relu", node.output, [answer], f"{node.name}_shield"))


def _large_rescoring(graph: onnx.GraphProto) -> Iterable[str]:
    sizes = {each.name: int(np.prod(each.dims)) for each in graph.initializer}
    names = (nodes[0].input[1] for name, nodes in layers_of(graph).items() if name.startswith(_RESCORING))
    return (name for name in names if sizes[name] >= _LARGE_WEIGHT)
