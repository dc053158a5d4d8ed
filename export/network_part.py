"""The network within a graph of the contract: its layers by their names in the checkpoint, and its raw outputs."""

from collections.abc import Iterator
from typing import NamedTuple

import onnx
from onnx.utils import Extractor

from scene.errors import ArtifactError

IMAGE = "image"

CONVOLUTIONS = ("Conv", "DeformConv")

_HEAD = "prediction_layers.0."
_ANSWERS = (f"{_HEAD}conf_layer", f"{_HEAD}bbox_layer", f"{_HEAD}mask_layer")
_PROTOTYPES = "proto_net."

_LEADS_ON = ("Relu", "Tanh", "Transpose", "Reshape", "Concat")
"""What stands between the head's convolutions and the raw outputs, in which the levels stand side by side."""


class NetworkPart(NamedTuple):
    """``model``: the graph from the picture to the raw outputs, its shapes inferred; ``answers``: the names of these,
    class logits, box offsets, mask coefficients and prototypes; ``layers``: nodes by their layer's name."""

    model: onnx.ModelProto
    answers: tuple[str, ...]
    layers: dict[str, list[onnx.NodeProto]]


def network_part(model: onnx.ModelProto) -> NetworkPart:
    """Cut the network out of a whole graph, whose shapes are inferred.

    Raises ``ArtifactError`` for a graph that is none of ours, or that is quantised already.
    """
    layers = layers_of(model.graph)
    prototypes = [name for name in layers if name.startswith(_PROTOTYPES)]
    rounded = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    if rounded or not prototypes or any(name not in layers for name in _ANSWERS):
        raise ArtifactError(
            "expected a float graph of StreetMask with its prediction head and its protonet by their names, found "
            "none; quantise a model.onnx as `streetmask export` writes it"
        )
    last_nodes = [layers[name][0] for name in (*_ANSWERS, prototypes[-1])]
    answers = tuple(_answer(model.graph, node) for node in last_nodes)
    part = onnx.shape_inference.infer_shapes(Extractor(model).extract_model([IMAGE], list(answers)))
    return NetworkPart(part, answers, layers_of(part.graph))


def layers_of(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Convolutions by the name of their module in the checkpoint, such as ``backbone.layers.0.0.conv1``, in the order
    in which they run. A layer that several levels share has several nodes."""
    layers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type in CONVOLUTIONS:
            layers.setdefault(_layer_name(node), []).append(node)
    return layers


def _layer_name(node: onnx.NodeProto) -> str:
    """By its bias where its weight has another shape than the checkpoint's, and so another name."""
    for name in node.input[1:]:
        path, _, kind = name.rpartition(".")
        if kind in ("weight", "bias"):
            return path[path.find("network.") + len("network.") :] if "network." in path else path
    return str(node.name)


def _answer(graph: onnx.GraphProto, node: onnx.NodeProto) -> str:
    """The raw output that the node's answer becomes, or becomes a part of."""
    *_, last = _led_on(graph, node)
    return last


def _led_on(graph: onnx.GraphProto, node: onnx.NodeProto) -> Iterator[str]:
    following: onnx.NodeProto | None = node
    while following is not None:
        value = following.output[0]
        yield value
        if following.op_type == "Concat":
            return
        following = next((each for each in graph.node if each.op_type in _LEADS_ON and value in each.input), None)
