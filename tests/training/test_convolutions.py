from dataclasses import replace

import pytest
import torch
from torch import nn

from model.config import PRESETS, BackboneConfig, YolactConfig
from model.deform_conv import DeformConv2d
from model.weights import blueprint
from tests.model.tiny_network import TINY, seeded_network
from training.convolutions import PARTS, convolutions, part_of

BASIC = replace(TINY, backbone=BackboneConfig(8, (1, 2, 2, 1), (4, 8, 8, 16), (0, 0, 1, 1), kind="basic"))
DARKNET = replace(TINY, backbone=BackboneConfig(4, (1, 1, 1, 2, 1), (4, 4, 8, 8, 16), (0,) * 5, kind="darknet"))


def called(config: YolactConfig) -> list[str]:
    """The convolutions by the order of their first calls in a forward pass."""
    network, names = seeded_network(config), dict[str, None]()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | DeformConv2d) and not name.endswith("conv_offset_mask"):
            module.register_forward_pre_hook(lambda *_, name=name: names.setdefault(name))
    with torch.no_grad():
        network(torch.zeros(1, 3, *config.size_hw))
    return list(names)


def test_a_state_without_convolutions_has_none() -> None:
    assert convolutions({}) == ()
    assert convolutions({"fpn.weight": torch.ones(3), "backbone.bn1.weight": torch.ones(3)}) == ()


def test_layers_of_other_networks_are_none_of_ours() -> None:
    assert convolutions({"roi_heads.conv.weight": torch.ones(1, 1, 1, 1)}) == ()


@pytest.mark.parametrize("config", [TINY, BASIC, DARKNET], ids=["bottleneck", "basic", "darknet"])
def test_the_order_in_a_part_is_that_of_the_calls(config: YolactConfig) -> None:
    network, calls = seeded_network(config), called(config)
    names = convolutions(network.state_dict())
    for part in ("backbone", "fpn", "proto_net", "prediction_layers"):
        assert [name for name in names if part_of(name) == part] == [name for name in calls if part_of(name) == part]


def test_parts_stand_in_the_order_of_the_data() -> None:
    parts = [part_of(name) for name in convolutions(seeded_network().state_dict())]
    assert tuple(dict.fromkeys(parts)) == PARTS
    assert [parts.count(part) for part in PARTS] == [20, 8, 3, 4, 4, 1]
    assert parts == sorted(parts, key=PARTS.index)


@pytest.mark.parametrize(
    ("name", "count"),
    [("yolact-resnet50", 53 + 8 + 5 + 4 + 1), ("yolact-plus-base", 104 + 8 + 5 + 4 + 6 + 1)],
)
def test_of_published_networks_every_convolution_counts_once(name: str, count: int) -> None:
    names = convolutions(blueprint(PRESETS[name]).state_dict())
    assert len(names) == len(set(names)) == count


def test_numbers_are_ordered_as_numbers() -> None:
    names = convolutions(blueprint(PRESETS["yolact-base"]).state_dict())
    assert names.index("backbone.layers.2.9.conv1") < names.index("backbone.layers.2.10.conv1")
