"""``streetmask export`` and ``streetmask evaluate``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from export.predictor import on_the_street, open_predictor
from export.publish import Publication, publish
from model.detect import NmsKind
from scene.artifact import GraphPrecision
from training.data.location import open_dataset
from training.evaluate import Precision
from training.evaluate import evaluate as score


@dataclass(frozen=True)
class ExportArguments:
    """Turn a checkpoint into a model folder: ONNX graph, golden frame, model card; verified before it is written."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Checkpoint of `streetmask train`, or published weights."""
    out: Path
    """Folder NAME/VERSION to write, such as models/street-nano/1."""
    data: tuple[str, ...] = ()
    """NAME=COCO.json sets on which the finished model is measured, for its card; the first sets the thresholds."""
    summary: str = "YOLACT++ instance segmentation of street scenes."
    """What the model is for, for its card."""
    licence: str = "not stated"
    """What the weights may be used for, for the card."""
    limits: str = "not stated"
    """What the model cannot do, for the card."""
    nms: Literal["fast", "cross-class"] = "fast"
    """Suppression within each class, or over all classes at once: one box for what looks like two classes."""
    preset: str | None = None
    """Network of weights that leave a choice, such as yolact-im700."""
    int8: bool = False
    """Add a graph whose convolutions compute in eight bits; it runs by default if it loses at most half a point of AP
    on the first set."""
    calibration: Path | None = None
    """COCO JSON of pictures like those it will see, for --int8; generated streets without it."""


@dataclass(frozen=True)
class EvaluateArguments:
    """Measure COCO box and mask AP of a checkpoint or a model folder at full frame size."""

    model: Annotated[Path, tyro.conf.Positional]
    """Checkpoint, published weights, or model folder such as models/street-nano/1."""
    data: Path
    """COCO JSON or folder with instances.json, DIR:SPLIT of Cityscapes' layout, or DIR:NAME of COCO's own."""
    classes: Literal["own", "street"] = "own"
    """Classes that are scored: the model's own; or the street's, with what it finds of any other class discarded."""
    nms: NmsKind = "fast"
    """How weights suppress; a model folder has its own way in its graph."""
    preset: str | None = None
    """Network of weights that leave a choice, such as yolact-im700."""
    precision: GraphPrecision | None = None
    """Which of a model folder's files: float32, or int8 where it has one; its first without it."""
    threads: int = 2
    """CPU threads of a model folder's engine."""


def export(arguments: ExportArguments) -> None:
    """Publish the checkpoint and say what was verified and measured."""
    publication = Publication(
        summary=arguments.summary,
        licence=arguments.licence,
        limits=arguments.limits,
        accuracy=[named_data(entry) for entry in arguments.data],
        preset=arguments.preset,
        nms=arguments.nms,
        int8=arguments.int8,
        calibration=arguments.calibration,
    )
    artifact = publish(arguments.checkpoint, arguments.out, publication)
    for name, value in {**artifact.verified, **artifact.card.figures}.items():
        print(f"  {name}: {value:g}")
    print(f"wrote {arguments.out}")


def evaluate(arguments: EvaluateArguments) -> None:
    """Print a table by class, then the whole evaluation as one line of JSON."""
    predictor = open_predictor(arguments.model, arguments.threads, arguments.preset, arguments.nms, arguments.precision)
    predictor = on_the_street(predictor) if arguments.classes == "street" else predictor
    result = score(predictor.predict, open_dataset(arguments.data, class_names=predictor.class_names))
    print(f"{result.images} pictures, {result.instances} instances")
    print(f"{'':12}{'box AP':>8}{'mask AP':>9}")
    for name in result.box.by_class:
        print(f"{name:12}{100 * result.box.by_class[name]:8.1f}{100 * result.mask.by_class[name]:9.1f}")
    for label, field in (("all", "ap"), ("all, IoU 0.5", "ap50"), ("small", "small"), ("large", "large")):
        print(f"{label:12}{_percent(result.box, field):8.1f}{_percent(result.mask, field):9.1f}")
    print(json.dumps(result.as_dict()))


def _percent(precision: Precision, field: str) -> float:
    return 100 * float(getattr(precision, field))


def named_data(entry: str) -> tuple[str, Path]:
    """``NAME=PATH``, or a path, which is then named after its folder."""
    name, mark, path = entry.partition("=")
    return (name, Path(path)) if mark and not Path(entry).exists() else (Path(entry).parent.name, Path(entry))
