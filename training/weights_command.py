"""``streetmask weights inspect`` and ``convert``: what a weight file holds, and a checkpoint of ours made from it."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from model.backbone_weights import backbone_kind, backbone_tensors, load_backbone
from model.config import PRESETS, YolactConfig, preset_like
from model.weight_file import Progress, WeightFile, read_state, save_safetensors
from model.weights import (
    Report,
    class_count,
    config_for,
    fitting_presets,
    known_classes,
    load_weights,
    mapped_by_name,
    same_class_map,
)
from model.yolact import Yolact
from scene.errors import ConfigurationError, DataError, require
from training.checkpoint import save_checkpoint, training_history, unknown_data

STREET = "street"
"""The class map that is built in, on the command line."""


@dataclass(frozen=True)
class InspectArguments:
    """Say what a weight file holds. Nothing that it carries is run."""

    file: tyro.conf.Positional[Path]
    """A .pth or .pt file that torch wrote, or .safetensors."""


@dataclass(frozen=True)
class ConvertArguments:
    """Make a checkpoint of StreetMask from published or other weights, and say what became of every tensor."""

    source: tyro.conf.Positional[Path]
    """Published YOLACT weights, a checkpoint, safetensors, or an ImageNet backbone."""
    out: tyro.conf.Positional[Path]
    """Checkpoint to write, such as mine.pt; mine.safetensors for that format."""
    preset: str | None = None
    """Network to make; without it the one that the file is of."""
    classes: tuple[str, ...] = ()
    """Class names of the network to make, in order; without them the preset's."""
    class_map: tuple[str, ...] = ()
    """NAME=SOURCE: the class whose rows a class gets, beside those of the same name; `street` for the built-in map."""
    reinitialise_classes: bool = False
    """Start the class layers anew instead of carrying rows over."""
    seed: int = 1
    """Seed of whatever starts anew."""


def inspect(arguments: InspectArguments) -> None:
    """Print what the file holds."""
    print(*_description(read_state(arguments.file)), sep="\n")


def convert(arguments: ConvertArguments) -> None:
    """Read, fit into the network, report, write."""
    file = read_state(arguments.source)
    torch.manual_seed(arguments.seed)
    make = _from_backbone if backbone_kind(file.state) else _from_network
    network, report, progress = make(file, arguments)
    save = save_safetensors if arguments.out.suffix == ".safetensors" else _save
    save(arguments.out, network, progress)
    print(*report.lines(), sep="\n")
    config = network.config
    print(f"wrote {arguments.out}: {_name(config)}, {config.class_count} classes: {', '.join(config.class_names)}")


def _save(path: Path, network: Yolact, progress: Progress) -> None:
    save_checkpoint(path, network, **progress)


Made = tuple[Yolact, Report, Progress]
"""A network, what became of the file's tensors, and what a checkpoint says of its training."""


def _from_backbone(file: WeightFile, arguments: ConvertArguments) -> Made:
    kind = backbone_kind(file.state)
    if arguments.preset is None:
        raise DataError(
            f"{file.path} holds a {kind} backbone, no whole network: say with --preset which to build on it"
        )
    require("class_map", not arguments.class_map, "none for a backbone, which knows no classes", arguments.class_map)
    network = Yolact(_named(config_for(file, arguments.preset), arguments.classes))
    report = load_backbone(network, file)
    return network, report, Progress(step=0, data=[unknown_data(file, "the backbone's ")])


def _from_network(file: WeightFile, arguments: ConvertArguments) -> Made:
    config = _named(config_for(file, arguments.preset), arguments.classes)
    class_map = _class_map(arguments.class_map, config.class_names, file)
    fresh = arguments.reinitialise_classes
    network, report = load_weights(config, file, class_map=class_map, reinitialise_classes=fresh)
    progress = file.progress.copy() if file.config else Progress(data=[unknown_data(file)])
    if class_map is not None or fresh:
        progress.pop("thresholds", None)  # they were chosen for the classes that it had
    return network, report, progress


def _named(config: YolactConfig, classes: tuple[str, ...]) -> YolactConfig:
    require("classes", len(set(classes)) == len(classes), "every name once", classes)
    return replace(config, class_names=classes) if classes else config


def _class_map(entries: tuple[str, ...], names: tuple[str, ...], file: WeightFile) -> dict[str, str] | None:
    """What the command line says, beside classes of the same name; None if it says nothing."""
    if not entries:
        return None
    theirs = known_classes(file) or ()
    known = mapped_by_name if STREET in entries else same_class_map
    return known(names, theirs) | _pairs([entry for entry in entries if entry != STREET])


def _pairs(entries: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for entry in entries:
        name, mark, source = entry.partition("=")
        if not mark:
            raise ConfigurationError("class_map", f"expected NAME=SOURCE or {STREET}, but {entry!r} came")
        if name in pairs:
            raise ConfigurationError(
                "class_map", f"expected one source for {name}, but {pairs[name]} and {source} came: leave one of them"
            )
        pairs[name] = source
    return pairs


def _description(file: WeightFile) -> list[str]:
    kinds = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in file.state.values())
    learned = [tensor.numel() for name, tensor in file.state.items() if _is_parameter(name)]
    lines = {
        "format": file.format,
        "holds": _holds(file),
        "classes": _classes(file),
        "tensors": f"{len(file.state)}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
        "parameters": f"{sum(learned) / 1e6:.1f} million",
    }
    is_backbone = backbone_kind(file.state) is not None
    left_over = backbone_tensors(file).left_over if is_backbone else file.left_over
    _, *details = Report(left_over=left_over).lines()
    return [f"{title:<12}{text}" for title, text in lines.items() if text] + details


def _is_parameter(name: str) -> bool:
    return name.rpartition(".")[2] not in ("running_mean", "running_var", "num_batches_tracked")


def _holds(file: WeightFile) -> str:
    if file.config is not None:
        return f"checkpoint of StreetMask, {_name(file.config)}, {training_history(file.progress)}"
    backbone = backbone_kind(file.state)
    if backbone:
        return f"{backbone} backbone, as ImageNet's are named: `weights convert` builds a --preset on it"
    presets = fitting_presets(file)
    if presets:
        return f"YOLACT network, fits the preset{'s' * (len(presets) > 1)} {', '.join(presets)}"
    return "nothing that StreetMask knows; the first tensors are " + ", ".join(list(file.state)[:5])


def _name(config: YolactConfig) -> str:
    """The preset's name, and in what the network differs from it."""
    name = preset_like(config)
    if name is None:
        return "a network of its own configuration"
    preset = PRESETS[name]
    differing = {
        "classes of its own": config.class_names != preset.class_names,
        "anchors of its own": config.anchors != preset.anchors,
        f"classes read as {config.scoring}": config.scoring != preset.scoring,
    }
    said = " and ".join(words for words, differs in differing.items() if differs)
    return f"{name} with {said}" if said else name


def _classes(file: WeightFile) -> str:
    count, names = class_count(file.state), known_classes(file)
    if count is None:
        return ""
    return f"{count}: {', '.join(names)}" if names else f"{count}, which the file does not name"
