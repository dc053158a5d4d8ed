import math
from dataclasses import replace

import pytest
import torch

from model.anchors import level_sizes, make_anchors
from model.config import STREET_NANO, AnchorConfig
from tests.model.tiny_network import TINY, seeded_network


def test_the_bundled_networks_anchors() -> None:
    anchors = make_anchors(STREET_NANO)
    cells = 40 * 80 + 20 * 40 + 10 * 20 + 5 * 10 + 3 * 5
    assert anchors.shape == (cells * 6, 4)
    assert anchors.dtype == torch.float32


def test_the_first_and_last_anchor_by_hand() -> None:
    anchors = make_anchors(TINY)  # P3 of 64 x 128 has 8 x 16 cells, P7 one; sides 12 and 90 pixels
    torch.testing.assert_close(anchors[0], torch.tensor([0.5 / 16, 0.5 / 8, 12 / 128, 12 / 64]))
    side = 90 * math.sqrt(2)
    torch.testing.assert_close(anchors[-1], torch.tensor([0.5, 0.5, side / 128, side / 2 / 64]))


def test_order_is_row_column_scale_ratio() -> None:
    config = replace(TINY, anchors=AnchorConfig(((10.0, 20.0),) * 5, ratios=(1.0, 4.0)))
    level = make_anchors(config)[: 8 * 16 * 4].view(8, 16, 2, 2, 4)
    columns, rows = (torch.arange(16) + 0.5) / 16, (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(level[..., 0], columns[None, :, None, None].expand(8, 16, 2, 2))
    torch.testing.assert_close(level[..., 1], rows[:, None, None, None].expand(8, 16, 2, 2))
    widths = torch.tensor([[10.0, 20.0], [20.0, 40.0]]) / 128  # scale, then ratio
    heights = torch.tensor([[10.0, 5.0], [20.0, 10.0]]) / 64
    torch.testing.assert_close(level[..., 2], widths.expand(8, 16, 2, 2))
    torch.testing.assert_close(level[..., 3], heights.expand(8, 16, 2, 2))


def test_square_anchors_take_their_width_as_height() -> None:
    square = make_anchors(replace(TINY, anchors=replace(TINY.anchors, square=True)))
    assert torch.equal(square[:, 2], square[:, 3])
    assert torch.equal(square[:, :3], make_anchors(TINY)[:, :3])


@pytest.mark.parametrize("size_hw", [(64, 128), (65, 97), (63, 130), (33, 31), (1, 1), (200, 72)])
def test_level_sizes_are_those_of_the_networks_maps(size_hw: tuple[int, int]) -> None:
    network = seeded_network()
    with torch.inference_mode():
        pyramid = network.fpn(network.backbone(torch.zeros(1, 3, *size_hw))[1:])
    assert level_sizes(size_hw, 5) == [tuple(level.shape[2:]) for level in pyramid]


def test_an_odd_input_has_an_anchor_for_every_answer() -> None:
    config = replace(TINY, size_hw=(65, 97))
    with torch.inference_mode():
        outputs = seeded_network(config)(torch.zeros(1, 3, 65, 97))
    assert outputs.box_offsets.shape[1] == len(make_anchors(config))
