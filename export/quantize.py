"""A graph's convolutions in eight bits, as explicit quantise and dequantise nodes (Jacob et al. 2018, section 2).

Activations are uint8 with a zero point, weights int8 per output channel (Krishnamoorthi 2018, section 3): the pair that
ONNX Runtime's kernels multiply fastest on a CPU. Decoding, suppression, masks and rescoring stay float32.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from scene.image import RgbImage, network_input
from training.data.synthetic import SceneSettings, scene

CALIBRATION_PICTURES = 64
"""So many show the ranges of the values."""

_SEED = 700_000

_QUANTISED = ("Conv", "Relu", "Add", "Resize")
"""What runs in eight bits; deformable convolutions and all others do not. A pooling would: at a third of the speed."""

_BEHIND_THE_NETWORK = ("Softmax", "Exp", "TopK")
"""The first of these ends the network: what follows decodes its answer."""

_FINE = ("backbone.layers.0.", "bbox_layer.weight", "conv_offset_mask.weight")
"""Weights of convolutions that stay float32: the first stage, whose rounding weighs most (half of the error of the
class logits came from it), and those whose answers are places, of which 256 levels are too few."""

_PERCENTILE = 99.999
"""Of each activation's values this share must lie within its range: with the few beyond it all others become coarser
(the error of the class logits was 6.1 % of their deviation with the whole range, 4.2 % so)."""

_PICTURES_AT_ONCE = 4
"""Every activation of so many is held in memory."""

_ERRORS_ONLY, _WARNINGS = 3, 2


class _Pictures(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    def __init__(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._pictures = pictures
        self._left = iter(pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    def set_range(self, start_index: int, end_index: int) -> None:
        """The library asks for a part of the pictures at a time."""
        self._left = iter(self._pictures[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next picture as the graph's input, or None after the last."""
        picture = next(self._left, None)
        return None if picture is None else {"image": picture[None]}


def generated_streets(size_hw: tuple[int, int], count: int = CALIBRATION_PICTURES) -> list[RgbImage]:
    """Generated street scenes that no training set holds, at the network's (height, width), to calibrate on."""
    settings = SceneSettings(height=512, width=1024)
    return [network_input(scene(number, settings).image, size_hw) for number in range(_SEED, _SEED + count)]


def write_int8(graph: Path, path: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    """Write the float32 graph of the contract with its convolutions in eight bits; inputs and outputs stay as they are.

    ``pictures`` uint8 RGB [H, W, 3] of the network's input size, one at least, show which values occur; they should
    look like what the network will see. The first convolution stays float32: eight-bit kernels are slower with its
    three channels.
    """
    kept = _kept(onnx.load(graph, load_external_data=False).graph)
    whole_parts = -(-len(pictures) // _PICTURES_AT_ONCE) * _PICTURES_AT_ONCE
    pictures = [pictures[index % len(pictures)] for index in range(whole_parts)]
    with _quiet():
        quantize_static(
            graph,
            path,
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(_QUANTISED),
            nodes_to_exclude=kept,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={
                "ActivationSymmetric": False,
                "CalibPercentile": _PERCENTILE,
                "CalibStridedMinMax": _PICTURES_AT_ONCE,  # heeded by every method, whatever its name
            },
        )
    onnx.checker.check_model(path, full_check=True)
    return path


def _kept(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that stay float32: the first convolution with what prepares its input, the fine ones, and what
    decodes. Nodes are stored in an order in which they can run."""
    first = next(index for index, node in enumerate(graph.node) if node.op_type == "Conv")
    kept = [node.name for node in graph.node[: first + 1]]
    tensors: set[str] = set()
    for node in graph.node:
        if node.op_type in _BEHIND_THE_NETWORK or tensors.intersection(node.input):
            tensors.update(node.output)
            kept.append(node.name)
        elif any(part in name for name in node.input for part in _FINE):
            kept.append(node.name)
    return kept


@contextmanager
def _quiet() -> Iterator[None]:
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
