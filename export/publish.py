"""A checkpoint becomes an artifact: graphs, golden frame, verified figures and model card in one folder, or nothing."""

import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from export.calibration import calibration_pictures
from export.golden import GOLDEN_FILE, golden_answer, write_golden
from export.graph import deployable
from export.material import Material
from export.model_files import (
    FLOAT32_FILE,
    INT8_FILE,
    graph_metadata,
    lowering_of,
    onnx_file,
    write_float16,
)
from export.plans import Calibration, Order, Plans, parse_plan, write_plans
from export.predictor import EnginePredictor
from export.quantize import write_int8
from export.ranges import RangeMethod
from export.to_onnx import OPSET, write_onnx
from export.to_tensorrt import PlanRequest
from export.verify import Report, verify
from model.detect import DetectSettings, NmsKind
from model.segmenter import Segmenter
from model.yolact import Yolact
from scene.artifact import (
    SCHEMA_VERSION,
    Artifact,
    GoldenFrame,
    ModelCard,
    ModelFile,
    file_sha256,
    tensor_specs,
    write_artifact,
)
from scene.disk import require_room, writing
from scene.errors import ArtifactError, DataError, require
from serve.engines import Engine, Way, open_engine
from training.checkpoint import load_network, read_progress, save_checkpoint, training_history
from training.data.location import open_dataset
from training.evaluate import Evaluation, score_predictions
from training.predictions import predictions_by_picture, together
from training.thresholds import DEFAULT_THRESHOLD, best_thresholds

_CHECKPOINT_FILE = "checkpoint.pt"

Accept = Callable[[Artifact, Report], Artifact]
"""The last word on what was verified, before it takes its place: raises to refuse, or says more in the manifest."""


@dataclass(frozen=True)
class Publication:
    """What the exporter cannot know: the prose of the model card, what is built, and on what it is measured.

    ``accuracy`` names data sets on which the finished artifact is scored and verified; the first one also sets the
    drawing thresholds. ``preset`` names the network of weights that leave a choice; ``nms`` goes into the graph.
    ``int8`` adds a graph in eight bits, ``float16`` one in half precision, ``plans`` a plan for each product named
    (``parse_plan``), for batches up to ``plan_batch`` and built in ``plan_workspace_mib`` MiB of the GPU's memory.
    Eight bits are calibrated on pictures of the data set or folder ``calibration``, without it on generated streets;
    ``ranges`` says how their ranges are found.
    ``scenes``, ``pictures`` and ``first`` are what it is verified on beside the data sets (``Material``). With
    ``allow`` a file that breaks a limit is published all the same, which its record says. Raises
    ``ConfigurationError`` for what does not go together.
    """

    summary: str
    licence: str
    limits: str
    accuracy: Sequence[tuple[str, Path]] = ()
    preset: str | None = None
    nms: NmsKind = "fast"
    int8: bool = False
    calibration: Path | None = None
    float16: bool = False
    plans: Sequence[str] = ()
    scenes: int | None = None
    pictures: Path | None = None
    first: int | None = None
    allow: bool = False
    ranges: RangeMethod = "percentile"
    plan_batch: int = PlanRequest.largest_batch
    plan_workspace_mib: int = PlanRequest.workspace_mib

    def __post_init__(self) -> None:
        require("nms", self.nms != "traditional", "fast or cross-class: no graph holds a greedy loop", self.nms)
        files = [order.file for order in self.orders]
        require("plan", len(set(files)) == len(files), "every plan once", ", ".join(self.plans))
        eight_bits = "none without --int8 or a plan in eight bits"
        require("calibration", self.rounds or self.calibration is None, eight_bits, str(self.calibration))
        require("ranges", self.rounds or self.ranges == "percentile", eight_bits, self.ranges)
        for name, value, default in (
            ("plan_batch", self.plan_batch, PlanRequest.largest_batch),
            ("plan_workspace", self.plan_workspace_mib, PlanRequest.workspace_mib),
        ):
            require(name, value >= 1, "1 or more", value)
            require(name, bool(self.plans) or value == default, "none without --plan", value)

    @property
    def orders(self) -> list[Order]:
        """The plans that are asked for; ``ConfigurationError`` for one that there is not."""
        return [parse_plan(plan, self.plan_batch, self.plan_workspace_mib) for plan in self.plans]

    @property
    def rounds(self) -> bool:
        """Whether anything is in eight bits."""
        return self.int8 or any(order.precision == "int8" for order in self.orders)

    @property
    def material(self) -> Material:
        """What it is verified on."""
        return Material(self.scenes, self.accuracy, self.pictures, self.first)


def publish(
    checkpoint: Path,
    out: Path,
    publication: Publication,
    say: Callable[[str], None] = print,
    accept: Accept | None = None,
) -> Artifact:
    """Export a checkpoint to the folder ``NAME/VERSION``, verify it against torch, and describe it.

    Everything is made in a folder beside it, which takes its place at the end: a failure leaves what was there. Raises
    ``ArtifactError`` where a file breaks a limit of its precision, ``DataError`` for a bad checkpoint, path or data set
    and for a disk without room.
    """
    name, number = _name_and_version(out)
    with _draft(out) as folder:
        artifact, plans = _files(checkpoint, folder, (name, number), publication, say)
        report = verify(folder, artifact, publication.material, say=say, stand_ins=plans.stand_ins)
        if report.forbidding and not publication.allow:
            raise ArtifactError(
                f"{'; '.join(report.forbidding)}; nothing was written; --allow publishes it all the same and records it"
            )
        for path in plans.scaffold:
            path.unlink()
        artifact = replace(artifact, verified=report.verified)
        artifact = accept(artifact, report) if accept is not None else artifact
        write_artifact(artifact, folder)
    return artifact


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``out`` if all goes well, and is gone if anything does not."""
    folder, old = out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.old")
    if old.exists() and not out.exists():  # an export was killed between its two renames
        old.rename(out)
    for left_behind in (folder, old):
        shutil.rmtree(left_behind, ignore_errors=True)
    try:
        with writing(out):
            folder.mkdir(parents=True)
            yield folder
            _take_place(folder, out, old)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _take_place(folder: Path, out: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    try:
        folder.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise


def _files(
    checkpoint: Path,
    folder: Path,
    identity: tuple[str, int],
    publication: Publication,
    say: Callable[[str], None],
) -> tuple[Artifact, Plans]:
    """Every file but the manifest, and the manifest without what verification adds."""
    network, settings = load_network(checkpoint, publication.preset), DetectSettings(nms=publication.nms)
    require_room(folder, _size_bytes(network, publication), "the model folder")
    config = network.config
    pictures = (
        calibration_pictures(config.size_hw, config.class_names, publication.calibration) if publication.rounds else []
    )
    say("writing the graph")
    segmenter = deployable(network, settings)
    write_onnx(segmenter, folder / FLOAT32_FILE)
    artifact = _manifest(segmenter, checkpoint, identity, publication)
    engine = open_engine(folder, artifact, Way("onnxruntime", "float32", artifact.files[0]), threads=2)
    write_golden(artifact, folder)
    artifact = _measured(replace(artifact, golden=golden_answer(engine, folder)), engine, publication, say)
    metadata = graph_metadata(artifact)
    files = [onnx_file(folder, FLOAT32_FILE, "float32", metadata, lowering_of(network))]
    if publication.int8:
        say(f"writing the graph in eight bits, calibrated on {len(pictures)} pictures")
        quantisation = write_int8(folder / FLOAT32_FILE, folder / INT8_FILE, pictures, publication.ranges)
        artifact = replace(artifact, quantisation=quantisation)
        files.append(onnx_file(folder, INT8_FILE, "int8", metadata, lowering_of(network)))
    if publication.float16:
        say("writing the graph in half precision")
        files.append(write_float16(network, settings, folder, metadata))
    rounding = Calibration(pictures, artifact.quantisation, publication.ranges)
    plans = write_plans(network, settings, folder, publication.orders, rounding, say)
    files += [*plans.files, _weights(network, checkpoint, folder, artifact.thresholds)]
    return replace(artifact, files=files, quantisation=plans.quantisation), plans


def _size_bytes(network: Yolact, publication: Publication) -> int:
    """About what the folder will take: each graph holds its weights, and whatever else it has is small beside them."""
    weights = 4 * sum(parameter.numel() for parameter in network.parameters())
    halves = len(publication.plans) + len(set(publication.plans)) + publication.float16
    return 2 * weights + weights * publication.int8 // 4 + weights * halves // 2


def _name_and_version(out: Path) -> tuple[str, int]:
    if not out.name.isdecimal():
        raise DataError(f"--out names a folder NAME/VERSION with a whole number as version, but {out} came")
    return out.resolve().parent.name, int(out.name)


def _manifest(segmenter: Segmenter, checkpoint: Path, identity: tuple[str, int], publication: Publication) -> Artifact:
    """The manifest as far as it is known before anything ran."""
    config, rows = segmenter.network.config, segmenter.settings.rows
    return Artifact(
        schema_version=SCHEMA_VERSION,
        name=identity[0],
        version=identity[1],
        class_names=list(config.class_names),
        size_hw=config.size_hw,
        color_order="RGB",
        max_detections=rows,
        mask_size_hw=segmenter.mask_size_hw,
        thresholds=[DEFAULT_THRESHOLD] * config.class_count,
        tensors=tensor_specs(config.size_hw, rows, segmenter.mask_size_hw),
        files=[ModelFile(FLOAT32_FILE, "onnx", "float32", "")],
        golden=GoldenFrame(GOLDEN_FILE, [], [], [], []),
        card=ModelCard(
            summary=publication.summary,
            training_data=training_history(read_progress(checkpoint)),
            licence=publication.licence,
            limits=publication.limits,
        ),
        source_checkpoint_sha256=file_sha256(checkpoint),
        tools=_tools(),
    )


def _weights(network: Yolact, checkpoint: Path, folder: Path, thresholds: list[float]) -> ModelFile:
    """The checkpoint without its optimiser, so that retraining can start from the artifact alone.

    It has the drawing thresholds with it: loaded on its own it draws what the artifact draws.
    """
    path = folder / _CHECKPOINT_FILE
    save_checkpoint(path, network, **(read_progress(checkpoint) | {"thresholds": thresholds}))
    return ModelFile(_CHECKPOINT_FILE, "torch", "float32", file_sha256(path))


def _tools() -> dict[str, str]:
    return {
        "streetmask": version("streetmask"),
        "torch": str(torch.__version__),
        "onnx": str(onnx.__version__),
        "onnxruntime": str(onnxruntime.__version__),
        "opset": str(OPSET),
        "python": platform.python_version(),
    }


def _measured(artifact: Artifact, engine: Engine, publication: Publication, say: Callable[[str], None]) -> Artifact:
    """Score the finished engine on each data set; the first also sets the thresholds."""
    figures: dict[str, float] = {}
    thresholds = np.array(artifact.thresholds, np.float32)
    for index, (name, path) in enumerate(publication.accuracy):
        say(f"measuring accuracy on {name}")
        dataset = open_dataset(path, class_names=tuple(artifact.class_names))
        predictions = together(predictions_by_picture(EnginePredictor(engine, artifact.size_hw), dataset))
        figures |= _figures(name, score_predictions(predictions, dataset))
        if index == 0:
            thresholds = best_thresholds(predictions, dataset)
    return replace(
        artifact,
        thresholds=[round(float(value), 3) for value in thresholds],
        card=replace(artifact.card, figures=figures),
    )


def _figures(name: str, result: Evaluation) -> dict[str, float]:
    return {
        f"{name}: images": float(result.images),
        f"{name}: box AP": round(100 * result.box.ap, 2),
        f"{name}: mask AP": round(100 * result.mask.ap, 2),
        f"{name}: mask AP50": round(100 * result.mask.ap50, 2),
    }
