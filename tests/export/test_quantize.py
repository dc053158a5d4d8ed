"""Eight-bit graphs: the contract kept, the answer near, and what must stay float32 left alone."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.quantize import generated_streets, write_int8
from serve.engines import Outputs
from serve.engines.onnx_engine import OnnxEngine
from tests.export.conftest import Published


@pytest.fixture(scope="module")
def int8(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "model.int8.onnx"
    return write_int8(published.folder / "model.onnx", path, generated_streets(published.artifact.size_hw, 5))


def answer(path: Path, published: Published) -> Outputs:
    (street,) = generated_streets(published.artifact.size_hw, 1)
    return OnnxEngine(path, published.artifact.tensors, 1).run(street[None])


def convolutions(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Names of the convolutions' weights by what these are stored in."""
    made_by = {output: node for node in graph.node for output in node.output}
    found: dict[str, list[str]] = {"int8": [], "float32": []}
    for weights in (node.input[1] for node in graph.node if node.op_type == "Conv"):
        if weights in made_by:
            assert made_by[weights].op_type == "DequantizeLinear"
            found["int8"].append(made_by[weights].input[0])
        else:
            found["float32"].append(weights)
    return found


def test_the_contract_holds_and_the_answer_is_near(published: Published, int8: Path) -> None:
    ours, theirs = answer(int8, published), answer(published.folder / "model.onnx", published)
    assert ours.num[0] > 0
    assert [field.shape for field in ours] == [field.shape for field in theirs]
    assert [field.dtype for field in ours] == [field.dtype for field in theirs]
    best = slice(0, 5)
    assert np.abs(ours.scores[0, best] - theirs.scores[0, best]).max() < 0.05
    assert not np.array_equal(ours.scores, theirs.scores), "eight bits round"


def test_convolutions_are_quantised_but_for_the_first_stage_and_places(int8: Path) -> None:
    kinds = convolutions(onnx.load(int8).graph)
    for part in ("backbone.conv1", "backbone.layers.0.", "conv_offset_mask", "bbox_layer", "maskiou_net"):
        assert not [name for name in kinds["int8"] if part in name]
        assert [name for name in kinds["float32"] if part in name]
    for part in ("backbone.layers.1.", "fpn.", "proto_net", "conf_layer", "mask_layer", "upfeature"):
        assert not [name for name in kinds["float32"] if part in name]
        assert [name for name in kinds["int8"] if part in name]


def test_the_float32_graph_is_as_it_was(published: Published, int8: Path) -> None:
    operators = Counter(node.op_type for node in onnx.load(published.folder / "model.onnx").graph.node)
    assert not operators["QuantizeLinear"]
    after = Counter(node.op_type for node in onnx.load(int8).graph.node)
    assert after["DeformConv"] == operators["DeformConv"] > 0
    assert after["QuantizeLinear"] > 0
