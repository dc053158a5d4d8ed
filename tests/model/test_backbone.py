import pytest
import torch
import torch.nn.functional as F

from model.backbone import Bottleneck, Darknet, DarknetBlock, ResNet, make_backbone
from model.config import RESNET18, RESNET34, RESNET50, RESNET101, BackboneConfig
from model.deform_conv import DeformConv2d

TINY_BACKBONE = BackboneConfig(stem_channels=4, blocks=(1, 2, 1, 1), planes=(2, 3, 4, 5), deformable=(0, 1, 0, 1))


def deformable_places(config: BackboneConfig) -> list[str]:
    modules = ResNet(config).named_modules()
    return [name.removesuffix(".conv2") for name, module in modules if isinstance(module, DeformConv2d)]


def test_a_backbone_without_deformable_layers_has_none() -> None:
    assert deformable_places(BackboneConfig(4, (1, 1, 1, 1), (2, 2, 2, 2), (0, 0, 0, 0))) == []


def test_an_interval_is_counted_from_the_stages_first_block() -> None:
    r101 = BackboneConfig(2, (3, 4, 23, 3), (1, 1, 1, 1), (0, 4, 23, 3), deformable_interval=3)
    expected = ["layers.1.0", "layers.1.3", *(f"layers.2.{block}" for block in range(0, 22, 3)), "layers.3.0"]
    assert deformable_places(r101) == expected


def test_fewer_than_all_are_the_stages_last() -> None:
    assert deformable_places(BackboneConfig(2, (1, 4, 1, 1), (1, 1, 1, 1), (0, 2, 0, 0))) == [
        "layers.1.2",
        "layers.1.3",
    ]


def test_keys_are_the_published_ones() -> None:
    keys = set(ResNet(TINY_BACKBONE).state_dict())
    norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    block = {f"conv{number}.weight" for number in (1, 2, 3)} | {f"bn{n}.{part}" for n in (1, 2, 3) for part in norm}
    shortcut = {"downsample.0.weight"} | {f"downsample.1.{part}" for part in norm}
    deformable = {"conv2.bias", "conv2.conv_offset_mask.weight", "conv2.conv_offset_mask.bias"}
    expected = {"conv1.weight"} | {f"bn1.{part}" for part in norm}
    for place, parts in {
        "0.0": block | shortcut,
        "1.0": block | shortcut,
        "1.1": block | deformable,
        "2.0": block | shortcut,
        "3.0": block | shortcut | deformable,
    }.items():
        expected |= {f"layers.{place}.{part}" for part in parts}
    assert keys == expected


@pytest.mark.parametrize("size_hw", [(64, 96), (65, 97)])
def test_maps_halve_from_stride_four_on(size_hw: tuple[int, int]) -> None:
    network = ResNet(TINY_BACKBONE).eval()
    with torch.inference_mode():
        maps = network(torch.zeros(2, 3, *size_hw))
    assert network.channels == (8, 12, 16, 20)
    sizes = [tuple(-(-side // stride) for side in size_hw) for stride in (4, 8, 16, 32)]
    assert [tuple(level.shape) for level in maps] == [
        (2, width, *size) for width, size in zip(network.channels, sizes, strict=True)
    ]


def test_a_block_that_changes_nothing_in_size_adds_its_input() -> None:
    block = Bottleneck(8, 2, stride=1, deformable=False).eval()
    assert block.downsample is None
    torch.nn.init.zeros_(block.bn3.weight)
    x = torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(block(x), x.relu())


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(RESNET18, 11_176_512), (RESNET34, 21_284_672), (RESNET50, 23_508_032), (RESNET101, 42_500_160)],
)
def test_resnets_have_as_many_parameters_as_the_papers(config: BackboneConfig, parameters: int) -> None:
    """Torchvision's counts of the four, without their classifiers of 1000 classes."""
    with torch.device("meta"):
        backbone = ResNet(config)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters


def test_basic_blocks_have_torchvisions_keys_and_strides() -> None:
    config = BackboneConfig(4, (1, 2, 1, 1), (4, 6, 8, 10), (0, 0, 1, 0), kind="basic")
    backbone = ResNet(config).eval()
    keys = {key for key in backbone.state_dict() if key.startswith("layers.1.0") and key.endswith("weight")}
    assert {key.removeprefix("layers.1.0.") for key in keys} == {
        *("conv1.weight", "bn1.weight", "conv2.weight", "bn2.weight", "downsample.0.weight", "downsample.1.weight"),
    }
    assert deformable_places(config) == ["layers.2.0"]
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in maps] == [(4, 16, 24), (6, 8, 12), (8, 4, 6), (10, 2, 3)]


def test_darknet_halves_at_each_stage_and_adds_its_shortcut() -> None:
    torch.manual_seed(0)
    backbone = make_backbone(BackboneConfig(4, (1, 1, 2, 1, 1), (2, 3, 4, 5, 6), (0,) * 5, kind="darknet")).eval()
    assert isinstance(backbone, Darknet)
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in maps] == [(4, 32, 48), (6, 16, 24), (8, 8, 12), (10, 4, 6), (12, 2, 3)]
    block = backbone.get_submodule("layers.0.1")
    assert isinstance(block, DarknetBlock)
    x = torch.randn(1, 4, 5, 5)
    inner = F.leaky_relu(block.conv1[1](block.conv1[0](x)), 0.1)
    expected = F.leaky_relu(block.conv2[1](block.conv2[0](inner)), 0.1) + x
    torch.testing.assert_close(block(x), expected)
