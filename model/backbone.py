"""The backbones: ResNets (He et al. 2016), deformable in later stages (YOLACT++, section 6.2), and Darknet-53."""

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from model.config import BackboneConfig, BlockKind
from model.deform_conv import DeformConv2d

EXPANSION: dict[BlockKind, int] = {"bottleneck": 4, "basic": 1, "darknet": 2}
"""How many times its planes wide a block's output is."""


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided, perhaps deformable), 1x1, each with BatchNorm, around a shortcut (figure 5, right)."""

    def __init__(self, in_channels: int, planes: int, stride: int, deformable: bool) -> None:
        super().__init__()
        out_channels = planes * EXPANSION["bottleneck"]
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes, stride, deformable)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 4 x planes, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class BasicBlock(nn.Module):
    """Two 3x3 with BatchNorm, the first strided, the second perhaps deformable, around a shortcut (figure 5, left)."""

    def __init__(self, in_channels: int, planes: int, stride: int, deformable: bool) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, planes, stride, deformable=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes, 1, deformable)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(in_channels, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, planes, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class DarknetBlock(nn.Module):
    """1x1 and 3x3, each with BatchNorm and a leaky ReLU, around a shortcut (Redmon & Farhadi 2018, table 1)."""

    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        self.conv1 = _darknet_layer(channels, planes, 1)
        self.conv2 = _darknet_layer(planes, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        return cast(Tensor, self.conv2(self.conv1(x))) + x


class ResNet(nn.Module):
    """Stem and stages; ``channels`` are the widths of the stages' outputs."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.channels = _channels(config)
        self.layers = nn.ModuleList()
        in_channels = config.stem_channels
        for stage, out_channels in enumerate(self.channels):
            self.layers.append(_stage(config, stage, in_channels))
            in_channels = out_channels
        self.conv1 = nn.Conv2d(3, config.stem_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_channels)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W], normalised -> the stages' maps at strides 4, 8, 16, 32 (C2 to C5)."""
        x = F.relu(self.bn1(self.conv1(image)))
        return _all_maps(F.max_pool2d(x, 3, stride=2, padding=1), self.layers)


class Darknet(nn.Module):
    """Stem and stages, each opened by a strided convolution; ``channels`` are the widths of the stages' outputs."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.channels = _channels(config)
        self.layers = nn.ModuleList()
        in_channels = config.stem_channels
        for out_channels, planes, count in zip(self.channels, config.planes, config.blocks, strict=True):
            blocks = [DarknetBlock(out_channels, planes) for _ in range(count)]
            self.layers.append(nn.Sequential(_darknet_layer(in_channels, out_channels, 3, stride=2), *blocks))
            in_channels = out_channels
        self._preconv = _darknet_layer(3, config.stem_channels, 3)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W], normalised -> the stages' maps at strides 2, 4, 8, 16, 32."""
        return _all_maps(self._preconv(image), self.layers)


def make_backbone(config: BackboneConfig) -> ResNet | Darknet:
    """The backbone of the configuration's kind; its last three maps are at strides 8, 16 and 32."""
    return Darknet(config) if config.kind == "darknet" else ResNet(config)


def _channels(config: BackboneConfig) -> tuple[int, ...]:
    return tuple(planes * EXPANSION[config.kind] for planes in config.planes)


def _all_maps(x: Tensor, stages: nn.ModuleList) -> tuple[Tensor, ...]:
    maps: list[Tensor] = []
    for stage in stages:
        x = cast(Tensor, stage(x))
        maps.append(x)
    return tuple(maps)


def _stage(config: BackboneConfig, stage: int, in_channels: int) -> nn.Sequential:
    count, planes = config.blocks[stage], config.planes[stage]
    block: Callable[[int, int, int, bool], nn.Module] = BasicBlock if config.kind == "basic" else Bottleneck
    blocks = []
    for index in range(count):
        late = index + config.deformable[stage] >= count
        stride = 2 if stage > 0 and index == 0 else 1
        blocks.append(block(in_channels, planes, stride, late and index % config.deformable_interval == 0))
        in_channels = planes * EXPANSION[config.kind]
    return nn.Sequential(*blocks)


def _conv3x3(in_channels: int, out_channels: int, stride: int, deformable: bool) -> nn.Module:
    if deformable:
        return DeformConv2d(in_channels, out_channels, stride)
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """A 1x1 with BatchNorm where the block changes the shape."""
    if stride == 1 and in_channels == out_channels:
        return None
    projection = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(out_channels))


def _darknet_layer(in_channels: int, out_channels: int, side: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, side, stride=stride, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.1))
