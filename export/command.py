"""``streetmask export``, and what `streetmask release` asks as well."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from export.publish import Publication, publish
from export.ranges import RangeMethod
from export.to_tensorrt import PlanRequest
from export.triton import write_repository
from export.triton_config import TritonOptions
from export.triton_release import find_release
from export.verification_lines import lines
from export.verify import Report
from scene.artifact import Artifact
from scene.errors import require

_REPOSITORY = Path("model-repository")  # a folder named triton would be taken for the package that torch compiles with


@dataclass(frozen=True, kw_only=True)
class BuildArguments:
    """What is built of a checkpoint, and on what it is verified."""

    data: tuple[str, ...] = ()
    """NAME=SET: data sets on which the finished model is measured and verified; the first sets the thresholds."""
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
    """Add a graph whose convolutions compute in eight bits."""
    calibration: Path | None = None
    """Data set or folder of pictures like those it will see, for eight bits; generated streets without it."""
    ranges: RangeMethod = "percentile"
    """Ranges of eight bits: leave out the few values that lie far from all others, or change the distribution least."""
    float16: bool = False
    """Add a graph in half precision, for GPUs."""
    plan: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Add a plan: tensorrt or tensorrt-rtx for this machine's GPU, tensorrt-rtx:sm86 for another; in half precision, or
    in eight bits with :int8 behind it."""
    plan_batch: int = PlanRequest.largest_batch
    """Pictures in the largest batch that a plan takes."""
    plan_workspace: int = PlanRequest.workspace_mib
    """MiB of the GPU's memory that an operator may use while a plan is built."""
    verify_scenes: int | None = None
    """Verify on so many generated scenes; without it 50, or 6 of a network of more than ten million weights."""
    verify_pictures: Path | None = None
    """Folder of pictures without labels to verify on, too."""
    verify_first: int | None = None
    """Verify on so many pictures of each data set at most."""
    allow: bool = False
    """Publish what breaks a limit all the same; its record says so, and unasked no server takes a precision that broke
    one, but for float32."""

    def publication(self) -> Publication:
        """The same, as ``publish`` takes it."""
        return Publication(
            summary=self.summary,
            licence=self.licence,
            limits=self.limits,
            accuracy=[named_data(entry) for entry in self.data],
            preset=self.preset,
            nms=self.nms,
            int8=self.int8,
            calibration=self.calibration,
            ranges=self.ranges,
            float16=self.float16,
            plans=self.plan,
            plan_batch=self.plan_batch,
            plan_workspace_mib=self.plan_workspace,
            scenes=self.verify_scenes,
            pictures=self.verify_pictures,
            first=self.verify_first,
            allow=self.allow,
        )


@dataclass(frozen=True, kw_only=True)
class ExportArguments(BuildArguments):
    """Turn a checkpoint into a model folder: graphs, golden frame, model card; verified before it is written."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Checkpoint of `streetmask train`, or published weights."""
    out: Path
    """Folder NAME/VERSION to write, such as models/street-nano/1."""
    layout: Literal["folder", "triton"] = "folder"
    """triton adds the model to a model repository of Triton Inference Server, too: --triton-version, --repository.
    `streetmask export triton` does so for a folder that exists, with every choice that Triton leaves."""
    triton_version: str | None = None
    """Release of Triton, such as 26.08, which decides which operators the graph may have."""
    repository: Path = _REPOSITORY
    """Model repository to write into; what else is in it stays."""

    def __post_init__(self) -> None:
        named = self.triton_version is not None
        require(
            "triton_version", named == (self.layout == "triton"), "one with --layout triton alone", self.triton_version
        )
        other = self.repository != _REPOSITORY
        require("repository", named or not other, "none without --layout triton", str(self.repository))


def export(arguments: ExportArguments) -> None:
    """Publish the checkpoint and say what was verified and measured."""
    triton = TritonOptions(arguments.triton_version) if arguments.triton_version else None
    if triton is not None:
        find_release(triton.triton_version)  # an unknown one is told before anything is made
    artifact = publish(arguments.checkpoint, arguments.out, arguments.publication(), accept=_told)
    for name, value in artifact.card.figures.items():
        print(f"  {name}: {value:g}")
    print(f"wrote {arguments.out}")
    if triton is not None:
        print(f"wrote {write_repository(arguments.out, arguments.repository, triton)}")


def _told(artifact: Artifact, report: Report) -> Artifact:
    print(*lines(report), sep="\n")
    return artifact


def named_data(entry: str) -> tuple[str, Path]:
    """``NAME=PATH``, or a path, which is then named after its folder."""
    name, mark, path = entry.partition("=")
    return (name, Path(path)) if mark and not Path(entry).exists() else (Path(entry).parent.name, Path(entry))
