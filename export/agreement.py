"""Whether the float32 graph on ONNX Runtime still answers what torch answers: every row, compared as sets where scores
tie."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from model.detect import DetectSettings
from scene.errors import ArtifactError
from scene.instances import Detections

SCORE_TOLERANCE = 1e-4
BOX_TOLERANCE = 1e-4
MASK_TOLERANCE = 1


@dataclass(frozen=True)
class Agreement:
    """The largest differences over all pictures. ``boxes`` in shares of the frame, ``masks`` in levels of 255;
    ``unmatched`` counts detections that one side has and the other lacks, without those that score no more than the
    threshold or lost a tie for the last of the rows; ``cropped_otherwise`` those whose boxes agree but lie on either
    side of a mask's row or column, by rounding: their masks and mask scores are not compared."""

    pictures: int
    detections: int
    unmatched: int
    scores: float
    mask_scores: float
    boxes: float
    masks: int
    cropped_otherwise: int = 0

    def require(self) -> None:
        """Raise ``ArtifactError`` where a difference exceeds scores 1e-4, boxes 1e-4, masks one level."""
        if complaint := self.complaint():
            raise ArtifactError(f"{complaint}; nothing was written")

    def complaint(self) -> str:
        """What exceeds these limits, in a sentence; empty if nothing does."""
        worst = max(self.scores, self.mask_scores)
        if self.cropped_otherwise > 2 + self.detections // 100:
            return (
                f"{self.cropped_otherwise} of {self.detections} masks end at another row or column than torch's, which "
                "rounding alone does not explain"
            )
        if self.unmatched or worst > SCORE_TOLERANCE or self.boxes > BOX_TOLERANCE or self.masks > MASK_TOLERANCE:
            return (
                f"the exported graph does not answer as torch does on {self.pictures} pictures: {self.unmatched} of "
                f"{self.detections} detections have no partner; scores differ by {worst:.1e} ({SCORE_TOLERANCE:.0e} "
                f"allowed), boxes by {self.boxes:.1e} ({BOX_TOLERANCE:.0e}), masks by {self.masks} levels "
                f"({MASK_TOLERANCE})"
            )
        return ""


def compare_detections(ours: Detections, theirs: Detections, settings: DetectSettings) -> Agreement:
    """One picture: each of our rows against the row of theirs with the same class and the nearest box and score."""
    partners = [_partner(ours, row, theirs) for row in range(len(ours))]
    rows = [(row, partner) for row, partner in enumerate(partners) if partner is not None]
    mine, others = (np.array([pair[side] for pair in rows], np.int64) for side in (0, 1))
    excused = _excused_score(ours, theirs, settings)
    same = _cropped_alike(ours.boxes_xyxy[mine], theirs.boxes_xyxy[others], ours.masks.shape[1:])
    return Agreement(
        pictures=1,
        detections=len(ours),
        unmatched=max(_lost(ours, mine, others, excused), _lost(theirs, others, others, excused)),
        scores=_largest(ours.scores[mine], theirs.scores[others]),
        mask_scores=_largest(ours.mask_scores[mine[same]], theirs.mask_scores[others[same]]),
        boxes=_largest(ours.boxes_xyxy[mine], theirs.boxes_xyxy[others]),
        masks=int(_largest(ours.masks[mine[same]].astype(np.int16), theirs.masks[others[same]].astype(np.int16))),
        cropped_otherwise=int((~same).sum()),
    )


def summarise(parts: list[Agreement]) -> Agreement:
    """Sums of the counts and maxima of the differences."""
    return Agreement(
        pictures=sum(part.pictures for part in parts),
        detections=sum(part.detections for part in parts),
        unmatched=sum(part.unmatched for part in parts),
        scores=max(part.scores for part in parts),
        mask_scores=max(part.mask_scores for part in parts),
        boxes=max(part.boxes for part in parts),
        masks=max(part.masks for part in parts),
        cropped_otherwise=sum(part.cropped_otherwise for part in parts),
    )


def _partner(ours: Detections, row: int, theirs: Detections) -> int | None:
    """The row of theirs that is the same detection: class and, within a hundredth, score and box; or None."""
    distance = np.abs(theirs.boxes_xyxy - ours.boxes_xyxy[row]).max(axis=1, initial=0.0)
    distance = np.maximum(distance, np.abs(theirs.scores - ours.scores[row]))
    distance = np.where(theirs.classes == ours.classes[row], distance, np.inf)
    if not len(distance) or distance.min() > 0.01:
        return None
    return int(distance.argmin())


def _cropped_alike(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], mask_hw: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Of boxes [n, 4] that agree, those whose masks of (h, w) end at the same rows and columns (``model.masks``)."""
    height, width = mask_hw
    sides = np.array([width, height, width, height], np.float32)
    return cast(NDArray[np.bool_], (np.ceil(ours * sides) == np.ceil(theirs * sides)).all(axis=1))


def _excused_score(ours: Detections, theirs: Detections, settings: DetectSettings) -> float:
    """Up to here a row may lack its partner: it lies at the threshold, or both sides are full and it lost a tie."""
    last = settings.score_threshold
    if len(ours) == len(theirs) == settings.rows:
        last = max(last, float(ours.scores.min()), float(theirs.scores.min()))
    return last + SCORE_TOLERANCE


def _lost(rows: Detections, partnered: NDArray[np.int64], partners: NDArray[np.int64], excused: float) -> int:
    """How many of one side's rows are more than there are partners, without those that are excused."""
    alone = np.delete(rows.scores, partnered)
    return len(rows) - len(set(partners.tolist())) - int((alone <= excused).sum())


def _largest(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> float:
    return float(np.abs(np.subtract(ours, theirs)).max(initial=0))
