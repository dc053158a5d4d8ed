"""YOLACT++'s five loss terms (YOLACT, section 3; YOLACT++, section 6.1), weighted and normalised as the original's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.masks import crop_window
from model.outputs import YolactOutputs
from model.yolact import Yolact
from training.class_losses import ClassCounts, ClassLossSettings, ClassShares, box_overlaps, class_loss
from training.matching import BACKGROUND, Matches, Targets, match


@dataclass(frozen=True)
class LossSettings:
    """Weights of the terms, what they sample, and what teaches the classes. ``masks_per_picture`` bounds the positives
    that make a mask; ``smallest_rescored_px`` is the area in prototype pixels from which a mask teaches the rescoring.
    """

    box_weight: float = 1.5
    class_weight: float = 1.0
    mask_weight: float = 6.125
    semantic_weight: float = 1.0
    rescoring_weight: float = 25.0
    classes: ClassLossSettings = field(default_factory=ClassLossSettings)
    masks_per_picture: int = 100
    smallest_rescored_px: int = 25


class Losses(NamedTuple):
    """The weighted terms, each a scalar; ``total`` is what is differentiated."""

    box: Tensor
    classes: Tensor
    mask: Tensor
    semantic: Tensor
    rescoring: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return torch.stack(tuple(self)).sum()


@dataclass(frozen=True)
class Part:
    """Some pictures of a batch that is learned in parts, one after the other or on several devices.

    ``matches`` are its pictures'; ``positives`` and ``pictures`` count the whole batch's, by which the terms are
    divided, so that the parts' terms and gradients add up to the batch's. ``draws`` are the random numbers by which a
    picture's masks are drawn, one generator each; without them the masks are drawn by torch's own on the CPU.
    """

    matches: Sequence[Matches]
    positives: int
    pictures: int
    draws: Sequence[np.random.Generator] | None = None

    @classmethod
    def whole(cls, anchors_cxcywh: Tensor, targets: Sequence[Targets]) -> "Part":
        """All pictures of a batch."""
        matches = [match(anchors_cxcywh, target) for target in targets]
        return cls(matches, sum(int((found.labels > BACKGROUND).sum()) for found in matches), len(targets))


class _MaskLearning(NamedTuple):
    """What one picture's positives teach: the summed mask loss, and for the rescoring its soft masks [n, h, w], their
    true IoU [n] and classes [n]."""

    loss: Tensor
    soft_masks: Tensor
    ious: Tensor
    classes: Tensor


def losses(
    network: Yolact,
    outputs: YolactOutputs,
    anchors_cxcywh: Tensor,
    targets: Sequence[Targets],
    settings: LossSettings,
    counts: ClassCounts | ClassShares | None = None,
    part: Part | None = None,
) -> Losses:
    """All five terms for a batch, or for a part of one: semantic is divided by the pictures, the others by the
    positives.

    ``counts`` goes on from batch to batch, for classes that are balanced.
    """
    part = part or Part.whole(anchors_cxcywh, targets)
    labels = torch.stack([found.labels for found in part.matches])
    positives = max(part.positives, 1)
    overlaps = box_overlaps(outputs.box_offsets, anchors_cxcywh, part.matches, settings.classes)
    mask, rescoring = _mask_losses(network, outputs, targets, part, settings)
    return Losses(
        box=box_loss(outputs.box_offsets, part.matches) * settings.box_weight / positives,
        classes=class_loss(outputs.class_logits, labels, settings.classes, counts, overlaps)
        * (settings.class_weight / positives),
        mask=mask * settings.mask_weight / positives,
        semantic=semantic_loss(network.semantic_seg_conv(outputs.p3), targets)
        * settings.semantic_weight
        / part.pictures,
        rescoring=rescoring * settings.rescoring_weight / positives,
    )


def box_loss(offsets: Tensor, matches: Sequence[Matches]) -> Tensor:
    """Smooth L1 over the positives, summed. ``offsets`` [B, N, 4]."""
    labels = torch.stack([found.labels for found in matches])
    wanted = torch.stack([found.offsets for found in matches])
    positive = labels > BACKGROUND
    return F.smooth_l1_loss(offsets[positive], wanted[positive], reduction="sum")


def semantic_loss(logits: Tensor, targets: Sequence[Targets]) -> Tensor:
    """Per-pixel binary cross entropy of the classes present (YOLACT, section 3.5), a mean over pixels, summed over
    classes and pictures. ``logits`` [B, C, h, w]."""
    wanted = torch.zeros_like(logits)
    for picture, target in zip(wanted, targets, strict=True):
        for class_index, mask in zip(target.classes, _shrink(target.masks, logits.shape[2:]), strict=True):
            picture[class_index] = torch.maximum(picture[class_index], mask)
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / logits[0, 0].numel()


def _mask_losses(
    network: Yolact,
    outputs: YolactOutputs,
    targets: Sequence[Targets],
    part: Part,
    settings: LossSettings,
) -> tuple[Tensor, Tensor]:
    """The mask and the rescoring term, each summed over the part's positives."""
    draws: Sequence[np.random.Generator | None] = part.draws or [None] * len(targets)
    learned = [
        _learn_masks(prototypes, coefficients, target, _teachers(found, settings.masks_per_picture, draw), settings)
        for prototypes, coefficients, target, found, draw in zip(
            outputs.prototypes.float(), outputs.mask_coefficients, targets, part.matches, draws, strict=True
        )
        if bool((found.labels > BACKGROUND).any())
    ]
    nothing = outputs.prototypes.sum() * 0.0
    mask = torch.stack([picture.loss for picture in learned]).sum() if learned else nothing
    return mask, _rescoring_loss(network, learned, nothing)


class _Teachers(NamedTuple):
    """The anchors of one picture that make a mask, int64 [n], the rows of their objects, and for how many each is."""

    anchors: Tensor
    rows: Tensor
    weight: float


def _teachers(found: Matches, limit: int, draw: np.random.Generator | None) -> _Teachers:
    """The positives, or as many as the limit allows, drawn among them."""
    anchors = torch.nonzero(found.labels > BACKGROUND).squeeze(1)
    positives = len(anchors)
    if positives > limit:
        # Drawn on the CPU, so that a resumed run is the same on a GPU as well.
        order = torch.randperm(positives) if draw is None else torch.from_numpy(draw.permutation(positives))
        anchors = anchors[order[:limit].to(anchors.device)]
    return _Teachers(anchors, found.rows[anchors], positives / max(len(anchors), 1))


def _learn_masks(
    prototypes: Tensor, coefficients: Tensor, target: Targets, teachers: _Teachers, settings: LossSettings
) -> _MaskLearning:
    """Binary cross entropy inside each positive's true box, divided by the box's share of the picture.

    Dividing by the box emulates RoI pooling: a small object's mask weighs as much as a large one's.
    """
    anchors, rows, weight = teachers
    height, width = prototypes.shape[:2]
    truth = _shrink(target.masks, (height, width))[rows]
    boxes_xyxy = target.boxes_xyxy[rows]
    soft = torch.sigmoid(coefficients[anchors].float() @ prototypes.flatten(0, 1).T).view(-1, height, width)
    soft = soft * crop_window(boxes_xyxy, (height, width)).to(soft.dtype)
    share = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(dim=1)
    loss = F.binary_cross_entropy(soft, truth, reduction="none").sum(dim=(1, 2)) / share
    loss = loss.sum() * weight / (height * width)
    taught = truth.sum(dim=(1, 2)) > settings.smallest_rescored_px
    return _MaskLearning(
        loss, soft[taught], _mask_iou(soft[taught] > 0.5, truth[taught] > 0.5), target.classes[rows][taught]
    )


def _rescoring_loss(network: Yolact, learned: Sequence[_MaskLearning], nothing: Tensor) -> Tensor:
    """Smooth L1 between each mask's predicted and true IoU (YOLACT++, section 6.1)."""
    if network.maskiou_net is None or not any(len(picture.ious) for picture in learned):
        return nothing
    soft, ious, classes = (
        torch.cat(parts) for parts in zip(*((row.soft_masks, row.ious, row.classes) for row in learned), strict=True)
    )
    predicted = network.maskiou_net(soft[:, None])
    return F.smooth_l1_loss(predicted.gather(1, classes[:, None]).squeeze(1).float(), ious, reduction="sum")


def _shrink(masks: Tensor, size_hw: tuple[int, int] | torch.Size) -> Tensor:
    """Masks [n, H, W] of 0 and 1 at another size, bilinear and cut above one half, as the original does."""
    if not len(masks):
        return masks.new_zeros((0, *size_hw), dtype=torch.float32)
    resized = F.interpolate(masks.float()[:, None], tuple(size_hw), mode="bilinear", align_corners=False)
    return (resized[:, 0] > 0.5).float()


def _mask_iou(masks: Tensor, others: Tensor) -> Tensor:
    """IoU row by row of bool [n, h, w]."""
    shared = (masks & others).sum(dim=(1, 2))
    union = (masks | others).sum(dim=(1, 2))
    return shared / union.clamp(min=1)
