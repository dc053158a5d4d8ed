"""Ranges of values: what lies outside, and what that costs."""

import numpy as np
import onnx
import pytest

from export.calibration import generated_streets
from export.network_part import NetworkPart, network_part
from export.ranges import divergence, value_ranges
from scene.errors import ConfigurationError
from tests.export.conftest import Published


@pytest.fixture(scope="module")
def network(published: Published) -> NetworkPart:
    return network_part(onnx.shape_inference.infer_shapes(onnx.load(published.folder / "model.onnx")))


def test_another_method_is_refused(network: NetworkPart) -> None:
    with pytest.raises(ConfigurationError, match="ranges: expected percentile or entropy, but 'widest' came"):
        value_ranges(network, [], "widest")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_what_a_relu_answers_starts_at_zero_and_ends_within_what_was_seen(network: NetworkPart, method: str) -> None:
    pictures = generated_streets((64, 128), 2)
    whole = value_ranges(network, pictures, "percentile").data
    ranges = value_ranges(network, pictures, method)  # type: ignore[arg-type]
    read = network.layers["backbone.layers.0.0.conv2"][0].input[0]
    assert ranges[read].lowest == 0
    assert 0 < ranges[read].highest <= whole[read].highest * 1.01
    written = network.layers["backbone.layers.0.0.conv1"][0].output[0]
    assert ranges[written].range_value == ranges[read].range_value, "a convolution and its ReLU are one operator"


def test_symmetric_graphs_need_only_what_convolutions_read(network: NetworkPart) -> None:
    ranges = value_ranges(network, generated_streets((64, 128), 1), "percentile", symmetric=True)
    nodes = [node for layer in network.layers.values() for node in layer if node.op_type == "Conv"]
    assert set(ranges.keys()) == {node.input[0] for node in nodes}


def test_nothing_is_lost_where_each_bin_has_a_level() -> None:
    assert divergence(np.array([4.0, 2, 1, 1]), 4, 4) == 0


def test_the_loss_of_sharing_levels_and_of_clipping() -> None:
    """(3, 1) and (2, 2) become (2, 2) and (2, 2); without its last two bins (3, 1) is taken for (3, 5)."""
    shared = 3 / 8 * np.log(3 / 2) + 1 / 8 * np.log(1 / 2)
    assert divergence(np.array([3.0, 1, 2, 2]), 4, 2) == pytest.approx(shared)
    clipped = 3 / 8 * np.log((3 / 8) / (3 / 4)) + 5 / 8 * np.log((5 / 8) / (1 / 4))
    assert divergence(np.array([3.0, 1, 2, 2]), 2, 2) == pytest.approx(clipped)


def test_a_range_that_leaves_everything_out_is_the_worst() -> None:
    assert divergence(np.array([0.0, 0, 1, 5]), 2, 2) == np.inf
