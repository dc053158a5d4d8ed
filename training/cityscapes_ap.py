"""Cityscapes' own average precision of instances, with what it ignores (Cordts et al. 2016, section 4.2).

Held equal to the benchmark's ``evalInstanceLevelSemanticLabeling`` by a test. That program wants a picture a mask on
disk and an older numpy; this reads run lengths. It differs from COCO's in that small objects and groups only ever
excuse, that an overlap must exceed its threshold, and that the curve is integrated as it is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.data.run_lengths import Rle
from training.predictions import Prediction, predictions_by_key, truths_by_key

OVERLAPS = np.arange(0.5, 1.0, 0.05)
MIN_PIXELS = 100
"""An object of fewer pixels need not be found."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassPrecision:
    """In [0, 1]: ``ap`` is the mean over overlaps of 0.50 to 0.95, ``ap50`` at 0.50."""

    ap: float
    ap50: float


@dataclass(frozen=True)
class CityscapesPrecision(ClassPrecision):
    """The means over classes, NaN where no class has an object of 100 pixels; ``by_class`` has those that do."""

    by_class: dict[str, ClassPrecision]


class _Verdicts(NamedTuple):
    """Scores of hits and of false positives, and how many objects were missed."""

    hits: Floats
    wrong: Floats
    missed: int


@dataclass(frozen=True)
class _Overlaps:
    """One class on one picture: P predictions and T truths.

    ``scores`` [P]; ``ious`` [P, T]; ``excused`` [P], the share of a prediction's pixels that is ignored; ``counts``
    bool [T], whether a truth is to be found: one object, and large enough.
    """

    scores: Floats
    ious: Floats
    excused: Floats
    counts: NDArray[np.bool_]

    def judge(self, threshold: float) -> _Verdicts:
        """Of several predictions on one object the one with the best score is the hit, the others are wrong.

        A prediction on nothing is wrong unless more of it is ignored than the threshold; one on a small object or a
        group counts neither way.
        """
        if not len(self.scores):
            return _Verdicts(self.scores, self.scores, int(self.counts.sum()))
        on_truth = self.ious > threshold
        on_object = on_truth[:, self.counts]
        found = on_object.any(axis=0)
        best = np.where(on_object, self.scores[:, None], -np.inf).argmax(axis=0)[found]
        doubles = on_object.copy()
        doubles[best, np.flatnonzero(found)] = False
        alone = ~on_truth.any(axis=1) & (self.excused <= threshold)
        wrong = np.concatenate([self.scores[np.nonzero(doubles)[0]], self.scores[alone]])
        return _Verdicts(self.scores[best], wrong, int((~found).sum()))


def cityscapes_precision(
    predictions: list[Prediction], ground_truth: dict[str, Any], class_names: tuple[str, ...]
) -> CityscapesPrecision:
    """Masks ranked by ``mask_score`` against a COCO JSON's annotations, whose masks should not overlap.

    Crowds of a class are Cityscapes' group of it, one a picture. What COCO's AP ignores for every class (caravans and
    trailers, rows marked ``every_class``) excuses nothing here. Beside COCO's sections ``ground_truth`` may have
    ``void``, rows of ``image_id`` and ``segmentation``: pixels of no class on which every prediction is excused.
    """
    by_class: dict[int, list[_Overlaps]] = {index: [] for index in range(len(class_names))}
    for index, overlaps in _all_overlaps(predictions, ground_truth):
        by_class[index].append(overlaps)
    tables = {class_names[index]: _precisions(pictures) for index, pictures in by_class.items()}
    present = {name: table for name, table in tables.items() if table is not None}
    found = {name: ClassPrecision(float(table.mean()), float(table[0])) for name, table in present.items()}
    return CityscapesPrecision(
        ap=_mean([row.ap for row in found.values()]), ap50=_mean([row.ap50 for row in found.values()]), by_class=found
    )


def _all_overlaps(predictions: list[Prediction], ground_truth: dict[str, Any]) -> Iterator[tuple[int, _Overlaps]]:
    """The class index and overlaps of each picture and class with truths or predictions."""
    truths, found = truths_by_key(ground_truth), predictions_by_key(predictions)
    void: dict[int, list[Rle]] = {}
    for row in ground_truth.get("void", ()):
        void.setdefault(row["image_id"], []).append(row["segmentation"])
    for key in sorted(truths.keys() | found.keys()):
        yield key[1], _overlaps(found.get(key, []), _with_one_group(truths.get(key, [])), void.get(key[0], []))


def _with_one_group(truths: list[dict[str, Any]]) -> list[dict[str, Any]]:
    objects = [row for row in truths if not row["iscrowd"]]
    parts = [row["segmentation"] for row in truths if row["iscrowd"] and not row.get("every_class")]
    return [*objects, {"iscrowd": 1, "segmentation": coco_mask.merge(parts)}] if parts else objects


def _overlaps(found: list[Prediction], truths: list[dict[str, Any]], void: list[Rle]) -> _Overlaps:
    rles = [row.rle for row in found]
    pixels, truth_rles = _areas(rles), [row["segmentation"] for row in truths]
    group, truth_pixels = np.array([bool(row["iscrowd"]) for row in truths], np.bool_), _areas(truth_rles)
    small = truth_pixels < MIN_PIXELS
    shared = _shared(rles, pixels, truth_rles)
    # A small group excuses twice, as in Cityscapes' program: its pixels are added for each of the two reasons.
    ignored = shared @ (group.astype(np.float64) + small) + _shared(rles, pixels, void).sum(axis=1)
    some = pixels > 0
    return _Overlaps(
        scores=np.array([row.mask_score for row in found], np.float64)[some],
        ious=(shared / np.maximum(pixels[:, None] + truth_pixels - shared, 1))[some],
        excused=(ignored / np.maximum(pixels, 1))[some],
        counts=~group & ~small,
    )


def _shared(rles: list[Rle], pixels: Floats, others: list[Rle]) -> Floats:
    """Pixels that masks have in common: float64 [P, T] of whole numbers."""
    if not rles or not others:
        return np.zeros((len(rles), len(others)))
    shares = coco_mask.iou(rles, others, [1] * len(others))  # of a crowd: what is shared over the first mask's pixels
    shared: Floats = np.rint(shares * pixels[:, None])
    return shared


def _areas(rles: list[Rle]) -> Floats:
    return np.asarray(coco_mask.area(rles), np.float64) if rles else np.zeros(0)


def _precisions(pictures: list[_Overlaps]) -> Floats | None:
    """The average precision of one class at each overlap; None without an object to find."""
    if not any(picture.counts.any() for picture in pictures):
        return None
    return np.array([_average([picture.judge(threshold) for picture in pictures]) for threshold in OVERLAPS])


def _average(verdicts: list[_Verdicts]) -> float:
    """The area under precision over recall, linear between scores, from precision 1 at recall 0."""
    hits = np.sort(np.concatenate([row.hits for row in verdicts]))
    wrong = np.sort(np.concatenate([row.wrong for row in verdicts]))
    if not len(hits):
        return 0.0
    scores = np.unique(np.concatenate([hits, wrong]))
    right = len(hits) - np.searchsorted(hits, scores)
    kept = right + len(wrong) - np.searchsorted(wrong, scores)
    precision = np.append(right / kept, 1.0)
    recall = np.append(right / (len(hits) + sum(row.missed for row in verdicts)), 0.0)
    return float(-np.trapezoid(precision, recall))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
