"""A checkpoint becomes an artifact: graph, golden frame, measured figures and model card in one folder, or nothing."""

import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import torch

from export.calibration import CALIBRATION_PICTURES, generated_streets
from export.graph import deployable
from export.predictor import EnginePredictor
from export.quantize import write_int8
from export.to_onnx import OPSET, write_onnx
from export.verify import Agreement, compare
from model.config import YolactConfig
from model.detect import DetectSettings, NmsKind
from model.segmenter import Segmenter
from model.yolact import Yolact
from scene.artifact import (
    SCHEMA_VERSION,
    Artifact,
    GoldenFrame,
    ModelCard,
    ModelFile,
    Verification,
    file_sha256,
    tensor_specs,
    write_artifact,
)
from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, DataError, require
from scene.image import RgbImage, decode_image, network_input
from scene.instances import MASK_CUT
from serve.engines import Engine, Way, open_engine
from serve.models import detections
from training.checkpoint import load_network, read_progress, save_checkpoint, training_history
from training.data.location import open_dataset
from training.data.synthetic import SceneSettings, scene
from training.evaluate import Evaluation, score_predictions
from training.predictions import predictions_by_picture, together
from training.thresholds import DEFAULT_THRESHOLD, best_thresholds

VERIFY_SCENES = 20
_VERIFY_SEED = 900_000
_GOLDEN_SEED = 800_000
_ONNX_FILE, _INT8_FILE, _CHECKPOINT_FILE, _GOLDEN_FILE = "model.onnx", "model.int8.onnx", "checkpoint.pt", "golden.png"

LARGEST_LOSS = 0.5
"""How much box and mask AP, in points, an int8 graph may lose on the first data set and still be the one that runs
unless another is asked for."""


@dataclass(frozen=True)
class Publication:
    """What the exporter cannot know: the prose of the model card, and what the figures are measured on.

    ``accuracy`` names data sets on which the finished artifact itself is scored; the first one also sets the drawing
    thresholds. ``preset`` names the network of weights that leave a choice; ``nms`` goes into the graph. ``int8`` adds
    a graph in eight bits, calibrated on pictures of the data set ``calibration``, without it on generated streets.
    """

    summary: str
    licence: str
    limits: str
    accuracy: Sequence[tuple[str, Path]] = ()
    preset: str | None = None
    nms: NmsKind = "fast"
    int8: bool = False
    calibration: Path | None = None


def publish(checkpoint: Path, out: Path, publication: Publication, say: Callable[[str], None] = print) -> Artifact:
    """Export a checkpoint to the folder ``NAME/VERSION``, verify it against torch, and describe it.

    Everything is made in a folder beside it, which takes its place at the end: a failure leaves what was there. Raises
    ``ArtifactError`` when the graph answers otherwise than torch, ``DataError`` for a bad checkpoint, path or data set.
    """
    name, number = _name_and_version(out)
    require(
        "nms", publication.nms != "traditional", "fast or cross-class: no graph holds a greedy loop", publication.nms
    )
    network, settings = load_network(checkpoint, publication.preset), DetectSettings(nms=publication.nms)
    calibration = _calibration_pictures(network.config, publication) if publication.int8 else []
    segmenter = deployable(network, settings)
    draft_folder = out.with_name(out.name + ".partial")
    shutil.rmtree(draft_folder, ignore_errors=True)
    draft_folder.mkdir(parents=True)
    say("writing the graph")
    write_onnx(segmenter, draft_folder / _ONNX_FILE)
    artifact = _draft(segmenter, checkpoint, draft_folder, (name, number), publication)
    engine = open_engine(draft_folder, artifact, Way("onnxruntime", "float32", artifact.files[0]), threads=2)
    _write_golden(artifact, draft_folder)
    artifact = replace(artifact, golden=_golden(engine, draft_folder))
    say(f"comparing with torch on {VERIFY_SCENES} scenes")
    agreement = verify_on_scenes(Segmenter(network, settings).eval(), draft_folder, artifact)
    agreement.require()
    verified = {key: float(value) for key, value in asdict(agreement).items()}
    artifact = replace(artifact, verified=[Verification(_ONNX_FILE, "onnxruntime", "float32", verified)])
    artifact = _measured(artifact, engine, publication, say)
    if calibration:
        say(f"writing the graph in eight bits, calibrated on {len(calibration)} pictures")
        artifact = _with_int8(artifact, draft_folder, calibration, publication, say)
    artifact = replace(
        artifact, files=[*artifact.files, _weights(network, checkpoint, draft_folder, artifact.thresholds)]
    )
    write_artifact(artifact, draft_folder)
    shutil.rmtree(out, ignore_errors=True)
    draft_folder.rename(out)
    return artifact


def verify_on_scenes(segmenter: Segmenter, folder: Path, artifact: Artifact) -> Agreement:
    """Compare torch and engine on generated scenes that no training set holds."""
    settings = SceneSettings(height=512, width=1024)
    pictures = [scene(_VERIFY_SEED + index, settings).image for index in range(VERIFY_SCENES)]
    return compare(segmenter, folder, artifact, pictures)


def _name_and_version(out: Path) -> tuple[str, int]:
    if not out.name.isdecimal():
        raise DataError(f"--out names a folder NAME/VERSION with a whole number as version, but {out} came")
    return out.resolve().parent.name, int(out.name)


def _draft(
    segmenter: Segmenter, checkpoint: Path, folder: Path, identity: tuple[str, int], publication: Publication
) -> Artifact:
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
        files=[ModelFile(_ONNX_FILE, "onnx", "float32", file_sha256(folder / _ONNX_FILE))],
        golden=GoldenFrame(_GOLDEN_FILE, [], [], [], []),
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


def _write_golden(artifact: Artifact, folder: Path) -> None:
    """Write a generated scene at the network's size into the folder."""
    picture = network_input(scene(_GOLDEN_SEED, SceneSettings(height=512, width=1024)).image, artifact.size_hw)
    path = folder / _GOLDEN_FILE
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise DataError(f"cannot write {path}")


def _golden(engine: Engine, folder: Path) -> GoldenFrame:
    """What the engine answers to the folder's golden frame."""
    rows = detections(engine.run(decode_image((folder / _GOLDEN_FILE).read_bytes())[None]))
    return GoldenFrame(
        path=_GOLDEN_FILE,
        classes=rows.classes.tolist(),
        scores=[round(float(score), 5) for score in rows.scores],
        boxes_xyxy=[[round(float(side), 5) for side in box] for box in rows.boxes_xyxy],
        mask_pixels=(rows.masks >= MASK_CUT).sum(axis=(1, 2)).astype(int).tolist(),
    )


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


def _calibration_pictures(config: YolactConfig, publication: Publication) -> list[RgbImage]:
    """Frames at the network's input size: the first of the data set, evenly spread, or generated streets."""
    if publication.calibration is not None:
        dataset = open_dataset(publication.calibration, class_names=config.class_names)
        chosen = np.unique(np.linspace(0, len(dataset) - 1, CALIBRATION_PICTURES).round().astype(int))
        return [network_input(dataset.picture(index), config.size_hw) for index in chosen.tolist()]
    if not set(config.class_names) & set(STREET_CLASSES):
        raise ConfigurationError("calibration", "expected a COCO JSON of pictures such as it will see, none came")
    return generated_streets(config.size_hw)


def _with_int8(
    artifact: Artifact,
    folder: Path,
    calibration: list[RgbImage],
    publication: Publication,
    say: Callable[[str], None],
) -> Artifact:
    """The artifact with an int8 file, which comes first where it keeps the float32 file's accuracy."""
    quantisation = write_int8(folder / _ONNX_FILE, folder / _INT8_FILE, calibration)
    artifact = replace(artifact, quantisation=quantisation)
    entry = ModelFile(_INT8_FILE, "onnx", "int8", file_sha256(folder / _INT8_FILE))
    engine = open_engine(folder, artifact, Way("onnxruntime", "int8", entry), threads=2)
    golden = _golden(engine, folder)
    measured = _measured(artifact, engine, publication, say).card.figures
    figures = artifact.card.figures | {f"{key} (int8)": value for key, value in measured.items() if "AP" in key}
    files = [entry, *artifact.files] if keeps_accuracy(figures, publication) else [*artifact.files, entry]
    verified = [*artifact.verified, Verification(_INT8_FILE, "onnxruntime", "int8", {}, golden)]
    return replace(artifact, files=files, verified=verified, card=replace(artifact.card, figures=figures))


def keeps_accuracy(figures: dict[str, float], publication: Publication) -> bool:
    """Whether int8 was measured, and lost at most ``LARGEST_LOSS`` of box and mask AP on the first data set."""
    names = [f"{name}: {kind} AP" for name, _ in publication.accuracy[:1] for kind in ("box", "mask")]
    return bool(names) and all(figures[name] - figures[f"{name} (int8)"] <= LARGEST_LOSS for name in names)
