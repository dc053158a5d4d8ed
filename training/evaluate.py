"""COCO's average precision of anything that predicts, and Cityscapes' beside it, on whole frames."""

import math
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]
from numpy.typing import NDArray

from training.cityscapes_ap import CityscapesPrecision, cityscapes_precision
from training.data.dataset import InstanceDataset
from training.predictions import Predict, Prediction, predictions_by_picture, together


@dataclass(frozen=True)
class Figures:
    """COCO's figures in [0, 1]; NaN where the ground truth holds nothing to find.

    ``ap`` is the mean over IoU 0.50 to 0.95, ``ap50`` and ``ap75`` at one IoU; small, medium and large are objects
    below 32 x 32, up to 96 x 96, and above, in pixels of mask.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float


@dataclass(frozen=True)
class Precision(Figures):
    """The means over all classes, and each class's own figures, of those that the truth holds."""

    by_class: dict[str, Figures]


@dataclass(frozen=True)
class Evaluation:
    """Boxes ranked by ``scores``, masks by ``mask_scores``, on so many pictures and instances (crowds not counted)."""

    box: Precision
    mask: Precision
    cityscapes: CityscapesPrecision
    images: int
    instances: int
    absent_classes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: None stands for NaN."""
        return cast(dict[str, Any], _without_nan(asdict(self)))


def evaluate(predict: Predict, dataset: InstanceDataset) -> Evaluation:
    """Predict the whole data set and score it."""
    return score_predictions(together(predictions_by_picture(predict, dataset)), dataset)


def score_predictions(predictions: list[Prediction], dataset: InstanceDataset) -> Evaluation:
    """COCO's box and mask AP and Cityscapes' of predictions on this data set; no predictions score 0.

    What falls on a crowd region is no false positive of the region's class; of another class it is.
    """
    truth = COCO(dataset.ground_truth)
    objects = [row for row in truth.dataset["annotations"] if not row["iscrowd"]]
    present = {row["category_id"] - 1 for row in objects}
    return Evaluation(
        box=_precision(truth, predictions, "bbox", dataset.class_names),
        mask=_precision(truth, predictions, "segm", dataset.class_names),
        cityscapes=cityscapes_precision(predictions, dataset.ground_truth, dataset.class_names),
        images=len(dataset),
        instances=len(objects),
        absent_classes=tuple(name for index, name in enumerate(dataset.class_names) if index not in present),
    )


def _precision(truth: COCO, predictions: list[Prediction], kind: str, class_names: tuple[str, ...]) -> Precision:
    scorer = COCOeval_faster(truth, _results(truth, predictions, kind), kind, rle_iou_max_workers=1)
    scorer.evaluate()
    scorer.accumulate()
    table = np.asarray(scorer.eval["precision"])[..., -1]
    classes = {class_names[number - 1]: _figures(table[:, :, [row]]) for row, number in enumerate(scorer.params.catIds)}
    present = {name: figures for name, figures in classes.items() if not math.isnan(figures.ap)}
    return Precision(**asdict(_figures(table)), by_class=present)


def _figures(table: NDArray[np.float64]) -> Figures:
    """Of COCO's table of precisions [IoU from 0.5 by 0.05, recall, class, (all, small, medium, large)]."""
    return Figures(
        ap=_mean(table[:, :, :, 0]),
        ap50=_mean(table[0, :, :, 0]),
        ap75=_mean(table[5, :, :, 0]),
        small=_mean(table[:, :, :, 1]),
        medium=_mean(table[:, :, :, 2]),
        large=_mean(table[:, :, :, 3]),
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
