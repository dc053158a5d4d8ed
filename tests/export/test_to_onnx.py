from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from export.graph import deployable
from export.to_onnx import OPSET
from export.verify import compare_detections
from scene.artifact import OUTPUTS
from scene.instances import Detections
from serve.engines import Outputs
from serve.engines.onnx_engine import OnnxEngine
from serve.models import detections
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
    values = [*graph.graph.input, *graph.graph.output]
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


def _assert_contract(outputs: Outputs, published: Published, batch: int) -> None:
    for name, array in outputs._asdict().items():
        spec = published.artifact.tensors[name]
        assert array.dtype == np.dtype(spec.dtype)
        assert list(array.shape) == [batch if side == "B" else side for side in spec.shape]
    for index, count in enumerate(outputs.num.tolist()):
        assert (outputs.scores[index, :count] > 0).all()
        assert (np.diff(outputs.scores[index]) <= 0).all()
        assert not any(array[index, count:].any() for array in outputs[1:])
