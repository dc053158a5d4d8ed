"""One picture with what stands on it: the type that readers, synthetic scenes, mixing and transforms pass on."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError
from scene.image import RgbImage

SizeHw = tuple[int, int]
"""Height and width in pixels."""

Window = tuple[int, int, int, int]
"""A rectangle xyxy in whole pixels of a picture, end-exclusive; it may reach beyond the picture."""

EVERY_CLASS = -1
"""The class of a region that is to be ignored whatever is found there (Cityscapes' caravans and trailers)."""


@dataclass(frozen=True)
class Sample:
    """One picture and its N instances.

    ``image`` uint8 [H, W, 3] RGB; ``boxes_xyxy`` float32 [N, 4] in pixels, end-exclusive, the tight boxes of the masks;
    ``classes`` int64 [N] from 0; ``masks`` uint8 [N, H, W] of 0 and 1; ``crowds`` bool [N], true where a row marks a
    region to be ignored (COCO's crowds, Cityscapes' groups) and not one object; only such a row may be of
    ``EVERY_CLASS``.
    """

    image: RgbImage
    boxes_xyxy: NDArray[np.float32]
    classes: NDArray[np.int64]
    masks: NDArray[np.uint8]
    crowds: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def size_hw(self) -> SizeHw:
        """The picture's (height, width) in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @classmethod
    def empty(cls, image: RgbImage) -> "Sample":
        """The picture [H, W, 3] with nothing on it."""
        masks = np.zeros((0, *image.shape[:2]), np.uint8)
        return cls.from_masks(image, np.zeros(0, np.int64), masks, np.zeros(0, np.bool_))

    @classmethod
    def from_masks(
        cls, image: RgbImage, classes: NDArray[np.int64], masks: NDArray[np.uint8], crowds: NDArray[np.bool_]
    ) -> "Sample":
        """A sample whose boxes are the tight boxes of its masks [N, H, W]."""
        return cls(image, tight_boxes(masks), classes, masks, crowds)

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "Sample":
        """The instances that ``keep`` (bool [N], or indices) names, on the same picture."""
        return Sample(self.image, self.boxes_xyxy[keep], self.classes[keep], self.masks[keep], self.crowds[keep])

    def check(self) -> "Sample":
        """The sample itself; ``DataError`` where shapes or types disagree or a box is not inside the picture."""
        count, size_hw = len(self), self.size_hw
        _expect("image", self.image, (*size_hw, 3), np.uint8)
        _expect("boxes_xyxy", self.boxes_xyxy, (count, 4), np.float32)
        _expect("classes", self.classes, (count,), np.int64)
        _expect("masks", self.masks, (count, *size_hw), np.uint8)
        _expect("crowds", self.crowds, (count,), np.bool_)
        limits = np.array([size_hw[1], size_hw[0]] * 2, np.float32)
        if (self.boxes_xyxy < 0).any() or (self.boxes_xyxy > limits).any():
            raise DataError(f"a box leaves the picture of {size_hw[1]}x{size_hw[0]} pixels; take boxes from the masks")
        if (self.classes < np.where(self.crowds, EVERY_CLASS, 0)).any():
            raise DataError(
                f"a sample's classes start at 0, but {self.classes.tolist()} came; only a crowd has {EVERY_CLASS}"
            )
        return self


def tight_boxes(masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The smallest boxes xyxy (pixels, end-exclusive) around masks [N, H, W]: float32 [N, 4], zeros where empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        x, y, w, h = cv2.boundingRect(mask)
        box[:] = x, y, x + w, y + h
    return boxes


def whole_pixels(box_xyxy: NDArray[np.float32]) -> Window:
    """A tight box as a window."""
    x1, y1, x2, y2 = (int(side) for side in box_xyxy)
    return x1, y1, x2, y2


def part_of(pixels: NDArray[Any], window: Window) -> NDArray[Any]:
    """The pixels [H, W, ...] that a window holds, a view; none where it misses them."""
    x1, y1, x2, y2 = (max(side, 0) for side in window)
    return pixels[y1:y2, x1:x2]


def _expect(name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise DataError(
            f"a sample's {name} should be {np.dtype(dtype)} {list(shape)}, but {array.dtype} {list(array.shape)} came"
        )
