"""What anything that predicts says of a data set, laid on whole frames: what evaluation scores.

Whatever answers pictures with ``Detections`` can be measured: a network in training, a deployed graph, another's model.
Frames and masks go through ``scene``, as in serving.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from scene.errors import DataError
from scene.image import RgbImage
from scene.instances import Detections, Instance, instances_on_frame
from training.data.dataset import InstanceDataset
from training.data.run_lengths import Rle, crop_rle

Predict = Callable[[list[RgbImage]], list[Detections]]
"""Whole frames uint8 RGB [H, W, 3] of any sizes to one answer each."""

MAX_DETECTIONS = 100
"""COCO's limit of detections a picture and class; here a picture's best by ``scores``."""

Key = tuple[int, int]
"""Image id and class index."""


@dataclass(frozen=True)
class Prediction:
    """One detection on its whole frame. ``box_xywh`` in pixels; ``rle`` COCO's compressed run lengths of the mask."""

    image_id: int
    class_index: int
    score: float
    mask_score: float
    box_xywh: tuple[float, float, float, float]
    rle: Rle


def predictions_by_picture(
    predict: Predict, dataset: InstanceDataset, batch_size: int = 8
) -> Iterator[list[Prediction]]:
    """What ``predict`` says of one whole picture after the other: its ``MAX_DETECTIONS`` best, laid on the frame."""
    for start in range(0, len(dataset), batch_size):
        indices = range(start, min(start + batch_size, len(dataset)))
        frames = [dataset.picture(index) for index in indices]
        for index, frame, detections in zip(indices, frames, predict(frames), strict=True):
            best = detections.first(MAX_DETECTIONS)
            _check_classes(best, dataset.class_names)
            size_hw = (frame.shape[0], frame.shape[1])
            image_id = dataset.image_id(index)
            yield [prediction_of(instance, image_id, size_hw) for instance in instances_on_frame(best, size_hw)]


def together(pictures: Iterable[list[Prediction]]) -> list[Prediction]:
    """The predictions of all pictures."""
    return [prediction for picture in pictures for prediction in picture]


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


def frame_rle(instance: Instance, size_hw: tuple[int, int]) -> Rle:
    """COCO's compressed run lengths of the instance on a frame of (height, width)."""
    return crop_rle(instance.mask, instance.mask_xy, size_hw)


def truths_by_key(ground_truth: dict[str, Any]) -> dict[Key, list[dict[str, Any]]]:
    """A COCO JSON's annotations by picture and class."""
    groups: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in ground_truth["annotations"]:
        groups[row["image_id"], row["category_id"] - 1].append(row)
    return groups


def predictions_by_key(predictions: Iterable[Prediction]) -> dict[Key, list[Prediction]]:
    """Predictions by picture and class."""
    groups: dict[Key, list[Prediction]] = defaultdict(list)
    for row in predictions:
        groups[row.image_id, row.class_index].append(row)
    return groups


def _check_classes(detections: Detections, class_names: tuple[str, ...]) -> None:
    if len(detections) and int(detections.classes.max()) >= len(class_names):
        raise DataError(
            f"the model answered class {int(detections.classes.max())}, but the data set names {len(class_names)} "
            "classes; read it with the model's class names"
        )
