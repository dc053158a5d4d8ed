"""A real artifact held against its own checkpoint, and against another."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

import export.verify
from export.material import Material
from export.verify import Report, detect_settings, stand_in, subjects_here, verify
from scene.artifact import Artifact, ModelFile, Verification, file_sha256
from scene.errors import ArtifactError, ConfigurationError, DataError, ForeignPlanError
from serve.engines import Outputs, Way, all_ways, open_engine
from serve.engines.tensorrt_engine import check_built_for
from tests.export.conftest import VERIFIED_SCENES, Published
from tests.model.tiny_network import seeded_network
from training.checkpoint import save_checkpoint

ONE_SCENE = Material(scenes=1)


def silent(_: str) -> None:
    pass


def figures(report: Report, engine: str = "onnxruntime", precision: str = "float32") -> dict[str, float]:
    (record,) = [each for each in report.verified if (each.engine, each.precision) == (engine, precision)]
    return record.figures


def test_an_artifact_without_its_checkpoint_is_told(published: Published, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"checkpoint\.pt is missing, which torch would answer from"):
        verify(tmp_path, published.artifact, ONE_SCENE, say=silent)


def test_another_class_count_is_told(published: Published) -> None:
    names = published.artifact.class_names[:-1]
    artifact = replace(published.artifact, class_names=names, thresholds=published.artifact.thresholds[:-1])
    with pytest.raises(ArtifactError, match=r"checkpoint\.pt knows 8 classes, person, .* but the manifest names 7"):
        verify(published.folder, artifact, ONE_SCENE, say=silent)


def test_where_nothing_can_run_that_is_told(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.verify, "why_not_here", lambda _: "there is no GPU")
    sentence = (
        "engines: expected one that can run here, but none can: model.onnx on onnxruntime-cuda in float32: there is"
    )
    with pytest.raises(ConfigurationError, match=sentence):
        verify(published.folder, published.artifact, ONE_SCENE, ["onnxruntime-cuda"], say=silent)
    with pytest.raises(ConfigurationError, match="the artifact has no file for them"):
        verify(published.folder, published.artifact, ONE_SCENE, ["tensorrt"], say=silent)


def test_export_ends_with_every_way_that_runs_here(published: Published) -> None:
    records = {(each.engine, each.precision): each for each in published.artifact.verified}
    assert next(iter(records)) == ("onnxruntime", "float32")
    assert {("onnxruntime", "float32"), ("openvino", "float32")} <= set(records)
    for record in published.artifact.verified:
        assert record.figures["pictures"] == VERIFIED_SCENES + 3
        assert record.golden is not None
        assert len(record.golden.scores) > 0
    for engine in ("onnxruntime", "openvino"):
        record = records[engine, "float32"]
        assert (record.figures["matched"], record.beyond, record.judged) == (100, [], True)
        assert record.figures["instances"] > 10
        assert record.figures["mask_iou"] > 0.998
        assert record.figures["scores_largest"] < 1e-4
        assert record.figures["boxes_mean"] <= record.figures["boxes_largest"] < 1e-4
        assert any("not applicable: the reference's own mask AP is" in remark for remark in record.remarks)
    assert (
        records["onnxruntime", "float32"].figures["unmatched"],
        "unmatched" in records["openvino", "float32"].figures,
    ) == (0, False)


def test_another_networks_graph_breaks_limits_and_is_told(published: Published, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published.folder, tmp_path / "tiny" / "1"))
    network = seeded_network()
    network.get_parameter("backbone.bn1.weight").data *= 1.5
    save_checkpoint(folder / "checkpoint.pt", network)
    before = {path: file_sha256(path) for path in folder.iterdir()}
    report = verify(folder, published.artifact, ONE_SCENE, ["onnxruntime"], say=silent)
    assert [each.engine for each in report.verified] == ["onnxruntime"]
    assert figures(report)["matched"] < 99
    assert "model.onnx on onnxruntime in float32: " in report.beyond[0]
    assert any("of the instances are matched, at least 99.9 % asked" in sentence for sentence in report.beyond)
    assert any("does not answer as torch does" in sentence for sentence in report.beyond)
    assert report.forbidding == report.beyond
    assert {path: file_sha256(path) for path in folder.iterdir()} == before


def test_a_graph_that_cannot_be_loaded_is_a_broken_limit(published: Published, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published.folder, tmp_path / "tiny" / "1"))
    (folder / "model.onnx").write_bytes(b"none")
    report = verify(folder, published.artifact, ONE_SCENE, ["onnxruntime"], say=silent)
    (record,) = report.verified
    assert (record.figures, record.judged) == ({}, False)
    assert "cannot be loaded" in report.forbidding[0]


def test_a_graph_whose_names_stay_but_whose_weights_change_is_found_out(published: Published, tmp_path: Path) -> None:
    """The manifest's checksum would tell; here the graph alone is asked."""
    folder = Path(shutil.copytree(published.folder, tmp_path / "tiny" / "1"))
    model = onnx.load(folder / "model.onnx")
    weight = next(each for each in model.graph.initializer if each.name.endswith("conf_layer.weight"))
    values = onnx.numpy_helper.to_array(weight) * 1.2
    weight.CopyFrom(onnx.numpy_helper.from_array(values.astype("float32"), weight.name))
    onnx.save(model, folder / "model.onnx")
    report = verify(folder, published.artifact, ONE_SCENE, ["onnxruntime"], say=silent)
    assert any("does not answer as torch does" in sentence for sentence in report.beyond)


PLAN = ModelFile("model.rtx-sm86.plan", "tensorrt-rtx", "float16", "0", {"product": "tensorrt-rtx"}, "GridSample")
HALF = ModelFile("model.float16.onnx", "onnx", "float16", "0")


def with_files(artifact: Artifact, *files: ModelFile) -> Artifact:
    return replace(artifact, files=[*artifact.files, *files])


def test_what_cannot_run_here_is_listed_with_the_reason_a_plan_among_it(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu(way: Way) -> str:
        return "" if way.engine in ("onnxruntime", "openvino") else "there is no GPU"

    monkeypatch.setattr(export.verify, "why_not_here", no_gpu)
    artifact = with_files(published.artifact, HALF, PLAN)
    subjects, absent = subjects_here(artifact)
    assert absent["model.rtx-sm86.plan on tensorrt-rtx in float16"] == "there is no GPU"
    assert absent["model.onnx on onnxruntime-cuda in float32"] == "there is no GPU"
    names = [f"{each.runs.file.path} on {each.runs.name}" for each in subjects]
    assert names[0] == "model.onnx on onnxruntime in float32"
    assert names[-1] == "model.float16.onnx on onnxruntime in float16"
    assert "a GPU rounds otherwise" in subjects[-1].remark
    assert len(names) + len(absent) == len(all_ways(artifact)) + 1
    assert subjects_here(artifact, ["openvino"])[1] == {}


def with_a_plan(published: Published, monkeypatch: pytest.MonkeyPatch, error: ArtifactError) -> Report:
    """Verified where a GPU is at hand, on which the plan fails so; the float32 graph stands for that of the plan."""
    opened = open_engine

    def refuse_plans(folder: Path, artifact: Artifact, way: Way, threads: int) -> object:
        if way.file.built_for:
            raise error
        return opened(folder, artifact, way, threads)

    monkeypatch.setattr(export.verify, "open_engine", refuse_plans)
    monkeypatch.setattr(export.verify, "why_not_here", lambda way: "" if way.engine == "tensorrt-rtx" else "not now")
    plan = replace(PLAN, precision="float32")
    stand = stand_in("model.onnx", plan, "tensorrt-rtx")
    artifact = with_files(published.artifact, plan)
    return verify(published.folder, artifact, ONE_SCENE, ["tensorrt-rtx"], say=silent, stand_ins=[stand])


def test_a_plan_for_another_gpu_is_listed_and_its_graph_stands_in(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ForeignPlanError) as refusal:
        here = {"product": "tensorrt-rtx", "version": "1", "platform": "linux", "compute_capability": "8.9"}
        check_built_for(published.folder / PLAN.path, PLAN.built_for, here)
    report = with_a_plan(published, monkeypatch, refusal.value)
    (absent,) = report.absent.items()
    assert absent == ("model.rtx-sm86.plan on tensorrt-rtx in float32", str(refusal.value))
    assert "but this is tensorrt-rtx 1 on linux" in absent[1]
    (record,) = report.verified
    assert (record.file, record.engine, record.beyond) == (PLAN.path, "tensorrt-rtx", [])
    assert record.remarks[0].startswith("ONNX Runtime computed the graph that the plan was built from")
    assert record.golden is not None


def test_a_plan_that_fails_on_its_own_gpu_breaks_a_limit_and_nothing_stands_in(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = with_a_plan(published, monkeypatch, ArtifactError("model.rtx-sm86.plan failed on the GPU: no memory"))
    (record,) = report.verified
    assert (record.figures, record.remarks, record.judged, report.absent) == ({}, [], False, {})
    assert report.forbidding == [
        "model.rtx-sm86.plan on tensorrt-rtx in float32: model.rtx-sm86.plan failed on the GPU: no memory"
    ]


class Failing:
    """An engine that loads, and then raises what ONNX Runtime raises."""

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        raise Fail("[ONNXRuntimeError] : 1 : FAIL : a node failed")


def test_an_engine_that_fails_while_it_runs_breaks_a_limit(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.verify, "open_engine", lambda *_: Failing())
    report = verify(published.folder, published.artifact, ONE_SCENE, ["onnxruntime"], say=silent)
    assert "model.onnx fails on onnxruntime in float32: [ONNXRuntimeError] : 1 : FAIL" in report.forbidding[0]


def test_a_broken_picture_is_no_failure_of_an_engine(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise DataError("frame.png is truncated")

    monkeypatch.setattr(export.verify, "compare_drawn", breaks)
    with pytest.raises(DataError, match=r"frame\.png is truncated"):
        verify(published.folder, published.artifact, ONE_SCENE, ["onnxruntime"], say=silent)


def test_bfloat16_that_breaks_a_limit_forbids_no_file_but_is_not_trusted(published: Published) -> None:
    broken = Verification(
        "model.onnx", "openvino", "bfloat16", {}, beyond=["box AP changes by -3.00 points, 0.5 allowed"]
    )
    report = Report([broken])
    assert (len(report.beyond), report.forbidding) == (1, [])
    assert not replace(published.artifact, verified=[broken]).trusted("bfloat16")


def test_suppression_is_told_by_the_number_of_rows(published: Published) -> None:
    assert detect_settings(published.artifact).nms == "fast"
    assert detect_settings(replace(published.artifact, max_detections=200)).nms == "cross-class"
    with pytest.raises(ArtifactError, match="has 7 rows, expected 100 or 200"):
        detect_settings(replace(published.artifact, max_detections=7))
