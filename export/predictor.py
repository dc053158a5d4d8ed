"""A checkpoint or an artifact as the one callable that evaluation takes, so that both are scored by the same path."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from model.segmenter import Segmenter, TorchPredictor
from scene.image import RgbImage, network_input
from scene.instances import Detections
from serve.engines import Engine
from serve.models import Model, detections
from training.checkpoint import load_network

Predictor = Callable[[list[RgbImage]], list[Detections]]
"""RGB frames uint8 [H, W, 3] of any size -> their detections, boxes in [0, 1] of each frame."""


class EnginePredictor:
    """An artifact's engine, one frame at a time, as it serves."""

    def __init__(self, engine: Engine, size_hw: tuple[int, int]) -> None:
        self.engine = engine
        self.size_hw = size_hw

    def __call__(self, frames: list[RgbImage]) -> list[Detections]:
        """RGB frames uint8 [H, W, 3] -> their detections."""
        return [detections(self.engine.run(np.stack([network_input(frame, self.size_hw)]))) for frame in frames]


def open_predictor(path: Path, threads: int = 2) -> Predictor:
    """A folder is an artifact and runs on its engine; a file is a checkpoint and runs in torch."""
    if path.is_dir():
        model = Model.load(path, threads)
        return EnginePredictor(model.engine, model.artifact.size_hw)
    return TorchPredictor(Segmenter(load_network(path)))
