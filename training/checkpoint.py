"""A checkpoint: a state_dict plus the configuration as plain data, written whole or not at all."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model.backbone_weights import backbone_kind
from model.weight_file import WeightFile, read_state, read_torch
from model.weights import Report, config_for, load_weights
from model.yolact import Yolact
from scene.artifact import file_sha256
from scene.disk import whole_file
from scene.errors import DataError

LOG = logging.getLogger(__name__)


def save_checkpoint(path: Path, network: Yolact, **progress: Any) -> None:
    """Write network, configuration and whatever ``progress`` holds (tensors and plain data), whole or not at all."""
    with whole_file(path) as stream:
        torch.save({"config": asdict(network.config), "model": network.state_dict(), **progress}, stream)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint's content on the CPU, read with ``weights_only=True``, so that a file cannot carry code."""
    if not path.is_file():
        raise DataError(f"expected a checkpoint at {path}, found none; train one with `streetmask train`")
    content = read_torch(path)
    if not isinstance(content, dict) or not {"config", "model"} <= content.keys():
        raise DataError(f"{path} is no StreetMask checkpoint: expected a config and a model in it")
    return content


def training_history(content: Mapping[str, Any]) -> str:
    """What a checkpoint says it was trained on, in words, with what the one that it started from had seen."""
    seen = "; ".join(content.get("data", [])) or "data that were not recorded"
    steps = f"{content['step']} steps on " if "step" in content else ""
    return f"{steps}{seen}"


def unknown_data(file: WeightFile, whose: str = "") -> str:
    """What another's weights were trained on, as far as the file tells: which file it is."""
    return f"whatever {whose}{file.path.name} (SHA-256 {file_sha256(file.path)}) was trained on"


def load_network(path: Path, preset: str | None = None) -> Yolact:
    """The network of a checkpoint or of any full set of weights (``model.weights``), on the CPU, in eval mode.

    ``preset`` names the network where the file leaves a choice. Raises ``DataError`` for what cannot be loaded.
    """
    file = read_state(path)
    kind = backbone_kind(file.state)
    if kind is not None:
        raise DataError(
            f"{path} holds a {kind} backbone, no whole network: build one on it with `streetmask weights convert`"
        )
    network, report = load_weights(config_for(file, preset), file)
    tell_left_over(file, report)
    return network


def tell_left_over(file: WeightFile, report: Report) -> None:
    """Warn of the tensors of another's file that the network has no use for; ours hold a training's state beside it."""
    if file.config is None and report.left_over:
        LOG.warning("%s: %s", file.path, "; ".join(line.strip() for line in report.lines()[1:]))


def read_progress(path: Path) -> dict[str, Any]:
    """What a file says of its training beside the weights: ``step``, ``data``, ``thresholds``; empty if nothing."""
    return dict(read_state(path).progress)
