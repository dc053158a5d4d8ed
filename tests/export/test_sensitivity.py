"""Errors of layers, held against a slow oracle in torch, and the cut that follows from them."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization.calibrate import TensorsData
from torch import Tensor, nn

from export.calibration import generated_streets
from export.graph import deployable
from export.network_part import NetworkPart, network_part
from export.ranges import value_ranges
from export.sensitivity import cut, layer_alone, layer_errors, relative_error
from model.deform_conv import DeformConv2d
from scene.artifact import LayerSensitivity
from tests.export.conftest import Published
from training.checkpoint import load_network

PICTURES = generated_streets((64, 128), 2)


@pytest.fixture(scope="module")
def network(published: Published) -> NetworkPart:
    return network_part(onnx.shape_inference.infer_shapes(onnx.load(published.folder / "model.onnx")))


@pytest.fixture(scope="module")
def ranges(network: NetworkPart) -> TensorsData:
    return value_ranges(network, PICTURES, "percentile")


@pytest.fixture(scope="module")
def errors(network: NetworkPart, ranges: TensorsData) -> dict[str, float]:
    return layer_errors(network, ranges, PICTURES)


def test_no_layer_makes_no_table() -> None:
    assert cut({}, 0.1) == []


def test_the_fewest_layers_are_kept_and_the_most_sensitive_stand_first() -> None:
    """0.4 and 0.3 sum up to 0.5: one has to go, and it is the larger."""
    assert cut({"a": 0.3, "b": 0.4}, 0.45) == [LayerSensitivity("b", 0.4, True), LayerSensitivity("a", 0.3, False)]
    assert not any(each.kept for each in cut({"a": 0.3, "b": 0.4}, 0.51))


def test_a_fixed_layer_is_kept_and_does_not_count() -> None:
    table = cut({"first": 0.9, "b": 0.4, "c": 0.1}, 0.5, fixed={"first"})
    assert [each.kept for each in table] == [True, False, False]


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 1), st.sets(st.integers(0, 11)))
def test_the_cut_keeps_the_budget_with_as_few_layers_as_can(sizes: list[float], budget: float, fixed: set[int]) -> None:
    table = cut({str(index): size for index, size in enumerate(sizes)}, budget, {str(index) for index in fixed})
    assert [each.error for each in table] == sorted(sizes, reverse=True)
    quantised = [each.error for each in table if not each.kept]
    assert np.linalg.norm(quantised) <= budget * (1 + 1e-6)
    chosen = [each.error for each in table if each.kept and int(each.layer) not in fixed]
    if chosen:
        assert np.linalg.norm([*quantised, min(chosen)]) > budget * (1 - 1e-6), "one layer fewer does not keep it"


def test_every_convolution_before_the_raw_outputs_has_an_error(published: Published, errors: dict[str, float]) -> None:
    """By the checkpoint's names, the head's once for all levels, the rescoring network's none."""
    modules = dict(load_network(published.checkpoint).named_modules())
    expected = {name for name, each in modules.items() if isinstance(each, nn.Conv2d | DeformConv2d)}
    expected = {name for name in expected if not name.startswith(("maskiou_net", "semantic_seg_conv"))}
    assert errors.keys() == expected
    assert all(0 < error < 0.1 for error in errors.values())


def test_only_the_layer_itself_is_rounded(network: NetworkPart, ranges: TensorsData) -> None:
    """Two more layers read its input, which are not concerned; its answer goes into a sum."""
    graph = layer_alone(network, "backbone.layers.2.0.downsample.0", ranges).graph
    rounded = [node for node in graph.node if any("Dequantize" in name for name in node.input)]
    assert [node.op_type for node in rounded if node.op_type != "DequantizeLinear"] == ["Conv", "Add"]


ORACLES = [
    "backbone.conv1",
    "backbone.layers.1.0.conv2",
    "backbone.layers.2.0.conv2",
    "fpn.lat_layers.1",
    "proto_net.4",
]

TAKEN_UP = ["backbone.conv1", "fpn.lat_layers.1"]
"""Behind its ReLU by the pooling; by a sum."""


@pytest.mark.parametrize("name", ORACLES)
def test_a_layer_alone_changes_the_answer_as_the_table_says(
    published: Published, network: NetworkPart, ranges: TensorsData, errors: dict[str, float], name: str
) -> None:
    segmenter = deployable(load_network(published.checkpoint))
    images = torch.from_numpy(np.stack(PICTURES))
    with torch.inference_mode():
        exact = raw_outputs(segmenter.infer(images))
        _round_layer(segmenter.network.get_submodule(name), network, ranges, name)
        rounded = raw_outputs(segmenter.infer(images))
    assert errors[name] == pytest.approx(relative_error(rounded, exact), rel=0.02)


def raw_outputs(outputs: Any) -> list[list[Any]]:
    values = (outputs.class_logits, outputs.box_offsets, outputs.mask_coefficients, outputs.prototypes)
    return [[value.double().numpy() for value in values]]


def _round_layer(module: nn.Module, network: NetworkPart, ranges: TensorsData, name: str) -> None:
    """By hand: int8 weights per channel, uint8 for what is read and for what another than a convolution takes up."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    weight.copy_((weight / scale).round().clamp(-127, 127) * scale)
    node = network.layers[name][0]
    if node.op_type == "DeformConv":
        return
    module.register_forward_pre_hook(lambda _, values: tuple(_levels(each, ranges, node.input[0]) for each in values))
    if name in TAKEN_UP:
        module.register_forward_hook(lambda _module, _values, answer: _levels(answer, ranges, node.output[0]))


def _levels(value: Tensor, ranges: TensorsData, name: str) -> Tensor:
    low, high = (float(side) for side in ranges[name].range_value)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero = round(-low / scale)
    return ((value / scale).round() + zero).clamp(0, 255).sub(zero).mul(scale)
