"""Weights on the CPU or a GPU without an export: the deployed module in torch behind the engines' Protocol."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.graph import ThresholdedSegmenter, deployed
from model.detect import DetectSettings, NmsKind
from model.segmenter import Segmenter
from model.weight_file import read_state
from model.weights import config_for, load_weights
from scene.artifact import SCHEMA_VERSION, Artifact, GoldenFrame, ModelCard, tensor_specs
from serve.engines import Outputs
from serve.model import Model
from training.checkpoint import tell_left_over, training_history
from training.thresholds import DEFAULT_THRESHOLD


class TorchEngine:
    """A segmenter in torch as an engine of the graph contract."""

    def __init__(self, segmenter: Segmenter, device: torch.device | str = "cpu") -> None:
        self._graph = ThresholdedSegmenter(segmenter).to(device).eval()
        self._device = device

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        """Answer a batch: uint8 [B, H, W, 3], RGB, at the network's input size."""
        with torch.inference_mode():
            found = self._graph(torch.from_numpy(images).to(self._device), torch.tensor(score_threshold))
        return Outputs(*(tensor.cpu().numpy() for tensor in found))


def open_weights(path: Path, preset: str | None = None, nms: NmsKind = "fast", threads: int = 0) -> Model:
    """A checkpoint, published weights or safetensors as a model that segments pictures, without an export.

    It draws what the artifact exported from it draws. ``preset`` names the network where the file leaves a choice;
    ``threads`` are torch's, 0 for its own number. Raises ``DataError`` for what cannot be loaded.
    """
    if threads:
        torch.set_num_threads(threads)
    file = read_state(path)
    network, report = load_weights(config_for(file, preset), file)
    tell_left_over(file, report)
    progress = file.progress
    del file  # with it goes its hold on the weights that folding replaces
    segmenter = deployed(network, DetectSettings(nms=nms))
    return Model(described(path.stem, segmenter, progress), TorchEngine(segmenter), "torch in float32")


def described(name: str, segmenter: Segmenter, progress: Mapping[str, Any]) -> Artifact:
    """What a model folder's manifest would say, as far as weights alone tell it."""
    config, rows = segmenter.network.config, segmenter.settings.rows
    return Artifact(
        schema_version=SCHEMA_VERSION,
        name=name,
        version=0,
        class_names=list(config.class_names),
        size_hw=config.size_hw,
        color_order="RGB",
        max_detections=rows,
        mask_size_hw=segmenter.mask_size_hw,
        thresholds=progress.get("thresholds", [DEFAULT_THRESHOLD] * config.class_count),
        tensors=tensor_specs(config.size_hw, rows, segmenter.mask_size_hw),
        files=[],
        golden=GoldenFrame("", [], [], [], []),
        card=ModelCard("weights without an export", training_history(progress), "not stated", "not stated"),
        source_checkpoint_sha256="",
        tools={},
    )
