"""Weights into networks: whose they are, whether they fit, what becomes of the class layers; and a report of it all."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model.config import PRESETS, AnchorConfig, YolactConfig
from model.weight_file import Entries, WeightFile
from model.yolact import Yolact
from scene.classes import COCO_CLASSES, PASCAL_CLASSES, STREET_CLASSES
from scene.errors import ConfigurationError, DataError, require

COUNTER = "num_batches_tracked"
"""BatchNorm's count of batches, which files of 2018 lack and which nothing here reads."""

_CONF = "prediction_layers.0.conf_layer"
_STAND_INS = {"rider": "person", "motorcycle": "motorbike"}
"""What a street class may be called, or be a part of, in other data sets."""


@dataclass(frozen=True)
class Report:
    """What became of every tensor: taken as it is, taken otherwise, started anew, or in the file and not used."""

    loaded: Entries = ()
    mapped: Entries = ()
    initialised: Entries = ()
    left_over: Entries = ()

    def lines(self) -> list[str]:
        """For people: the counts, then whatever was not plainly loaded; names that differ in numbers alone as one."""
        groups = {entry.name.replace("_", " "): getattr(self, entry.name) for entry in fields(self)}
        counts = [f"{len(entries)} {title}" for title, entries in groups.items()]
        told = [(title, line) for title, entries in groups.items() if title != "loaded" for line in _brief(entries)]
        return ["tensors: " + ", ".join(counts), *(f"  {title}, {line}" for title, line in told)]


def _brief(entries: Entries) -> Iterator[str]:
    """A line for all that have the same said of them."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for entry in entries:
        alike.setdefault(_starred(entry[1]), []).append(entry)
    for pattern, members in alike.items():
        told = {words for _, words in members}
        listed = ", ".join(briefly(name for name, _ in members))
        yield f"{told.pop() if len(told) == 1 else pattern}: {listed}"


def briefly(names: Iterable[str]) -> Iterator[str]:
    """Names for people: those that differ in numbers alone as one, such as ``5 x proto_net.*.bias``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_starred(name), []).append(name)
    yield from (each[0] if len(each) == 1 else f"{len(each)} x {pattern}" for pattern, each in groups.items())


def _starred(text: str) -> str:
    return re.sub(r"\d+", "*", text)


def fitting_presets(file: WeightFile, among: Iterable[str] = PRESETS) -> tuple[str, ...]:
    """Names of the presets whose tensors the file has, by name and size; the number of classes may differ."""
    count = class_count(file.state)
    if count is None:
        return ()
    return tuple(name for name in among if not misfits(file.state, _tensors(_bare(PRESETS[name], count))))


def identify(file: WeightFile) -> str:
    """The name of the preset that a published file is of.

    A file name that begins as the authors' do decides where the tensors allow it, else the tensors, else that it has as
    many classes as COCO; ``DataError`` if there is no preset or still more than one.
    """
    stem = file.path.stem.replace("_", "-")
    # Asked first, since it spares building all the others.
    named = fitting_presets(file, [name for name in PRESETS if re.match(rf"{name}(?:-\d|$)", stem)])
    fitting = named or fitting_presets(file)
    if not fitting:
        raise DataError(
            f"{file.path} is no network that StreetMask knows: expected the tensors of a published YOLACT or of one of "
            f"our presets, but it holds {len(file.state)} such as {_some(list(file.state))}"
        )
    of_coco = class_count(file.state) == len(COCO_CLASSES)
    chosen = named or [name for name in fitting if of_coco and PRESETS[name].class_names == COCO_CLASSES] or fitting
    if len(chosen) > 1:
        raise DataError(f"{file.path} fits {', '.join(chosen)}, whose tensors are alike: say which with --preset")
    return chosen[0]


def config_for(file: WeightFile, preset: str | None = None) -> YolactConfig:
    """The preset's configuration, else the file's own, else that of the network that it is identified as.

    Class logits are read as the file says, if it does: that is the weights' own, whatever the preset.
    """
    if preset is not None:
        require("preset", preset in PRESETS, f"one of {', '.join(PRESETS)}", preset)
        asked, own = PRESETS[preset], file.config or PRESETS[preset]
        return asked if own.scoring == asked.scoring else replace(asked, scoring=own.scoring)
    return file.config or PRESETS[identify(file)]


def class_count(state: Mapping[str, Tensor]) -> int | None:
    """How many classes, without the background, a network's weights tell apart; None if they are of none."""
    scores, boxes = state.get(f"{_CONF}.bias"), state.get("prediction_layers.0.bbox_layer.bias")
    if scores is None or boxes is None or len(boxes) < 4:
        return None
    count, rest = divmod(len(scores), len(boxes) // 4)
    return count - 1 if count > 1 and not rest else None


def known_classes(file: WeightFile) -> tuple[str, ...] | None:
    """The file's class names: its own, or COCO's or Pascal's where it has as many; None if nobody knows."""
    if file.config is not None:
        return file.config.class_names
    return {80: COCO_CLASSES, 20: PASCAL_CLASSES}.get(class_count(file.state) or 0)


def same_class_map(names: Sequence[str], source_names: Sequence[str]) -> dict[str, str]:
    """Every class that the source knows by the same name."""
    return {name: name for name in names if name in source_names}


def street_class_map(source_names: Sequence[str]) -> dict[str, str]:
    """The street's classes from COCO's, Pascal's or the like: by name, riders from persons; the rest has no source."""
    stand_ins = {name: other for name, other in _STAND_INS.items() if other in source_names}
    return stand_ins | same_class_map(STREET_CLASSES, source_names)


def mapped_by_name(names: Sequence[str], source_names: Sequence[str]) -> dict[str, str]:
    """The source for each of these classes that has one: ``street_class_map``'s for the street's, else by name."""
    known = street_class_map(source_names) | same_class_map(names, source_names)
    return {name: source for name, source in known.items() if name in names}


def load_weights(
    config: YolactConfig,
    file: WeightFile,
    *,
    class_map: Mapping[str, str] | None = None,
    source_classes: Sequence[str] | None = None,
    reinitialise_classes: bool = False,
) -> tuple[Yolact, Report]:
    """The network in eval mode with the file's weights. It takes the file's tensors over: they are not copied.

    The layers with a row a class must fit as everything else does, unless they are initialised anew or
    ``class_map`` names the class of the file (``source_classes``, where the file does not tell) whose rows a class of
    the network gets. A class without a source gets fresh rows; the background keeps its own.

    Raises ``DataError`` where the file is of another network or other classes, ``ConfigurationError`` for a class map
    that names what is not there.
    """
    count = class_count(file.state)
    problems = misfits(file.state, _tensors(_bare(config, count or config.class_count)))
    if problems:
        raise DataError(f"{file.path} does not hold this network ({problems}): choose the preset that it is of")
    if class_map is not None:
        require("reinitialise_classes", not reinitialise_classes, "a class map or layers started anew, not both", True)
        rows = _rows(class_map, config.class_names, source_classes or _told_classes(file))
    elif reinitialise_classes:
        rows = []
    else:
        _require_same_classes(file, config, count)
        rows = None
    if not reinitialise_classes:
        _require_same_scoring(file, config)
    return _fill(config, file, rows)


class _Row(NamedTuple):
    """A class of the network and the class of the file that it is carried over from, by index and by name."""

    target: int
    source: int
    words: str


def _fill(config: YolactConfig, file: WeightFile, rows: list[_Row] | None) -> tuple[Yolact, Report]:
    network = blueprint(config)
    layers = {layer.name: layer for layer in _class_layers(config)} if rows is not None else {}
    state: dict[str, Tensor] = {}
    told: dict[str, list[tuple[str, str]]] = {"loaded": [], "mapped": [], "initialised": []}
    for name, expected in network.state_dict().items():
        layer = layers.get(name.rpartition(".")[0])
        if layer is not None:
            state[name] = _class_tensor(expected, file.state[name], layer, rows or [])
            said = _class_words(config.class_names, rows or [], layer.background)
        elif name in file.state:
            state[name] = file.state[name].to(expected.dtype)
            said = _plain_words(file, name, expected)
        else:
            state[name] = torch.zeros(expected.shape, dtype=expected.dtype)
            said = {"initialised": "not in the file, counts from 0"}
        for fate, words in said.items():
            told[fate].append((name, words))
    network.load_state_dict(state, assign=True)
    loaded, mapped, initialised = (tuple(entries) for entries in told.values())
    return network.eval(), Report(loaded, mapped, initialised, file.left_over)


def _plain_words(file: WeightFile, name: str, expected: Tensor) -> dict[str, str]:
    words = [f"without the prefix {file.renamed[name].removesuffix(name)}"] if name in file.renamed else []
    if file.state[name].dtype != expected.dtype:
        words.append(f"from {str(file.state[name].dtype).removeprefix('torch.')}")
    return {"mapped": ", ".join(words)} if words else {"loaded": ""}


class _ClassLayer(NamedTuple):
    """A layer with a row a class: ``groups`` times over, each beginning with the background's if it has one."""

    name: str
    groups: int
    background: bool


def _class_layers(config: YolactConfig) -> list[_ClassLayer]:
    layers = [_ClassLayer(_CONF, config.anchors.per_cell, True), _ClassLayer("semantic_seg_conv", 1, False)]
    if config.rescoring_channels:
        last = 2 * len(config.rescoring_channels)
        layers.append(_ClassLayer(f"maskiou_net.maskiou_net.{last}", 1, False))
    return layers


def _class_tensor(expected: Tensor, source: Tensor, layer: _ClassLayer, rows: list[_Row]) -> Tensor:
    """Fresh, as ``Yolact`` initialises what follows the backbone, with the given rows from the source."""
    tensor = torch.zeros(expected.shape)
    if tensor.dim() > 1:
        nn.init.xavier_uniform_(tensor)
    ours, theirs = (each.view(layer.groups, -1, *each.shape[1:]) for each in (tensor, source))
    if rows and layer.background:
        ours[:, 0] = theirs[:, 0]
    for row in rows:
        ours[:, row.target + layer.background] = theirs[:, row.source + layer.background]
    return tensor


def _class_words(names: Sequence[str], rows: list[_Row], background: bool) -> dict[str, str]:
    if not rows:
        return {"initialised": "class layer, started anew"}
    told = {
        "mapped": "rows of " + ", ".join([*(["the background"] if background else []), *(row.words for row in rows)])
    }
    fresh = [name for index, name in enumerate(names) if index not in {row.target for row in rows}]
    return told | (
        {"initialised": f"rows of {', '.join(fresh)}: no class of the file stands for them"} if fresh else {}
    )


def _rows(class_map: Mapping[str, str], names: Sequence[str], source_names: Sequence[str]) -> list[_Row]:
    for mapped, known, whose in ((class_map.keys(), names, "network"), (class_map.values(), source_names, "file")):
        strange = [name for name in mapped if name not in known]
        if strange:
            raise ConfigurationError("class_map", f"the {whose} has no class {_some(strange)}, but {', '.join(known)}")
    require("class_map", bool(class_map), "at least one class that the file knows", dict(class_map))
    pairs = [(name, class_map[name]) for name in names if name in class_map]
    words = [name if name == source else f"{name} from {source}" for name, source in pairs]
    return [
        _Row(names.index(name), source_names.index(source), said)
        for (name, source), said in zip(pairs, words, strict=True)
    ]


def _told_classes(file: WeightFile) -> tuple[str, ...]:
    names = known_classes(file)
    if names is None:
        raise DataError(
            f"{file.path} does not name its {class_count(file.state)} classes: convert it with --classes first"
        )
    return names


def _require_same_classes(file: WeightFile, config: YolactConfig, count: int | None) -> None:
    """As many, and of the same names in the same order where the file tells its own."""
    ways = (
        "with `streetmask weights convert` name its own classes to keep them (--classes), carry their rows over to the "
        "network's (--class-map), or start these anew (--reinitialise-classes)"
    )
    if count != config.class_count:
        theirs, ours = (list(tensors[f"{_CONF}.weight"].shape) for tensors in (file.state, _tensors(config)))
        raise DataError(
            f"{file.path} has {count} classes, the network {config.class_count}, so that class layers do not fit "
            f"({_CONF}.weight is {theirs} in the file, {ours} in the network): {ways}"
        )
    names = file.config.class_names if file.config else config.class_names
    if names != config.class_names:
        raise DataError(
            f"{file.path} has the classes {', '.join(names)}, the network {', '.join(config.class_names)}: {ways}"
        )


def _require_same_scoring(file: WeightFile, config: YolactConfig) -> None:
    scoring = file.config.scoring if file.config else "softmax"
    if scoring != config.scoring:
        raise DataError(
            f"{file.path} holds class logits to be read as {scoring}, the network reads them as {config.scoring}: "
            "keep the file's way, or start the class layers anew (--reinitialise-classes)"
        )


def misfits(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """How a state differs from the expected one in names, sizes and kinds of number, in words; nothing if it fits."""
    missing = [name for name in expected if name not in state and not name.endswith(COUNTER)]
    foreign = [name for name in state if name not in expected]
    other = [
        f"{name}: {_size(tensor)} in the file, expected {_size(expected[name])}"
        for name, tensor in state.items()
        if name in expected and _size(tensor) != _size(expected[name])
    ]
    told = (("missing", missing), ("not of it", foreign), ("of another size", other))
    return "; ".join(f"{what}: {len(names)} ({_some(names)})" for what, names in told if names)


def _size(tensor: Tensor) -> str:
    """Float32 and float16 are of one kind: a network converts them."""
    return f"{list(tensor.shape)}" + ("" if tensor.is_floating_point() else f" {tensor.dtype}".replace("torch.", ""))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


class _Undrawn(TorchFunctionMode):
    """Random initialisation does nothing: on tensors without data it has no effect, but loads torch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in (Tensor.normal_, Tensor.uniform_) else func(*args, **(kwargs or {}))


def blueprint(config: YolactConfig) -> Yolact:
    """The network without memory for its weights, which ``load_state_dict(..., assign=True)`` must then bring."""
    with torch.device("meta"), _Undrawn():
        return Yolact(config)


@lru_cache(maxsize=32)
def _tensors(config: YolactConfig) -> dict[str, Tensor]:
    return blueprint(config).state_dict()


def _bare(config: YolactConfig, classes: int) -> YolactConfig:
    """Only what the sizes of tensors depend on, so that networks that differ in nothing else are built once."""
    return replace(
        config,
        class_names=tuple(f"{index}" for index in range(classes)),
        size_hw=(1, 1),
        anchors=AnchorConfig(((1.0,) * config.anchors.per_cell,), ratios=(1.0,)),
        mean_rgb=(0,) * 3,
        std_rgb=(1,) * 3,
        scoring="softmax",
    )
