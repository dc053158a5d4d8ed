import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import export.publish
from export.publish import Publication, publish
from export.verify import Report, verify
from model.segmenter import Segmenter
from model.yolact import Yolact
from scene.artifact import MANIFEST, Verification, file_sha256, read_artifact
from scene.errors import ArtifactError, ConfigurationError, DataError
from scene.image import RgbImage
from serve.model import Model
from tests.export.conftest import VERIFIED_SCENES, Published
from tests.model.tiny_network import TINY
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import read_checkpoint, save_checkpoint
from training.data.coco import CocoDataset
from training.predictions import Prediction

PROSE = Publication("finds little", "Apache-2.0", "only for tests", scenes=1)


@pytest.fixture
def quick(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing without what takes time: the graph is a copy, and torch is not asked."""

    def copied(segmenter: Segmenter, path: Path) -> Path:
        return Path(shutil.copy(published.folder / "model.onnx", path))

    def verified(*_: Any, **__: Any) -> Report:
        return Report(published.artifact.verified)

    monkeypatch.setattr(export.publish, "write_onnx", copied)
    monkeypatch.setattr(export.publish, "verify", verified)


SENTENCE = (
    r"model\.int8\.onnx on openvino in int8: box AP changes by -2\.60 points, 1 allowed; nothing was written; "
    "--allow publishes it all the same"
)


def broken(published: Published) -> Verification:
    return replace(
        published.artifact.verified[0],
        file="model.int8.onnx",
        engine="openvino",
        precision="int8",
        beyond=["box AP changes by -2.60 points, 1 allowed"],
    )


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
    assert verified["pictures"] == VERIFIED_SCENES + 3
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
    path.write_text(text.replace(str(first), str(first - 0.1)))
    with pytest.raises(ArtifactError, match="answers its golden frame otherwise"):
        Model.load(folder, engine="onnxruntime")


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

    def differs(*_: Any, **__: Any) -> Report:
        return Report([broken(published)])

    monkeypatch.setattr(export.publish, "verify", differs)
    with pytest.raises(ArtifactError, match=SENTENCE):
        publish(published.checkpoint, folder, PROSE, silent)
    assert files_of(folder) == files_of(published.folder)
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_a_broken_limit_is_published_where_it_is_allowed_and_stays_on_record(
    published: Published, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report([*published.artifact.verified, broken(published)])
    monkeypatch.setattr(export.publish, "verify", lambda *_, **__: report)
    folder = tmp_path / "tiny" / "1"
    publish(published.checkpoint, folder, replace(PROSE, allow=True), silent)
    artifact = read_artifact(folder)
    assert artifact.verified[-1].beyond == ["box AP changes by -2.60 points, 1 allowed"]
    assert not artifact.trusted("int8")


@pytest.mark.parametrize("step", ["write_onnx", "file_sha256", "write_golden", "onnx_file", "verify", "write_artifact"])
def test_a_full_disk_at_any_step_is_told_and_leaves_the_old_folder(
    published: Published, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "tiny" / "1"
    shutil.copytree(published.folder, folder)

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(export.publish, step, fails)
        with pytest.raises(
            DataError, match=r"cannot write .*1: No space left on device; what was saved before is whole"
        ):
            publish(published.checkpoint, folder, PROSE, silent)
    assert files_of(folder) == files_of(published.folder)
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_what_a_killed_export_left_behind_is_not_in_the_way(published: Published, quick: None, tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "1"
    for name in ("1.partial", "1.old"):
        shutil.copytree(published.folder, folder.with_name(name))
    publish(published.checkpoint, folder, PROSE, silent)
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_an_export_killed_between_its_renames_left_the_old_folder_and_the_next_may_fail(
    published: Published, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny" / "1"
    shutil.copytree(published.folder, folder.with_name("1.old"))
    folder.with_name("1.partial").mkdir()
    with pytest.raises(DataError, match="found none"):
        publish(tmp_path / "none.pt", folder, PROSE, silent)
    assert files_of(folder) == files_of(published.folder)
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_a_new_folder_that_cannot_take_its_place_leaves_the_old_one(
    published: Published, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny" / "1"
    shutil.copytree(published.folder, folder)
    rename = Path.rename

    def refuses_the_new(path: Path, target: Path) -> Path:
        if path.name == "1.partial":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuses_the_new)
    with pytest.raises(DataError, match=r"cannot write .*1: No space left on device; what was saved before is whole"):
        publish(published.checkpoint, folder, PROSE, silent)
    assert files_of(folder) == files_of(published.folder)
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_a_disk_without_room_is_told_before_anything_is_written(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"has room for 0 MB, but the model folder takes about \d"):
        publish(published.checkpoint, tmp_path / "tiny" / "1", PROSE, silent)
    assert not list((tmp_path / "tiny").iterdir())


def test_the_graph_says_itself_what_it_is(published: Published) -> None:
    session = onnxruntime.InferenceSession(published.folder / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == list(TINY.class_names)
    assert json.loads(about["size_hw"]) == list(TINY.size_hw)
    assert json.loads(about["thresholds"]) == published.artifact.thresholds
    assert (about["color_order"], about["licence"]) == ("RGB", "Apache-2.0")
    assert about["source_checkpoint_sha256"] == file_sha256(published.checkpoint)
    assert published.artifact.files[0].lowering == "DeformConv"


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


def test_an_int8_file_is_verified_and_not_trusted_where_nothing_judged_it(
    published: Published, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.publish, "verify", verify)
    folder = tmp_path / "tiny" / "3"
    artifact = publish(
        published.checkpoint, folder, replace(PROSE, int8=True, calibration=published.data, ranges="entropy"), silent
    )
    assert artifact.quantisation is not None
    assert (artifact.quantisation.ranges, artifact.quantisation.pictures) == ("entropy", 3)
    assert [entry.path for entry in artifact.files] == ["model.onnx", "model.int8.onnx", "checkpoint.pt"]
    records = {(each.file, each.engine): each for each in artifact.verified}
    record = records["model.int8.onnx", "onnxruntime"]
    assert (record.precision, record.figures["pictures"], record.judged) == ("int8", 1, False)
    assert record.remarks == ["AP not applicable: expected 20 labelled pictures or more for int8, 1 came"]
    assert artifact.golden_of("model.int8.onnx", "onnxruntime", "int8") != artifact.golden
    assert not artifact.trusted("int8")
    assert read_artifact(folder) == artifact
    model = Model.load(folder, precision="int8", engine="onnxruntime")
    assert model.runs_on == "onnxruntime in int8"


@pytest.mark.slow
def test_half_precision_and_a_plan_are_built_and_verified(published: Published, tmp_path: Path) -> None:
    """All of it for real, but for what only a GPU could show of the plan."""
    pytest.importorskip("tensorrt_rtx")
    publication = replace(PROSE, float16=True, plans=["tensorrt-rtx:sm86", "tensorrt-rtx:sm89:int8"])
    folder = tmp_path / "tiny" / "3"
    artifact = publish(published.checkpoint, folder, publication, silent)
    plans = ["model.rtx-sm86.plan", "model.rtx-sm89.int8.plan"]
    names = ["model.onnx", "model.float16.onnx", *plans, "checkpoint.pt"]
    assert [entry.path for entry in artifact.files] == names
    assert sorted(files_of(folder)) == sorted([*names, MANIFEST, "golden.png"])
    plan = artifact.files[2]
    assert (plan.engine, plan.precision, plan.lowering) == ("tensorrt-rtx", "float16", "GridSample")
    assert (plan.built_for["product"], plan.built_for["compute_capability"]) == ("tensorrt-rtx", "8.6")
    records = {(each.file, each.engine, each.precision): each for each in artifact.verified}
    half = records["model.float16.onnx", "onnxruntime", "float16"]
    assert half.beyond == []
    assert "a GPU rounds otherwise" in half.remarks[0]
    assert artifact.quantisation is not None
    for of_plan in (records[plans[0], "tensorrt-rtx", "float16"], records[plans[1], "tensorrt-rtx", "int8"]):
        assert of_plan.figures["pictures"] == 1
        assert "graph that the plan was built from" in of_plan.remarks[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"calibration": Path("street")}, "calibration: expected none without --int8 or a plan in eight bits, but 'st"),
        ({"ranges": "entropy"}, "ranges: expected none without --int8 or a plan in eight bits, but 'entropy' came"),
        ({"ranges": "entropy", "plans": ["tensorrt"]}, "ranges: expected none without --int8 or a plan in eight bits"),
        ({"plans": ["tensorrt", "tensorrt:float16"]}, "plan: expected every plan once, but 'tensorrt, tensorrt:float"),
        ({"plan_batch": 4}, "plan_batch: expected none without --plan, but 4 came"),
        ({"plan_workspace_mib": 512}, "plan_workspace: expected none without --plan, but 512 came"),
        ({"plan_batch": 0, "plans": ["tensorrt"]}, "plan_batch: expected 1 or more, but 0 came"),
        ({"plan_workspace_mib": 0, "plans": ["tensorrt"]}, "plan_workspace: expected 1 or more, but 0 came"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_is_told(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        replace(PROSE, **options)


def test_calibration_on_other_than_streets_needs_pictures(published: Published, tmp_path: Path) -> None:
    config = replace(TINY, class_names=("cup",) * TINY.class_count)
    save_checkpoint(tmp_path / "cups.pt", Yolact(config))
    with pytest.raises(ConfigurationError, match="calibration: expected a COCO JSON"):
        publish(tmp_path / "cups.pt", tmp_path / "cups" / "1", replace(PROSE, int8=True), silent)
