"""From raw outputs to ranked detections: decoding and non-maximum suppression (YOLACT, section 3.4) in its three kinds.

All follow the published code, whose weights' figures depend on them, to the last row.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.boxes import box_iou, decode_boxes
from model.config import Scoring
from model.outputs import YolactOutputs
from model.scoring import class_probabilities

NmsKind = Literal["fast", "cross-class", "traditional"]

_POOL = 4096
"""So many of a picture's best scores are sorted together, before each class is looked at on its own."""

_HANDFULS = (256, 512, 1024)
"""Of these, so many are held against each other, one number after the other, until enough survive."""


@dataclass(frozen=True)
class DetectSettings:
    """Which anchors are detections.

    An anchor is looked at if its best class scores more than ``score_threshold``; with ``fast`` its other classes come
    with it, as published, with ``traditional`` each must pass itself. ``candidates`` enter suppression: per class with
    ``fast``, of all together with ``cross-class``; ``traditional`` takes all. Of what survives, the best
    ``max_detections`` over all classes stay; ``cross-class`` keeps all.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    candidates: int = 200
    max_detections: int = 100
    nms: NmsKind = "fast"

    @property
    def rows(self) -> int:
        """The most detections that a picture can have."""
        return self.candidates if self.nms == "cross-class" else self.max_detections


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


class _Boxes(NamedTuple):
    """Boxes that are decoded where they are looked at: offsets [..., N, 4] against anchors [N, 4]."""

    offsets: Tensor
    anchors_cxcywh: Tensor

    def at(self, rows: Tensor) -> Tensor:
        """boxes_xyxy [..., m, 4] in [0, 1] at rows [..., m]."""
        return decode_boxes(_take(self.offsets, rows), self.anchors_cxcywh[rows])

    def of(self, picture: int) -> "_Boxes":
        """Those of one picture of the batch."""
        return _Boxes(self.offsets[picture], self.anchors_cxcywh)


class _Chosen(NamedTuple):
    """The rows that survive, by falling score: scores, anchors, classes, each [B, K]; score 0 where there is none."""

    scores: Tensor
    anchors: Tensor
    classes: Tensor


def detect(
    outputs: YolactOutputs,
    anchors_cxcywh: Tensor,
    settings: DetectSettings,
    size_hw: tuple[int, int],
    score_threshold: Tensor | None = None,
    scoring: Scoring = "softmax",
) -> RankedDetections:
    """Decode, suppress, rank. ``size_hw``: the input's (height, width) in pixels, which traditional NMS counts in;
    ``scoring``: how the network's class logits are read.

    There are ``settings.rows`` rows whatever the values, and ``torch.export`` takes it as it stands, but not
    traditional NMS.
    ``score_threshold`` [] takes away the rows that score no more, and changes none of the others.
    """
    boxes = _Boxes(outputs.box_offsets, anchors_cxcywh)
    probabilities = class_probabilities(outputs.class_logits, scoring)
    if settings.nms == "fast":
        chosen = _fast_nms(probabilities, boxes, settings)
    elif settings.nms == "cross-class":
        chosen = _cross_class_nms(probabilities, boxes, settings)
    else:
        chosen = _traditional_nms(probabilities, decode_boxes(*boxes), settings, size_hw)
    missing = settings.rows - chosen.scores.shape[1]
    chosen = _Chosen(*(F.pad(rows, (0, missing)) for rows in chosen)) if missing else chosen
    scores = chosen.scores
    if score_threshold is not None:
        scores = torch.where(scores > score_threshold, scores, 0.0)
    return RankedDetections(
        boxes_xyxy=boxes.at(chosen.anchors),
        scores=scores,
        classes=chosen.classes,
        mask_coefficients=_take(outputs.mask_coefficients, chosen.anchors),
    )


def fast_nms_keep(boxes_xyxy: Tensor, iou_threshold: float, groups: Tensor | None = None) -> Tensor:
    """Which of [..., n, 4], sorted by falling score, overlap no better one by more than the threshold: bool [..., n].

    Fast NMS lets a box that is itself suppressed suppress others, which makes it one matrix operation. ``groups``
    [..., n]: boxes of different ones do not suppress each other.
    """
    overlaps = box_iou(boxes_xyxy, boxes_xyxy).triu(diagonal=1)
    if groups is not None:
        overlaps = torch.where(groups[..., :, None] == groups[..., None, :], overlaps, 0.0)
    return overlaps.amax(dim=-2) <= iou_threshold


def _fast_nms(probabilities: Tensor, boxes: _Boxes, settings: DetectSettings) -> _Chosen:
    """Fast NMS within each class; probabilities [B, N, C] and boxes [B, N, 4]."""
    if probabilities.device.type == "cpu" and not torch.compiler.is_compiling():  # a GPU would wait for the pool's size
        pooled = [_pooled_fast_nms(each, boxes.of(index), settings) for index, each in enumerate(probabilities)]
        found = [chosen for chosen in pooled if chosen is not None]
        if len(found) == len(pooled):
            return _batched(found)
    return _classwise_fast_nms(probabilities, boxes, settings)


def _classwise_fast_nms(probabilities: Tensor, boxes: _Boxes, settings: DetectSettings) -> _Chosen:
    """Every class on its own, whatever its scores: the same operations for any picture."""
    seen = probabilities.amax(dim=-1, keepdim=True) > settings.score_threshold
    scores = torch.where(seen, probabilities, 0.0).transpose(1, 2)
    scores, rows = scores.topk(min(settings.candidates, scores.shape[-1]), dim=-1)
    candidates = boxes.at(rows.flatten(1)).view(*rows.shape, 4)
    scores = scores * fast_nms_keep(candidates, settings.iou_threshold).to(scores.dtype)
    per_class = scores.shape[-1]
    scores, places = scores.flatten(1).topk(min(settings.max_detections, scores[0].numel()), dim=-1)
    classes = torch.div(places, per_class, rounding_mode="floor")
    return _Chosen(scores, rows.flatten(1).gather(1, places), classes)


def _pooled_fast_nms(probabilities: Tensor, boxes: _Boxes, settings: DetectSettings) -> _Chosen | None:
    """One picture's [N, C] and [N, 4]: the same answer from its best scores alone, or None where they do not suffice.

    Only better boxes suppress, so whatever lies below a handful changes nothing in it; once ``max_detections`` of it
    survive, nothing below is needed.
    """
    best, class_count = probabilities.amax(dim=-1), probabilities.shape[1]
    seen = int((best > settings.score_threshold).sum())
    pool = _pool(probabilities, best.topk(min(seen, _POOL)).indices, settings.candidates)
    for size in _HANDFULS:
        handful = _Chosen(*(rows[:size] for rows in pool))
        kept = _survivors(handful, boxes, settings)
        is_all = len(handful.scores) == len(pool.scores) and seen * class_count <= _POOL
        if len(kept.scores) == settings.max_detections or is_all:
            return _filled_up(kept, settings.max_detections)
    return None


def _pool(probabilities: Tensor, anchors: Tensor, candidates: int) -> _Chosen:
    """The best pairs of these anchors and their classes, no class with more than its candidates.

    The best pairs of all anchors are among those of the anchors whose best class is best.
    """
    class_count = probabilities.shape[1]
    scores, places = probabilities[anchors].flatten().topk(min(_POOL, len(anchors) * class_count))
    classes = places % class_count
    rank = F.one_hot(classes, class_count).cumsum(0).gather(1, classes[:, None])[:, 0]
    anchors = anchors[torch.div(places, class_count, rounding_mode="floor")]
    return _Chosen(*(rows[rank <= candidates] for rows in (scores, anchors, classes)))


def _survivors(chosen: _Chosen, boxes: _Boxes, settings: DetectSettings) -> _Chosen:
    if not len(chosen.scores):
        return chosen
    keep = fast_nms_keep(boxes.at(chosen.anchors), settings.iou_threshold, chosen.classes)
    return _Chosen(*(rows[keep][: settings.max_detections] for rows in chosen))


def _cross_class_nms(probabilities: Tensor, boxes: _Boxes, settings: DetectSettings) -> _Chosen:
    """Fast NMS over all classes at once: each anchor counts for its best class alone."""
    scores, classes = probabilities.max(dim=-1)
    scores = torch.where(scores > settings.score_threshold, scores, 0.0)
    scores, rows = scores.topk(min(settings.candidates, scores.shape[-1]), dim=-1)
    scores = scores * fast_nms_keep(boxes.at(rows), settings.iou_threshold).to(scores.dtype)
    scores, order = scores.topk(scores.shape[-1], dim=-1)
    rows = rows.gather(1, order)
    return _Chosen(scores, rows, classes.gather(1, rows))


def _traditional_nms(
    probabilities: Tensor, boxes_xyxy: Tensor, settings: DetectSettings, size_hw: tuple[int, int]
) -> _Chosen:
    """Greedy NMS per class: a box that is suppressed suppresses none. Every class score must pass the threshold."""
    height, width = size_hw
    boxes_px = boxes_xyxy * boxes_xyxy.new_tensor([width, height, width, height])
    found = []
    for scores, boxes in zip(probabilities, boxes_px, strict=True):
        parts = [
            _Chosen(scores[rows, index], rows, torch.full_like(rows, index))
            for index in range(scores.shape[1])
            for rows in [_greedy_nms(scores[:, index], boxes, settings)]
        ]
        together = _Chosen(*(torch.cat(rows) for rows in zip(*parts, strict=True)))
        order = together.scores.argsort(descending=True, stable=True)[: settings.max_detections]
        found.append(_filled_up(_Chosen(*(rows[order] for rows in together)), settings.max_detections))
    return _batched(found)


def _greedy_nms(scores: Tensor, boxes_px: Tensor, settings: DetectSettings) -> Tensor:
    """The rows [n] of one class's scores [N] that stay, best first; boxes [N, 4] in pixels, whose last one they hold.

    So an area is (width + 1) x (height + 1), and an overlap of just the threshold is too much.
    """
    rows = (scores > settings.score_threshold).nonzero()[:, 0]
    rows = rows[scores[rows].argsort(descending=True, stable=True)]
    boxes = boxes_px[rows] + boxes_px.new_tensor([0, 0, 1, 1])
    kept: list[Tensor] = []
    while len(rows):
        kept.append(rows[0])
        apart = box_iou(boxes[:1], boxes[1:])[0] < settings.iou_threshold
        rows, boxes = rows[1:][apart], boxes[1:][apart]
    return torch.stack(kept) if kept else rows


def _batched(pictures: list[_Chosen]) -> _Chosen:
    """Rows [K] of each picture -> [B, K]."""
    return _Chosen(*(torch.stack(rows) for rows in zip(*pictures, strict=True)))


def _filled_up(chosen: _Chosen, count: int) -> _Chosen:
    """One picture's rows [n] with rows of score 0 behind: [count]."""
    return _Chosen(*(F.pad(rows, (0, count - len(rows))) for rows in chosen))


def _take(values: Tensor, rows: Tensor) -> Tensor:
    """``values`` [..., N, d] at ``rows`` [..., m] -> [..., m, d]."""
    return values.gather(-2, rows[..., None].expand(*rows.shape, values.shape[-1]))
