"""Plans on a GPU: what is checked before and around one, with the libraries' edge played by the host."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from scene.artifact import TensorSpec, tensor_specs
from scene.errors import ArtifactError
from serve.engines import Outputs
from serve.engines.onnx_engine import OnnxEngine
from serve.engines.tensorrt_engine import TensorRtEngine, rebuild_command, sides, size_bytes, why_no_tensorrt
from serve.engines.tensorrt_library import library_log, machine_platform
from tests.serve.engines.host_as_gpu import HostPlan, HostRuntime, HostTensorRt, install
from tests.serve.tiny_model import MASK_HW, NAMES, SIZE_HW, street

SPECS = tensor_specs(SIZE_HW, len(NAMES), MASK_HW)
BUILT_FOR = {
    "product": "tensorrt-rtx",
    "version": "1.7.1.116",
    "platform": machine_platform(),
    "compute_capability": "8.9",
}
LARGEST = 3


@pytest.fixture
def runtime() -> HostRuntime:
    return HostRuntime()


@pytest.fixture
def host_plan(
    runtime: HostRuntime, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HostPlan]:
    plan = HostPlan(runtime, model_folder / "model.onnx", SPECS, LARGEST)
    install(monkeypatch, runtime, HostTensorRt(plan))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield plan
    library_log.cache_clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "3" / "model.plan"
    file.parent.mkdir()
    file.write_bytes(b"a plan")
    return file


@pytest.fixture
def engine(host_plan: HostPlan, path: Path) -> TensorRtEngine:
    return TensorRtEngine(path, SPECS, "tensorrt-rtx", BUILT_FOR)


def pictures(*channels: int) -> NDArray[np.uint8]:
    """One with an object of each channel."""
    return np.stack(
        [street((channel, (8 * channel, 0, 8 * channel + 16, 16)), size_hw=SIZE_HW) for channel in channels]
    )


def assert_same(ours: Outputs, theirs: Outputs) -> None:
    for name in Outputs._fields:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert getattr(ours, name).dtype == SPECS[name].dtype


def test_no_pictures_are_no_batch(engine: TensorRtEngine) -> None:
    with pytest.raises(ArtifactError, match="was built for batches of 1 to 3 pictures, but one of 0 came"):
        engine.run(np.zeros((0, *SIZE_HW, 3), np.uint8))


def test_a_batch_beyond_the_profile_is_refused_with_what_to_do(engine: TensorRtEngine) -> None:
    with pytest.raises(ArtifactError, match=r"of 1 to 3 .* one of 4 came; lower the largest batch .* or export again"):
        engine.run(pictures(0, 1, 2, 0))


def test_every_batch_size_is_recorded_once_and_answers_as_the_network_does(
    engine: TensorRtEngine, host_plan: HostPlan, model_folder: Path
) -> None:
    on_cpu = OnnxEngine(model_folder / "model.onnx", SPECS, 1)
    batches = [pictures(0), pictures(1), pictures(2, 1, 0), pictures(2), pictures(0, 1, 2)]
    answers = [engine.run(images) for images in batches]
    for images, answer in zip(batches, answers, strict=True):  # only now: a later answer does not touch an earlier one
        assert_same(answer, on_cpu.run(images))
    assert [context.shape[0] for context in host_plan.contexts] == [1, 3]
    # Once in earnest, once to be recorded; all answers are replays.
    assert [context.runs for context in host_plan.contexts] == [2, 2]
    assert host_plan.runtime.replays == len(batches)


def test_what_cannot_be_recorded_is_run_each_time(engine: TensorRtEngine, host_plan: HostPlan) -> None:
    host_plan.recordable = False
    assert engine.run(pictures(1)).classes[0, 0] == 1
    assert engine.run(pictures(2)).classes[0, 0] == 2
    assert host_plan.runtime.replays == 0


def test_full_tensorrt_is_the_same_class(host_plan: HostPlan, path: Path) -> None:
    engine = TensorRtEngine(path, SPECS, "tensorrt", BUILT_FOR | {"product": "tensorrt"})
    assert engine.run(pictures(2)).classes[0, 0] == 2
    assert host_plan.runtime.replays == 1


def test_all_memory_goes_back_with_the_engine(host_plan: HostPlan, path: Path) -> None:
    engine = TensorRtEngine(path, SPECS, "tensorrt-rtx", BUILT_FOR)
    engine.run(pictures(1))
    assert host_plan.runtime.held
    del engine
    gc.collect()
    assert not host_plan.runtime.held


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("version", "1.6.0.1", "was built for tensorrt-rtx 1.6.0.1 on .*but this is tensorrt-rtx 1.7.1.116 on"),
        ("compute_capability", "8.6", r"a GPU of compute capability 8.6, but this .* capability 8.9 \(Host as GPU\)"),
        ("platform", "windows-amd64", "on windows-amd64 and a GPU"),
        ("product", "tensorrt", "was built for tensorrt 1.7.1.116 on"),
        ("version", "", "tensorrt-rtx unknown on"),
    ],
)
def test_a_plan_for_something_else_is_refused_before_it_is_opened(
    host_plan: HostPlan, tmp_path: Path, key: str, value: str, words: str
) -> None:
    absent = tmp_path / "street" / "3" / "model.plan"
    with pytest.raises(ArtifactError, match=words) as caught:
        TensorRtEngine(absent, SPECS, "tensorrt-rtx", BUILT_FOR | {key: value})
    assert str(caught.value).endswith(f"build it anew on this machine: {rebuild_command(absent, 'tensorrt-rtx')}")


def test_the_command_builds_the_next_version_from_the_artifact_s_own_checkpoint() -> None:
    command = rebuild_command(Path("models/street/3/model.plan"), "tensorrt")
    assert command == "streetmask export models/street/3/checkpoint.pt --out models/street/4 --plan tensorrt"
    assert "--out models/street/VERSION" in rebuild_command(Path("models/street/draft/model.plan"), "tensorrt")


def test_the_command_writes_over_no_version_and_keeps_the_precision(tmp_path: Path) -> None:
    for name in ("3", "4", "11", "draft"):
        (tmp_path / name).mkdir()
    command = rebuild_command(tmp_path / "3" / "model.rtx-sm86.int8.plan", "tensorrt-rtx")
    assert command.endswith(f" --out {tmp_path / '12'} --plan tensorrt-rtx:int8")
    assert rebuild_command(tmp_path / "11" / "model.plan", "tensorrt").endswith(
        f" --out {tmp_path / '12'} --plan tensorrt"
    )


def test_a_damaged_plan_is_refused_with_the_library_s_reason(host_plan: HostPlan, path: Path) -> None:
    path.write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="cannot be loaded by tensorrt-rtx: magic tag does not match; export"):
        TensorRtEngine(path, SPECS, "tensorrt-rtx", BUILT_FOR)


@pytest.mark.parametrize(
    ("name", "spec", "sentence"),
    [
        ("depth", TensorSpec("float32", ["B"]), "has no tensor depth"),
        ("scores", replace(SPECS["scores"], dtype="uint8"), "the tensor scores should be uint8"),
        ("masks", replace(SPECS["masks"], shape=["B", 3, 9, 16]), "the tensor masks should be"),
    ],
)
def test_a_plan_of_another_contract_is_refused(
    host_plan: HostPlan, path: Path, name: str, spec: TensorSpec, sentence: str
) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        TensorRtEngine(path, {**SPECS, name: spec}, "tensorrt-rtx", BUILT_FOR)


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaMallocHost"])
def test_a_full_gpu_is_told_and_keeps_nothing(host_plan: HostPlan, path: Path, call: str) -> None:
    host_plan.runtime.failing = call
    with pytest.raises(ArtifactError, match=f"the GPU failed at {call}: out of memory; free its memory or choose"):
        TensorRtEngine(path, SPECS, "tensorrt-rtx", BUILT_FOR)
    gc.collect()
    assert not host_plan.runtime.held


def test_compiled_kernels_are_there_at_the_next_start(host_plan: HostPlan, path: Path) -> None:
    TensorRtEngine(path, SPECS, "tensorrt-rtx", BUILT_FOR).run(pictures(1))
    assert host_plan.compiled == b""
    TensorRtEngine(path, SPECS, "tensorrt-rtx", BUILT_FOR)
    assert host_plan.compiled == b"kernels"


def test_kernels_that_cannot_be_kept_are_a_warning(
    engine: TensorRtEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert engine.run(pictures(1)).num[0] == 1
    assert "compiled kernels are not kept for the next start" in caplog.text


def test_why_it_cannot_run_here(host_plan: HostPlan, runtime: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_no_tensorrt("tensorrt-rtx") == ""
    runtime.devices = (35, None)
    assert "expected an NVIDIA GPU with its driver, found none (driver version is" in why_no_tensorrt("tensorrt-rtx")
    runtime.devices = (0, 0)
    assert "the driver counts none" in why_no_tensorrt("tensorrt")
    install(monkeypatch, None, HostTensorRt(host_plan))
    assert "needs the package cuda-bindings, which is not installed" in why_no_tensorrt("tensorrt-rtx")
    runtime.devices = (0, 1)
    install(monkeypatch, runtime, None)
    assert "pip install 'streetmask[tensorrt]'" in why_no_tensorrt("tensorrt")
    assert "pip install 'streetmask[tensorrt-rtx]'" in why_no_tensorrt("tensorrt-rtx")


def test_sizes_follow_from_the_contract() -> None:
    assert sides(SPECS["boxes"], 2) == (2, 3, 4)
    assert size_bytes(SPECS["boxes"], 2) == 2 * 3 * 4 * 4
    assert size_bytes(SPECS["image"], 3) == 3 * 32 * 64 * 3
    assert size_bytes(SPECS["num"], 1) == 4
