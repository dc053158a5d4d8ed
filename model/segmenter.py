"""The network with everything that follows it, from uint8 pictures to the arrays of the graph contract.

Evaluation in training runs this module; export writes this module into the graph: so that both answer the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from model.anchors import level_sizes, make_anchors
from model.detect import DetectSettings, RankedDetections, detect
from model.masks import assemble_masks
from model.outputs import YolactOutputs
from model.yolact import Yolact, normalise
from scene.image import RgbImage, network_input
from scene.instances import Detections

_OFF_THE_MAP = -1.0
"""Where a row that holds nothing has its box while masks are cropped, so that no pixel is left of its own."""


class GraphOutputs(NamedTuple):
    """The graph contract for a batch of B with K rows each; rows from ``num`` on are zero.

    num int32 [B]; boxes float32 [B, K, 4], xyxy in [0, 1]; scores float32 [B, K], falling; mask_scores float32 [B, K];
    classes int32 [B, K] from 0; masks uint8 [B, K, h, w], 255 x probability.
    """

    num: Tensor
    boxes: Tensor
    scores: Tensor
    mask_scores: Tensor
    classes: Tensor
    masks: Tensor


def to_levels(soft: Tensor) -> Tensor:
    """[...] in [0, 1] -> uint8 [...], 255 x probability, rounded."""
    return torch.round(soft * 255).to(torch.uint8)


class Segmenter(nn.Module):
    """uint8 RGB [B, H, W, 3] of the network's size -> ``GraphOutputs``; no step of it leaves the device."""

    def __init__(self, network: Yolact, settings: DetectSettings | None = None) -> None:
        super().__init__()
        self.network = network
        self.settings = settings or DetectSettings()
        self.anchors: Tensor
        self.register_buffer("anchors", make_anchors(network.config), persistent=False)

    @property
    def mask_size_hw(self) -> tuple[int, int]:
        """The (height, width) of its masks: the protonet doubles the pyramid's finest level, once or more often."""
        config = self.network.config
        height, width = level_sizes(config.size_hw, levels=1)[0]
        finer = 2 ** (len(config.proto_channels) - 1)
        return finer * height, finer * width

    def forward(self, image: Tensor) -> GraphOutputs:
        """Normalise, run the network, suppress, assemble and rescore masks."""
        outputs = self.infer(image)
        return self.assemble(outputs, self.suppress(outputs))

    def infer(self, image: Tensor) -> YolactOutputs:
        """The first third: uint8 [B, H, W, 3] normalised and through the network."""
        outputs: YolactOutputs = self.network(normalise(image, self.network.config))
        return outputs

    def suppress(self, outputs: YolactOutputs, score_threshold: Tensor | None = None) -> RankedDetections:
        """The second third: decoding and NMS; rows that score no more than ``score_threshold`` [] are left out."""
        config = self.network.config
        return detect(outputs, self.anchors, self.settings, config.size_hw, score_threshold, config.scoring)

    def assemble(
        self, outputs: YolactOutputs, found: RankedDetections, levels: Callable[[Tensor], Tensor] | None = None
    ) -> GraphOutputs:
        """The last third: masks, their rescoring, and zeros in the rows that hold nothing; as many rows as found.

        ``levels`` may compute ``to_levels`` in another way.
        """
        present = found.scores > 0
        somewhere = torch.where(present[..., None], found.boxes_xyxy, _OFF_THE_MAP)
        soft = assemble_masks(outputs.prototypes, found.mask_coefficients, somewhere)
        return GraphOutputs(
            num=present.sum(dim=1).to(torch.int32),
            boxes=torch.where(present[..., None], found.boxes_xyxy.clamp(0, 1), 0.0),
            scores=found.scores,
            mask_scores=self._rescore(soft, found),
            classes=(found.classes * present).to(torch.int32),
            masks=(levels or to_levels)(soft),
        )

    def _rescore(self, soft: Tensor, found: RankedDetections) -> Tensor:
        """Class score times predicted mask IoU (YOLACT++, section 6.1), or the class score alone."""
        if self.network.maskiou_net is None:
            return found.scores
        ious: Tensor = self.network.maskiou_net(soft.flatten(0, 1)[:, None]).view(*found.scores.shape, -1)
        return found.scores * ious.gather(2, found.classes[..., None]).squeeze(2)


class TorchPredictor:
    """A torch ``Segmenter`` as the callable that evaluation takes: frames of any size in, detections out."""

    def __init__(self, segmenter: Segmenter, device: torch.device | str = "cpu") -> None:
        self.segmenter = segmenter.to(device).eval()
        self.device = torch.device(device)

    def __call__(self, frames: list[RgbImage]) -> list[Detections]:
        """RGB frames uint8 [H, W, 3] -> their detections, boxes in [0, 1] of each frame."""
        size_hw = self.segmenter.network.config.size_hw
        batch = torch.from_numpy(np.stack([network_input(frame, size_hw) for frame in frames]))
        with torch.inference_mode():
            outputs = self.segmenter(batch.to(self.device))
        num, *rows = (tensor.cpu().numpy() for tensor in outputs)
        return [Detections(*(row[index, :count] for row in rows)) for index, count in enumerate(num)]
