import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import export.publish
from export.publish import Publication, keeps_accuracy, publish
from export.verify import Agreement
from model.segmenter import Segmenter
from model.yolact import Yolact
from scene.artifact import MANIFEST, file_sha256, read_artifact
from scene.errors import ArtifactError, ConfigurationError, DataError
from scene.image import RgbImage
from serve.models import Model
from tests.export.conftest import VERIFIED_SCENES, Published
from tests.model.tiny_network import TINY
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import read_checkpoint, save_checkpoint
from training.data.coco import CocoDataset
from training.predictions import Prediction

PROSE = Publication("finds little", "Apache-2.0", "only for tests")
AGREED = Agreement(1, 1, 0, 0.0, 0.0, 0.0, 0)


@pytest.fixture
def quick(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing without what takes time: the graph is a copy, and torch is not asked."""

    def copied(segmenter: Segmenter, path: Path) -> Path:
        return Path(shutil.copy(published.folder / "model.onnx", path))

    def agreed(*_: Any) -> Agreement:
        return AGREED

    monkeypatch.setattr(export.publish, "write_onnx", copied)
    monkeypatch.setattr(export.publish, "verify_on_scenes", agreed)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def silent(_: str) -> None:
    pass


def test_without_data_sets_there_are_no_figures_and_the_default_thresholds(
    published: Published, quick: None, tmp_path: Path
) -> None:
    artifact = publish(published.checkpoint, tmp_path / "tiny" / "2", PROSE, silent)
    assert artifact.version == 2
    assert artifact.card.figures == {}
    assert artifact.thresholds == [0.3] * 8


def test_the_folder_is_whole(published: Published) -> None:
    assert sorted(files_of(published.folder)) == [MANIFEST, "checkpoint.pt", "golden.png", "model.onnx"]
    assert [path.name for path in published.folder.parent.iterdir()] == ["1"]
    assert read_artifact(published.folder) == published.artifact


def test_the_checkpoint_within_is_the_network_alone(published: Published) -> None:
    inside = read_checkpoint(published.folder / "checkpoint.pt")
    source = read_checkpoint(published.checkpoint)
    assert inside.keys() == {"config", "model", "step", "data", "thresholds"}
    assert inside["thresholds"] == published.artifact.thresholds
    assert inside["config"] == source["config"]
    assert all(torch.equal(inside["model"][name], tensor) for name, tensor in source["model"].items())


def test_the_server_loads_it_and_segments(published: Published) -> None:
    model = Model.load(published.folder)
    frame: RgbImage = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    answer = model.segment(frame)
    assert answer.instances
    assert {instance.class_name for instance in answer.instances} <= set(TINY.class_names)


def test_the_manifest_says_what_it_is_and_whence(published: Published) -> None:
    artifact = published.artifact
    assert (artifact.name, artifact.version) == ("tiny", 1)
    assert artifact.class_names == list(TINY.class_names)
    assert tuple(artifact.size_hw) == TINY.size_hw
    assert tuple(artifact.mask_size_hw) == (16, 32)
    assert artifact.max_detections == 100
    assert artifact.source_checkpoint_sha256 == file_sha256(published.checkpoint)
    assert artifact.card.training_data == "12 steps on 3 pictures: rectangles"
    assert artifact.card.licence == "Apache-2.0"
    assert {"streetmask", "torch", "onnx", "onnxruntime", "opset"} <= artifact.tools.keys()
    assert [entry.path for entry in artifact.files] == ["model.onnx", "checkpoint.pt"]
    assert [entry.sha256 for entry in artifact.files] == [
        file_sha256(published.folder / entry.path) for entry in artifact.files
    ]


def test_the_manifest_says_how_well_it_agrees(published: Published) -> None:
    verified = published.artifact.verified[0].figures
    assert verified["pictures"] == VERIFIED_SCENES
    assert verified["detections"] > 10
    assert verified["unmatched"] == 0
    assert verified["scores"] <= 1e-4


def test_the_golden_frame_holds_an_answer(published: Published) -> None:
    golden = published.artifact.golden
    assert len(golden.classes) == len(golden.scores) == len(golden.boxes_xyxy) == len(golden.mask_pixels) > 0
    assert golden.scores == sorted(golden.scores, reverse=True)
    assert max(golden.mask_pixels) > 0


def test_a_falsified_golden_score_is_noticed_on_loading(published: Published, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published.folder, tmp_path / "tiny"))
    path = folder / MANIFEST
    first = published.artifact.golden.scores[0]
    text = path.read_text()
    assert str(first) in text
    path.write_text(text.replace(str(first), str(first - 0.1), 1))
    with pytest.raises(ArtifactError, match="answers its golden frame otherwise"):
        Model.load(folder)


def test_accuracy_is_measured_on_the_finished_engine(published: Published) -> None:
    figures = published.artifact.card.figures
    assert figures["rectangles: images"] == 3
    assert {f"rectangles: {name}" for name in ("images", "box AP", "mask AP", "mask AP50")} == figures.keys()
    assert "measuring accuracy on rectangles" in published.said


def test_thresholds_and_figures_are_those_of_the_first_data_set(
    published: Published, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten cars found at 0.6 and nothing else: a threshold of 0.6, and an AP of 100. On the second set, nothing."""
    masks = [rectangle(TINY.size_hw, (10 + n, 8, 60, 50)) for n in range(10)]
    cars = [annotation(n + 1, rle(mask), category_id=3) for n, mask in enumerate(masks)]
    sets = [(name, write_coco(tmp_path / name, TINY.size_hw, 10, cars)) for name in ("cars", "others")]

    def found(_: Any, dataset: CocoDataset) -> list[list[Prediction]]:
        if dataset.ground_truth["annotations"] and len(asked) == 0:
            asked.append(dataset)
            return [[Prediction(n + 1, 2, 0.6, 0.6, (10 + n, 8, 50 - n, 42), rle(masks[n]))] for n in range(10)]
        return []

    asked: list[CocoDataset] = []
    monkeypatch.setattr(export.publish, "predictions_by_picture", found)
    folder = tmp_path / "tiny" / "1"
    artifact = publish(published.checkpoint, folder, replace(PROSE, accuracy=sets), silent)
    assert artifact.thresholds == [0.3, 0.3, 0.6, 0.3, 0.3, 0.3, 0.3, 0.3]
    assert artifact.card.figures == {
        "cars: images": 10, "cars: box AP": 100, "cars: mask AP": 100, "cars: mask AP50": 100,
        "others: images": 10, "others: box AP": 0, "others: mask AP": 0, "others: mask AP50": 0,
    }  # fmt: skip
    assert read_artifact(folder) == artifact


@pytest.mark.parametrize("name", ["latest", "v1", "1.0", "-1"])
def test_a_version_is_a_whole_number(published: Published, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="NAME/VERSION with a whole number as version"):
        publish(published.checkpoint, tmp_path / "tiny" / name, PROSE, silent)
    assert not (tmp_path / "tiny").exists()


def test_a_new_one_takes_the_place_of_the_old(published: Published, quick: None, tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "1"
    publish(published.checkpoint, folder, PROSE, silent)
    (folder / "stray.txt").write_text("of the old one")
    publish(published.checkpoint, folder, replace(PROSE, licence="MIT"), silent)
    assert read_artifact(folder).card.licence == "MIT"
    assert sorted(files_of(folder)) == [MANIFEST, "checkpoint.pt", "golden.png", "model.onnx"]


def test_a_graph_that_answers_otherwise_leaves_the_old_folder(
    published: Published, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny" / "1"
    shutil.copytree(published.folder, folder)

    def differs(*_: Any) -> Agreement:
        return replace(AGREED, unmatched=1)

    monkeypatch.setattr(export.publish, "verify_on_scenes", differs)
    with pytest.raises(ArtifactError, match="nothing was written"):
        publish(published.checkpoint, folder, PROSE, silent)
    assert files_of(folder) == files_of(published.folder)


@pytest.mark.parametrize("step", ["write_onnx", "file_sha256", "scene", "write_artifact"])
def test_a_failure_at_any_step_leaves_the_old_folder(
    published: Published, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "tiny" / "1"
    shutil.copytree(published.folder, folder)

    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(export.publish, step, fails)
        with pytest.raises(OSError, match="no space left"):
            publish(published.checkpoint, folder, PROSE, silent)
    assert files_of(folder) == files_of(published.folder)
    publish(published.checkpoint, folder, PROSE, silent)  # what the failure left behind is not in the way
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_no_checkpoint_leaves_the_old_folder(published: Published, tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "1"
    shutil.copytree(published.folder, folder)
    with pytest.raises(DataError, match="found none"):
        publish(tmp_path / "none.pt", folder, PROSE, silent)
    assert files_of(folder) == files_of(published.folder)


def test_a_data_set_that_is_not_there_leaves_nothing(published: Published, quick: None, tmp_path: Path) -> None:
    publication = replace(PROSE, accuracy=[("none", tmp_path / "none.json")])
    with pytest.raises(DataError):
        publish(published.checkpoint, tmp_path / "tiny" / "1", publication, silent)
    assert not (tmp_path / "tiny" / "1").exists()


def test_cross_class_suppression_goes_into_the_graph(published: Published, tmp_path: Path) -> None:
    """For real, and held against torch: as many rows as candidates, and none suppressed by its own class alone."""
    folder = tmp_path / "tiny" / "2"
    artifact = publish(published.checkpoint, folder, replace(PROSE, nms="cross-class"), silent)
    assert (artifact.max_detections, artifact.verified[0].figures["unmatched"]) == (200, 0)
    assert 10 < len(artifact.golden.scores) < 200


def test_a_greedy_loop_is_not_exported(published: Published, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nms: expected fast or cross-class: no graph holds a greedy loop"):
        publish(published.checkpoint, tmp_path / "tiny" / "2", replace(PROSE, nms="traditional"), silent)


def test_an_int8_file_is_measured_with_its_own_golden_answer(published: Published, quick: None, tmp_path: Path) -> None:
    publication = replace(PROSE, int8=True, calibration=published.data, accuracy=[("rectangles", published.data)])
    artifact = publish(published.checkpoint, tmp_path / "tiny" / "3", publication, silent)
    by_precision = {entry.precision: entry for entry in artifact.files if entry.engine == "onnx"}
    assert by_precision.keys() == {"float32", "int8"}
    assert artifact.golden_of("model.int8.onnx", "onnxruntime", "int8") != artifact.golden
    assert {key for key in artifact.card.figures if "int8" in key} == {
        f"rectangles: {figure} (int8)" for figure in ("box AP", "mask AP", "mask AP50")
    }
    model = Model.load(tmp_path / "tiny" / "3", precision="int8", engine="onnxruntime")
    assert model.runs_on == "onnxruntime in int8"


@pytest.mark.parametrize(("box", "mask", "keeps"), [(20.0, 15.0, True), (20.5, 15.5, True), (20.6, 15.0, False)])
def test_int8_is_preferred_only_where_it_was_measured_to_be_as_good(box: float, mask: float, keeps: bool) -> None:
    figures = {"set: box AP": box, "set: mask AP": mask, "set: box AP (int8)": 20.0, "set: mask AP (int8)": 15.0}
    assert keeps_accuracy(figures, replace(PROSE, accuracy=[("set", Path())])) is keeps
    assert not keeps_accuracy(figures, PROSE)


def test_calibration_on_other_than_streets_needs_pictures(published: Published, tmp_path: Path) -> None:
    config = replace(TINY, class_names=("cup",) * TINY.class_count)
    save_checkpoint(tmp_path / "cups.pt", Yolact(config))
    with pytest.raises(ConfigurationError, match="calibration: expected a COCO JSON"):
        publish(tmp_path / "cups.pt", tmp_path / "cups" / "1", replace(PROSE, int8=True), silent)
