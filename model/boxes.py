"""Boxes: forms, overlaps, and SSD's coding against anchors (Liu et al. 2016, section 2.2)."""

import torch
from torch import Tensor

CENTRE_VARIANCE = 0.1
_LARGEST = 10.0
"""The logarithm of a box's side against its anchor's beyond which it only overflows: e to the tenth is 22,026."""

SIZE_VARIANCE = 0.2


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """[..., 4] as (centre x, centre y, width, height) -> [..., 4] as (x1, y1, x2, y2), in the same unit."""
    centre, size = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:]
    corner = centre - size / 2
    return torch.cat((corner, corner + size), dim=-1)


def box_iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Intersection over union of every pair: [..., n, 4] and [..., m, 4] -> [..., n, m]; 0 for empty boxes."""
    shared = intersection(boxes_xyxy, others_xyxy)
    union = area(boxes_xyxy)[..., :, None] + area(others_xyxy)[..., None, :] - shared
    return shared / union.clamp(min=1e-12)


def intersection(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Shared area of every pair: [..., n, 4] and [..., m, 4] -> [..., n, m].

    Side by side and not corner by corner: an innermost dimension of two costs a CPU several times as much.
    """
    x1, y1, x2, y2 = boxes_xyxy[..., :, None, :].unbind(dim=-1)
    u1, v1, u2, v2 = others_xyxy[..., None, :, :].unbind(dim=-1)
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)
    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)
    return width * height


def area(boxes_xyxy: Tensor) -> Tensor:
    """[..., 4] -> [...]."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(dim=-1)


def encode_boxes(boxes_xyxy: Tensor, anchors_cxcywh: Tensor) -> Tensor:
    """What the network must answer at these anchors for these boxes: both [..., 4] -> [..., 4]."""
    centre = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2
    size = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    shift = (centre - anchors_cxcywh[..., :2]) / (CENTRE_VARIANCE * anchors_cxcywh[..., 2:])
    return torch.cat((shift, torch.log(size / anchors_cxcywh[..., 2:]) / SIZE_VARIANCE), dim=-1)


def decode_boxes(offsets: Tensor, anchors_cxcywh: Tensor) -> Tensor:
    """The inverse of ``encode_boxes``: both [..., 4] -> boxes_xyxy [..., 4], in the anchors' unit."""
    centre = anchors_cxcywh[..., :2] + offsets[..., :2] * CENTRE_VARIANCE * anchors_cxcywh[..., 2:]
    size = anchors_cxcywh[..., 2:] * torch.exp((offsets[..., 2:] * SIZE_VARIANCE).clamp(max=_LARGEST))
    return cxcywh_to_xyxy(torch.cat((centre, size), dim=-1))
