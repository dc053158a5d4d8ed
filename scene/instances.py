"""What a network says of one frame, and how it is laid onto the frame: boxes to pixels, masks as far as they reach."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

MASK_CUT = 128
"""A mask pixel of 255 x probability belongs to the instance from here on."""

_REACH = 2
"""A network's mask is cropped at its box grown by one of its own pixels; interpolated, it reaches one further."""


@dataclass(frozen=True)
class Detections:
    """One frame's rows of the deployed graph, sorted by ``scores`` falling, without the padding.

    ``boxes_xyxy`` float32 [N, 4] in [0, 1] of the frame; ``scores`` and ``mask_scores`` float32 [N] in [0, 1];
    ``classes`` int32 [N] from 0; ``masks`` uint8 [N, h, w], 255 x probability at prototype resolution.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    mask_scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    masks: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, thresholds: NDArray[np.float32]) -> "Detections":
        """The rows whose score reaches their class's threshold; ``thresholds`` float32 [classes]."""
        return self._only(self.scores >= thresholds[self.classes])

    def renumbered(self, table: NDArray[np.int32]) -> "Detections":
        """The rows of the classes that the table (int32 [classes]) gives another number; those of -1 are left out."""
        kept = self._only(table[self.classes] >= 0)
        return replace(kept, classes=table[kept.classes])

    def first(self, count: int) -> "Detections":
        """The ``count`` best rows at most."""
        return Detections(*(rows[:count] for rows in self.__dict__.values()))

    def _only(self, keep: NDArray[np.bool_]) -> "Detections":
        return Detections(*(rows[keep] for rows in self.__dict__.values()))


@dataclass(frozen=True)
class Instance:
    """One object on one frame. Scores in [0, 1]; ``box_xyxy`` float pixels of the frame.

    ``mask`` uint8 [h, w] of 0 and 1 covers the frame from ``mask_xy``, its left upper corner (x, y), in whole pixels.
    """

    class_index: int
    score: float
    mask_score: float
    box_xyxy: tuple[float, float, float, float]
    mask_xy: tuple[int, int]
    mask: NDArray[np.uint8]

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.mask.sum())

    def full_mask(self, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """The mask on a frame of (height, width): uint8 [H, W] of 0 and 1."""
        frame = np.zeros(size_hw, np.uint8)
        (x, y), (h, w) = self.mask_xy, self.mask.shape
        frame[y : y + h, x : x + w] = self.mask
        return frame


def instances_on_frame(detections: Detections, size_hw: tuple[int, int]) -> Iterator[Instance]:
    """Lay every detection onto a frame of (height, width) pixels, best first."""
    height, width = size_hw
    scale = np.array([width, height, width, height], np.float32)
    for box, score, mask_score, class_index, mask in zip(
        detections.boxes_xyxy * scale,
        detections.scores,
        detections.mask_scores,
        detections.classes,
        detections.masks,
        strict=True,
    ):
        region = _pixel_region(box, (mask.shape[0], mask.shape[1]), size_hw)
        x1, y1, x2, y2 = (float(side) for side in box)
        yield Instance(
            class_index=int(class_index),
            score=float(score),
            mask_score=float(mask_score),
            box_xyxy=(x1, y1, x2, y2),
            mask_xy=region[:2],
            mask=paste_mask(mask, region, size_hw),
        )


def full_masks(detections: Detections, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Every detection's mask on a frame of (height, width): uint8 [N, H, W] of 0 and 1, best first."""
    frames = np.zeros((len(detections), *size_hw), np.uint8)  # in one piece, of which untouched pages cost nothing
    for frame, instance in zip(frames, instances_on_frame(detections, size_hw), strict=True):
        (x, y), (h, w) = instance.mask_xy, instance.mask.shape
        frame[y : y + h, x : x + w] = instance.mask
    return frames


def paste_mask(
    mask: NDArray[np.uint8], region_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """The part of a mask that lies in a region of the frame: uint8 [y2 - y1, x2 - x1] of 0 and 1.

    ``mask`` uint8 [h, w] covers the whole frame of (height, width); it is upsampled bilinearly (half-pixel centres,
    ``align_corners=False``) only where the region, in whole pixels and end-exclusive, asks for it, then cut at 128.
    """
    x1, y1, x2, y2 = region_xyxy
    step_y, step_x = mask.shape[0] / size_hw[0], mask.shape[1] / size_hw[1]
    to_mask = np.array(
        [[step_x, 0, (x1 + 0.5) * step_x - 0.5], [0, step_y, (y1 + 0.5) * step_y - 0.5]], dtype=np.float64
    )
    soft = cv2.warpAffine(
        mask,
        to_mask,
        (x2 - x1, y2 - y1),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return (soft >= MASK_CUT).astype(np.uint8)


def encode_rle(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask [h, w] of 0 and 1: ``{"size": [h, w], "counts": str}``."""
    rle = cast(dict[str, Any], coco_mask.encode(np.asfortranarray(mask)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def decode_rle(rle: dict[str, Any]) -> NDArray[np.uint8]:
    """The mask [h, w] of 0 and 1 behind COCO's compressed run lengths."""
    return cast(NDArray[np.uint8], coco_mask.decode(rle))


def _pixel_region(
    box_xyxy: NDArray[np.float32], mask_hw: tuple[int, int], size_hw: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The whole pixels that a box's mask can reach, inside the frame and at least one pixel wide and high."""
    height, width = size_hw
    reach = np.array([width / mask_hw[1], height / mask_hw[0]]) * _REACH
    x1, y1 = (int(side) for side in np.floor(box_xyxy[:2] - reach))
    x2, y2 = (int(side) for side in np.ceil(box_xyxy[2:] + reach))
    x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return x1, y1, min(max(x2, x1 + 1), width), min(max(y2, y1 + 1), height)
