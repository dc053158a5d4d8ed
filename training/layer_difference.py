"""How far each convolution moved between two sets of weights: one minus the cosine of the angle between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.backbone_weights import backbone_kind, backbone_tensors
from model.config import preset_like
from model.weight_file import WeightFile
from model.weights import class_count, fitting_presets, known_classes
from scene.errors import DataError
from training.convolutions import OFFSETS, PARTS, convolutions, in_order, part_of
from training.start import CLASS_LAYER, scoring_of

CLASS_LAYERS = (CLASS_LAYER, "semantic_seg_conv")
"""Layers with a row a class, beside the last one of ``maskiou_net``."""

_HISTORY = "before that: "
"""How a checkpoint's ``data`` begins where it tells what its start had seen."""

_MOST_TOLD = 3


@dataclass(frozen=True)
class LayerDifference:
    """A convolution of both files. ``index`` counts all of the network's from the input side, from 1, so that freezing
    the first so many ends with it; ``weights`` is how many numbers were compared."""

    index: int
    name: str
    part: str
    difference: float
    weights: int


@dataclass(frozen=True)
class NotComparable:
    """A convolution that the files do not have alike, and ``why`` in words."""

    index: int
    name: str
    part: str
    why: str


@dataclass(frozen=True)
class PairDifferences:
    """What became of ``base``'s convolutions in ``tuned``, from the input side on.

    ``target`` is what the tuned weights were trained on last and ``steps`` how long, as far as their file says.
    """

    base: Path
    tuned: Path
    layers: tuple[LayerDifference, ...]
    not_comparable: tuple[NotComparable, ...] = ()
    target: tuple[str, ...] = ()
    steps: int | None = None

    @property
    def convolutions(self) -> tuple[str, ...]:
        """The names of all convolutions, comparable or not, in order."""
        return in_order(each.name for found in (self.layers, self.not_comparable) for each in found)

    def means(self) -> dict[str, float]:
        """The mean difference of each part that has comparable layers, in order."""
        of_part = {part: [each.difference for each in self.layers if each.part == part] for part in PARTS}
        return {part: sum(found) / len(found) for part, found in of_part.items() if found}


def weight_difference(tuned: Tensor, base: Tensor) -> float:
    """|1 - cos| of two sets of weights of one shape, flattened, in float64: from 0, the same direction, over 1, a right
    angle, to 2, the opposite one.

    Equal weights differ by exactly 0, all zeros too; zeros and weights that are none by 1, since they share no
    direction. Computed as half the squared distance of the unit vectors, which keeps the digits of small angles.
    """
    if torch.equal(tuned, base):
        return 0.0
    one, other = tuned.double().flatten(), base.double().flatten()
    norms = [float(torch.linalg.vector_norm(each)) for each in (one, other)]
    if not all(norms):
        return float(any(norms))
    return float((one / norms[0] - other / norms[1]).square().sum()) / 2


def layer_differences(base: WeightFile, tuned: WeightFile) -> PairDifferences:
    """Compare two files layer by layer; an ImageNet backbone has its layers by our names, and nothing but those.

    A part that only one file has, the layers with a row a class where the classes differ, and the class layer where its
    logits are read otherwise, so that it was started anew, are not comparable. Raises ``DataError`` where a file holds
    no convolution of ours, where the two have none in common, and where they are of different networks.
    """
    before, after = _weights(base), _weights(tuned)
    if not before.keys() & after.keys():
        raise DataError(f"{base.path} and {tuned.path} have no convolution in common: expected two of one network")
    problems = [*_only_in_one(base, tuned), *_problems(before, after)]
    if problems:
        told = "; ".join(problems[:_MOST_TOLD]) + ("; ..." if len(problems) > _MOST_TOLD else "")
        raise DataError(
            f"{base.path} ({_what(base)}) and {tuned.path} ({_what(tuned)}) are of different networks: {told}; compare "
            "weights with those that they were trained from"
        )
    started_anew = _started_anew(base, tuned, after)
    layers: list[LayerDifference] = []
    obstacles: list[NotComparable] = []
    for index, name in enumerate(in_order(before.keys() | after.keys()), 1):
        if name not in before or name not in after:
            why = f"not in {(base if name in after else tuned).path}"
        else:
            why = started_anew.get(name, "")
        if why:
            obstacles.append(NotComparable(index, name, part_of(name), why))
        else:
            moved = weight_difference(after[name], before[name])
            layers.append(LayerDifference(index, name, part_of(name), moved, after[name].numel()))
    target = tuple(each for each in tuned.progress.get("data", []) if not each.startswith(_HISTORY))
    return PairDifferences(base.path, tuned.path, tuple(layers), tuple(obstacles), target, tuned.progress.get("step"))


def _weights(file: WeightFile) -> dict[str, Tensor]:
    """The convolutions' weights by our names, in order."""
    state = backbone_tensors(file).state if backbone_kind(file.state) else file.state
    names = convolutions(state)
    if not names:
        raise DataError(
            f"{file.path} holds no convolution of a network that StreetMask knows, but tensors such as "
            f"{', '.join(list(file.state)[:_MOST_TOLD])}"
        )
    return {name: state[f"{name}.weight"] for name in names}


def _class_layers(weights: Mapping[str, Tensor]) -> set[str]:
    rescoring = [name for name in weights if part_of(name) == "maskiou_net"]
    return {*CLASS_LAYERS, *rescoring[-1:]}


def _started_anew(base: WeightFile, tuned: WeightFile, after: Mapping[str, Tensor]) -> dict[str, str]:
    """Layers that have nothing, or not all, of the base's in them, as far as the files say, and why."""
    one, other = known_classes(base), known_classes(tuned)
    differ = class_count(base.state) != class_count(tuned.state) or (None not in (one, other) and one != other)
    found = dict.fromkeys(_class_layers(after), "a row a class, and the classes differ") if differ else {}
    scorings = [scoring_of(file) for file in (base, tuned)]
    if scorings[0] != scorings[1]:
        found[CLASS_LAYER] = f"started anew, as its logits are read as {scorings[1]} and were as {scorings[0]}"
    return found


def _only_in_one(base: WeightFile, tuned: WeightFile) -> list[str]:
    """What tells two whole networks apart that otherwise have the same layers."""
    files = (base, tuned)
    if not all(f"{CLASS_LAYER}.weight" in file.state for file in files):
        return []
    told = []
    for part, what in (("maskiou_net.", "mask rescoring"), (f".{OFFSETS}.weight", "deformable convolutions")):
        one, other = ({name for name in file.state if part in name} for file in files)
        if bool(one) != bool(other):
            told.append(f"only {(base if one else tuned).path} has {what}")
    return told


def _problems(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[str]:
    """In what the parts that both have differ, but for the number of rows of what has a row a class."""
    shared = [part for part in PARTS if all(any(part_of(name) == part for name in each) for each in (before, after))]
    told = []
    for part in shared:
        one, other = ([name for name in each if part_of(name) == part] for each in (before, after))
        if one != other:
            only = next(name for name in (*one, *other) if (name in one) != (name in other))
            told.append(f"{part} has {len(one)} convolutions in the one and {len(other)} in the other, such as {only}")
            continue
        rows_free = _class_layers(before)
        for name in one:
            shapes = [list(each[name].shape) for each in (before, after)]
            if shapes[0][name in rows_free :] != shapes[1][name in rows_free :]:
                told.append(f"{name} is {shapes[0]} in the one and {shapes[1]} in the other")
    return told


def _what(file: WeightFile) -> str:
    """Which network a file is of, in a few words."""
    backbone = backbone_kind(file.state)
    if backbone:
        return f"a {backbone} backbone"
    names = (preset_like(file.config),) if file.config else fitting_presets(file)
    return next((name for name in names if name), "a network of no preset")
