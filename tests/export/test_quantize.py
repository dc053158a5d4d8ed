"""Eight-bit graphs: the contract kept, the answer near, and in eight bits what the table says."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.numpy_helper import to_array

from export.calibration import generated_streets
from export.graph import deployable
from export.network_part import layers_of
from export.quantize import write_int8
from export.to_onnx import write_onnx
from scene.artifact import Quantisation
from scene.errors import ArtifactError, ConfigurationError
from serve.engines import Outputs
from serve.engines.onnx_engine import OnnxEngine
from tests.export.conftest import Published
from tests.model.tiny_network import seeded_network

LENIENT, STRICT = 1.0, 0.02
DEFORMABLE = "backbone.layers.2.1.conv2"


class Written(NamedTuple):
    """A graph in eight bits, where it lies, and how it came about."""

    path: Path
    graph: onnx.GraphProto
    how: Quantisation


@pytest.fixture(scope="module")
def int8(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(published, tmp_path_factory.mktemp("int8"), budget=LENIENT)


@pytest.fixture(scope="module")
def strict(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(published, tmp_path_factory.mktemp("strict"), budget=STRICT)


@pytest.fixture(scope="module")
def symmetric(published: Published, int8: Written, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(published, tmp_path_factory.mktemp("symmetric"), symmetric=True, known=int8.how)


def write(published: Published, folder: Path, **how: object) -> Written:
    path, pictures = folder / "model.int8.onnx", generated_streets(published.artifact.size_hw, 5)
    written = write_int8(published.folder / "model.onnx", path, pictures, **how)  # type: ignore[arg-type]
    return Written(path, onnx.load(path).graph, written)


def answer(path: Path, published: Published) -> Outputs:
    (street,) = generated_streets(published.artifact.size_hw, 1)
    return OnnxEngine(path, published.artifact.tensors, 1).run(street[None])


def in_int8(graph: onnx.GraphProto) -> set[str]:
    """Layers whose weight is stored in int8."""
    names = (name.removesuffix(".weight_quantized") for name in named(graph) if name.endswith(".weight_quantized"))
    return {name.removeprefix("segmenter.network.") for name in names}


def named(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    return {each.name: each for each in graph.initializer}


def nodes_of(graph: onnx.GraphProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == kind]


def rounding(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that round to eight bits what is then computed with, unlike the one that makes the masks' levels."""
    read = {node.input[0] for node in nodes_of(graph, "DequantizeLinear")}
    return [node for node in nodes_of(graph, "QuantizeLinear") if node.output[0] in read]


def test_no_picture(published: Published, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"pictures: expected pictures to calibrate on, but \[\] came"):
        write_int8(published.folder / "model.onnx", tmp_path / "model.int8.onnx", [])
    assert not list(tmp_path.iterdir())


def test_a_graph_that_is_in_eight_bits_already(int8: Written, published: Published, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected a float graph of StreetMask"):
        write_int8(int8.path, tmp_path / "again.onnx", generated_streets(published.artifact.size_hw, 1))


def test_the_contract_holds_and_the_answer_is_near(published: Published, int8: Written) -> None:
    ours, theirs = answer(int8.path, published), answer(published.folder / "model.onnx", published)
    assert ours.num[0] > 0
    assert [field.shape for field in ours] == [field.shape for field in theirs]
    assert [field.dtype for field in ours] == [field.dtype for field in theirs]
    best = slice(0, 5)
    assert np.abs(ours.scores[0, best] - theirs.scores[0, best]).max() < 0.05
    assert not np.array_equal(ours.scores, theirs.scores), "eight bits round"


def test_how_it_came_about_is_told(int8: Written) -> None:
    assert (int8.how.pictures, int8.how.ranges) == (5, "percentile")
    assert [each.error for each in int8.how.layers] == sorted((each.error for each in int8.how.layers), reverse=True)


def test_with_a_wide_budget_only_the_layer_that_reads_the_picture_is_kept(int8: Written) -> None:
    assert [each.layer for each in int8.how.layers if each.kept] == ["backbone.conv1"]


def test_onnxruntime_does_not_round_before_it_pools(int8: Written, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(int8.path, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    (pooling,) = [node for node in graph.node if node.op_type == "MaxPool"]
    assert [node.op_type for node in graph.node if pooling.input[0] in node.output] == ["FusedConv"]
    assert "QLinearConv" in {node.op_type for node in graph.node}


def test_what_the_table_keeps_is_float_and_nothing_else_of_the_network(int8: Written, strict: Written) -> None:
    """The deformable convolutions' weights are in eight bits too; the rescoring network's are small here."""
    assert [each.layer for each in strict.how.layers] == [each.layer for each in int8.how.layers]
    assert sum(each.kept for each in strict.how.layers) > sum(each.kept for each in int8.how.layers)
    for written in (int8, strict):
        assert in_int8(written.graph) == {each.layer for each in written.how.layers if not each.kept}


def test_what_decodes_and_the_pooling_stay_float(int8: Written) -> None:
    rounded = {node.output[0] for node in int8.graph.node if node.op_type == "DequantizeLinear"}
    for kind in ("MaxPool", "Softmax", "Exp", "TopK", "MatMul", "Sub", "Div"):
        assert not [node for node in int8.graph.node if node.op_type == kind and rounded.intersection(node.input)]


def test_the_float32_graph_is_as_it_was(published: Published, int8: Written) -> None:
    operators = Counter(node.op_type for node in onnx.load(published.folder / "model.onnx").graph.node)
    assert not operators["DequantizeLinear"]
    after = Counter(node.op_type for node in int8.graph.node)
    assert after["DeformConv"] == operators["DeformConv"] > 0
    assert after["DequantizeLinear"] > 0


def test_activations_are_uint8_for_a_cpu_and_biases_int32(int8: Written) -> None:
    stored = named(int8.graph)
    zeros = [to_array(stored[node.input[2]]) for node in int8.graph.node if node.op_type == "QuantizeLinear"]
    assert {zero.dtype for zero in zeros} == {np.dtype(np.uint8)}
    assert any(zero > 0 for zero in zeros)
    assert {each.data_type for name, each in stored.items() if "bias_quantized" in name and name[-1] == "d"} == {
        onnx.TensorProto.INT32
    }


def test_a_symmetric_graph_has_no_zero_point_and_float_biases(symmetric: Written) -> None:
    stored = named(symmetric.graph)
    for node in (*rounding(symmetric.graph), *nodes_of(symmetric.graph, "DequantizeLinear")):
        zero = to_array(stored[node.input[2]])
        assert zero.dtype == np.int8
        assert not zero.any()
    for node in nodes_of(symmetric.graph, "Conv"):
        assert stored[node.input[2]].data_type == onnx.TensorProto.FLOAT


def test_a_symmetric_graph_rounds_what_convolutions_read_and_nothing_else(symmetric: Written, int8: Written) -> None:
    activations = {node.output[0] for node in rounding(symmetric.graph)}
    made = {node.output[0] for node in symmetric.graph.node if set(node.input) & activations}
    assert {node.op_type for node in symmetric.graph.node if set(node.input) & made} == {"Conv"}
    assert symmetric.how.layers == int8.how.layers, "what is known is not measured again"
    assert in_int8(symmetric.graph) == in_int8(int8.graph)


def test_a_symmetric_graph_answers_near(published: Published, symmetric: Written) -> None:
    ours, theirs = answer(symmetric.path, published), answer(published.folder / "model.onnx", published)
    assert np.abs(ours.scores[0, :5] - theirs.scores[0, :5]).max() < 0.05


def store_narrow(graph: Path, weights: list[str]) -> None:
    """Weights in half precision with a cast behind them, as the exporter leaves those that are large."""
    model = onnx.load(graph)
    for weight in [each for each in model.graph.initializer if each.name in weights]:
        values = onnx.numpy_helper.to_array(weight).astype(np.float16)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, f"{weight.name}.narrow"))
        cast = onnx.helper.make_node("Cast", [f"{weight.name}.narrow"], [weight.name], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
        model.graph.initializer.remove(weight)
    onnx.save(model, graph)


def test_layers_of_the_graph_for_full_tensorrt_go_by_the_same_names(
    published: Published, int8: Written, tmp_path: Path
) -> None:
    """Deformable convolutions are float32 islands in it, their weights widened: what is known finds them too."""
    module = deployable(seeded_network(), dtype=torch.float16, lowering="DeformConv")
    half = write_onnx(module, tmp_path / "half.onnx", fixed_rows=True)
    ours, theirs = layers_of(onnx.load(half).graph), layers_of(onnx.load(published.folder / "model.onnx").graph)
    assert {name: {each.op_type for each in nodes} for name, nodes in ours.items()} == {
        name: {each.op_type for each in nodes} for name, nodes in theirs.items()
    }
    store_narrow(half, [node.input[1] for nodes in ours.values() for node in nodes if node.op_type == "DeformConv"])
    how = replace(
        int8.how, layers=[replace(each, kept=each.kept or each.layer == DEFORMABLE) for each in int8.how.layers]
    )
    write_int8(
        half, tmp_path / "int8.onnx", generated_streets(published.artifact.size_hw, 2), symmetric=True, known=how
    )
    rounded = {name.removeprefix("network.") for name in in_int8(onnx.load(tmp_path / "int8.onnx").graph)}
    assert rounded == in_int8(int8.graph) - {DEFORMABLE}


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
def test_tensorrt_takes_the_symmetric_graph(tmp_path: Path, half: bool) -> None:
    """A plan is built without a GPU; deformable convolutions are named as in the other lowering, though folded."""
    trt = pytest.importorskip("tensorrt_rtx")
    dtype = torch.float16 if half else torch.float32
    graph = write_onnx(
        deployable(seeded_network(), dtype=dtype, lowering="GridSample"), tmp_path / "grid.onnx", fixed_rows=True
    )
    how = write_int8(graph, tmp_path / "int8.onnx", generated_streets((64, 128), 2), symmetric=True)
    assert "backbone.layers.2.0.conv2" in {each.layer for each in how.layers}
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(0)
    assert trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR)).parse((tmp_path / "int8.onnx").read_bytes())
    kinds = Counter(network.get_layer(index).type for index in range(network.num_layers))
    kept = sum(each.kept for each in how.layers)
    assert kinds[trt.LayerType.QUANTIZE] >= len(how.layers) - kept - 8
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("image", *[(batch, 64, 128, 3) for batch in (1, 1, 4)])
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
