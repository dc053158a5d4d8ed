"""ResNet with bottleneck blocks (He et al. 2016, figure 5), deformable in its later stages (YOLACT++, section 6.2)."""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from model.config import BackboneConfig
from model.deform_conv import DeformConv2d

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided, perhaps deformable), 1x1, each with BatchNorm, around a shortcut."""

    def __init__(self, in_channels: int, planes: int, stride: int, deformable: bool) -> None:
        super().__init__()
        out_channels = planes * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2: nn.Module = (
            DeformConv2d(planes, planes, stride)
            if deformable
            else nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        )
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 4 x planes, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Stem and stages; ``channels`` are the widths of the stages' outputs."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.channels = tuple(planes * EXPANSION for planes in config.planes)
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
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps: list[Tensor] = []
        for stage in self.layers:
            x = cast(Tensor, stage(x))
            maps.append(x)
        return tuple(maps)


def _stage(config: BackboneConfig, stage: int, in_channels: int) -> nn.Sequential:
    count, planes = config.blocks[stage], config.planes[stage]
    blocks = []
    for index in range(count):
        late = index + config.deformable[stage] >= count
        blocks.append(
            Bottleneck(
                in_channels,
                planes,
                stride=2 if stage > 0 and index == 0 else 1,
                deformable=late and index % config.deformable_interval == 0,
            )
        )
        in_channels = planes * EXPANSION
    return nn.Sequential(*blocks)
