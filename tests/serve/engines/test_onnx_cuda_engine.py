"""ONNX files on a GPU. How tensors are bound is the same on every device, so the CPU's provider shows it here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from scene.artifact import OUTPUTS, SCORE_THRESHOLD, TensorSpec, tensor_specs
from scene.errors import ArtifactError
from serve.engines import Outputs
from serve.engines.onnx_cuda_engine import OnnxCudaEngine, Target, target_of, why_no_gpu
from serve.engines.onnx_engine import OnnxEngine
from tests.serve.engines.host_as_gpu import HostRuntime, install
from tests.serve.tiny_model import MASK_HW, NAMES, SIZE_HW, street

SPECS = tensor_specs(SIZE_HW, len(NAMES), MASK_HW)
ON_CPU = Target("cpu", "CPUExecutionProvider", {}, (), {})
HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture
def graph(model_folder: Path) -> Path:
    return model_folder / "model.onnx"


@pytest.fixture
def thresholded(graph: Path, tmp_path: Path) -> Path:
    """The same graph, whose rows that score less than the threshold or as much have no box, class or mask score."""
    model = onnx.load(graph)
    model.graph.input.append(onnx.helper.make_tensor_value_info(SCORE_THRESHOLD, onnx.TensorProto.FLOAT, []))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.float32), SCORE_THRESHOLD))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.05, np.float32), "least"))
    (seen,) = [node for node in model.graph.node if node.op_type == "Greater" and "sorted" in node.input]
    seen.input[1] = "cut"
    at = list(model.graph.node).index(seen)
    model.graph.node.insert(at, onnx.helper.make_node("Max", [SCORE_THRESHOLD, "least"], ["cut"]))
    path = tmp_path / "thresholded.onnx"
    onnx.save(model, path)
    return path


def pictures(*channels: int) -> NDArray[np.uint8]:
    return np.stack(
        [street((channel, (8 * channel, 0, 8 * channel + 16, 16)), size_hw=SIZE_HW) for channel in channels]
    )


def assert_same(ours: Outputs, theirs: Outputs) -> None:
    for name in Outputs._fields:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert getattr(ours, name).dtype == SPECS[name].dtype


def test_a_picture_of_nothing_has_no_rows(graph: Path) -> None:
    outputs = OnnxCudaEngine(graph, SPECS, "onnxruntime-cuda", ON_CPU).run(np.zeros((1, *SIZE_HW, 3), np.uint8))
    assert not any(rows.any() for rows in outputs)


@pytest.mark.parametrize("recording", [{}, {"use_arena": "1"}])
def test_batches_are_answered_from_memory_that_stays_where_it_is(graph: Path, recording: dict[str, str]) -> None:
    engine = OnnxCudaEngine(graph, SPECS, "onnxruntime-cuda", ON_CPU._replace(recording=recording))
    assert engine.recorded == bool(recording)
    on_cpu = OnnxEngine(graph, SPECS, 1)
    batches = [pictures(0), pictures(1), pictures(2, 1, 0), pictures(2), pictures(0, 1, 2)]
    answers = [engine.run(images) for images in batches]
    for images, answer in zip(batches, answers, strict=True):  # only now: a later answer does not touch an earlier one
        assert_same(answer, on_cpu.run(images))


def test_pictures_that_lie_scattered_in_memory_are_taken(graph: Path) -> None:
    engine = OnnxCudaEngine(graph, SPECS, "onnxruntime-cuda", ON_CPU)
    every_other = np.repeat(pictures(1), 2, axis=2)[:, :, ::2]
    assert not every_other.flags.c_contiguous
    assert_same(engine.run(every_other), engine.run(pictures(1)))


def test_a_graph_with_a_threshold_is_not_recorded_and_leaves_rows_out(thresholded: Path) -> None:
    engine = OnnxCudaEngine(thresholded, SPECS, "onnxruntime-cuda", ON_CPU._replace(recording={"use_arena": "1"}))
    assert not engine.recorded
    images = pictures(0, 2)
    assert_same(engine.run(images), OnnxEngine(thresholded, SPECS, 1).run(images))
    assert engine.run(images).num.tolist() == [1, 1]
    assert engine.run(images, 1.0).num.tolist() == [0, 0]


def test_a_graph_that_cannot_be_recorded_runs_all_the_same_with_a_warning(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = onnxruntime.InferenceSession

    def refusing(path: Path, options: Any, providers: list[Any], enable_fallback: int) -> Any:
        if "enable_cuda_graph" in providers[0][1]:  # as it does where the CPU computes a part of the graph
            raise RuntimeError("This session cannot use the graph capture feature\nas all compute nodes ...")
        return session(path, options, providers=providers, enable_fallback=enable_fallback)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refusing)
    engine = OnnxCudaEngine(
        graph, SPECS, "onnxruntime-cuda", ON_CPU._replace(recording=target_of("onnxruntime-cuda").recording)
    )
    assert not engine.recorded
    assert "no CUDA graph is made of it" in caplog.text
    assert "This session cannot use the graph capture feature; choose" in caplog.text
    assert engine.run(pictures(2)).classes[0, 0] == 2


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has the CUDA provider")
@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_running_on_the_cpu_in_silence_is_an_error(
    graph: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        ArtifactError, match=r"should run on \w+ExecutionProvider, but ONNX Runtime would run it on CPU"
    ):
        OnnxCudaEngine(graph, SPECS, name)  # type: ignore[arg-type]


def test_a_file_that_is_no_graph_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match=r"model.onnx cannot be loaded by CPUExecutionProvider: .*; choose another"):
        OnnxCudaEngine(path, SPECS, "onnxruntime-cuda", ON_CPU)


@pytest.mark.parametrize(
    ("name", "spec", "sentence"),
    [
        ("depth", TensorSpec("float32", ["B"]), "has no tensor depth"),
        ("scores", replace(SPECS["scores"], dtype="uint8"), "the tensor scores should be uint8"),
    ],
)
def test_a_graph_of_another_contract_is_refused(graph: Path, name: str, spec: TensorSpec, sentence: str) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        OnnxCudaEngine(graph, {**SPECS, name: spec}, "onnxruntime-cuda", ON_CPU)


def test_float32_stays_float32_and_precision_is_the_file_s() -> None:
    assert target_of("onnxruntime-cuda").options["use_tf32"] == "0"
    plans = target_of("onnxruntime-tensorrt")
    assert (plans.options["trt_fp16_enable"], plans.options["trt_int8_enable"]) == ("0", "0")
    assert plans.options["trt_engine_cache_path"].endswith("streetmask/onnxruntime-tensorrt")
    assert plans.others == ("CUDAExecutionProvider",)


def test_why_it_cannot_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    sentence = why_no_gpu("onnxruntime-cuda")
    assert sentence.startswith(
        "onnxruntime-cuda needs an onnxruntime with CUDAExecutionProvider, but the installed one"
    )
    assert "pip uninstall onnxruntime, then" in sentence
    assert "TensorrtExecutionProvider" in why_no_gpu("onnxruntime-tensorrt")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    runtime = HostRuntime()
    install(monkeypatch, runtime, None)
    assert why_no_gpu("onnxruntime-cuda") == ""
    runtime.devices = (35, None)
    assert "expected an NVIDIA GPU with its driver, found none" in why_no_gpu("onnxruntime-cuda")


@pytest.mark.gpu
def test_on_a_gpu_every_batch_is_recorded_and_answers_as_on_the_cpu(graph: Path) -> None:
    """Only a GPU has the kernels that are recorded."""
    engine = OnnxCudaEngine(graph, SPECS, "onnxruntime-cuda")
    assert engine.recorded
    on_cpu = OnnxEngine(graph, SPECS, 1)
    for images in (pictures(0), pictures(2, 1, 0), pictures(1), pictures(0, 1, 2)):
        ours, theirs = engine.run(images), on_cpu.run(images)
        for name in OUTPUTS:
            np.testing.assert_allclose(
                getattr(ours, name).astype(np.float32), getattr(theirs, name).astype(np.float32), atol=1
            )
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)
