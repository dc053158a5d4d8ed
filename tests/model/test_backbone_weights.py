from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.backbone_weights import backbone_kind, backbone_tensors, load_backbone
from model.config import PRESETS, BackboneConfig, YolactConfig
from model.weight_file import WeightFile
from model.weights import blueprint
from model.yolact import Yolact
from scene.errors import DataError
from tests.model.tiny_network import TINY

PLAIN = replace(TINY, backbone=replace(TINY.backbone, deformable=(0, 0, 0, 0)))
BASIC = replace(PLAIN, backbone=replace(PLAIN.backbone, kind="basic"))
DARKNET = replace(TINY, backbone=BackboneConfig(4, (1, 2, 1), (3, 4, 5), (0, 0, 0), kind="darknet"))


def file_of(state: dict[str, Tensor]) -> WeightFile:
    return WeightFile(Path("imagenet.pth"), "PyTorch zip", state)


def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)


def torchvision_sizes(config: BackboneConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and sizes of a ResNet as torchvision and timm save it, of 2018: without counters."""
    basic = config.kind == "basic"
    yield "conv1.weight", (config.stem_channels, 3, 7, 7)
    yield from norm("bn1", config.stem_channels)
    width = config.stem_channels
    for stage, (blocks, planes) in enumerate(zip(config.blocks, config.planes, strict=True)):
        for block in range(blocks):
            name, out = f"layer{stage + 1}.{block}", planes if basic else 4 * planes
            sides = ((width, planes, 3), (planes, planes, 3)) if basic else (
                (width, planes, 1), (planes, planes, 3), (planes, out, 1),
            )  # fmt: skip
            for number, (before, after, side) in enumerate(sides, start=1):
                yield f"{name}.conv{number}.weight", (after, before, side, side)
                yield from norm(f"{name}.bn{number}", after)
            if block == 0 and (stage > 0 or width != out):
                yield f"{name}.downsample.0.weight", (out, width, 1, 1)
                yield from norm(f"{name}.downsample.1", out)
            width = out
    yield "fc.weight", (1000, width)
    yield "fc.bias", (1000,)


def timm_darknet_sizes(config: BackboneConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and sizes of a Darknet as timm's ``cspnet.py`` builds it."""

    def layer(name: str, before: int, after: int, side: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.conv.weight", (after, before, side, side)
        yield from norm(f"{name}.bn", after)
        yield f"{name}.bn.num_batches_tracked", ()

    width = config.stem_channels
    yield from layer("stem.conv1", 3, width, 3)
    for stage, (blocks, planes) in enumerate(zip(config.blocks, config.planes, strict=True)):
        yield from layer(f"stages.{stage}.conv_down", width, 2 * planes, 3)
        width = 2 * planes
        for block in range(blocks):
            yield from layer(f"stages.{stage}.blocks.{block}.conv1", width, planes, 1)
            yield from layer(f"stages.{stage}.blocks.{block}.conv2", planes, width, 3)
    yield "head.fc.weight", (1000, width)
    yield "head.fc.bias", (1000,)


def filled(sizes: Iterator[tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(size, generator=generator) if size else torch.tensor(9) for name, size in sizes}


def test_nothing_is_no_backbone() -> None:
    assert backbone_kind({}) is None
    assert backbone_tensors(file_of({})).state == {}


def test_a_whole_network_is_no_backbone() -> None:
    for preset in ("yolact-resnet50", "yolact-darknet53"):
        assert backbone_kind(blueprint(PRESETS[preset]).state_dict()) is None


@pytest.mark.parametrize(
    ("preset", "kind"),
    [
        ("street-yolact-resnet18", "ResNet-18"),
        ("street-yolact-resnet34", "ResNet-34"),
        ("yolact-resnet50", "ResNet-50"),
        ("yolact-base", "ResNet-101"),
    ],
)
def test_resnets_are_told_by_their_depth(preset: str, kind: str) -> None:
    assert backbone_kind({name: torch.empty(0) for name, _ in torchvision_sizes(PRESETS[preset].backbone)}) == kind


def test_darknet_is_known_by_timms_names_and_the_authors() -> None:
    preset = PRESETS["yolact-darknet53"]
    assert backbone_kind({name: torch.empty(0) for name, _ in timm_darknet_sizes(preset.backbone)}) == "Darknet-53"
    assert backbone_kind(blueprint(preset).backbone.state_dict()) == "Darknet-53"


def test_another_networks_stem_is_not_taken_for_one() -> None:
    assert backbone_kind({"conv1.weight": torch.empty(0), "fc.weight": torch.empty(0)}) is None


@pytest.mark.parametrize("config", [PLAIN, BASIC])
def test_torchvisions_names(config: YolactConfig) -> None:
    state = filled(torchvision_sizes(config.backbone))
    network = Yolact(config)
    report = load_backbone(network, file_of(state))
    ours = network.state_dict()
    for theirs, name in (
        ("conv1.weight", "backbone.conv1.weight"),
        ("bn1.running_var", "backbone.bn1.running_var"),
        ("layer1.0.conv1.weight", "backbone.layers.0.0.conv1.weight"),
        ("layer3.1.bn2.bias", "backbone.layers.2.1.bn2.bias"),
        ("layer4.0.downsample.0.weight", "backbone.layers.3.0.downsample.0.weight"),
        ("layer4.0.downsample.1.running_mean", "backbone.layers.3.0.downsample.1.running_mean"),
    ):
        assert torch.equal(ours[name], state[theirs]), name
        assert (name, f"{theirs} in the file") in report.mapped
    assert len(report.mapped) == len(state) - 2
    assert report.left_over == (("fc.weight", "no part of the backbone"), ("fc.bias", "no part of the backbone"))
    mapped, kept = {name for name, _ in report.mapped}, {name for name, _ in report.initialised}
    assert mapped.isdisjoint(kept)
    assert mapped | kept == ours.keys()
    assert {name for name in kept if name.startswith("backbone")} == {
        name for name in ours if name.startswith("backbone") and name.endswith("num_batches_tracked")
    }


def test_a_deformable_convolution_takes_the_plain_ones_weight_and_keeps_the_rest() -> None:
    state = filled(torchvision_sizes(TINY.backbone))
    network = Yolact(TINY)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    report = load_backbone(network, file_of(state))
    ours = network.state_dict()
    kept = [name for name, words in report.initialised if "deformable" in words]
    places = [f"backbone.layers.{place}.conv2" for place in ("2.0", "2.1", "3.0")]
    parts = ("bias", "conv_offset_mask.weight", "conv_offset_mask.bias")
    assert set(kept) == {f"{place}.{part}" for place in places for part in parts}
    assert torch.equal(ours["backbone.layers.2.1.conv2.weight"], state["layer3.1.conv2.weight"])
    for name, _ in report.initialised:
        assert torch.equal(ours[name], before[name]), name


def test_timms_darknet_and_the_authors_give_the_same_network() -> None:
    state = filled(timm_darknet_sizes(DARKNET.backbone))
    network, other = Yolact(DARKNET), Yolact(DARKNET)
    report = load_backbone(network, file_of(state))
    ours = network.state_dict()
    assert torch.equal(ours["backbone._preconv.0.weight"], state["stem.conv1.conv.weight"])
    assert torch.equal(ours["backbone.layers.1.0.1.bias"], state["stages.1.conv_down.bn.bias"])
    assert torch.equal(ours["backbone.layers.1.2.conv2.0.weight"], state["stages.1.blocks.1.conv2.conv.weight"])
    assert [name for name, _ in report.left_over] == ["head.fc.weight", "head.fc.bias"]
    assert not any(name.startswith("backbone") for name, _ in report.initialised)
    load_backbone(other, file_of(network.backbone.state_dict()))
    assert all(torch.equal(tensor, ours[f"backbone.{name}"]) for name, tensor in other.backbone.state_dict().items())


def test_a_prefix_is_told_by_the_files_own_name() -> None:
    state = filled(torchvision_sizes(PLAIN.backbone))
    file = replace(
        file_of(state), renamed={"conv1.weight": "module.conv1.weight"}, left_over=(("epoch", "not weights"),)
    )
    found = backbone_tensors(file)
    assert found.sources["backbone.conv1.weight"] == "module.conv1.weight"
    assert found.left_over[0] == ("epoch", "not weights")


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [
        ((1, 1, 3, 1), r"not of it: \d+ \(backbone\.layers\.2\.2\.conv1\.weight"),
        ((1, 1, 1, 1), r"missing: \d+ \(backbone\.layers\.2\.1\.conv1\.weight"),
    ],
)
def test_another_backbone_is_told_and_the_network_is_left_as_it_was(blocks: tuple[int, ...], sentence: str) -> None:
    network = Yolact(PLAIN)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(DataError, match=rf"does not hold this network's backbone \(.*{sentence}"):
        load_backbone(network, file_of(filled(torchvision_sizes(replace(PLAIN.backbone, blocks=blocks)))))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_wider_backbone_is_told_with_the_sizes() -> None:
    wider = replace(PLAIN.backbone, stem_channels=16)
    with pytest.raises(
        DataError, match=r"backbone\.conv1\.weight: \[16, 3, 7, 7\] in the file, expected \[8, 3, 7, 7\]"
    ):
        load_backbone(Yolact(PLAIN), file_of(filled(torchvision_sizes(wider))))
