"""The golden frame's answer against falsified manifests."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scene.artifact import Artifact, read_artifact, write_artifact
from scene.errors import ArtifactError
from serve.golden import largest_difference
from serve.model import Model
from tests.serve.tiny_model import write_tiny_model

Falsify = Callable[[Artifact], Artifact]


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def golden(**changes: Any) -> Falsify:
    """Change the golden rows: first a red rectangle, then a blue one."""
    return lambda artifact: replace(artifact, golden=replace(artifact.golden, **changes))


def classes_named(*names: str) -> Falsify:
    return lambda artifact: replace(artifact, class_names=list(names), thresholds=[0.3] * len(names))


def falsified(folder: Path, falsify: Falsify) -> Path:
    write_tiny_model(folder)
    write_artifact(falsify(read_artifact(folder)), folder)
    return folder


def box_moved(by: float) -> Falsify:
    def move(artifact: Artifact) -> Artifact:
        first, second = artifact.golden.boxes_xyxy
        return golden(boxes_xyxy=[first, [side + by for side in second]])(artifact)

    return move


def mask_grown(by: int) -> Falsify:
    def grow(artifact: Artifact) -> Artifact:
        first, second = artifact.golden.mask_pixels
        return golden(mask_pixels=[first, second + by])(artifact)

    return grow


@pytest.mark.parametrize("falsify", [box_moved(0.0), box_moved(0.015), mask_grown(-8), mask_grown(8)])
def test_what_lies_within_the_tolerance_is_loaded(tmp_path: Path, falsify: Falsify) -> None:
    Model.load(falsified(tmp_path / "tiny", falsify))


@pytest.mark.parametrize(
    ("falsify", "sentence"),
    [
        (golden(classes=[0, 1]), "no row has class, box and mask of its row 1, green of score 1.00"),
        (golden(classes=[2, 0]), "no row has class, box and mask of its row 0, blue of score 1.00"),
        (box_moved(0.03), "no row has class, box and mask of its row 1, blue"),
        (box_moved(-0.03), "no row has class, box and mask of its row 1, blue"),
        (mask_grown(-12), "no row has class, box and mask of its row 1, blue"),
        (mask_grown(12), "no row has class, box and mask of its row 1, blue"),
        (golden(classes=[0, 3]), "names 3 classes, but its golden frame answers class 3"),
        (golden(classes=[-1, 2]), "names 3 classes, but its golden frame answers class -1"),
        (classes_named("red", "green"), "names 2 classes, but its golden frame answers class 2"),
        (golden(scores=[1.0]), "some are missing"),
        (golden(boxes_xyxy=[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), "some are missing"),
    ],
)
def test_a_falsified_manifest_is_refused(tmp_path: Path, falsify: Falsify, sentence: str) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        Model.load(falsified(tmp_path / "tiny", falsify))


def test_a_class_that_only_the_graph_knows_is_refused(tmp_path: Path) -> None:
    unseen = golden(classes=[0], scores=[1.0], boxes_xyxy=[[0.25, 0.25, 0.5, 0.75]], mask_pixels=[16])
    with pytest.raises(ArtifactError, match="names 2 classes, but the graph answers class 2"):
        Model.load(falsified(tmp_path / "tiny", lambda artifact: unseen(classes_named("red", "green")(artifact))))


@pytest.mark.parametrize(
    ("ours", "theirs", "worst"),
    [
        (scores(), scores(), 0.0),
        (scores(0.9, 0.5), scores(0.89, 0.5), 0.01),
        (scores(0.9), scores(0.9, 0.5), 0.4),
        (scores(0.9, 0.5), scores(0.9), 0.4),
        (scores(0.9, 0.105), scores(0.9, 0.095), 0.005),
        (scores(0.9, 0.01), scores(0.9, 0.09), 0.0),
    ],
)
def test_scores_are_compared_above_the_noise(ours: np.ndarray, theirs: np.ndarray, worst: float) -> None:
    assert largest_difference(ours, theirs) == pytest.approx(worst, abs=1e-6)
