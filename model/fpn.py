"""The feature pyramid (Lin et al. 2017) as YOLACT builds it: P3 to P5 from C3 to C5, P6 and P7 strided from P5."""

import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """``lat_layers`` and ``pred_layers`` are stored from C5 down to C3, as published weights name them."""

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        deepest_first = in_channels[::-1]
        self.lat_layers = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in deepest_first)
        self.pred_layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in deepest_first)
        self.downsample_layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(2))

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(C3, C4, C5) -> (P3, P4, P5, P6, P7), all of the same width."""
        pyramid: list[Tensor] = []
        top_down: Tensor | None = None
        for lateral, predict, feature in zip(self.lat_layers, self.pred_layers, maps[::-1], strict=True):
            merged = lateral(feature)
            if top_down is not None:
                merged = merged + F.interpolate(top_down, size=merged.shape[2:], mode="bilinear", align_corners=False)
            top_down = merged
            pyramid.insert(0, F.relu(predict(merged)))
        for downsample in self.downsample_layers:
            pyramid.append(downsample(pyramid[-1]))
        return tuple(pyramid)
