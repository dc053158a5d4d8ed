"""The deployed module: the segmenter with BatchNorm folded away, channels_last, in the precision that is asked for, its
deformable convolutions as the graph will hold them, its masks those of the rows alone that are asked for."""

from copy import deepcopy
from itertools import pairwise
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from export.lowering import LOWERINGS, Lowering
from model.deform_conv import DeformConv2d
from model.detect import DetectSettings
from model.outputs import YolactOutputs
from model.segmenter import GraphOutputs, Segmenter, to_levels
from model.yolact import Yolact, normalise

_STEP = float(np.nextafter(np.float32(1 / 255), np.float32(0)))
"""From one level of a mask to the next: the float below 1 / 255. With the one above, a half, which a sigmoid gives
wherever no prototype sees anything, would end below the cut that it reaches in torch."""


class ThresholdedSegmenter(nn.Module):
    """A segmenter as it is written into a graph: with the score threshold as a second input.

    Rescoring is most of what masks cost, and a frame draws a few of the hundred rows. So rows at or below the threshold
    are left out before masks are made of them, and filled up with zeros behind.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor, score_threshold: Tensor) -> GraphOutputs:
        """uint8 RGB [B, H, W, 3], float32 [] -> the contract; rows that score no more than the threshold are zero."""
        outputs = self.segmenter.infer(image)
        found = self.segmenter.suppress(outputs, score_threshold)
        rows = found.scores.shape[1]
        wanted = cast(int, (found.scores > 0).sum(dim=1).max().clamp(min=1).item())
        for fits in (wanted >= 1, wanted <= rows):  # the exporter, which does not know the number, is told its range
            torch._check(fits)  # type: ignore[no-untyped-call]
        num, *fields = self.segmenter.assemble(outputs, found.first(wanted), _levels)
        return GraphOutputs(num, *(_filled_up(field, rows) for field in fields))


def _levels(soft: Tensor) -> Tensor:
    """``model.segmenter.to_levels``; inside an export one node, which OpenVINO computes in a third of the time of
    three."""
    if not torch.onnx.is_in_onnx_export():
        return to_levels(soft)
    step, zero = torch.tensor(_STEP), torch.tensor(0, dtype=torch.uint8)
    return torch.onnx.ops.symbolic("QuantizeLinear", (soft, step, zero), dtype=torch.uint8, shape=soft.shape)


def _filled_up(field: Tensor, rows: int) -> Tensor:
    """[B, n, ...] -> [B, rows, ...], zeros behind."""
    return F.pad(field, [0, 0] * (field.dim() - 2) + [0, rows - field.shape[1]])


class LowPrecisionSegmenter(Segmenter):
    """A segmenter whose network, but for the rescoring of masks, has another type; it answers in float32 all the same.

    What follows the raw outputs stays float32: it costs little, and bfloat16 could not tell neighbouring pixels apart.
    """

    def infer(self, image: Tensor) -> YolactOutputs:
        """The first third: uint8 [B, H, W, 3] -> raw outputs, float32."""
        dtype = self.network.semantic_seg_conv.weight.dtype
        outputs = self.network(normalise(image, self.network.config).to(dtype))
        return YolactOutputs(*(tensor.float() for tensor in outputs))


def deployable(
    network: Yolact,
    settings: DetectSettings | None = None,
    dtype: torch.dtype = torch.float32,
    lowering: Lowering = "DeformConv",
) -> Segmenter:
    """A copy of the network as the graph contract's module, in eval mode, in the form that runs fastest in torch."""
    return deployed(deepcopy(network), settings, dtype, lowering)


def deployed(
    network: Yolact,
    settings: DetectSettings | None = None,
    dtype: torch.dtype = torch.float32,
    lowering: Lowering = "DeformConv",
) -> Segmenter:
    """``deployable`` of a network that nobody else needs: changed itself, it takes its memory only once.

    Every BatchNorm is folded (no tool folds it behind a ``DeformConv`` node, so it is done here, in torch, for all of
    them), the weights lie channels_last, and the network computes in ``dtype``; outputs are float32 whatever it is.
    ``lowering`` is how a graph will hold its deformable convolutions.
    """
    network = network.eval()
    for name in [name for name, _ in network.named_modules()]:  # a list of modules would keep those that are replaced
        _fold_norms(network.get_submodule(name), LOWERINGS[lowering])
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if dtype == torch.float32:
        return Segmenter(network, settings).eval()
    for part in network.children():
        if part is not network.maskiou_net:
            part.to(dtype)
    return LowPrecisionSegmenter(network, settings).eval()


def _fold_norms(module: nn.Module, lowered: type[DeformConv2d]) -> None:
    """Fold each BatchNorm among the module's children into the convolution that stands before it."""
    for (name, convolution), (norm_name, norm) in pairwise(list(module.named_children())):
        if isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, _fold(convolution, norm, lowered))
            setattr(module, norm_name, nn.Identity())


def _fold(convolution: nn.Module, norm: nn.BatchNorm2d, lowered: type[DeformConv2d]) -> nn.Module:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if not isinstance(convolution, DeformConv2d):
        assert isinstance(convolution, nn.Conv2d)
        return fuse_conv_bn_eval(convolution, norm)
    folded = lowered(convolution.weight.shape[1], convolution.weight.shape[0], convolution.stride, convolution.dilation)
    folded.conv_offset_mask = convolution.conv_offset_mask
    folded.weight, folded.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return folded
