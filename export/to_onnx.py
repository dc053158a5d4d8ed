"""The deployed module as one ONNX graph of the contract."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnxslim
import torch

from model.segmenter import Segmenter
from scene.artifact import OUTPUTS

OPSET = 22
"""The oldest opset in which the exporter's operators need no conversion and ``DeformConv`` has its newest form."""


def write_onnx(segmenter: Segmenter, path: Path) -> Path:
    """Export through ``torch.export``, simplify, check with ``onnx.checker``, and write one file with its weights.

    The graph: ``image`` uint8 [B, H, W, 3] -> num, boxes, scores, mask_scores, classes, masks; B is dynamic.
    """
    height, width = segmenter.network.config.size_hw
    with _quiet():
        program = torch.onnx.export(
            segmenter,
            (torch.zeros((2, height, width, 3), dtype=torch.uint8),),
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"image": {0: torch.export.Dim("B", min=1, max=64)}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = onnxslim.slim(program.model_proto)
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
