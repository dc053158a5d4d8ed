"""Backbones trained on ImageNet: torchvision's, timm's and the YOLACT authors' files, by their own names."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from model.weight_file import Entries, WeightFile
from model.weights import COUNTER, Report, misfits
from model.yolact import Yolact
from scene.errors import DataError

_OURS = "backbone."
_NORM = {"conv": 0, "bn": 1}
"""timm names what a Darknet layer is made of, the published names count it."""

_NAMES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"layer(\d)\.(.+)", lambda m: f"layers.{int(m[1]) - 1}.{m[2]}"),
    (r"((?:conv1|bn1|layers|_preconv)\..+)", lambda m: m[1]),
    (r"stem\.conv1\.(conv|bn)\.(.+)", lambda m: f"_preconv.{_NORM[m[1]]}.{m[2]}"),
    (r"stages\.(\d)\.conv_down\.(conv|bn)\.(.+)", lambda m: f"layers.{m[1]}.0.{_NORM[m[2]]}.{m[3]}"),
    (
        r"stages\.(\d)\.blocks\.(\d)\.(conv\d)\.(conv|bn)\.(.+)",
        lambda m: f"layers.{m[1]}.{int(m[2]) + 1}.{m[3]}.{_NORM[m[4]]}.{m[5]}",
    ),
)
"""The names of ResNets (torchvision, timm, the authors), of the authors' Darknet, and of timm's; as we call them."""


class BackboneTensors(NamedTuple):
    """A file's tensors by our names, the file's own names by ours, and what is no part of a backbone."""

    state: dict[str, Tensor]
    sources: dict[str, str]
    left_over: Entries


def backbone_tensors(file: WeightFile) -> BackboneTensors:
    """Sort a file of an ImageNet network: its classifier is no part of the backbone."""
    state: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    left_over = list(file.left_over)
    for name, tensor in file.state.items():
        ours = _our_name(name)
        if ours is None:
            left_over.append((name, "no part of the backbone"))
        else:
            state[ours], sources[ours] = tensor, file.renamed.get(name, name)
    return BackboneTensors(state, sources, tuple(left_over))


def backbone_kind(state: Mapping[str, Tensor]) -> str | None:
    """Such as ``ResNet-50`` or ``Darknet-53``, if the names are those of an ImageNet backbone, else None."""
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state:
        blocks = sum(bool(re.fullmatch(r"layer\d\.\d+\.conv1\.weight", name)) for name in state)
        return f"ResNet-{2 + blocks * (3 if 'layer1.0.conv3.weight' in state else 2)}"
    ours = {_our_name(name) for name in state}
    if f"{_OURS}_preconv.0.weight" in ours:
        layers = sum(bool(re.fullmatch(r"backbone\.layers\..+\.0\.weight", name or "")) for name in ours)
        return f"Darknet-{2 + layers}"
    return None


def load_backbone(network: Yolact, file: WeightFile) -> Report:
    """Copy an ImageNet network's weights into the network's backbone, whatever device that is on.

    A deformable convolution takes the plain one's weight; its bias and its offsets, which the file cannot have, stay as
    they are, as does whatever follows the backbone. Raises ``DataError``, the network untouched, if the file is of
    another backbone.
    """
    found = backbone_tensors(file)
    whole = network.state_dict()
    fresh = {name: why for name in whole if (why := _untouched(name, found, whole))}
    problems = misfits(found.state, {name: tensor for name, tensor in whole.items() if name not in fresh})
    if problems:
        raise DataError(f"{file.path} does not hold this network's backbone ({problems}): choose a preset that has it")
    network.load_state_dict(found.state, strict=False)
    return Report(
        mapped=tuple((name, f"{source} in the file") for name, source in found.sources.items()),
        initialised=tuple(fresh.items()),
        left_over=found.left_over,
    )


def _our_name(name: str) -> str | None:
    for pattern, ours in _NAMES:
        match = re.fullmatch(pattern, name)
        if match:
            return _OURS + ours(match)
    return None


def _untouched(name: str, found: BackboneTensors, whole: Mapping[str, Tensor]) -> str:
    """Why the network keeps this tensor of its own, if it may."""
    if not name.startswith(_OURS):
        return "follows the backbone, left as it was"
    if name in found.state:
        return ""
    if name.endswith(COUNTER):
        return "not in the file, left as it was"
    layer, _, part = name.rpartition(".")
    deformable = "conv_offset_mask" in layer or (part == "bias" and f"{layer}.conv_offset_mask.weight" in whole)
    return "of a deformable convolution, which the file has as a plain one: left as it was" if deformable else ""
