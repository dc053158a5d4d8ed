"""``streetmask evaluate``: the accuracy of weights, of a model folder, or of a running server."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from scene.artifact import Precision
from scene.classes import STREET_CLASSES
from scene.errors import require
from serve.engines import EngineName
from serve.settings import usable_cpus
from streetmask.server_answers import is_address, server_predictions
from training.cityscapes_ap import ClassPrecision
from training.data.dataset import InstanceDataset
from training.data.location import open_dataset
from training.evaluate import Evaluation, Figures, score_predictions
from training.predictions import Prediction, predictions_by_picture, together

Answers = Callable[[InstanceDataset], Iterator[list[Prediction]]]
"""From a data set to the predictions on each of its pictures."""

_COCO = ("AP", "AP50", "AP75", "small", "medium", "large")
_CITYSCAPES = ("Cityscapes AP", "AP50")


@dataclass(frozen=True)
class EvaluateArguments:
    """Measure COCO's box and mask AP and Cityscapes' own at full frame size: tables, then a line of JSON."""

    model: Annotated[str, tyro.conf.Positional]
    """Checkpoint, published weights, model folder such as models/street-nano/1, or a server's HOST:PORT."""
    data: Path
    """COCO JSON or folder with instances.json, DIR:SPLIT of Cityscapes' layout, or DIR:NAME of COCO's own."""
    classes: Literal["own", "street"] = "own"
    """Classes that are scored: the model's own, which of a server are the street's; or the street's, with what it finds
    of any other class discarded."""
    nms: Literal["fast", "cross-class", "traditional"] = "fast"
    """How weights suppress; a model folder has its own way in its graph."""
    preset: str | None = None
    """Network of weights that leave a choice, such as yolact-im700."""
    engine: EngineName | None = None
    """What runs a model folder; without it whatever answers fastest here."""
    precision: Precision | None = None
    """What a model folder computes in; without it the fastest that verification found to keep its limits."""
    device: str = "auto"
    """Where weights run: auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads of a model folder's engine; 0 for as many as this process may use."""
    first: int | None = None
    """Only so many pictures."""
    json: Path | None = None
    """File for the JSON, instead of the last line."""

    def __post_init__(self) -> None:
        require("first", self.first is None or self.first >= 1, "1 or more", self.first)


def evaluate(arguments: EvaluateArguments) -> None:
    """Say what runs it, measure, print tables by class, and end in the whole evaluation as one line of JSON."""
    class_names, answers, runs_on = _open(arguments)
    print(f"runs on {runs_on}", flush=True)
    dataset = open_dataset(arguments.data, class_names=class_names)
    dataset = dataset if arguments.first is None else dataset.first(arguments.first)
    result = score_predictions(together(answers(dataset)), dataset)
    text = json.dumps(result.as_dict(), allow_nan=False)
    print(*lines(result), sep="\n")
    if arguments.json is None:
        print(text)
    else:
        arguments.json.write_text(text + "\n")


def lines(result: Evaluation) -> list[str]:
    """For people, in percent: a row a class, then all; "-" where there is nothing to find."""
    absent = f"; nothing to find of {', '.join(result.absent_classes)}" if result.absent_classes else ""
    own, none = result.cityscapes, ClassPrecision(math.nan, math.nan)
    box = {name: _six(figures) for name, figures in {**result.box.by_class, "all": result.box}.items()}
    mask = {
        name: (*_six(figures), two.ap, two.ap50)
        for name, figures in {**result.mask.by_class, "all": result.mask}.items()
        for two in [own if name == "all" else own.by_class.get(name, none)]
    }
    return [
        f"{result.images} pictures, {result.instances} instances{absent}",
        *_aligned(("box", *_COCO), box),
        *_aligned(("mask", *_COCO, *_CITYSCAPES), mask),
    ]


def _six(figures: Figures) -> tuple[float, ...]:
    return figures.ap, figures.ap50, figures.ap75, figures.small, figures.medium, figures.large


def _aligned(heads: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> list[str]:
    width = max(map(len, (heads[0], *rows)))
    columns = [max(len(head), 6) for head in heads[1:]]
    words = [heads, *((name, *map(_percent, values)) for name, values in rows.items())]
    return [
        row[0].ljust(width) + "".join(f"  {word:>{column}}" for word, column in zip(row[1:], columns, strict=True))
        for row in words
    ]


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _open(arguments: EvaluateArguments) -> tuple[tuple[str, ...], Answers, str]:
    """The names of the classes that are scored, who answers, and what that one runs on."""
    street = arguments.classes == "street"
    if is_address(arguments.model):
        require("preset", arguments.preset is None, "none for a server", arguments.preset)
        require("nms", arguments.nms == "fast", "none for a server, whose model has its own", arguments.nms)
        for name, asked in (("precision", arguments.precision), ("engine", arguments.engine)):
            require(name, asked is None, "none for a server, which has chosen", asked)
        answers = partial(server_predictions, arguments.model, known_only=street)
        return STREET_CLASSES, answers, f"the server {arguments.model}"
    from export.predictor import on_the_street, open_predictor  # noqa: PLC0415 - a server is asked without torch
    from training.loop import pick_device  # noqa: PLC0415

    predictor = open_predictor(
        Path(arguments.model),
        arguments.threads or usable_cpus(),
        arguments.preset,
        arguments.nms,
        arguments.precision,
        pick_device(arguments.device),
        arguments.engine,
    )
    predictor = on_the_street(predictor) if street else predictor
    return predictor.class_names, partial(predictions_by_picture, predictor.predict), predictor.runs_on
