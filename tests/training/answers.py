"""What a model could say of a small data set: nothing, the truth, or a mask of one's own."""

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from scene.image import RgbImage
from scene.instances import Detections
from training.data.coco import CocoDataset
from training.predictions import Predict, Prediction

NOTHING = Detections(
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.int32),
    np.zeros((0, 12, 16), np.uint8),
)


def silent(frames: list[RgbImage]) -> list[Detections]:
    return [NOTHING for _ in frames]


def truth_teller(dataset: CocoDataset) -> Predict:
    """Answers the data set's own instances, as soft masks at full resolution."""
    indices = iter(range(len(dataset)))

    def predict(frames: list[RgbImage]) -> list[Detections]:
        return [answer(dataset, next(indices)) for _ in frames]

    return predict


def answer(dataset: CocoDataset, index: int) -> Detections:
    sample = dataset[index]
    objects = sample.rows(~sample.crowds)
    scores = np.linspace(0.9, 0.5, len(objects), dtype=np.float32)
    scale = np.array([*sample.size_hw[::-1]] * 2, np.float32)
    return Detections(
        objects.boxes_xyxy / scale, scores, scores, objects.classes.astype(np.int32), objects.masks * np.uint8(255)
    )


def prediction(mask: NDArray[np.uint8], score: float, mask_score: float, class_index: int = 2) -> Prediction:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    x, y, w, h = (float(side) for side in coco_mask.toBbox(encoded))
    return Prediction(1, class_index, score, mask_score, (x, y, w, h), encoded)
