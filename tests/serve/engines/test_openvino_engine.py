"""OpenVINO against ONNX Runtime on the same files: whatever one answers, the other does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from scene.artifact import OUTPUTS, SCORE_THRESHOLD, tensor_specs
from scene.errors import ArtifactError
from serve.engines.onnx_engine import OnnxEngine
from tests.serve.tiny_model import MASK_HW, NAMES, SIZE_HW, street

openvino_engine = pytest.importorskip("serve.engines.openvino_engine", reason="needs streetmask[openvino]")
OpenVinoEngine = openvino_engine.OpenVinoEngine

TENSORS = tensor_specs(SIZE_HW, len(NAMES), MASK_HW)


def pictures(batch: int) -> NDArray[np.uint8]:
    """A grey one first, then such with more and more in them, each paler than the one before."""
    shapes = [(channel, (20 * channel, 4, 20 * channel + 12, 28)) for channel in range(3)]
    images = np.stack([street(*shapes[: number % 4], size_hw=SIZE_HW) for number in range(batch)])
    return np.where(images == 255, np.array([255, 235, 215], np.uint8), images)


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> Any:
    return OpenVinoEngine(model_folder / "model.onnx", TENSORS, threads=1, precision="float32")


@pytest.mark.parametrize("batch", [1, 2, 5, 1])
def test_any_batch_is_answered_as_by_onnx_runtime(engine: Any, model_folder: Path, batch: int) -> None:
    images = pictures(batch)
    expected = OnnxEngine(model_folder / "model.onnx", TENSORS, threads=1).run(images)
    assert expected.num.max() == min(3, batch - 1)
    answer = engine.run(images)
    for name in OUTPUTS:
        ours, theirs = getattr(answer, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.astype(np.float64), theirs, atol=1 if name == "masks" else 1e-6, err_msg=name)


def test_an_answer_stays_when_the_next_is_made(engine: Any) -> None:
    first = engine.run(pictures(2)[1:])
    kept = first.scores.copy()
    engine.run(pictures(1))
    assert kept.any()
    np.testing.assert_array_equal(first.scores, kept)


def test_a_file_that_is_no_graph_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match=r"model\.onnx cannot be loaded: .*; export the checkpoint again") as caught:
        OpenVinoEngine(path, TENSORS, 1, "float32")
    assert "\n" not in str(caught.value)


def test_a_graph_of_another_contract_is_refused(model_folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"the tensor masks should be uint8 .*, but is uint8 \[None, 3, 8, 16\]"):
        OpenVinoEngine(model_folder / "model.onnx", tensor_specs(SIZE_HW, 3, (9, 16)), 1, "float32")
    with pytest.raises(ArtifactError, match="has no tensor depth"):
        OpenVinoEngine(model_folder / "model.onnx", {**TENSORS, "depth": TENSORS["scores"]}, 1, "float32")


def test_a_threshold_with_a_default_can_be_given(model_folder: Path, tmp_path: Path) -> None:
    """OpenVINO takes an input with a default for a constant."""
    path = tmp_path / "model.onnx"
    model = onnx.load(model_folder / "model.onnx")
    for node in model.graph.node:
        node.input[:] = [SCORE_THRESHOLD if name == "noise" else name for name in node.input]
    model.graph.input.append(helper.make_tensor_value_info(SCORE_THRESHOLD, TensorProto.FLOAT, []))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.05, np.float32), SCORE_THRESHOLD))
    onnx.save(model, path)
    for engine in (OpenVinoEngine(path, TENSORS, 1, "float32"), OnnxEngine(path, TENSORS, 1)):
        assert engine.run(pictures(4), 0.0).num.tolist() == [0, 1, 2, 3]
        assert engine.run(pictures(4), 1.0).num.tolist() == [0, 0, 0, 0]
        assert engine.run(pictures(1), 1.0).num.tolist() == [0]


def test_nothing_is_reported_to_anybody(model_folder: Path) -> None:
    """Left alone, OpenVINO starts a process that sends what it was used for to its makers."""
    code = """
import sys
started, told_of = [], ("os.fork", "subprocess.Popen", "socket.connect")
sys.addaudithook(lambda event, _: started.append(event) if event in told_of else None)
from pathlib import Path
from serve.model import Model
print(Model.load(Path(sys.argv[1]), engine="openvino").runs_on, started, "openvino_telemetry.main" in sys.modules)
"""
    words = [sys.executable, "-c", code, str(model_folder)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert told == "openvino in float32 [] False\n"
