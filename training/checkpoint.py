"""A checkpoint: a state_dict plus the configuration as plain data, written whole or not at all."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import torch

from model.config import YolactConfig
from model.yolact import Yolact
from scene.errors import DataError


def save_checkpoint(path: Path, network: Yolact, **progress: Any) -> None:
    """Write network, configuration and whatever ``progress`` holds (tensors and plain data), atomically.

    A process killed at any moment leaves either the old file or the new one.
    """
    content = {"config": asdict(network.config), "model": network.state_dict(), **progress}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint's content on the CPU, read with ``weights_only=True``, so that a file cannot carry code."""
    if not path.is_file():
        raise DataError(f"expected a checkpoint at {path}, found none; train one with `streetmask train`")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, key and runtime errors alike
        raise DataError(f"{path} is damaged or no StreetMask checkpoint ({type(error).__name__})") from error
    if not isinstance(content, dict) or not {"config", "model"} <= content.keys():
        raise DataError(f"{path} is no StreetMask checkpoint: expected a config and a model in it")
    return content


def training_history(content: dict[str, Any]) -> str:
    """What a checkpoint says it was trained on, in words, with what the one that it started from had seen."""
    seen = "; ".join(content.get("data", [])) or "not recorded"
    return f"{content.get('step', 'unknown')} steps on {seen}"


def load_network(path: Path) -> Yolact:
    """The network of a checkpoint, on the CPU, in eval mode."""
    content = read_checkpoint(path)
    try:
        network = Yolact(msgspec.convert(content["config"], YolactConfig))
        network.load_state_dict(content["model"])
    except (msgspec.ValidationError, RuntimeError) as error:
        raise DataError(f"{path} does not hold the network that its configuration names: {error}") from error
    return network.eval()
