"""From which score on an instance is drawn: per class, where hits and misses balance best."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.data.dataset import InstanceDataset
from training.predictions import Prediction, predictions_by_key, truths_by_key

THRESHOLD_RANGE = (0.3, 0.7)
DEFAULT_THRESHOLD = 0.3
_MIN_TRUTHS = 10
_MATCH_IOU = 0.5


def best_thresholds(predictions: list[Prediction], dataset: InstanceDataset) -> NDArray[np.float32]:
    """The drawing threshold of each class: the score that maximises F1 at a mask IoU of 0.5, float32 [classes].

    Held within ``THRESHOLD_RANGE``; ``DEFAULT_THRESHOLD`` for a class of fewer than ten objects or never found. Each
    detection, best first, takes the free object that it overlaps most; what falls on a crowd counts neither way.
    """
    truths, found = truths_by_key(dataset.ground_truth), predictions_by_key(predictions)
    counts = Counter(key[1] for key, rows in truths.items() for row in rows if not row["iscrowd"])
    verdicts: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for key, rows in found.items():
        verdicts[key[1]] += _judge(rows, truths.get(key, []))
    thresholds = np.full(len(dataset.class_names), DEFAULT_THRESHOLD, np.float32)
    for class_index, judged in verdicts.items():
        if counts[class_index] >= _MIN_TRUTHS and any(hit for _, hit in judged):
            thresholds[class_index] = np.clip(_best_f1_score(judged, counts[class_index]), *THRESHOLD_RANGE)
    return thresholds


def _judge(found: list[Prediction], truths: list[dict[str, Any]]) -> list[tuple[float, bool]]:
    """Score and whether it is a hit of each detection of one class on one picture, those on crowds left out."""
    ordered = sorted(found, key=lambda row: -row.score)
    if not truths:
        return [(row.score, False) for row in ordered]
    crowd = np.array([row["iscrowd"] for row in truths], np.bool_)
    overlaps = coco_mask.iou([row.rle for row in ordered], [row["segmentation"] for row in truths], crowd.tolist())
    free, judged = ~crowd, []
    for row, overlap in zip(ordered, overlaps, strict=True):
        best = int(np.where(free, overlap, -1).argmax())
        hit = bool(free[best] and overlap[best] >= _MATCH_IOU)
        free[best] &= not hit
        if hit or not (overlap[crowd] >= _MATCH_IOU).any():
            judged.append((row.score, hit))
    return judged


def _best_f1_score(judged: list[tuple[float, bool]], count: int) -> float:
    """The score from which on keeping detections gives the best F1 = 2 TP / (kept + objects)."""
    scores = np.array([score for score, _ in judged])
    hits = np.array([hit for _, hit in judged])
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * np.cumsum(hits[order]) / (np.arange(1, len(order) + 1) + count)
    return float(scores[order][f1.argmax()])
