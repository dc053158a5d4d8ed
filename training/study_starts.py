"""Which weights each row of a study begins with, of those that the user has."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

from model.backbone_weights import backbone_kind
from model.config import PRESETS
from model.weight_file import read_state
from scene.errors import ConfigurationError, require
from training.start import is_only_built
from training.study_plan import Plan, Row

WeightKind = Literal["imagenet", "yolact", "yolact++", "nothing"]
"""A backbone, a whole network without or with rescoring, or no weights."""

_WANTED: dict[str, str] = {
    "imagenet": "an ImageNet backbone, such as resnet50-19c8e357.pth",
    "yolact": "a trained YOLACT, such as yolact_resnet50_54_800000.pth",
    "yolact++": "a trained YOLACT++, such as yolact_plus_resnet50_54_800000.pth",
}


def kind_of(row: Row) -> WeightKind:
    """What the row's recipe begins with, where the row names no weights of its own."""
    recipe = row.of_recipe
    if recipe.start == "anything":
        return "nothing"
    if recipe.start == "imagenet":
        return "imagenet"
    family = PRESETS.get(row.preset or recipe.preset, PRESETS[recipe.preset])
    return "yolact++" if family.rescoring_channels else "yolact"


def kind_of_file(path: Path) -> WeightKind:
    """What a file holds; ``DataError`` where it cannot be read."""
    file = read_state(path)
    if backbone_kind(file.state) is not None or is_only_built(file):
        return "imagenet"
    return "yolact++" if any(name.startswith("maskiou_net.") for name in file.state) else "yolact"


def named_starts(words: Iterable[str]) -> dict[str, Path]:
    """Weights by the name that rows call them: NAME=PATH by that name, a path alone by the kind of what it holds.

    Raises ``ConfigurationError`` where two have one name, ``DataError`` for files that cannot be read.
    """
    starts: dict[str, Path] = {}
    for word in words:
        name, mark, rest = word.partition("=")
        given = bool(mark) and not Path(word).exists()
        path = Path(rest if given else word)
        kind = kind_of_file(path)
        name = name if given else kind
        require("start", bool(name) and name != "nothing", "NAME=PATH with a name", word)
        if name in starts:
            raise ConfigurationError("start", f"{starts[name]} and {path} are both {name}: name them NAME=PATH")
        starts[name] = path
    return starts


def left_out(plan: Plan, starts: Mapping[str, Path], has_source: bool) -> dict[str, str]:
    """The rows of a resolved plan that cannot be trained with these weights and data, and why."""
    found = {}
    for name, row in plan.rows.items():
        wanted = row.start or kind_of(row)
        if wanted != "nothing" and wanted not in starts:
            known = wanted in get_args(WeightKind)
            told = _WANTED[wanted] if known else f"--start {wanted}=WEIGHTS"
            found[name] = f"expected {told}, which --start does not name"
        elif row.of_recipe.needs_source and not has_source:
            found[name] = "expected a --source, from which it takes pictures"
    return found
