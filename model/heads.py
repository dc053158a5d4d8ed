"""The prediction head that all levels share, and the protonet (YOLACT, sections 3.1 and 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PredictionHead(nn.Module):
    """Boxes, classes and mask coefficients for every anchor of a level."""

    def __init__(self, channels: int, anchors: int, classes: int, prototypes: int) -> None:
        super().__init__()
        self.widths = (4, classes + 1, prototypes)
        self.upfeature = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
        self.bbox_layer = nn.Conv2d(channels, anchors * 4, 3, padding=1)
        self.conf_layer = nn.Conv2d(channels, anchors * (classes + 1), 3, padding=1)
        self.mask_layer = nn.Conv2d(channels, anchors * prototypes, 3, padding=1)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, F, h, w] -> offsets [B, n, 4], logits [B, n, C + 1], coefficients [B, n, k]; n: row, column, anchor."""
        x = self.upfeature(feature)
        layers = (self.bbox_layer, self.conf_layer, self.mask_layer)
        offsets, logits, coefficients = (
            layer(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, width)
            for layer, width in zip(layers, self.widths, strict=True)
        )
        return offsets, logits, torch.tanh(coefficients)


class _Upsample(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def make_protonet(in_channels: int, channels: tuple[tuple[int, ...], ...], prototypes: int) -> nn.Sequential:
    """[B, F, h, w] -> [B, k, s h, s w]: groups of 3x3 convolutions, a bilinear upsampling by two between one group and
    the next (s is 2 for two groups, as published), and a 1x1.

    Each step is followed by a ReLU, the last one too: prototypes are not negative (YOLACT, section 3.1).
    """
    steps: list[nn.Module] = []
    for number, widths in enumerate(channels):
        steps += [_Upsample(), nn.ReLU()] if number else []
        for width in widths:
            steps += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU()]
            in_channels = width
    return nn.Sequential(*steps, nn.Conv2d(in_channels, prototypes, 1), nn.ReLU())
