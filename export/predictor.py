"""Weights or an artifact as the one callable that evaluation takes, so that both are scored by the same path."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from model.detect import DetectSettings, NmsKind
from model.segmenter import Segmenter, TorchPredictor
from model.weights import street_class_map
from scene.artifact import Precision
from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, require
from scene.image import RgbImage, network_input
from scene.instances import Detections
from serve.engines import Engine, EngineName
from serve.model import Model, detections
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


@dataclass(frozen=True)
class NamedPredictor:
    """A predictor, what it calls the classes of its detections, and what it runs on, for people."""

    predict: Predictor
    class_names: tuple[str, ...]
    runs_on: str = ""


def open_predictor(
    path: Path,
    threads: int = 2,
    preset: str | None = None,
    nms: NmsKind = "fast",
    precision: Precision | None = None,
    device: torch.device | str = "cpu",
    engine: EngineName | None = None,
) -> NamedPredictor:
    """A folder is an artifact and runs on its engine; a file is a checkpoint or published weights and runs in torch.

    ``preset`` and ``nms`` are for weights, ``precision`` and ``engine`` for a folder; raises ``ConfigurationError``
    where one is asked for what the other has. ``device`` is where weights run; a folder's engine has its own.
    """
    if path.is_dir():
        require("preset", preset is None, "none for a model folder, which says what it is", preset)
        require("nms", nms == "fast", "none for a model folder, whose graph has its own", nms)
        model = Model.load(path, threads, precision, engine)
        predict = EnginePredictor(model.engine, model.artifact.size_hw)
        return NamedPredictor(predict, tuple(model.artifact.class_names), model.runs_on)
    require("engine", engine is None, "none for weights, which run in torch", engine)
    require("precision", precision in (None, "float32"), "float32 for weights; export them with --int8", precision)
    network = load_network(path, preset)
    segmenter = Segmenter(network, DetectSettings(nms=nms))
    runs_on = f"torch in float32, on {device}"
    return NamedPredictor(TorchPredictor(segmenter, device), network.config.class_names, runs_on)


def on_the_street(predictor: NamedPredictor) -> NamedPredictor:
    """A network of other classes on street scenes without training: those that the street has too, the rest discarded.

    The reference study's first row: COCO's persons are persons, and nothing finds a rider. Raises
    ``ConfigurationError`` if it knows no street class.
    """
    table = _renumbering(predictor.class_names, street_class_map(predictor.class_names))
    if not (table >= 0).any():
        names = ", ".join(predictor.class_names[:5])
        raise ConfigurationError("classes", f"expected some of {', '.join(STREET_CLASSES)}, but {names}, ... came")

    def predict(frames: list[RgbImage]) -> list[Detections]:
        return [found.renumbered(table) for found in predictor.predict(frames)]

    return replace(predictor, predict=predict, class_names=STREET_CLASSES)


def _renumbering(names: Sequence[str], class_map: Mapping[str, str]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The street's number of each class, by its own name before another's; -1 for none: int32 [classes]."""
    table = np.full(len(names), -1, np.int32)
    for target, source in sorted(class_map.items(), key=lambda pair: pair[0] == pair[1]):
        table[names.index(source)] = STREET_CLASSES.index(target)
    return table
