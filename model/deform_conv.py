"""Modulated deformable convolution, DCNv2 (Zhu et al. 2019, equation 1), in plain PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TAPS = 9


def deform_conv2d(
    image: Tensor,
    offsets_yx: Tensor,
    modulation: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: int,
    dilation: int = 1,
) -> Tensor:
    """3x3 convolution, padded by ``dilation``, whose taps each look at a learned place, bilinearly; zero off the map.

    ``image`` [B, C, H, W]; ``offsets_yx`` [B, 18, Ho, Wo], (dy, dx) of the taps in row-major order, in pixels;
    ``modulation`` [B, 9, Ho, Wo] in [0, 1]; ``weight`` [O, C, 3, 3]; returns [B, O, Ho, Wo] in the image's memory
    format; channels_last, for image and weight, copies neither. Places are computed in float32 whatever the type of the
    map, since a half-precision place is wrong by more than its weight is worth.
    """
    batch, channels, height, width = image.shape
    out_height, out_width = offsets_yx.shape[2:]
    y, x = sampling_places(offsets_yx.float(), stride, dilation)
    pixels, shares = _four_nearest(y, x, (height, width))
    shares = shares * modulation.permute(0, 2, 3, 1)[..., None]
    # A sample is the sum of four pixels, each times its share. As a bag of four rows of a table of pixels it costs
    # little more than reading them, has the modulation for free, and lies as one matrix product wants it.
    table = image.permute(0, 2, 3, 1).reshape(-1, channels)
    sampled = F.embedding_bag(
        pixels.reshape(-1, 4), table, mode="sum", per_sample_weights=shares.reshape(-1, 4).to(table.dtype)
    )
    answer = F.linear(sampled.view(-1, _TAPS * channels), weight.permute(0, 2, 3, 1).flatten(1), bias)
    answer = answer.view(batch, out_height, out_width, -1).permute(0, 3, 1, 2)
    return answer if image.is_contiguous(memory_format=torch.channels_last) else answer.contiguous()


def sampling_places(offsets_yx: Tensor, stride: int, dilation: int) -> tuple[Tensor, Tensor]:
    """Where each tap looks, as y and x in pixels of the input map, each [B, Ho, Wo, 9]."""
    out_height, out_width = offsets_yx.shape[2:]
    taps, rows, columns = (torch.arange(count, device=offsets_yx.device) for count in (_TAPS, out_height, out_width))
    y = rows[:, None, None] * stride + (taps // 3 - 1) * dilation
    x = columns[None, :, None] * stride + (taps % 3 - 1) * dilation
    offsets = offsets_yx.permute(0, 2, 3, 1).contiguous()  # and with it all that is computed of them
    return offsets[..., 0::2] + y, offsets[..., 1::2] + x


def _four_nearest(y: Tensor, x: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The pixels around each place [B, ...], counted through the maps of the batch, and their shares, [B, ..., 4]."""
    height, width = size_hw
    rows, row_shares = _two_nearest(y, height)
    columns, column_shares = _two_nearest(x, width)
    maps = torch.arange(len(y), device=y.device).view(-1, *[1] * y.dim())
    pixels = (maps * height + rows)[..., :, None] * width + columns[..., None, :]
    return pixels.flatten(-2), (row_shares[..., :, None] * column_shares[..., None, :]).flatten(-2)


def _two_nearest(places: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """On one axis, the pixels before and behind each place and their shares, each [..., 2].

    Off the map a share is 0, and the pixel any on the map.
    """
    first = places.floor()
    far = places - first
    pixels = first.long()[..., None] + torch.arange(2, device=places.device)
    held = pixels.clamp(0, size - 1)
    return held, torch.stack((1 - far, far), dim=-1) * (pixels == held)


class DeformConv2d(nn.Module):
    """A 3x3 DCNv2 layer whose offsets and modulation come from a like convolution that starts at zero.

    [B, C, H, W] -> [B, O, ceil(H / stride), ceil(W / stride)]. A fresh layer answers half of a plain convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.conv_offset_mask = nn.Conv2d(in_channels, 3 * _TAPS, 3, stride=stride, padding=dilation, dilation=dilation)
        nn.init.zeros_(self.conv_offset_mask.weight)
        nn.init.zeros_(self.conv_offset_mask.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """The first 18 channels of the offset layer are (dy, dx) per tap, the last 9 the modulation's logits."""
        guide = self.conv_offset_mask(image)
        offsets_yx, modulation = guide[:, : 2 * _TAPS], torch.sigmoid(guide[:, 2 * _TAPS :])
        return self.convolve(image, offsets_yx, modulation)

    def convolve(self, image: Tensor, offsets_yx: Tensor, modulation: Tensor) -> Tensor:
        """``deform_conv2d`` with the layer's own weights: what a deployment may compute in another way."""
        return deform_conv2d(image, offsets_yx, modulation, self.weight, self.bias, self.stride, self.dilation)
