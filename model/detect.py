"""From raw outputs to ranked detections: decoding and Fast NMS (YOLACT, section 3.4), all of it tensor operations."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.boxes import box_iou, decode_boxes
from model.outputs import YolactOutputs


@dataclass(frozen=True)
class DetectSettings:
    """``candidates`` per class enter Fast NMS; of what survives, the best ``max_detections`` over all classes stay."""

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    candidates: int = 200
    max_detections: int = 100


class RankedDetections(NamedTuple):
    """A batch's detections by falling score; rows that are none have score 0.

    boxes_xyxy [B, K, 4] in [0, 1]; scores [B, K]; classes int64 [B, K] from 0; mask_coefficients [B, K, k].
    """

    boxes_xyxy: Tensor
    scores: Tensor
    classes: Tensor
    mask_coefficients: Tensor

    def first(self, count: int) -> "RankedDetections":
        """The ``count`` best rows of each picture."""
        return RankedDetections(*(rows[:, :count] for rows in self))


def detect(
    outputs: YolactOutputs, anchors_cxcywh: Tensor, settings: DetectSettings, score_threshold: Tensor | None = None
) -> RankedDetections:
    """Decode, suppress per class, rank; shapes do not depend on the values, so that it exports as it stands.

    ``score_threshold`` [] raises the settings' own. It takes rows away and changes none: Fast NMS lets only better
    boxes suppress.
    """
    threshold: float | Tensor = settings.score_threshold
    if score_threshold is not None:
        threshold = score_threshold.clamp(min=settings.score_threshold)
    boxes_xyxy = decode_boxes(outputs.box_offsets, anchors_cxcywh)
    scores = torch.softmax(outputs.class_logits, dim=-1)[..., 1:].transpose(1, 2)
    scores = torch.where(scores > threshold, scores, 0.0)
    scores, anchor_rows, boxes = _top_candidates(scores, boxes_xyxy, settings.candidates)
    scores = scores * fast_nms_keep(boxes, settings.iou_threshold).to(scores.dtype)
    return _rank(scores, anchor_rows, boxes, outputs.mask_coefficients, settings.max_detections)


def fast_nms_keep(boxes_xyxy: Tensor, iou_threshold: float) -> Tensor:
    """Which of [..., n, 4], sorted by falling score, overlap no better one by more than the threshold: bool [..., n].

    Fast NMS lets a box that is itself suppressed suppress others, which makes it one matrix operation.
    """
    overlaps = box_iou(boxes_xyxy, boxes_xyxy).triu(diagonal=1)
    return overlaps.amax(dim=-2) <= iou_threshold


def _top_candidates(scores: Tensor, boxes_xyxy: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per class the best anchors: scores and rows [B, C, n], boxes [B, C, n, 4]."""
    count = min(count, scores.shape[-1])
    scores, rows = scores.topk(count, dim=-1)
    return scores, rows, _take(boxes_xyxy, rows.flatten(1)).view(*rows.shape, 4)


def _rank(scores: Tensor, rows: Tensor, boxes: Tensor, coefficients: Tensor, count: int) -> RankedDetections:
    """Merge the classes [B, C, n] and keep the best ``count``."""
    per_class = scores.shape[-1]
    scores, places = scores.flatten(1).topk(min(count, scores[0].numel()), dim=-1)
    anchor_rows = rows.flatten(1).gather(1, places)
    return RankedDetections(
        boxes_xyxy=_take(boxes.flatten(1, 2), places),
        scores=scores,
        classes=torch.div(places, per_class, rounding_mode="floor"),
        mask_coefficients=_take(coefficients, anchor_rows),
    )


def _take(values: Tensor, rows: Tensor) -> Tensor:
    """``values`` [B, N, d] at ``rows`` [B, m] -> [B, m, d]."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[-1]))
