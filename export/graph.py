"""The deployed module: the segmenter with BatchNorm folded away, deformable convolutions as single graph nodes, and
masks for those rows alone that are asked for."""

from copy import deepcopy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from model.backbone import Bottleneck
from model.deform_conv import DeformConv2d
from model.detect import DetectSettings
from model.segmenter import GraphOutputs, Segmenter
from model.yolact import Yolact


class DeformConvNode(DeformConv2d):
    """A deformable convolution that exports as one ONNX ``DeformConv`` node (opset 19 and later).

    In eager mode it computes what ``DeformConv2d`` does.
    """

    def convolve(self, image: Tensor, offsets_yx: Tensor, modulation: Tensor) -> Tensor:
        """The same arguments and answer; inside an export, a node instead of its arithmetic."""
        if not torch.onnx.is_in_onnx_export():
            return super().convolve(image, offsets_yx, modulation)
        return torch.onnx.ops.symbolic(
            "DeformConv",
            (image, self.weight, offsets_yx, self.bias, modulation),
            attrs={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [self.stride, self.stride]},
            dtype=image.dtype,
            shape=(image.shape[0], self.weight.shape[0], *offsets_yx.shape[2:]),
        )


class ThresholdedSegmenter(nn.Module):
    """A segmenter as it is written into a graph: with the score threshold as a second input.

    Rescoring is most of what masks cost, and a frame draws a few of the hundred rows. So rows at or below the threshold
    are left out before masks are made of them, and filled up with zeros behind.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor, score_threshold: Tensor) -> GraphOutputs:
        """uint8 RGB [B, H, W, 3], float32 [] -> the contract; a threshold below the settings' own changes nothing."""
        outputs = self.segmenter.infer(image)
        found = self.segmenter.suppress(outputs, score_threshold)
        rows = found.scores.shape[1]
        wanted = cast(int, (found.scores > 0).sum(dim=1).max().clamp(min=1).item())
        for fits in (wanted >= 1, wanted <= rows):  # the exporter, which does not know the number, is told its range
            torch._check(fits)  # type: ignore[no-untyped-call]
        num, *fields = self.segmenter.assemble(outputs, found.first(wanted))
        return GraphOutputs(num, *(_filled_up(field, rows) for field in fields))


def _filled_up(field: Tensor, rows: int) -> Tensor:
    """[B, n, ...] -> [B, rows, ...], zeros behind."""
    return F.pad(field, [0, 0] * (field.dim() - 2) + [0, rows - field.shape[1]])


def deployable(network: Yolact, settings: DetectSettings | None = None) -> Segmenter:
    """A copy of the network as the graph contract's module, in eval mode, with every BatchNorm folded.

    No tool folds BatchNorm behind a ``DeformConv`` node, so it is done here, in torch, for all of them.
    """
    network = deepcopy(network).eval()
    _fold_pair(network.backbone, "conv1", "bn1")
    for block in network.backbone.modules():
        if isinstance(block, Bottleneck):
            _fold_block(block)
    return Segmenter(network, settings).eval()


def _fold_block(block: Bottleneck) -> None:
    for number in (1, 2, 3):
        _fold_pair(block, f"conv{number}", f"bn{number}")
    if block.downsample is not None:
        block.downsample = nn.Sequential(_fold(block.downsample[0], block.downsample[1]))


def _fold_pair(module: nn.Module, convolution: str, norm: str) -> None:
    setattr(module, convolution, _fold(getattr(module, convolution), getattr(module, norm)))
    setattr(module, norm, nn.Identity())


def _fold(convolution: nn.Module, norm: nn.Module) -> nn.Module:
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if not isinstance(convolution, DeformConv2d):
        assert isinstance(convolution, nn.Conv2d)
        return fuse_conv_bn_eval(convolution, norm)
    folded = DeformConvNode(convolution.weight.shape[1], convolution.weight.shape[0], convolution.stride)
    folded.conv_offset_mask = convolution.conv_offset_mask
    folded.weight, folded.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return folded
