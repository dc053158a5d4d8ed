"""``streetmask export``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from export.publish import Publication, publish


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
    for name, value in {**artifact.verified[0].figures, **artifact.card.figures}.items():
        print(f"  {name}: {value:g}")
    print(f"wrote {arguments.out}")


def named_data(entry: str) -> tuple[str, Path]:
    """``NAME=PATH``, or a path, which is then named after its folder."""
    name, mark, path = entry.partition("=")
    return (name, Path(path)) if mark and not Path(entry).exists() else (Path(entry).parent.name, Path(entry))
