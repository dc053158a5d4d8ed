"""Modulated deformable convolution, DCNv2 (Zhu et al. 2019, equation 1), in plain PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TAPS = 9


def deform_conv2d(
    image: Tensor, offsets_yx: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor, stride: int
) -> Tensor:
    """3x3 convolution with padding 1 that samples each tap at its own learned place, bilinearly; zero outside the map.

    ``image`` [B, C, H, W]; ``offsets_yx`` [B, 18, Ho, Wo], (dy, dx) of the taps in row-major order, in pixels;
    ``modulation`` [B, 9, Ho, Wo] in [0, 1]; ``weight`` [O, C, 3, 3]; returns [B, O, Ho, Wo]. Places are computed in
    float32 whatever the type of the map, since a half-precision place is wrong by more than its weight is worth.
    """
    batch, channels, height, width = image.shape
    out_height, out_width = offsets_yx.shape[2:]
    y, x = _sampling_places(offsets_yx.float(), stride)
    # align_corners=False puts pixel centres at (i + 1/2) * 2 / size - 1, which holds for a map of width 1 as well.
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    grid = grid.reshape(batch, _TAPS * out_height, out_width, 2)
    sampled = F.grid_sample(image.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    sampled = sampled.view(batch, channels, _TAPS, out_height, out_width).to(image.dtype) * modulation[:, None]
    columns = sampled.reshape(batch, channels * _TAPS, out_height * out_width)
    return (weight.flatten(1) @ columns + bias[:, None]).view(batch, -1, out_height, out_width)


def _sampling_places(offsets_yx: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Where each tap looks, as y and x in pixels of the input map, each [B, 9, Ho, Wo]."""
    out_height, out_width = offsets_yx.shape[2:]
    taps = torch.arange(_TAPS, device=offsets_yx.device)
    rows = torch.arange(out_height, device=offsets_yx.device) * stride - 1
    columns = torch.arange(out_width, device=offsets_yx.device) * stride - 1
    y = rows[None, :, None] + (taps // 3)[:, None, None] + offsets_yx[:, 0::2]
    x = columns[None, None, :] + (taps % 3)[:, None, None] + offsets_yx[:, 1::2]
    return y, x


class DeformConv2d(nn.Module):
    """A 3x3 DCNv2 layer whose offsets and modulation come from a convolution that starts at zero.

    [B, C, H, W] -> [B, O, ceil(H / stride), ceil(W / stride)]. A fresh layer answers half of a plain convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.conv_offset_mask = nn.Conv2d(in_channels, 3 * _TAPS, 3, stride=stride, padding=1)
        nn.init.zeros_(self.conv_offset_mask.weight)
        nn.init.zeros_(self.conv_offset_mask.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """The first 18 channels of the offset layer are (dy, dx) per tap, the last 9 the modulation's logits."""
        guide = self.conv_offset_mask(image)
        offsets_yx, modulation = guide[:, : 2 * _TAPS], torch.sigmoid(guide[:, 2 * _TAPS :])
        return self.convolve(image, offsets_yx, modulation)

    def convolve(self, image: Tensor, offsets_yx: Tensor, modulation: Tensor) -> Tensor:
        """``deform_conv2d`` with the layer's own weights: what a deployment may compute in another way."""
        return deform_conv2d(image, offsets_yx, modulation, self.weight, self.bias, self.stride)
