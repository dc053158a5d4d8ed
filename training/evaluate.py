"""COCO's average precision of anything that predicts, measured where it is used: masks on the whole frame.

Whatever answers pictures with ``Detections`` can be measured: a network in training, a deployed graph, another's model.
Frames and masks go through ``scene``, as in serving.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from scene.errors import DataError
from scene.image import RgbImage
from scene.instances import Detections, Instance, instances_on_frame
from training.data.dataset import InstanceDataset
from training.data.run_lengths import Rle, crop_rle

Predict = Callable[[list[RgbImage]], list[Detections]]
"""Whole frames uint8 RGB [H, W, 3] of any sizes to one answer each."""

MAX_DETECTIONS = 100
"""COCO's limit of detections a picture and class; here a picture's best by ``scores``."""

THRESHOLD_RANGE = (0.3, 0.7)
DEFAULT_THRESHOLD = 0.3
_Key = tuple[int, int]
"""Image id and class index."""

_MIN_TRUTHS = 10
_MATCH_IOU = 0.5


@dataclass(frozen=True)
class Prediction:
    """One detection on its whole frame. ``box_xywh`` in pixels; ``rle`` COCO's compressed run lengths of the mask."""

    image_id: int
    class_index: int
    score: float
    mask_score: float
    box_xywh: tuple[float, float, float, float]
    rle: Rle


@dataclass(frozen=True)
class Precision:
    """COCO's figures in [0, 1]; NaN where the ground truth holds nothing to find.

    ``ap`` is the mean over IoU 0.50 to 0.95, ``ap50`` and ``ap75`` at one IoU; small, medium and large are objects
    below 32 x 32, up to 96 x 96, and above, in pixels of mask. ``by_class`` has the classes that the truth holds.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    by_class: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Boxes ranked by ``scores``, masks by ``mask_scores``, on so many pictures and instances (crowds not counted)."""

    box: Precision
    mask: Precision
    images: int
    instances: int
    absent_classes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: None stands for NaN."""
        return cast(dict[str, Any], _without_nan(asdict(self)))


def evaluate(
    predict: Predict,
    dataset: InstanceDataset,
    batch_size: int = 8,
    score_floor: float = 0.0,
    max_instances: int = MAX_DETECTIONS,
) -> Evaluation:
    """Predict the whole data set and score it: ``collect_predictions``, then ``score_predictions``."""
    return score_predictions(collect_predictions(predict, dataset, batch_size, score_floor, max_instances), dataset)


def collect_predictions(
    predict: Predict,
    dataset: InstanceDataset,
    batch_size: int = 8,
    score_floor: float = 0.0,
    max_instances: int = MAX_DETECTIONS,
) -> list[Prediction]:
    """What ``predict`` says of every whole picture: its ``max_instances`` best that reach the floor, laid on the frame.

    Scores below the floor are left out before their masks cost anything; a floor above 0 can only lower the AP.
    """
    pictures = predictions_by_picture(predict, dataset, batch_size, score_floor, max_instances)
    return [prediction for picture in pictures for prediction in picture]


def predictions_by_picture(
    predict: Predict,
    dataset: InstanceDataset,
    batch_size: int = 8,
    score_floor: float = 0.0,
    max_instances: int = MAX_DETECTIONS,
) -> Iterator[list[Prediction]]:
    """What ``collect_predictions`` collects, one picture after the other."""
    for start in range(0, len(dataset), batch_size):
        indices = range(start, min(start + batch_size, len(dataset)))
        frames = [dataset.picture(index) for index in indices]
        for index, frame, detections in zip(indices, frames, predict(frames), strict=True):
            best = _rows_above(detections, score_floor).first(max_instances)
            _check_classes(best, dataset.class_names)
            size_hw = (frame.shape[0], frame.shape[1])
            image_id = dataset.image_id(index)
            yield [prediction_of(instance, image_id, size_hw) for instance in instances_on_frame(best, size_hw)]


def prediction_of(instance: Instance, image_id: int, size_hw: tuple[int, int]) -> Prediction:
    """One instance on a frame of (height, width), as it is scored."""
    x1, y1, x2, y2 = instance.box_xyxy
    return Prediction(
        image_id=image_id,
        class_index=instance.class_index,
        score=instance.score,
        mask_score=instance.mask_score,
        box_xywh=(x1, y1, x2 - x1, y2 - y1),
        rle=frame_rle(instance, size_hw),
    )


def score_predictions(predictions: list[Prediction], dataset: InstanceDataset) -> Evaluation:
    """COCO's box and mask AP of predictions on this data set; no predictions score 0."""
    truth = COCO(dataset.ground_truth)
    present = {row["category_id"] - 1 for row in truth.dataset["annotations"] if not row["iscrowd"]}
    return Evaluation(
        box=_precision(truth, predictions, "bbox", dataset.class_names),
        mask=_precision(truth, predictions, "segm", dataset.class_names),
        images=len(dataset),
        instances=sum(not row["iscrowd"] for row in truth.dataset["annotations"]),
        absent_classes=tuple(name for index, name in enumerate(dataset.class_names) if index not in present),
    )


def best_thresholds(predictions: list[Prediction], dataset: InstanceDataset) -> NDArray[np.float32]:
    """The drawing threshold of each class: the score that maximises F1 at a mask IoU of 0.5, float32 [classes].

    Held within ``THRESHOLD_RANGE``; ``DEFAULT_THRESHOLD`` for a class of fewer than ten objects or never found. Each
    detection, best first, takes the free object that it overlaps most; what falls on a crowd counts neither way.
    """
    truths, found = _truths_by_key(dataset), _found_by_key(predictions)
    counts = Counter(key[1] for key, rows in truths.items() for row in rows if not row["iscrowd"])
    verdicts: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for key, rows in found.items():
        verdicts[key[1]] += _judge(rows, truths.get(key, []))
    thresholds = np.full(len(dataset.class_names), DEFAULT_THRESHOLD, np.float32)
    for class_index, judged in verdicts.items():
        if counts[class_index] >= _MIN_TRUTHS and any(hit for _, hit in judged):
            thresholds[class_index] = np.clip(_best_f1_score(judged, counts[class_index]), *THRESHOLD_RANGE)
    return thresholds


def frame_rle(instance: Instance, size_hw: tuple[int, int]) -> Rle:
    """COCO's compressed run lengths of the instance on a frame of (height, width)."""
    return crop_rle(instance.mask, instance.mask_xy, size_hw)


def _rows_above(detections: Detections, floor: float) -> Detections:
    keep = detections.scores >= floor
    return Detections(*(rows[keep] for rows in detections.__dict__.values()))


def _check_classes(detections: Detections, class_names: tuple[str, ...]) -> None:
    if len(detections) and int(detections.classes.max()) >= len(class_names):
        raise DataError(
            f"the model answered class {int(detections.classes.max())}, but the data set names {len(class_names)} "
            "classes; read it with the model's class names"
        )


def _truths_by_key(dataset: InstanceDataset) -> dict[_Key, list[dict[str, Any]]]:
    groups: dict[_Key, list[dict[str, Any]]] = defaultdict(list)
    for row in dataset.ground_truth["annotations"]:
        groups[row["image_id"], row["category_id"] - 1].append(row)
    return groups


def _found_by_key(predictions: list[Prediction]) -> dict[_Key, list[Prediction]]:
    groups: dict[_Key, list[Prediction]] = defaultdict(list)
    for row in predictions:
        groups[row.image_id, row.class_index].append(row)
    return groups


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


def _precision(truth: COCO, predictions: list[Prediction], kind: str, class_names: tuple[str, ...]) -> Precision:
    scorer = COCOeval_faster(truth, _results(truth, predictions, kind), kind, rle_iou_max_workers=1)
    scorer.evaluate()
    scorer.accumulate()
    table = np.asarray(scorer.eval["precision"])[..., -1]
    whole, names = table[:, :, :, 0], [class_names[number - 1] for number in scorer.params.catIds]
    by_class = {name: _mean(whole[:, :, index]) for index, name in enumerate(names)}
    return Precision(
        ap=_mean(whole),
        ap50=_mean(whole[0]),
        ap75=_mean(whole[5]),
        small=_mean(table[:, :, :, 1]),
        medium=_mean(table[:, :, :, 2]),
        large=_mean(table[:, :, :, 3]),
        by_class={name: value for name, value in by_class.items() if not math.isnan(value)},
    )


def _results(truth: COCO, predictions: list[Prediction], kind: str) -> COCO:
    """The predictions as COCO's results of one kind; its own loader refuses an empty list."""
    if not predictions:
        return COCO({**truth.dataset, "annotations": []})
    shape_name = "bbox" if kind == "bbox" else "segmentation"
    return truth.loadRes(
        [
            {
                "image_id": row.image_id,
                "category_id": row.class_index + 1,
                "score": row.score if kind == "bbox" else row.mask_score,
                shape_name: list(row.box_xywh) if kind == "bbox" else row.rle,
            }
            for row in predictions
        ]
    )


def _mean(table: NDArray[np.float64]) -> float:
    """The mean of COCO's table without its -1, which stand for nothing to find."""
    known = table[table > -1]
    return float(known.mean()) if known.size else math.nan


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
