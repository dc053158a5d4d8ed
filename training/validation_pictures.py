"""Held-out pictures with the truth drawn on the left and a network's answer on the right."""

import colorsys
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.image import RgbImage
from scene.instances import Instance, instances_on_frame
from training.data.dataset import InstanceDataset
from training.data.sample import EVERY_CLASS, Sample
from training.predictions import Predict
from training.thresholds import DEFAULT_THRESHOLD

PANEL_WIDTH = 640
"""Pixels of one of the two panels at most."""

_CROWD, _CROWD_RGB = "crowd", (150, 150, 150)
_TINT = 0.45
_LEAST_LABELLED = 1 / 24
"""Of the picture's width: narrower boxes go without a label."""


def drawn_pictures(predict: Predict, held_out: InstanceDataset, count: int = 4) -> Iterator[RgbImage]:
    """So many pictures, spread over the data set, each with the truth and what is found there side by side."""
    count = min(count, len(held_out))
    for index in (number * len(held_out) // count for number in range(count)):
        picture = held_out.picture(index)
        (detections,) = predict([picture])
        sure = detections.above(np.full(len(held_out.class_names), DEFAULT_THRESHOLD, np.float32))
        found = instances_on_frame(sure, (picture.shape[0], picture.shape[1]))
        yield side_by_side(picture, held_out[index], found, held_out.class_names)


def side_by_side(picture: RgbImage, truth: Sample, found: Iterable[Instance], class_names: Sequence[str]) -> RgbImage:
    """The truth's panel and the answer's, each no wider than ``PANEL_WIDTH``."""
    left, right = Canvas(picture, class_names), Canvas(picture, class_names)
    for class_index, mask, box, crowd in zip(truth.classes, truth.masks, truth.boxes_xyxy, truth.crowds, strict=True):
        left.draw(mask, (0, 0), box, int(class_index), _CROWD if crowd else "")
    for instance in found:
        right.draw(instance.mask, instance.mask_xy, instance.box_xyxy, instance.class_index, f"{instance.score:.2f}")
    return np.hstack([_narrowed(canvas.pixels) for canvas in (left, right)])


class Canvas:
    """A copy of a picture, uint8 RGB [H, W, 3], on which instances are drawn."""

    def __init__(self, picture: RgbImage, class_names: Sequence[str]) -> None:
        self.pixels = picture.copy()
        self.class_names = class_names

    def draw(
        self,
        mask: NDArray[np.uint8],
        mask_xy: tuple[int, int],
        box_xyxy: Sequence[float] | NDArray[np.float32],
        class_index: int,
        note: str,
    ) -> None:
        """Tint a mask [h, w] of 0 and 1 that lies at (x, y), frame its box, and name it where there is room."""
        colour = _CROWD_RGB if note == _CROWD else colour_of(class_index, len(self.class_names))
        (x, y), (h, w) = mask_xy, mask.shape
        region, inside = self.pixels[y : y + h, x : x + w], mask.astype(bool)
        region[inside] = np.round((1 - _TINT) * region[inside] + _TINT * np.array(colour)).astype(np.uint8)
        x1, y1, x2, y2 = (round(float(side)) for side in box_xyxy)
        cv2.rectangle(self.pixels, (x1, y1), (x2, y2), colour, self._thickness)
        if x2 - x1 >= _LEAST_LABELLED * self.pixels.shape[1]:
            name = "" if class_index == EVERY_CLASS else self.class_names[class_index]
            self._label(f"{name} {note}".strip(), (x1, y1), colour)

    @property
    def _thickness(self) -> int:
        width: int = self.pixels.shape[1]
        return max(1, round(width / PANEL_WIDTH))

    def _label(self, text: str, corner_xy: tuple[int, int], colour: tuple[int, int, int]) -> None:
        scale, thickness = 0.4 * self.pixels.shape[1] / PANEL_WIDTH, self._thickness
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        x = max(0, min(corner_xy[0], self.pixels.shape[1] - width))
        y = max(corner_xy[1], height + 2)
        cv2.rectangle(self.pixels, (x, y - height - 2), (x + width, y + 2), colour, cv2.FILLED)
        cv2.putText(self.pixels, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thickness, cv2.LINE_AA)


def colour_of(class_index: int, classes: int) -> tuple[int, int, int]:
    """A bright RGB colour for each of so many classes, neighbours far apart."""
    # The golden section spreads many; a few have even distances.
    hue = class_index / classes if classes <= 8 else math.modf(class_index * 0.618034)[0]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _narrowed(pixels: RgbImage) -> RgbImage:
    height, width = pixels.shape[:2]
    if width <= PANEL_WIDTH:
        return pixels
    size = (PANEL_WIDTH, round(height * PANEL_WIDTH / width))
    return cast(RgbImage, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
