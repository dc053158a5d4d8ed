"""The golden frame: what a model answers here, held against what it answered on the machine that exported it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene.artifact import MANIFEST, Artifact, GoldenFrame, Precision
from scene.errors import ArtifactError
from scene.instances import MASK_CUT, Detections

NOISE_SCORE = 0.1
"""Rows at or below this score are noise and not compared."""

CLEAR_SCORE = 0.2
"""Rows from this score on must be found again with class, box and mask."""

TOLERANCE = 0.02
"""How far a box's side may lie off, in parts of the frame, and a score in float32: processors round differently."""

SCORE_TOLERANCES: dict[Precision, float] = {"float32": TOLERANCE, "float16": TOLERANCE, "bfloat16": 0.05, "int8": 0.15}
"""How far a score may lie off. In eight bits engines round at different places: between ONNX Runtime and OpenVINO one
score moved by 0.07, while products that saturate take whole objects away."""

MASK_TOLERANCE, MASK_TOLERANCE_PIXELS = 0.05, 8
"""How far a mask's number of pixels may lie off: a part of it, and so many more."""


def check_answer(
    artifact: Artifact, golden: GoldenFrame, rows: Detections, folder: Path, precision: Precision = "float32"
) -> None:
    """Hold the live rows for a golden frame against the manifest's, as nearly as what they were computed in allows.

    Raises ``ArtifactError`` where they differ.
    """
    _check_shape(golden, folder)
    for source, classes in (("its golden frame", golden.classes), ("the graph", rows.classes.tolist())):
        _check_classes(source, classes, len(artifact.class_names), folder)
    worst = largest_difference(rows.scores, np.array(golden.scores, np.float32))
    allowed = SCORE_TOLERANCES[precision]
    if worst > allowed:
        raise _differs(folder, f"a score is off by {worst:.3f}, {allowed} is allowed")
    for index, score in enumerate(golden.scores):
        if score >= CLEAR_SCORE - TOLERANCE + allowed and not _found_again(golden, index, rows):
            name = artifact.class_names[golden.classes[index]]
            raise _differs(folder, f"no row has class, box and mask of its row {index}, {name} of score {score:.2f}")


def largest_difference(scores: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference between two lists of scores above the noise, the shorter one filled up with noise.

    So a row that lies just above the noise on one machine and just below on the other is no difference, while a row
    that one machine sees clearly and the other not at all is.
    """
    count = max(len(scores), len(expected))
    ours, theirs = (_above_noise(rows, count) for rows in (scores, expected))
    return float(np.abs(ours - theirs).max(initial=0.0))


def _above_noise(scores: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    rows = np.full(count, NOISE_SCORE, np.float32)
    rows[: len(scores)] = np.maximum(np.sort(scores)[::-1], NOISE_SCORE)
    return rows


def _check_shape(golden: GoldenFrame, folder: Path) -> None:
    lengths = {len(rows) for rows in (golden.classes, golden.scores, golden.boxes_xyxy, golden.mask_pixels)}
    if len(lengths) > 1 or any(len(box) != 4 for box in golden.boxes_xyxy):
        raise ArtifactError(
            f"the golden frame in {folder / MANIFEST} needs a class, a score, a box of four sides and a number of mask "
            "pixels for every row, but some are missing; fetch the folder again"
        )


def _check_classes(source: str, classes: list[int], count: int, folder: Path) -> None:
    wrong = [index for index in classes if not 0 <= index < count]
    if wrong:
        raise ArtifactError(
            f"{folder / MANIFEST} names {count} classes, but {source} answers class {wrong[0]}, counted from 0; "
            "export the checkpoint again"
        )


def _found_again(golden: GoldenFrame, index: int, rows: Detections) -> bool:
    """Whether a live row has the class, the box and about as many mask pixels as the golden row of the index."""
    expected = golden.mask_pixels[index]
    pixels = (rows.masks >= MASK_CUT).sum(axis=(1, 2))
    same_class = rows.classes == golden.classes[index]
    same_box = np.abs(rows.boxes_xyxy - np.array(golden.boxes_xyxy[index])).max(axis=1, initial=0.0) <= TOLERANCE
    same_mask = np.abs(pixels - expected) <= MASK_TOLERANCE * expected + MASK_TOLERANCE_PIXELS
    return bool((same_class & same_box & same_mask).any())


def _differs(folder: Path, how: str) -> ArtifactError:
    return ArtifactError(
        f"{folder} answers its golden frame otherwise than when it was exported: {how}; export the checkpoint again"
    )
