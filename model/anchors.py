"""Anchors (YOLACT, section 4; YOLACT++, section 6.3)."""

import math

import torch
from torch import Tensor

from model.config import AnchorConfig, YolactConfig


def level_sizes(size_hw: tuple[int, int], levels: int) -> list[tuple[int, int]]:
    """Rows and columns of P3, P4, ...: each halves the one before, rounding up, from a stem at stride 4."""
    height, width = size_hw
    sizes = []
    for halving in range(1, levels + 3):
        height, width = math.ceil(height / 2), math.ceil(width / 2)
        if halving >= 3:
            sizes.append((height, width))
    return sizes


def make_anchors(config: YolactConfig) -> Tensor:
    """float32 [N, 4] as (cx, cy, w, h) in [0, 1] of the input; order: level, row, column, scale, ratio."""
    sizes = level_sizes(config.size_hw, len(config.anchors.scales_px))
    levels = [
        _level_anchors(size, scales, config.anchors, config.size_hw)
        for size, scales in zip(sizes, config.anchors.scales_px, strict=True)
    ]
    return torch.cat(levels)


def _level_anchors(
    grid_hw: tuple[int, int], scales_px: tuple[float, ...], config: AnchorConfig, size_hw: tuple[int, int]
) -> Tensor:
    shapes = torch.tensor(
        [_shape(scale, ratio, config.square, size_hw) for scale in scales_px for ratio in config.ratios]
    )
    rows, columns = grid_hw
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    centres = torch.stack((x, y), dim=-1).view(-1, 1, 2).expand(-1, len(shapes), -1)
    return torch.cat((centres, shapes.expand(len(centres), -1, -1)), dim=-1).view(-1, 4)


def _shape(scale_px: float, ratio: float, square: bool, size_hw: tuple[int, int]) -> tuple[float, float]:
    """Width and height in [0, 1] of one anchor: its area is the scale's square, its width ratio times its height."""
    root = math.sqrt(ratio)
    width = scale_px * root / size_hw[1]
    return width, width if square else scale_px / root / size_hw[0]
