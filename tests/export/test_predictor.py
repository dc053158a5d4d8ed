from pathlib import Path

import numpy as np
import pytest

from export.agreement import compare_detections
from export.predictor import EnginePredictor, NamedPredictor, on_the_street, open_predictor
from model.detect import DetectSettings, NmsKind
from model.segmenter import Segmenter, TorchPredictor
from scene.classes import STREET_CLASSES
from scene.errors import ArtifactError, ConfigurationError, DataError
from scene.image import RgbImage
from scene.instances import Detections
from serve.model import Model
from tests.export.conftest import Published
from tests.model.tiny_network import seeded_network


@pytest.fixture
def frames() -> list[RgbImage]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, size, np.uint8) for size in ((64, 128, 3), (100, 80, 3))]


def test_no_frames_no_answers(published: Published) -> None:
    assert open_predictor(published.folder, threads=1).predict([]) == []


def test_a_checkpoint_and_its_artifact_answer_alike(published: Published, frames: list[RgbImage]) -> None:
    in_torch = open_predictor(published.checkpoint).predict(frames)
    deployed = open_predictor(published.folder, threads=1).predict(frames)
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


COCO_NAMES = ("person", "bicycle", "airplane", "motorbike")


def coco_like(frames: list[RgbImage]) -> list[Detections]:
    """A row of every class on every frame."""
    count = len(COCO_NAMES)
    scores = np.linspace(0.9, 0.3, count, dtype=np.float32)
    rows = Detections(
        np.zeros((count, 4), np.float32),
        scores,
        scores,
        np.arange(count, dtype=np.int32),
        np.zeros((count, 2, 2), np.uint8),
    )
    return [rows for _ in frames]


def test_another_networks_classes_are_the_streets_or_discarded(frames: list[RgbImage]) -> None:
    mapped = on_the_street(NamedPredictor(coco_like, COCO_NAMES))
    assert mapped.class_names == STREET_CLASSES
    for rows in mapped.predict(frames):
        assert [STREET_CLASSES[index] for index in rows.classes] == ["person", "bicycle", "motorcycle"]
        assert rows.scores.tolist() == pytest.approx([0.9, 0.7, 0.3])


def test_the_streets_own_network_is_mapped_onto_itself(published: Published, frames: list[RgbImage]) -> None:
    own = open_predictor(published.folder, threads=1)
    for ours, theirs in zip(on_the_street(own).predict(frames), own.predict(frames), strict=True):
        np.testing.assert_array_equal(ours.classes, theirs.classes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_a_network_that_knows_no_street_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected some of person, rider"):
        on_the_street(NamedPredictor(coco_like, ("cat", "dog")))


@pytest.mark.parametrize("nms", ["cross-class", "traditional"])
def test_weights_suppress_as_they_are_asked_to(published: Published, frames: list[RgbImage], nms: NmsKind) -> None:
    rows, _ = open_predictor(published.checkpoint, nms=nms).predict(frames)
    (expected, _) = TorchPredictor(Segmenter(seeded_network(), DetectSettings(nms=nms)))(frames)
    np.testing.assert_array_equal(rows.scores, expected.scores)
    assert len(rows) > 10
    with pytest.raises(ConfigurationError, match="none for a model folder"):
        open_predictor(published.folder, nms=nms)
