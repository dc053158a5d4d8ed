"""Which anchor answers for which object (SSD, section 2.2; YOLACT's thresholds)."""

from typing import NamedTuple

import torch
from torch import Tensor

from model.boxes import area, box_iou, cxcywh_to_xyxy, encode_boxes, intersection

BACKGROUND = 0
NEUTRAL = -1


class Targets(NamedTuple):
    """The truth of one picture: n objects and its crowd regions, apart.

    boxes_xyxy [n, 4] in [0, 1]; classes int64 [n] from 0; masks [n, H, W] of 0 and 1; crowds_xyxy [m, 4].
    """

    boxes_xyxy: Tensor
    classes: Tensor
    masks: Tensor
    crowds_xyxy: Tensor


class Matches(NamedTuple):
    """For every anchor: the label int64 [N] (class + 1, background 0, neutral -1), the object's row int64 [N], and the
    box offsets [N, 4] that the network should answer (meaningful where the label is positive)."""

    labels: Tensor
    rows: Tensor
    offsets: Tensor


def match(
    anchors_cxcywh: Tensor, targets: Targets, positive_iou: float = 0.5, negative_iou: float = 0.4, crowd: float = 0.7
) -> Matches:
    """An anchor takes the object that it overlaps most, if by ``positive_iou``; each object takes its best anchor too.

    Between the thresholds an anchor is neutral, and so is a background anchor of which more than the share ``crowd``
    lies in a crowd region. A picture without objects is all background.
    """
    anchors_xyxy = cxcywh_to_xyxy(anchors_cxcywh)
    overlap, rows = _best_object(anchors_xyxy, targets.boxes_xyxy)
    labels = _labels(overlap, rows, targets.classes, positive_iou, negative_iou)
    if len(targets.crowds_xyxy):
        shared = intersection(anchors_xyxy, targets.crowds_xyxy) / area(anchors_xyxy)[:, None]
        labels[(labels <= BACKGROUND) & (shared.amax(dim=1) > crowd)] = NEUTRAL
    if not len(targets.boxes_xyxy):
        return Matches(labels, rows, torch.zeros_like(anchors_cxcywh))
    return Matches(labels, rows, encode_boxes(targets.boxes_xyxy[rows], anchors_cxcywh))


def _best_object(anchors_xyxy: Tensor, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Per anchor the best overlap and its object; an object's own best anchor has overlap 2."""
    count = len(anchors_xyxy)
    if not len(boxes_xyxy):
        return anchors_xyxy.new_zeros(count), torch.zeros(count, dtype=torch.int64, device=anchors_xyxy.device)
    overlaps = box_iou(boxes_xyxy, anchors_xyxy)
    best, rows = overlaps.max(dim=0)
    for _ in range(len(boxes_xyxy)):  # the best pair first, so that no two objects share an anchor
        of_object, anchor = overlaps.max(dim=1)
        row = of_object.argmax()
        best[anchor[row]], rows[anchor[row]] = 2.0, row
        overlaps[:, anchor[row]] = -1.0
        overlaps[row] = -1.0
    return best, rows


def _labels(overlap: Tensor, rows: Tensor, classes: Tensor, positive_iou: float, negative_iou: float) -> Tensor:
    if not len(classes):
        return torch.full_like(rows, BACKGROUND)
    labels = classes[rows] + 1
    labels[overlap < positive_iou] = NEUTRAL
    labels[overlap < negative_iou] = BACKGROUND
    return labels
