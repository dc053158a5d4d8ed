"""How much each layer minds eight bits, and which ones are left as they were."""

from collections.abc import Collection, Mapping, Sequence
from math import sqrt

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import TensorsData

from export.eight_bits import in_eight_bits, rectified
from export.network_part import IMAGE, NetworkPart
from scene.artifact import LayerSensitivity

SENSITIVITY_PICTURES = 2
"""So many show the errors, which differ little from picture to picture."""

_ERRORS_ONLY = 3

Answers = list[list[NDArray[np.float64]]]
"""Of each picture the raw outputs: class logits, box offsets, mask coefficients, prototypes."""


def layer_errors(
    network: NetworkPart, ranges: TensorsData, pictures: Sequence[NDArray[np.uint8]], symmetric: bool = False
) -> dict[str, float]:
    """Each layer's error with it alone in eight bits, by its name, in the order in which layers run.

    In eight bits are its weight and what it reads, of a deformable convolution its weight alone. Unless ``symmetric``,
    what it reads is so for a sum too, as in the shortcut around it, and so is its answer where another than a
    convolution takes that up: each rounding of the graph that is written counts about once.

    The error of one raw output is the root of the mean square of its change over that of the output itself; the layer's
    is the root of the mean of the four squares, so that each output counts alike, whatever its scale and size.
    ``pictures`` uint8 RGB [H, W, 3] of the network's size.
    """
    exact = _answers(network.model, network.answers, pictures)
    errors = {}
    for name in network.layers:
        alone = layer_alone(network, name, ranges, symmetric)
        errors[name] = relative_error(_answers(alone, network.answers, pictures), exact)
    return errors


def relative_error(answers: Answers, exact: Answers) -> float:
    """The error of raw outputs against the exact ones, as ``layer_errors`` puts the four together."""
    squares = [
        sum(np.square(ours - theirs).sum() for ours, theirs in zip(*pair, strict=True))
        / max(sum(np.square(theirs).sum() for theirs in pair[1]), np.finfo(np.float64).tiny)
        for pair in zip(zip(*answers, strict=True), zip(*exact, strict=True), strict=True)
    ]
    return sqrt(sum(squares) / len(squares))


def cut(errors: Mapping[str, float], budget: float, fixed: Collection[str] = ()) -> list[LayerSensitivity]:
    """Every layer, the most sensitive first, the fewest of them kept as they were that the others keep the budget.

    Errors of layers are taken for independent: together they are the root of the sum of their squares. It is less than
    they are, for a deformable convolution magnifies what reaches it. ``fixed`` names layers that are kept whatever
    their error.
    """
    falling = sorted(errors, key=lambda name: -errors[name])
    rest = sum(errors[name] ** 2 for name in falling if name not in fixed)
    table = []
    for name in falling:
        kept = name in fixed
        if not kept and rest > budget**2:
            kept, rest = True, rest - errors[name] ** 2
        table.append(LayerSensitivity(name, errors[name], kept))
    return table


def layer_alone(network: NetworkPart, name: str, ranges: TensorsData, symmetric: bool = False) -> onnx.ModelProto:
    """The network with that layer in eight bits, and no other."""
    nodes = network.layers[name]
    if nodes[0].op_type == "DeformConv":
        return in_eight_bits(network.model, ranges, (), weights={nodes[0].input[1]}, lone=True)
    graph = network.model.graph
    values = () if symmetric else _taken_up(graph, nodes) | _summed(graph, nodes)
    return in_eight_bits(
        network.model, ranges, {node.name for node in nodes}, values=values, symmetric=symmetric, lone=True
    )


def _taken_up(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """What the nodes answer, behind the ReLU if there is one, where another than a convolution reads it."""
    behind = rectified(graph)
    answers = {behind.get(node.output[0], node.output[0]) for node in nodes}
    return answers.intersection(name for node in graph.node if node.op_type != "Conv" for name in node.input)


def _summed(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """What the nodes read, where a sum reads it too."""
    read = {node.input[0] for node in nodes}
    return read.intersection(name for node in graph.node if node.op_type == "Add" for name in node.input)


def _answers(model: onnx.ModelProto, names: Sequence[str], pictures: Sequence[NDArray[np.uint8]]) -> Answers:
    """Every rounding is carried out as the graph says, and none merged into an operator that rounds otherwise."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [
        [value.astype(np.float64) for value in session.run(list(names), {IMAGE: picture[None]})] for picture in pictures
    ]
