"""How nearly two networks answer alike: what one draws on a picture is looked for in what the other draws there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from scene.instances import MASK_CUT, Detections

MATCH_IOU = 0.9
"""Boxes of one object overlap by so much at least."""

COMPARED = ("boxes", "scores", "mask_scores", "masks")
"""Tensors whose rows are compared where they match: boxes in shares of the frame, masks in levels of 255."""


@dataclass(frozen=True)
class Error:
    """Of a tensor's values that were compared: the largest absolute difference, their sum, and how many they are."""

    largest: float = 0.0
    total: float = 0.0
    count: int = 0

    @property
    def mean(self) -> float:
        """The mean absolute difference; 0 of none."""
        return self.total / self.count if self.count else 0.0

    def __add__(self, other: "Error") -> "Error":
        return Error(max(self.largest, other.largest), self.total + other.total, self.count + other.count)


@dataclass(frozen=True)
class Parity:
    """What was compared on so many pictures.

    ``instances`` are drawn by the reference, ``pairs`` by both, ``alone`` by one of the two, without the ``excused``,
    which lie at their threshold; ``overlaps`` is the sum of the pairs' mask IoU, at the masks' own size; ``num`` the
    largest difference of the numbers of rows, drawn or not; ``errors`` are those of the pairs, by tensor.
    """

    pictures: int = 0
    instances: int = 0
    pairs: int = 0
    alone: int = 0
    excused: int = 0
    overlaps: float = 0.0
    num: int = 0
    errors: Mapping[str, Error] = field(default_factory=lambda: dict.fromkeys(COMPARED, Error()))

    @property
    def matched(self) -> float | None:
        """The share of what either side draws that the other draws, too; None where neither draws anything."""
        drawn = 2 * self.pairs + self.alone
        return 2 * self.pairs / drawn if drawn else None

    @property
    def mask_iou(self) -> float | None:
        """The mean of the pairs; None without one."""
        return self.overlaps / self.pairs if self.pairs else None

    def __add__(self, other: "Parity") -> "Parity":
        return Parity(
            pictures=self.pictures + other.pictures,
            instances=self.instances + other.instances,
            pairs=self.pairs + other.pairs,
            alone=self.alone + other.alone,
            excused=self.excused + other.excused,
            overlaps=self.overlaps + other.overlaps,
            num=max(self.num, other.num),
            errors={name: self.errors[name] + other.errors[name] for name in COMPARED},
        )


def total(parts: Sequence[Parity]) -> Parity:
    """All pictures together."""
    return reduce(Parity.__add__, parts, Parity())


def compare_drawn(
    reference: Detections, found: Detections, thresholds: NDArray[np.float32], score_tolerance: float
) -> Parity:
    """One picture: instances of a score that reaches their class's threshold, float32 [classes], on either side.

    Two are a pair where class and box (IoU 0.9) agree, each in one pair at most. One that is alone is excused where its
    score exceeds its threshold by ``score_tolerance`` at most: the other side may have left it out for that.
    """
    ours, theirs = reference.above(thresholds), found.above(thresholds)
    pairs = pair_up(ours, theirs)
    mine, others = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    alone = [_alone(rows, paired, thresholds, score_tolerance) for rows, paired in ((ours, mine), (theirs, others))]
    ours_paired, theirs_paired = _taken(ours, mine), _taken(theirs, others)
    return Parity(
        pictures=1,
        instances=len(ours),
        pairs=len(pairs),
        alone=sum(counted for counted, _ in alone),
        excused=sum(excused for _, excused in alone),
        overlaps=float(mask_ious(ours_paired.masks, theirs_paired.masks).sum()),
        num=abs(len(reference) - len(found)),
        errors={name: error_of(*(_tensor(rows, name) for rows in (ours_paired, theirs_paired))) for name in COMPARED},
    )


def pair_up(ours: Detections, theirs: Detections) -> list[tuple[int, int]]:
    """Rows of both sides that are one object, those that overlap most first."""
    overlaps = box_ious(ours.boxes_xyxy, theirs.boxes_xyxy)
    overlaps[ours.classes[:, None] != theirs.classes[None]] = 0
    pairs: dict[int, int] = {}
    for place in np.argsort(-overlaps, axis=None, kind="stable"):
        row, other = divmod(int(place), len(theirs))
        if overlaps[row, other] < MATCH_IOU:
            break
        if row not in pairs and other not in pairs.values():
            pairs[row] = other
    return list(pairs.items())


def box_ious(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of boxes xyxy [n, 4] and [m, 4]: [n, m]; 0 for boxes without an area."""
    first, second = ours.astype(np.float64)[:, None], theirs.astype(np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    common = sides.clip(0).prod(axis=-1)
    areas = (first[..., 2:] - first[..., :2]).prod(axis=-1) + (second[..., 2:] - second[..., :2]).prod(axis=-1)
    ious: NDArray[np.float64] = np.divide(common, areas - common, out=np.zeros_like(common), where=areas > common)
    return ious


def mask_ious(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of masks uint8 [n, h, w], row by row and cut at 128: [n]; two empty ones agree."""
    first, second = ours >= MASK_CUT, theirs >= MASK_CUT
    common, either = ((first & second).sum(axis=(1, 2)), (first | second).sum(axis=(1, 2)))
    ious: NDArray[np.float64] = np.divide(common, either, out=np.ones(len(ours)), where=either > 0)
    return ious


def error_of(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> Error:
    """Of two tensors of one shape."""
    difference = np.abs(ours.astype(np.float32) - theirs.astype(np.float32))
    return Error(float(difference.max(initial=0)), float(difference.sum(dtype=np.float64)), difference.size)


def _alone(
    rows: Detections, paired: NDArray[np.int64], thresholds: NDArray[np.float32], score_tolerance: float
) -> tuple[int, int]:
    """How many of one side's rows have no partner and count, and how many of them are excused."""
    left = np.delete(np.arange(len(rows)), paired)
    excused = int((rows.scores[left] - thresholds[rows.classes[left]] <= score_tolerance).sum())
    return len(left) - excused, excused


def _taken(rows: Detections, order: NDArray[np.int64]) -> Detections:
    return Detections(*(field[order] for field in rows.__dict__.values()))


def _tensor(rows: Detections, name: str) -> NDArray[np.generic]:
    tensor: NDArray[np.generic] = rows.boxes_xyxy if name == "boxes" else getattr(rows, name)
    return tensor
