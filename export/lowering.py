"""Two ways to write a deformable convolution into a graph; each answers in torch as it does in the graph.

ONNX's own ``DeformConv`` (opset 19 and later) for ONNX Runtime, full TensorRT from 10.1 and, through an extension of
``serve.engines``, OpenVINO; and ``GridSample`` with one plain convolution for what has no such operator: TensorRT-RTX.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from model.deform_conv import DeformConv2d, sampling_places

Lowering = Literal["DeformConv", "GridSample"]


class DeformConvNode(DeformConv2d):
    """A deformable convolution that exports as one ``DeformConv`` node, in float32 whatever the network's type.

    The operator has one type for all its inputs, places included, and a place in half precision is wrong by up to a
    thirtieth of a pixel at the far end of a map. In torch it computes in the network's type, places in float32.
    """

    def convolve(self, image: Tensor, offsets_yx: Tensor, modulation: Tensor) -> Tensor:
        """The same arguments and answer; inside an export, a node instead of its arithmetic."""
        if not torch.onnx.is_in_onnx_export():
            return super().convolve(image, offsets_yx, modulation)
        answer = torch.onnx.ops.symbolic(
            "DeformConv",
            tuple(tensor.float() for tensor in (image, self.weight, offsets_yx, self.bias, modulation)),
            attrs={
                "kernel_shape": [3, 3],
                "strides": [self.stride] * 2,
                "dilations": [self.dilation] * 2,
                "pads": [self.dilation] * 4,
            },
            dtype=torch.float32,
            shape=(image.shape[0], self.weight.shape[0], *offsets_yx.shape[2:]),
        )
        return answer.to(image.dtype)


class GridSampledConv(DeformConv2d):
    """A deformable convolution as one ``GridSample`` over the places of all nine taps, side by side, and a 1x9
    convolution over them with a stride of nine. The grid is float32 in every precision.

    Coordinates count from the map's edges (``align_corners=False``): from its outer pixels' centres, a map of one
    column would divide by zero.
    """

    def convolve(self, image: Tensor, offsets_yx: Tensor, modulation: Tensor) -> Tensor:
        """The same arguments and answer."""
        height, width = image.shape[2:]
        y, x = sampling_places(offsets_yx.float(), self.stride, self.dilation)
        grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1).flatten(2, 3)
        taps_last = modulation.permute(0, 2, 3, 1).flatten(2)[:, None]
        return F.conv2d(_sampled(image, grid) * taps_last, self.weight.flatten(2)[:, :, None], self.bias, stride=(1, 9))


def _sampled(image: Tensor, grid_xy: Tensor) -> Tensor:
    """[B, C, H, W] at float32 [B, h, w, 2] in [-1, 1], zero off the map -> [B, C, h, w] in the image's type.

    Sampled in float32: ONNX allows a map and a grid of different types, torch and TensorRT do not.
    """
    sampled = F.grid_sample(image.float(), grid_xy, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.to(image.dtype)


LOWERINGS: dict[Lowering, type[DeformConv2d]] = {"DeformConv": DeformConvNode, "GridSample": GridSampledConv}
