"""Instances drawn on frames: masks, boxes, and labels where there is room for them."""

from functools import lru_cache
from typing import cast

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from scene.image import RgbImage
from serve.answer import Answer, FoundInstance, MaskRegion

COLOURS = ("#ff4d6d", "#ff9f1c", "#2ec4ff", "#9d8cff", "#ffe14d", "#8ce05a", "#ff6bf0", "#2effc3")
"""One for each street class, in their order; further classes begin anew."""

LABEL_SIDES = (14.0, 32.0)
"""A box gets a label if its height and width are at least the frame's height over 14 and over 32: on a 720p frame
51 and 22 pixels. Smaller objects keep mask and box, so that a crowd stays legible."""


class Painter:
    """Draws on frames of one size: lines and letters grow with it."""

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self.size_hw = size_hw
        palette = sv.ColorPalette.from_hex(list(COLOURS))
        scale = max(size_hw[0] / 720, 0.6)
        self._scale = scale
        self._mask = sv.MaskAnnotator(palette, opacity=0.45)
        self._box = sv.BoxAnnotator(palette, thickness=max(1, round(1.5 * scale)))
        self._faded_mask = sv.MaskAnnotator(palette, opacity=0.28)
        self._faded_box = sv.BoxAnnotator(palette, thickness=1)
        self._label = sv.LabelAnnotator(
            palette,
            text_color=sv.Color.BLACK,
            text_scale=0.42 * scale,
            text_thickness=1,
            text_padding=max(2, round(3 * scale)),
        )

    def paint(self, image: RgbImage, answer: Answer, faded: bool = False) -> RgbImage:
        """A copy of the frame with the answer's instances; paler if ``faded``, for an answer to an older frame."""
        canvas = cast(NDArray[np.uint8], cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        found = answer.instances
        if found:
            rows = _rows(found, self.size_hw)
            canvas = (self._faded_mask if faded else self._mask).annotate(canvas, rows)
            canvas = (self._faded_box if faded else self._box).annotate(canvas, rows)
            canvas = self._labelled(canvas, rows, found)
        return cast(RgbImage, cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB))

    def note(self, image: RgbImage, text: str) -> RgbImage:
        """Write a line into the frame's left lower corner, in place."""
        scale = 0.45 * self._scale
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        centre = sv.Point(x=width // 2 + 2 * height, y=self.size_hw[0] - 2 * height)
        sv.draw_text(image, text, centre, sv.Color.WHITE, scale, background_color=sv.Color.BLACK)
        return image

    def _labelled(
        self, canvas: NDArray[np.uint8], rows: sv.Detections, found: tuple[FoundInstance, ...]
    ) -> NDArray[np.uint8]:
        roomy = [_has_room(instance, self.size_hw[0]) for instance in found]
        if not any(roomy):
            return canvas
        labels = [label_of(each) for each, keep in zip(found, roomy, strict=True) if keep]
        labelled = cast(sv.Detections, rows[np.array(roomy)])
        return self._label.annotate(canvas, labelled, labels)


def label_of(instance: FoundInstance) -> str:
    """What is written beside an instance: its class with its id where it has one, else with its score."""
    number = f"{instance.score:.2f}" if instance.track_id is None else str(instance.track_id)
    return f"{instance.class_name} {number}"


@lru_cache(maxsize=4)
def painter_for(size_hw: tuple[int, int]) -> Painter:
    """The painter for frames of (height, width)."""
    return Painter(size_hw)


def _has_room(instance: FoundInstance, frame_height: int) -> bool:
    x1, y1, x2, y2 = instance.box_xyxy
    return y2 - y1 >= frame_height / LABEL_SIDES[0] and x2 - x1 >= frame_height / LABEL_SIDES[1]


def _rows(found: tuple[FoundInstance, ...], size_hw: tuple[int, int]) -> sv.Detections:
    return sv.Detections(
        xyxy=np.array([each.box_xyxy for each in found], np.float32),
        class_id=np.array([each.class_index for each in found], np.int64),
        confidence=np.array([each.score for each in found], np.float32),
        mask=_compact_masks([each.mask for each in found if each.mask], size_hw) if _masked(found) else None,
    )


def _masked(found: tuple[FoundInstance, ...]) -> bool:
    return all(each.mask is not None for each in found)


def _compact_masks(regions: list[MaskRegion], size_hw: tuple[int, int]) -> sv.CompactMask:
    """The library's own run lengths, so that no mask of the whole frame is ever made."""
    return sv.CompactMask(
        [_run_lengths(region.pixels()) for region in regions],
        np.array([region.size_hw for region in regions], np.int32),
        np.array([region.xy for region in regions], np.int32),
        size_hw,
    )


def _run_lengths(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Lengths of the runs of 0 and 1 in turn, column by column, beginning with 0."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(ends, prepend=0).astype(np.int32)
