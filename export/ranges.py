"""The range within which each value of a network lies, as pictures show it: what its 256 levels are spread over."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import HistogramCollector, TensorData, TensorsData

from export.eight_bits import carriers, quiet, rectified
from export.network_part import IMAGE, NetworkPart
from scene.errors import require

RangeMethod = Literal["percentile", "entropy"]
"""Leave out the few values that lie far from all others, or change the distribution least (Migacz 2017)."""

_METHODS = {"percentile": CalibrationMethod.Percentile, "entropy": CalibrationMethod.Entropy}

_PERCENTILE = 99.999
"""Of each activation's values this share must lie within its range: with the few beyond it all others become coarser
(the error of the class logits was 6.1 % of their deviation with the whole range, 4.2 % so)."""

_BINS, _LEVELS = {"percentile": 2048, "entropy": 1024}, 256
"""Bins of a histogram from minus to plus the largest value; the search for the least entropy takes their square."""

_ERRORS_ONLY = 3


def value_ranges(
    network: NetworkPart, pictures: Sequence[NDArray[np.uint8]], method: RangeMethod, symmetric: bool = False
) -> TensorsData:
    """The range of every value that a convolution of the network reads or answers, and of what carries it on.

    ``pictures`` uint8 RGB [H, W, 3] of the network's size. Where ``symmetric``, of what convolutions read alone.
    """
    require("ranges", method in _METHODS, "percentile or entropy", method)
    graph = network.model.graph
    names = _read(network) if symmetric else _rounded(network)
    session = _observed(network.model, names)
    collector = HistogramCollector(method, False, _BINS[method], _LEVELS, _PERCENTILE, "same")
    with quiet():
        for picture in pictures:
            values = session.run(names, {IMAGE: picture[None]})
            collector.collect({name: value.astype(np.float32) for name, value in zip(names, values, strict=True)})
        found = collector.compute_collection_result()
    types = {info.name: _numpy_type(info) for info in (*graph.value_info, *graph.output)}
    data = {name: _data(low_high[:2], types[name]) for name, low_high in found.items()}
    return TensorsData(_METHODS[method], data | ({} if symmetric else _merged(graph, data)))


def _read(network: NetworkPart) -> list[str]:
    return sorted({node.input[0] for nodes in network.layers.values() for node in nodes if node.op_type == "Conv"})


def _rounded(network: NetworkPart) -> list[str]:
    """What may be rounded. Of a convolution and its ReLU, which become one operator, the ReLU's answer."""
    graph = network.model.graph
    convolutions = [node for nodes in network.layers.values() for node in nodes if node.op_type == "Conv"]
    carried = set(carriers(graph, {node.name for node in convolutions}))
    carrying = [node for node in graph.node if node.name in carried]
    answers = {node.output[0] for node in (*convolutions, *carrying)}
    return sorted((answers | set(_read(network))) - rectified(graph).keys())


def _merged(graph: onnx.GraphProto, data: Mapping[str, TensorData]) -> dict[str, TensorData]:
    return {name: data[answer] for name, answer in rectified(graph).items() if answer in data}


def _observed(model: onnx.ModelProto, names: Iterable[str]) -> onnxruntime.InferenceSession:
    """A session that also answers the values of these names."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[:]
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _numpy_type(info: onnx.ValueInfoProto) -> type[np.floating[Any]]:
    return np.float16 if info.type.tensor_type.elem_type == TensorProto.FLOAT16 else np.float32


def _data(low_high: tuple[Any, Any], dtype: type[np.floating[Any]]) -> TensorData:
    low, high = (np.array(side, dtype) for side in low_high)
    return TensorData(lowest=low, highest=high)
