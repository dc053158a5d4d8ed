"""A model loaded from its folder, and its answers without a server."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import serve.engines
from scene.artifact import Artifact, GoldenFrame, Verification, read_artifact, write_artifact
from scene.errors import ArtifactError, UnknownModelError
from serve.answer import Options
from serve.engines import Engine, Outputs, Way
from serve.engines.onnx_engine import OnnxEngine
from serve.golden import TOLERANCE
from serve.model import Model
from tests.serve.tiny_model import street, write_tiny_model

TWO = street((0, (0, 0, 32, 32)), (2, (64, 32, 96, 64)))


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def test_a_picture_of_nothing_is_answered_by_nothing(tiny: Model) -> None:
    answer = tiny.segment(street())
    assert answer.instances == ()
    assert (answer.model_name, answer.model_version, answer.image_size_hw) == ("tiny", 3, (64, 128))


def test_a_picture_of_another_size_is_answered_in_its_own_pixels(tiny: Model) -> None:
    answer = tiny.segment(street((1, (100, 300, 300, 400)), size_hw=(500, 1000)))
    (instance,) = answer.instances
    assert instance.class_name == "green"
    assert np.allclose(instance.box_xyxy, (100, 300, 300, 400), atol=1000 / 16)


def test_options_choose_instances_and_masks(tiny: Model) -> None:
    assert [each.class_name for each in tiny.segment(TWO).instances] == ["red", "blue"]
    assert len(tiny.segment(TWO, Options(max_instances=1)).instances) == 1
    assert all(each.mask is None for each in tiny.segment(TWO, Options(include_masks=False)).instances)
    assert all(each.mask is not None for each in tiny.segment(TWO).instances)


def test_thresholds_are_the_model_s_own_unless_one_is_given(tiny: Model) -> None:
    pale = street()
    pale[0:32, 0:32, 0] = 140  # a lead of 140 - 320 / 3 over the mean, times 1.5, of 255: a score of 0.196
    assert tiny.segment(pale).instances == ()
    (instance,) = tiny.segment(pale, Options(score_threshold=0.1)).instances
    assert instance.score == pytest.approx(0.196, abs=0.01)
    assert tiny.segment(pale, Options(score_threshold=0.2)).instances == ()


@pytest.mark.parametrize(("options", "threshold"), [(Options(), 0.3), (Options(score_threshold=0.1), 0.1)])
def test_the_engine_is_asked_for_no_more_rows_than_are_wanted(tiny: Model, options: Options, threshold: float) -> None:
    asked: list[float] = []

    class Listening:
        def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
            asked.append(score_threshold)
            return tiny.engine.run(images, score_threshold)

    Model(tiny.artifact, Listening()).segment(TWO, options)
    assert asked == [tiny.least_score(options)]
    wanted = np.float32(threshold)
    assert np.float32(asked[0]) < wanted, "a row of just the threshold is wanted"
    assert np.nextafter(np.float32(asked[0]), np.float32(1)) == wanted


def test_another_model_is_not_found(tiny: Model) -> None:
    with pytest.raises(UnknownModelError, match="model_name: expected tiny or nothing, but 'huge' came"):
        tiny.segment(TWO, Options(model_name="huge"))
    assert len(tiny.segment(TWO, Options(model_name="tiny")).instances) == 2


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected a model folder with artifact.json"):
        Model.load(tmp_path / "none")


def test_a_damaged_manifest_is_refused(copy: Path) -> None:
    (copy / "artifact.json").write_text("{")
    with pytest.raises(ArtifactError, match="is damaged"):
        Model.load(copy)


def test_a_damaged_network_is_refused(copy: Path) -> None:
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match="SHA-256"):
        Model.load(copy)


def test_a_missing_or_damaged_golden_frame_is_refused(copy: Path) -> None:
    (copy / "golden.png").write_bytes(b"no picture")
    with pytest.raises(ArtifactError, match=r"the golden frame .* is missing or damaged"):
        Model.load(copy)
    (copy / "golden.png").unlink()
    with pytest.raises(ArtifactError, match=r"the golden frame .* is missing or damaged"):
        Model.load(copy)


def test_a_model_that_answers_otherwise_than_exported_is_refused(tmp_path: Path) -> None:
    Model.load(write_tiny_model(tmp_path / "near", scores_off=TOLERANCE / 2))
    with pytest.raises(ArtifactError, match=r"a score is off by 0.030, 0.02 is allowed"):
        Model.load(write_tiny_model(tmp_path / "far", scores_off=0.03))


def with_int8(folder: Path, golden: GoldenFrame, beyond: list[str] | None = None) -> Path:
    """The folder with its graph once more, as an int8 file that was verified and should answer ``golden``."""
    artifact = read_artifact(folder)
    int8 = replace(artifact.files[0], precision="int8", path="model.int8.onnx")
    shutil.copy(folder / "model.onnx", folder / int8.path)
    verified = [Verification(int8.path, "onnxruntime", "int8", {}, golden, beyond=beyond or [])]
    write_artifact(replace(artifact, files=[*artifact.files, int8], verified=verified), folder)
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Way]:
    """Two engines are here, both in truth ONNX Runtime; what was opened on them, in order."""
    monkeypatch.setattr(
        serve.engines, "why_not", lambda each: "" if each in ("openvino", "onnxruntime") else "not here"
    )
    monkeypatch.setattr(serve.engines, "_computes", lambda way: True)
    found: list[Way] = []

    def listening(folder: Path, artifact: Artifact, way: Way, threads: int) -> Engine:
        found.append(way)
        return OnnxEngine(folder / way.file.path, artifact.tensors, threads)

    monkeypatch.setattr("serve.model.open_engine", listening)
    return found


@pytest.mark.parametrize("slow", ["openvino", "onnxruntime"])
def test_the_engine_that_answers_the_golden_frame_faster_is_taken(
    copy: Path, opened: list[Way], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, slow: str
) -> None:
    def timed(model: Model, _: object) -> float:
        return 200.0 if model.runs_on.startswith(slow) else 100.0

    monkeypatch.setattr(Model, "_timed_ms", timed)
    caplog.set_level("INFO")
    fast = ({"openvino", "onnxruntime"} - {slow}).pop()
    assert Model.load(copy).runs_on == f"{fast} in float32"
    assert [way.engine for way in opened] == ["openvino", "onnxruntime"]
    assert f"tiny version 3 runs on {fast} in float32" in caplog.messages


def test_of_one_engine_the_fewest_bits_that_were_verified_are_taken(copy: Path, opened: list[Way]) -> None:
    with_int8(copy, read_artifact(copy).golden)
    assert Model.load(copy, engine="onnxruntime").runs_on == "onnxruntime in int8"
    assert Model.load(copy, engine="onnxruntime", precision="float32").runs_on == "onnxruntime in float32"
    assert [way.precision for way in opened] == ["int8", "float32"]


def test_what_was_not_verified_or_allowed_beyond_its_limits_runs_only_when_it_is_asked_for(copy: Path) -> None:
    with_int8(copy, read_artifact(copy).golden, beyond=["box AP falls by 2.6"])
    assert Model.load(copy, engine="onnxruntime").runs_on == "onnxruntime in float32"
    assert Model.load(copy, engine="onnxruntime", precision="int8").runs_on == "onnxruntime in int8"
    write_artifact(replace(read_artifact(copy), verified=[]), copy)
    assert Model.load(copy, engine="onnxruntime").runs_on == "onnxruntime in float32"


class Failing:
    """An engine that fails from its so many-th run on, counted from 1."""

    def __init__(self, engine: Engine, error: Exception, first: int) -> None:
        self._engine, self._error, self._left = engine, error, first

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        self._left -= 1
        if self._left <= 0:
            raise self._error
        return self._engine.run(images, score_threshold)


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ArtifactError("out of memory; free the GPU's memory"), "^out of memory; free the GPU's memory$"),
        (RuntimeError("no kernel\nat line 3"), "fails on its golden frame: no kernel; export it again$"),
    ],
)
def test_why_an_engine_fails_is_told_whether_it_is_checked_or_timed(
    copy: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str, first: int
) -> None:
    def failing(folder: Path, artifact: Artifact, way: Way, threads: int) -> Engine:
        return Failing(OnnxEngine(folder / way.file.path, artifact.tensors, threads), error, first)

    monkeypatch.setattr("serve.model.open_engine", failing)
    with pytest.raises(ArtifactError, match=sentence):
        Model.load(copy, engine="onnxruntime")


def test_a_file_that_answers_otherwise_here_is_left_aside(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    golden = read_artifact(copy).golden
    with_int8(copy, replace(golden, scores=[score - 0.2 for score in golden.scores]))
    assert Model.load(copy, engine="onnxruntime").runs_on == "onnxruntime in float32"
    assert "onnxruntime in int8 is left aside" in caplog.text
    assert "a score is off by 0.200, 0.15 is allowed" in caplog.text
    with pytest.raises(ArtifactError, match=r"a score is off by 0.200"):
        Model.load(copy, precision="int8", engine="onnxruntime")


def test_a_batch_of_one_was_warmed_up_by_the_golden_frame(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    run = OnnxEngine.run

    def noted(engine: OnnxEngine, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        batches.append(len(images))
        return run(engine, images, score_threshold)

    monkeypatch.setattr(OnnxEngine, "run", noted)
    model = Model.load(copy, engine="onnxruntime", lanes=2)
    assert set(batches) == {1}
    batches.clear()
    model.warm_up(1)
    assert batches == []
    model.warm_up(4)
    assert batches == [4, 4]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ArtifactError("out of memory; lower max_batch"), "^out of memory; lower max_batch$"),
        (ValueError("the plan is for 2\nat line 3"), "^tiny version 3 fails on a batch of 4: the plan is for 2; lower"),
    ],
)
def test_a_full_batch_that_does_not_fit_is_told(tiny: Model, error: Exception, sentence: str) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        Model(tiny.artifact, Failing(tiny.engine, error, 1)).warm_up(4)
