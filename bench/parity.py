"""How nearly engines answer as torch's deployed module in float32 does, on the frames that are timed."""

from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.child import Child
from bench.frames import stored_frames
from bench.subjects import Subject, detect_settings, load_segmenter
from scene.artifact import read_artifact
from scene.image import network_input
from scene.instances import Detections
from serve.engines import open_engine

if TYPE_CHECKING:
    from export.parity import Parity

_ANSWER_S = 1800.0
_TIED = 1e-4
"""Scores that differ by no more may change places at the end of the rows."""


def ask_parity(subjects: list[Subject], path: Path) -> dict[str, dict[str, Any]]:
    """By subject, all of one target with a graph: ``matched``, the share of instances that both answer; of these,
    ``mask_iou``, the mean, and ``score_error``, the largest; ``instances``, how many torch answers.

    ``path`` is where ``store_frames`` wrote. In a process of its own, as torch is loaded; raises ``DataError``.
    """
    child = Child(f"the comparison of {subjects[0].target}", _compare, subjects, path)
    try:
        found = child.receive(dict, _ANSWER_S)
        child.join()
        return found
    finally:
        child.kill()


def parity_report(reference: list[Detections], found: list[Detections], classes: int) -> dict[str, Any]:
    """Every row of every picture that lies above both sides' last scores, as the last rows are a matter of ties."""
    from export.parity import compare_drawn, total  # noqa: PLC0415 - whoever compares has what export needs

    parts: list[Parity] = []
    for ours, theirs in zip(reference, found, strict=True):
        last = max(rows.scores.min(initial=1.0) for rows in (ours, theirs)) if len(ours) == len(theirs) else 0.0
        parts.append(compare_drawn(ours, theirs, np.full(classes, last, np.float32), _TIED))
    parity = total(parts)
    return {
        "instances": parity.instances,
        "matched": None if parity.matched is None else round(parity.matched, 5),
        "mask_iou": None if parity.mask_iou is None else round(parity.mask_iou, 5),
        "score_error": parity.errors["scores"].largest,
    }


def _compare(connection: Connection, subjects: list[Subject], path: Path) -> None:
    frames = list(stored_frames(path))
    size_hw = read_artifact(subjects[0].folder).size_hw
    batches = [network_input(np.asarray(frame), size_hw)[None] for frame in frames]
    reference, classes = _ask_torch(subjects[0], batches)
    found = {subject.name: parity_report(reference, _ask_engine(subject, batches), classes) for subject in subjects}
    connection.send(found)


def _ask_torch(subject: Subject, batches: list[NDArray[np.uint8]]) -> tuple[list[Detections], int]:
    from model.segmenter import TorchPredictor  # noqa: PLC0415 - in a process of its own

    segmenter = load_segmenter(subject.target, detect_settings(subject))
    predict = TorchPredictor(segmenter)
    return [rows for batch in batches for rows in predict([batch[0]])], segmenter.network.config.class_count


def _ask_engine(subject: Subject, batches: list[NDArray[np.uint8]]) -> list[Detections]:
    from serve.model import detections  # noqa: PLC0415

    artifact = read_artifact(subject.folder)
    engine = open_engine(subject.folder, artifact, subject.named.way(artifact), subject.threads)
    return [detections(engine.run(batch)) for batch in batches]
