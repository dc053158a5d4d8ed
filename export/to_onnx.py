"""The deployed module as one ONNX graph of the contract."""

import ast
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxslim
import torch

from export.graph import ThresholdedSegmenter
from model.segmenter import Segmenter
from scene.artifact import OUTPUTS, SCORE_THRESHOLD

OPSET = 21
"""The newest opset for which ONNX Runtime has every operator of the graph on CUDA: a ``MaxPool`` of 22 it computes on
the CPU, and then makes no CUDA graph. ``DeformConv`` needs 19 at least."""

_THRESHOLD = np.float32(0)

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the exporter says of a node which modules it is in, from the outermost to the node itself."""


def write_onnx(segmenter: Segmenter, path: Path, fixed_rows: bool = False) -> Path:
    """Export through ``torch.export``, simplify, check with ``onnx.checker``, and write one file with its weights.

    The graph: ``image`` uint8 [B, H, W, 3] -> num, boxes, scores, mask_scores, classes, masks; B is dynamic. Its second
    input, ``score_threshold`` float32 [], is 0 unless it is given. With ``fixed_rows`` there is no such input: no shape
    depends on a value, as TensorRT and CUDA graphs need it, and masks are made of every row.
    """
    traced = _traced(segmenter, fixed_rows)
    _name_weights(traced.graph)
    model = onnxslim.slim(traced)
    if not fixed_rows:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(_THRESHOLD), SCORE_THRESHOLD))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _name_weights(graph: onnx.GraphProto) -> None:
    """Call the weights of deformable convolutions by their layers, by which tables of layers know them.

    In half precision they are widened for a float32 node: the exporter does that itself for small ones and calls them
    after the cast; large ones have the name already, before a cast that stays.
    """
    names: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "DeformConv":
            scopes = next(each.value for each in node.metadata_props if each.key == _SCOPES)
            *_, layer, _ = ast.literal_eval(scopes)
            names |= {node.input[1]: f"{layer}.weight", node.input[3]: f"{layer}.bias"}
    taken = set(names.values()).difference(names)
    names |= {each.name: f"{each.name}.narrow" for each in graph.initializer if each.name in taken}
    for weight in graph.initializer:
        weight.name = names.get(weight.name, weight.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _traced(segmenter: Segmenter, fixed_rows: bool) -> onnx.ModelProto:
    height, width = segmenter.network.config.size_hw
    images = torch.zeros((2, height, width, 3), dtype=torch.uint8)
    batch = {0: torch.export.Dim("B", min=1, max=64)}
    module, inputs, shapes = (
        (segmenter, {"image": images}, {"image": batch})
        if fixed_rows
        else (
            ThresholdedSegmenter(segmenter),
            {"image": images, SCORE_THRESHOLD: torch.tensor(_THRESHOLD)},
            {"image": batch, SCORE_THRESHOLD: None},
        )
    )
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(OUTPUTS),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of torchvision's absence and of its own use of torch; neither concerns who exports."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
