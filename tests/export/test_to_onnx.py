from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from export.agreement import compare_detections
from export.graph import deployable
from export.to_onnx import OPSET
from scene.artifact import OUTPUTS, SCORE_THRESHOLD
from scene.instances import Detections
from serve.engines import Outputs
from serve.engines.onnx_engine import OnnxEngine
from serve.model import detections
from tests.export.conftest import Published
from tests.model.tiny_network import TINY, seeded_network


@pytest.fixture(scope="module")
def graph(published: Published) -> onnx.ModelProto:
    return onnx.load(published.folder / "model.onnx")


@pytest.fixture(scope="module")
def engine(published: Published) -> OnnxEngine:
    return OnnxEngine(published.folder / "model.onnx", published.artifact.tensors, threads=1)


def pictures(batch: int) -> NDArray[np.uint8]:
    """A blank one first, then noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *TINY.size_hw, 3), np.uint8)
    images[0] = 0
    return images


def test_the_checker_has_no_complaint(graph: onnx.ModelProto) -> None:
    onnx.checker.check_model(graph, full_check=True)
    assert {entry.domain: entry.version for entry in graph.opset_import}[""] == OPSET


def test_operators(graph: onnx.ModelProto) -> None:
    kinds = Counter(node.op_type for node in graph.graph.node)
    assert kinds["DeformConv"] == 3
    assert kinds["BatchNormalization"] == 0
    assert kinds["NonMaxSuppression"] == 0
    assert {node.domain for node in graph.graph.node} == {""}


def test_names_types_and_shapes_are_the_contracts(graph: onnx.ModelProto, published: Published) -> None:
    threshold, values = graph.graph.input[1], [graph.graph.input[0], *graph.graph.output]
    assert (len(graph.graph.input), threshold.name) == (2, SCORE_THRESHOLD)
    assert (threshold.type.tensor_type.elem_type, len(threshold.type.tensor_type.shape.dim)) == (TensorProto.FLOAT, 0)
    assert [value.name for value in values] == ["image", *OUTPUTS]
    for value in values:
        kind = value.type.tensor_type
        spec = published.artifact.tensors[value.name]
        assert onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) == np.dtype(spec.dtype)
        shape = [side.dim_value or side.dim_param for side in kind.shape.dim]
        assert len(shape) == len(spec.shape)
        assert isinstance(shape[0], str), f"{value.name} has a fixed batch"
        known = [
            (ours, wanted) for ours, wanted in zip(shape[1:], spec.shape[1:], strict=True) if isinstance(ours, int)
        ]
        assert all(ours == wanted for ours, wanted in known)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_any_batch_runs_and_answers_as_torch(engine: OnnxEngine, published: Published, batch: int) -> None:
    images = pictures(batch)
    outputs = engine.run(images)
    _assert_contract(outputs, published, batch)
    module = deployable(seeded_network())
    with torch.inference_mode():
        expected = Outputs(*(tensor.numpy() for tensor in module(torch.from_numpy(images))))
    assert expected.num.max() > 10, "the case should find something"
    for index in range(batch):
        ours: Detections = detections(expected, index)
        compare_detections(ours, detections(outputs, index), module.settings).require()


@pytest.mark.parametrize("place", [0, 1, 7])
def test_a_score_threshold_leaves_rows_out_and_the_others_as_they_are(
    engine: OnnxEngine, published: Published, place: int
) -> None:
    images = pictures(3)
    whole = engine.run(images)
    threshold = float(whole.scores[1, place])
    some = engine.run(images, threshold)
    _assert_contract(some, published, 3)
    assert some.num.tolist() == (whole.scores > threshold).sum(axis=1).tolist()
    assert some.num[1] <= place
    for index, count in enumerate(some.num.tolist()):
        for name in OUTPUTS[1:]:
            np.testing.assert_array_equal(getattr(some, name)[index, :count], getattr(whole, name)[index, :count])


@pytest.mark.parametrize(("threshold", "finds"), [(1.0, False), (0.0, True), (-1.0, True)])
def test_a_threshold_of_one_finds_nothing_and_one_below_the_exported_changes_nothing(
    engine: OnnxEngine, published: Published, threshold: float, finds: bool
) -> None:
    images = pictures(2)
    outputs = engine.run(images, threshold)
    _assert_contract(outputs, published, 2)
    default = Outputs(*onnxruntime.InferenceSession(published.folder / "model.onnx").run(None, {"image": images}))
    for name in OUTPUTS:
        expected = getattr(default, name)
        np.testing.assert_allclose(getattr(outputs, name), expected if finds else expected * 0, atol=1e-6)
    assert default.num.max() > 10, "the case should find something"


def _assert_contract(outputs: Outputs, published: Published, batch: int) -> None:
    for name, array in outputs._asdict().items():
        spec = published.artifact.tensors[name]
        assert array.dtype == np.dtype(spec.dtype)
        assert list(array.shape) == [batch if side == "B" else side for side in spec.shape]
    for index, count in enumerate(outputs.num.tolist()):
        assert (outputs.scores[index, :count] > 0).all()
        assert (np.diff(outputs.scores[index]) <= 0).all()
        assert not any(array[index, count:].any() for array in outputs[1:])
