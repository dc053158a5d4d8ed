"""The whole network: composes the boxes of the paper's figure. Losses, decoding and masks live outside it."""

import torch
from torch import Tensor, nn

from model.backbone import make_backbone
from model.config import YolactConfig
from model.fpn import FPN
from model.heads import PredictionHead, make_protonet
from model.mask_iou import MaskIouNet
from model.outputs import YolactOutputs


class Yolact(nn.Module):
    """YOLACT (Bolya et al. 2019) and YOLACT++ (2020) in any configuration; state-dict names are the published ones.

    ``forward`` takes normalised RGB [B, 3, H, W]. ``maskiou_net`` and ``semantic_seg_conv`` are called from outside:
    on assembled masks, and on ``outputs.p3`` when training.
    """

    def __init__(self, config: YolactConfig) -> None:
        super().__init__()
        self.config = config
        channels, classes = config.fpn_channels, config.class_count
        self.backbone = make_backbone(config.backbone)
        self.proto_net = make_protonet(channels, config.proto_channels, config.prototypes)
        self.maskiou_net = MaskIouNet(config.rescoring_channels, classes) if config.rescoring_channels else None
        self.fpn = FPN(self.backbone.channels[-3:], channels)
        head = PredictionHead(channels, config.anchors.per_cell, classes, config.prototypes)
        self.prediction_layers = nn.ModuleList([head])
        self.semantic_seg_conv = nn.Conv2d(channels, classes, 1)
        self._initialise()

    def forward(self, image: Tensor) -> YolactOutputs:
        """Normalised RGB [B, 3, H, W] -> raw outputs, the same in training and inference."""
        pyramid = self.fpn(self.backbone(image)[-3:])
        head = self.prediction_layers[0]
        offsets, logits, coefficients = (
            torch.cat(levels, dim=1) for levels in zip(*(head(level) for level in pyramid), strict=True)
        )
        prototypes = self.proto_net(pyramid[0]).permute(0, 2, 3, 1)
        return YolactOutputs(offsets, logits, coefficients, prototypes, pyramid[0])

    def _initialise(self) -> None:
        """He for the backbone, which may have to learn from nothing; Xavier for what follows it."""
        for name, module in self.named_modules():
            if not isinstance(module, nn.Conv2d) or name.endswith("conv_offset_mask"):
                continue
            if name.startswith("backbone"):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def normalise(image: Tensor, config: YolactConfig) -> Tensor:
    """uint8 RGB [B, H, W, 3] -> float32 [B, 3, H, W] with the configuration's mean and deviation."""
    mean = torch.tensor(config.mean_rgb, device=image.device).view(3, 1, 1)
    std = torch.tensor(config.std_rgb, device=image.device).view(3, 1, 1)
    return (image.float().permute(0, 3, 1, 2) - mean) / std
