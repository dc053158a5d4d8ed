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

_Limits = tuple[np.floating[Any], np.floating[Any]]

_PERCENTILE = 99.999
"""Of each activation's values this share must lie within its range: with the few beyond it all others become coarser.
On the bundled network anything from 99.99 to the whole range came within a twentieth of the same error."""

_BINS = 2048
"""Of a histogram from minus to plus the largest value."""

_SAMPLED = 2**20
"""Of a value's numbers so many are counted of each picture: counting all takes longer than the network does."""

_STRIDE = 8
"""Bins between one range that is tried and the next."""

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
    collector = HistogramCollector("percentile", False, _BINS, None, _PERCENTILE, None)
    with quiet():
        for picture in pictures:
            values = session.run(names, {IMAGE: picture[None]})
            collector.collect({name: _sample(value) for name, value in zip(names, values, strict=True)})
        found: dict[str, _Limits] = (
            {name: each[:2] for name, each in collector.compute_percentile().items()}
            if method == "percentile"
            else {name: _least_changing(*each[:4]) for name, each in collector.get_histogram_dict().items()}
        )
    types = {info.name: _numpy_type(info) for info in (*graph.value_info, *graph.output)}
    data = {name: _data(limits, types[name]) for name, limits in found.items()}
    return TensorsData(_METHODS[method], data | ({} if symmetric else _merged(graph, data)))


def divergence(counts: NDArray[np.float64], kept: int, levels: int) -> float:
    """How much of a distribution's information is lost (Kullback & Leibler) if its first ``kept`` bins share ``levels``
    values, and those behind are taken for the last one. ``counts`` [n] by magnitude; infinite where all is lost."""
    inside = counts[:kept]
    clipped = inside.copy()
    clipped[-1] += counts[kept:].sum()
    level, occupied = np.arange(kept) * levels // kept, inside > 0
    means = np.bincount(level, inside, levels) / np.maximum(np.bincount(level, occupied, levels), 1)
    rounded = np.where(occupied, means[level], 0)
    if not rounded.any() or (clipped[rounded == 0] > 0).any():
        return np.inf
    shares, rounded = clipped[occupied] / clipped.sum(), rounded[occupied] / rounded.sum()
    return float((shares * np.log(shares / rounded)).sum())


def _least_changing(
    histogram: NDArray[np.int64], edges: NDArray[np.floating[Any]], low: np.float32, high: np.float32
) -> _Limits:
    """The range that changes the distribution least. Zeros, of which a ReLU leaves many, are exact in any range: they
    would outweigh all else."""
    half = len(histogram) // 2
    counts = (histogram[half:] + histogram[:half][::-1]).astype(np.float64)
    counts[0] = counts[1]
    levels = 256 if low >= 0 else 128
    tried = range(len(counts), levels - 1, -_STRIDE)
    kept = min(tried, key=lambda each: divergence(counts, each, levels))
    limit = np.float32(edges[half + kept])
    return max(low, -limit), min(high, limit)


def _read(network: NetworkPart) -> list[str]:
    return sorted({node.input[0] for nodes in network.layers.values() for node in nodes if node.op_type == "Conv"})


def _rounded(network: NetworkPart) -> list[str]:
    """What may be rounded. Of a convolution and its ReLU, which become one operator, the ReLU's answer."""
    graph = network.model.graph
    convolutions = [node for nodes in network.layers.values() for node in nodes if node.op_type == "Conv"]
    carried = carriers(graph, {node.name for node in convolutions})
    carrying = [node for node in graph.node if node.name in carried]
    answers = {node.output[0] for node in (*convolutions, *carrying)}
    return sorted((answers | set(_read(network))) - rectified(graph).keys())


def _sample(value: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Values at an odd distance from each other, so that they are not all of the same columns."""
    step = -(-value.size // _SAMPLED) | 1
    return value.ravel()[::step].astype(np.float32)


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


def _data(limits: _Limits, dtype: type[np.floating[Any]]) -> TensorData:
    low, high = (np.array(side, dtype) for side in limits)
    return TensorData(lowest=low, highest=high)
