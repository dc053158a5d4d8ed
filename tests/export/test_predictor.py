from pathlib import Path

import numpy as np
import pytest

from export.predictor import EnginePredictor, open_predictor
from export.verify import compare_detections
from model.detect import DetectSettings
from scene.errors import ArtifactError, DataError
from scene.image import RgbImage
from serve.models import Model
from tests.export.conftest import Published


@pytest.fixture
def frames() -> list[RgbImage]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, size, np.uint8) for size in ((64, 128, 3), (100, 80, 3))]


def test_no_frames_no_answers(published: Published) -> None:
    assert open_predictor(published.folder, threads=1)([]) == []


def test_a_checkpoint_and_its_artifact_answer_alike(published: Published, frames: list[RgbImage]) -> None:
    in_torch = open_predictor(published.checkpoint)(frames)
    deployed = open_predictor(published.folder, threads=1)(frames)
    assert len(in_torch) == len(deployed) == 2
    for ours, theirs in zip(in_torch, deployed, strict=True):
        assert len(ours) > 10
        compare_detections(ours, theirs, DetectSettings()).require()


def test_an_engine_answers_each_frame_as_it_serves_it(published: Published, frames: list[RgbImage]) -> None:
    model = Model.load(published.folder)
    found = EnginePredictor(model.engine, model.artifact.size_hw)(frames)
    for frame, detections in zip(frames, found, strict=True):
        served = model.segment(frame).instances
        kept = detections.above(np.array(model.artifact.thresholds, np.float32))
        assert [instance.score for instance in served] == pytest.approx(kept.scores.tolist())


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        open_predictor(tmp_path / "none.pt")
    with pytest.raises(ArtifactError, match="expected a model folder"):
        open_predictor(tmp_path)
