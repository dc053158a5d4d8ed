"""The deployed module as one ONNX graph of the contract."""

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

OPSET = 22
"""The oldest opset in which the exporter's operators need no conversion and ``DeformConv`` has its newest form."""


def write_onnx(segmenter: Segmenter, path: Path) -> Path:
    """Export through ``torch.export``, simplify, check with ``onnx.checker``, and write one file with its weights.

    The graph: ``image`` uint8 [B, H, W, 3] -> num, boxes, scores, mask_scores, classes, masks; B is dynamic. Its second
    input, ``score_threshold`` float32 [], is 0 unless it is given.
    """
    height, width = segmenter.network.config.size_hw
    threshold = np.float32(0)
    with _quiet():
        program = torch.onnx.export(
            ThresholdedSegmenter(segmenter).eval(),
            (torch.zeros((2, height, width, 3), dtype=torch.uint8), torch.tensor(threshold)),
            input_names=["image", SCORE_THRESHOLD],
            output_names=list(OUTPUTS),
            dynamic_shapes={"image": {0: torch.export.Dim("B", min=1, max=64)}, "score_threshold": None},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = onnxslim.slim(program.model_proto)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(threshold), SCORE_THRESHOLD))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


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
