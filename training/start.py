"""What a training starts from: weights fitted into the network to be trained, and what became of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from model.backbone_weights import backbone_kind, load_backbone
from model.config import PRESETS, Scoring, YolactConfig, preset_like
from model.scoring import prior_logits
from model.weight_file import WeightFile
from model.weights import Report, class_count, config_for, known_classes, load_weights, mapped_by_name
from model.yolact import Yolact
from scene.errors import ConfigurationError, DataError, require
from training.class_losses import ClassLossSettings
from training.convolutions import OFFSETS
from training.data.sample import SizeHw
from training.recipes import Recipe

CLASS_LAYER = "prediction_layers.0.conf_layer"
CLASS_LAYER_WEIGHT, CLASS_LAYER_BIAS = (f"{CLASS_LAYER}.{part}" for part in ("weight", "bias"))

_LEAST_SIDE = 128
"""Of an input: on less the coarsest maps have no room for what convolves them."""

_PRIOR_DEVIATION = 0.01
"""Of a fresh class layer's weights under a focal loss (RetinaNet, section 4.1), so that its bias decides."""


@dataclass(frozen=True)
class Choice:
    """What the user says of the network: a ``preset``, ``class_names`` and the input's (height, width) instead of what
    recipe and weights have, and whether the layers with a row a class start anew whatever could be carried over."""

    preset: str | None = None
    class_names: tuple[str, ...] = ()
    size_hw: SizeHw | None = None
    reinitialise_classes: bool = False


@dataclass(frozen=True)
class Start:
    """A network to be trained; ``new`` names its parameters that have nothing, or not all, from the weights; ``told``
    says in lines what became of these."""

    network: Yolact
    new: frozenset[str]
    told: tuple[str, ...]


def begin(recipe: Recipe, file: WeightFile | None, choice: Choice) -> Start:
    """The recipe's network with the file's weights, its anchors and its scoring those of the recipe.

    With another input's size the anchors keep their sides in pixels, as what the weights have learned does: a larger
    input brings smaller objects within their reach.

    A file of other classes gives each class the rows of the class of its name (a rider those of a person), see
    ``model.weights.mapped_by_name``. A class layer starts anew where its logits meant something else, and with the
    prior under a focal loss. Raises ``ConfigurationError`` where the recipe starts from something else than this, and
    ``DataError`` where the weights are of another network or have no class in common.
    """
    _require_start(recipe, file)
    config = _config(recipe, file, choice)
    network, report = (Yolact(config), Report()) if file is None else _filled(config, file, choice)
    network.config = config
    new = _new(network, file, report)
    told = list(_told(file, report))
    carried = CLASS_LAYER_WEIGHT not in new or CLASS_LAYER_WEIGHT in dict(report.mapped)
    for line, names in _settled_class_layer(network, recipe.losses.classes, file, carried):
        told.append(line)
        new |= names
    sides = [side for level in config.anchors.scales_px for side in level]
    height, width = config.size_hw
    told.append(f"classes: {', '.join(config.class_names)}")
    told.append(f"input: {width}x{height} pixels; anchors: sides of {min(sides):g} to {max(sides):g} pixels")
    return Start(network, frozenset(new), tuple(told))


def _told(file: WeightFile | None, report: Report) -> Iterator[str]:
    if file is None:
        yield "no weights to start from"
    elif backbone_kind(file.state):
        yield f"{len(report.mapped)} tensors of the backbone in {file.path}"
    else:
        yield from report.lines()


def _new(network: Yolact, file: WeightFile | None, report: Report) -> set[str]:
    """The parameters that the file does not bring; a network that was only built on a backbone brings no more: a plain
    one has neither offsets nor the biases beside them."""
    names = {name for name, _ in network.named_parameters()}
    if file is None:
        return names
    if is_only_built(file):
        deformable = {name.partition(f".{OFFSETS}.")[0] for name in names if f".{OFFSETS}." in name}
        fresh = {name for name in names if f".{OFFSETS}." in name or name.removesuffix(".bias") in deformable}
        return fresh | {name for name in names if not name.startswith("backbone.")}
    return names & {name for name, _ in report.initialised}


def is_only_built(file: WeightFile) -> bool:
    """By ``streetmask weights convert``, from a backbone: no step has been trained."""
    return file.progress.get("step") == 0


def _require_start(recipe: Recipe, file: WeightFile | None) -> None:
    """The recipe's kind of weights: those of a whole network or of a backbone."""
    wanted = {"imagenet": "a backbone trained on ImageNet", "coco": "a network trained on COCO or the like"}
    if recipe.start == "anything":
        return
    if file is None:
        raise ConfigurationError("start", f"this recipe begins with {wanted[recipe.start]}: name its file with --start")
    is_backbone = backbone_kind(file.state) is not None or is_only_built(file)
    if is_backbone != (recipe.start == "imagenet"):
        held = "a backbone" if is_backbone else "a whole network that has been trained"
        raise ConfigurationError(
            "start",
            f"this recipe begins with {wanted[recipe.start]}, but {file.path} holds {held}: choose another recipe "
            "(`streetmask train recipes`) or other weights",
        )


def _config(recipe: Recipe, file: WeightFile | None, choice: Choice) -> YolactConfig:
    """The network to train: the user's preset, else the file's own, else the recipe's, or what the file is known as."""
    base = _base(recipe, file, choice.preset)
    family = PRESETS[choice.preset or recipe.preset]
    if recipe.start != "anything" and bool(base.rescoring_channels) != bool(family.rescoring_channels):
        one, other = ("YOLACT++", "YOLACT") if family.rescoring_channels else ("YOLACT", "YOLACT++")
        raise ConfigurationError("start", f"this recipe trains a {one}, but the weights are of a {other}")
    names = choice.class_names
    if not names:
        keeps = recipe.start == "anything" and choice.preset is None
        names = base.class_names if keeps else family.class_names
    require("classes", len(set(names)) == len(names), "every name once", names)
    anchors = base.anchors
    if recipe.anchor_factor != 1:
        like = preset_like(base)
        anchors = (PRESETS[like] if like else base).anchors.scaled(recipe.anchor_factor)
    size_hw = choice.size_hw or base.size_hw
    require("size", choice.size_hw is None or min(size_hw) >= _LEAST_SIDE, f"sides of {_LEAST_SIDE} or more", size_hw)
    scoring = recipe.losses.classes.scoring
    return replace(base, class_names=names, size_hw=size_hw, anchors=anchors, scoring=scoring)


def _base(recipe: Recipe, file: WeightFile | None, preset: str | None) -> YolactConfig:
    require("preset", preset is None or preset in PRESETS, f"one of {', '.join(PRESETS)}", preset)
    if preset is not None:
        return PRESETS[preset]
    if file is None or backbone_kind(file.state):
        return PRESETS[recipe.preset]
    return file.config or (config_for(file) if recipe.start == "anything" else PRESETS[recipe.preset])


def _filled(config: YolactConfig, file: WeightFile, choice: Choice) -> tuple[Yolact, Report]:
    if backbone_kind(file.state):
        network = Yolact(config)
        return network, load_backbone(network, file)
    theirs = known_classes(file)
    as_read = replace(config, scoring=scoring_of(file))
    same = theirs == config.class_names or (theirs is None and class_count(file.state) == config.class_count)
    if same or choice.reinitialise_classes:
        return load_weights(as_read, file, reinitialise_classes=choice.reinitialise_classes)
    class_map = mapped_by_name(config.class_names, theirs or ())
    if theirs and not class_map:
        raise DataError(
            f"{file.path} has the classes {', '.join(theirs)}, none of which stands for any of "
            f"{', '.join(config.class_names)}: carry rows over by pairs with `streetmask weights convert --class-map`, "
            "or start the class layers anew with --reinitialise-classes"
        )
    return load_weights(as_read, file, class_map=class_map)


def scoring_of(file: WeightFile) -> Scoring:
    """How the file's class logits are read: as it says, else by softmax, as published weights are."""
    return file.config.scoring if file.config else "softmax"


def _settled_class_layer(
    network: Yolact, settings: ClassLossSettings, file: WeightFile | None, carried: bool
) -> Iterator[tuple[str, set[str]]]:
    """Have the class layer mean what the loss teaches, and begin where a focal loss must: in words, and what is new.

    Weights that were ``carried`` over, be it for some classes, stay under the prior: they are what tells an object from
    the background, the bias is what is expected before.
    """
    layer = network.get_submodule(CLASS_LAYER)
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    if carried and file is not None and scoring_of(file) != settings.scoring:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
        carried = False
        said = f"its logits were read as {scoring_of(file)}, and now as {settings.scoring}"
        yield f"{CLASS_LAYER} starts anew: {said}", {CLASS_LAYER_WEIGHT, CLASS_LAYER_BIAS}
    if settings.is_focal:
        prior = prior_logits(settings.scoring, network.config.class_count, settings.foreground_prior)
        with torch.no_grad():
            layer.bias.copy_(prior.repeat(network.config.anchors.per_cell))
            if not carried:
                layer.weight.normal_(std=_PRIOR_DEVIATION)
        yield f"{CLASS_LAYER_BIAS} starts at a foreground prior of {settings.foreground_prior:g}", {CLASS_LAYER_BIAS}
