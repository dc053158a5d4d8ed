"""Augmentation of YOLACT's training: SSD's chain (Liu et al. 2016, section 2.2 "Data augmentation") on masks.

Expanding, cropping and stretching are one window on the picture, so that pixels and masks are resampled once. All
randomness comes from the generator passed in.
"""

from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.image import RgbImage, network_input
from training.data.sample import Sample

Window = tuple[int, int, int, int]
"""A rectangle xyxy in whole pixels of the picture, end-exclusive; it may reach beyond the picture."""

MEAN_RGB = (124, 117, 104)
"""ImageNet's mean colour, rounded: what an expanded picture is filled with, zero to a normalised network."""

_CROP_TRIES = 50
_FULL_TURN_DEGREES = 360.0


@dataclass(frozen=True)
class Augmentation:
    """How strongly a sample is changed; the defaults are SSD's and YOLACT's.

    Every photometric step, the expansion and the mirror happen with one half. ``brightness`` is in levels of 255,
    ``contrast`` and ``saturation`` are ranges of factors, ``hue_degrees`` is to either side. ``expand_max`` is the
    largest ratio of the sides, 1 for none. ``crop_min_iou`` lists what a crop may be asked for: None leaves the picture
    whole, 0 takes any crop that holds a box's centre. ``crop_aspect`` is height by width relative to the picture's own.
    An instance is dropped when less than ``min_remaining`` of its mask's pixels stay in the window or when its box's
    longer side falls below ``min_side`` pixels of the network's input; crowds stay while a pixel of them is left.
    """

    photometric: bool = True
    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue_degrees: float = 18.0
    expand_max: float = 4.0
    fill_rgb: tuple[int, int, int] = MEAN_RGB
    crop: bool = True
    crop_min_iou: tuple[float | None, ...] = (None, 0.1, 0.3, 0.7, 0.9, 0.0)
    crop_min_side: float = 0.3
    crop_aspect: tuple[float, float] = (0.5, 2.0)
    mirror: bool = True
    min_remaining: float = 0.15
    min_side: float = 4.0


NO_AUGMENTATION = Augmentation(
    photometric=False, expand_max=1.0, crop=False, mirror=False, min_remaining=0.0, min_side=0.0
)
"""Changes nothing but the size."""


def augment(sample: Sample, settings: Augmentation, size_hw: tuple[int, int], rng: np.random.Generator) -> Sample:
    """The sample, randomly changed, at the network's (height, width): the chain that every training picture takes.

    Boxes are the tight boxes of the changed masks; no instance is added, and what the settings call too little is gone.
    """
    if settings.photometric:
        sample = replace(sample, image=distort(sample.image, settings, rng))
    window = expanded_window(sample.size_hw, settings.expand_max, rng)
    if settings.crop:
        window = cropped_window(window, sample.boxes_xyxy[~sample.crowds], settings, rng)
    sample = look_through(sample, window, size_hw, settings)
    return mirror(sample) if settings.mirror and rng.random() < 0.5 else sample


def resize_only(sample: Sample, size_hw: tuple[int, int]) -> Sample:
    """The whole picture stretched to (height, width), as in inference; only instances without a pixel left are gone."""
    return look_through(sample, _whole(sample.size_hw), size_hw, NO_AUGMENTATION)


def distort(image: RgbImage, settings: Augmentation, rng: np.random.Generator) -> RgbImage:
    """Photometric distortion of uint8 RGB [H, W, 3]: brightness, then contrast before or after saturation and hue."""
    brightness = rng.uniform(-settings.brightness, settings.brightness) if rng.random() < 0.5 else 0.0
    contrast = rng.uniform(*settings.contrast) if rng.random() < 0.5 else 1.0
    saturation = rng.uniform(*settings.saturation) if rng.random() < 0.5 else 1.0
    hue = rng.uniform(-settings.hue_degrees, settings.hue_degrees) if rng.random() < 0.5 else 0.0
    if rng.random() < 0.5:
        return _shift_colours(_scale_levels(image, contrast, brightness), saturation, hue)
    return _scale_levels(_shift_colours(_scale_levels(image, 1.0, brightness), saturation, hue), contrast, 0.0)


def expanded_window(size_hw: tuple[int, int], expand_max: float, rng: np.random.Generator) -> Window:
    """A window up to ``expand_max`` times as wide and high as the picture that holds it somewhere, with one half."""
    if expand_max <= 1 or rng.random() < 0.5:
        return _whole(size_hw)
    ratio = rng.uniform(1, expand_max)
    height, width = (int(side * ratio) for side in size_hw)
    top, left = int(rng.uniform(0, height - size_hw[0])), int(rng.uniform(0, width - size_hw[1]))
    return -left, -top, width - left, height - top


def cropped_window(
    window: Window, boxes_xyxy: NDArray[np.float32], settings: Augmentation, rng: np.random.Generator
) -> Window:
    """A part of the window that keeps one box's centre and overlaps one box by a randomly chosen least IoU.

    SSD asks "at least one object"; where fifty tries find no such part, another least IoU is chosen.
    """
    if not len(boxes_xyxy):
        return window
    for choice in rng.permutation(len(settings.crop_min_iou)):
        least = settings.crop_min_iou[choice]
        if least is None:
            return window
        parts = _random_parts(window, settings, rng)
        fitting = parts[_suits(parts, boxes_xyxy, least)]
        if len(fitting):
            x1, y1, x2, y2 = (int(side) for side in fitting[0])
            return x1, y1, x2, y2
    return window


def look_through(sample: Sample, window: Window, size_hw: tuple[int, int], settings: Augmentation) -> Sample:
    """What of the sample lies in the window, stretched to (height, width); outside the picture is the fill colour.

    Masks are sampled where the picture's pixels are (bilinear) and cut at one half.
    """
    masks = np.zeros((len(sample), *size_hw), np.uint8)
    boxes = np.zeros((len(sample), 4), np.float32)
    shares = np.zeros(len(sample), np.float32)
    for row, (mask, box) in enumerate(zip(sample.masks, sample.boxes_xyxy, strict=True)):
        boxes[row], shares[row] = _mask_through(mask, box, window, masks[row])
    side = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    large_enough = (shares >= settings.min_remaining) & (side >= settings.min_side)
    keep = (side > 0) & (large_enough | sample.crowds)
    image = network_input(_pixels_through(sample.image, window, settings.fill_rgb), size_hw)
    return Sample(image, boxes[keep], sample.classes[keep], masks[keep], sample.crowds[keep])


def mirror(sample: Sample) -> Sample:
    """The sample with left and right exchanged."""
    x1, y1, x2, y2 = sample.boxes_xyxy.T
    width = sample.size_hw[1]
    rows = cv2.flip(sample.masks.reshape(-1, width), 1) if len(sample) else sample.masks
    return replace(
        sample,
        image=cast(RgbImage, cv2.flip(sample.image, 1)),
        boxes_xyxy=np.stack([width - x2, y1, width - x1, y2], axis=1).astype(np.float32),
        masks=cast(NDArray[np.uint8], rows.reshape(sample.masks.shape)),
    )


def _whole(size_hw: tuple[int, int]) -> Window:
    return 0, 0, size_hw[1], size_hw[0]


def _scale_levels(image: RgbImage, factor: float, offset: float) -> RgbImage:
    """``factor * (image + offset)``, clipped, by table."""
    if factor == 1 and offset == 0:
        return image
    table = np.clip((np.arange(256) + offset) * factor, 0, 255).round().astype(np.uint8)
    return cast(RgbImage, cv2.LUT(image, table))


def _shift_colours(image: RgbImage, saturation: float, hue_degrees: float) -> RgbImage:
    if saturation == 1 and hue_degrees == 0:
        return image
    levels = np.arange(256)
    hues = (levels + round(hue_degrees * 256 / _FULL_TURN_DEGREES)) % 256
    table = np.stack([hues, np.clip(levels * saturation, 0, 255).round(), levels], axis=1).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table[None])
    return cast(RgbImage, cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


def _random_parts(window: Window, settings: Augmentation, rng: np.random.Generator) -> NDArray[np.int64]:
    """Fifty rectangles xyxy inside the window, less those of the wrong aspect: int64 [at most 50, 4]."""
    x1, y1, x2, y2 = window
    shares_wh = rng.uniform(settings.crop_min_side, 1, (_CROP_TRIES, 2))
    places = rng.random((_CROP_TRIES, 2))
    aspect = shares_wh[:, 1] / shares_wh[:, 0]
    sides = np.maximum(shares_wh * (x2 - x1, y2 - y1), 1).astype(np.int64)
    corners = np.array([x1, y1]) + (([x2 - x1, y2 - y1] - sides) * places).astype(np.int64)
    parts = np.concatenate([corners, corners + sides], axis=1)
    return parts[(aspect >= settings.crop_aspect[0]) & (aspect <= settings.crop_aspect[1])]


def _suits(parts: NDArray[np.int64], boxes_xyxy: NDArray[np.float32], least_iou: float) -> NDArray[np.bool_]:
    """Which parts [P, 4] hold the centre of a box [N, 4] and overlap one by the least IoU: bool [P]."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    low, high = parts[:, None, :2], parts[:, None, 2:]
    inside = ((centres > low) & (centres < high)).all(axis=2)
    shared = np.minimum(high, boxes_xyxy[:, 2:]) - np.maximum(low, boxes_xyxy[:, :2])
    overlap = shared.clip(min=0).prod(axis=2)
    areas = (high - low).prod(axis=2) + (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    suits: NDArray[np.bool_] = np.any(inside, axis=1) & np.any(overlap / (areas - overlap) >= least_iou, axis=1)
    return suits


def _pixels_through(image: RgbImage, window: Window, fill_rgb: tuple[int, int, int]) -> RgbImage:
    x1, y1, x2, y2 = window
    part = _part(image, window)
    if part.shape[:2] == (y2 - y1, x2 - x1):
        return part
    if not part.size:
        return np.full((y2 - y1, x2 - x1, 3), fill_rgb, np.uint8)
    top, left = max(-y1, 0), max(-x1, 0)
    margins = top, y2 - y1 - top - part.shape[0], left, x2 - x1 - left - part.shape[1]
    return cast(RgbImage, cv2.copyMakeBorder(part, *margins, cv2.BORDER_CONSTANT, value=fill_rgb))


def _part(pixels: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """The pixels [H, W, ...] that a window holds; none where it misses them."""
    x1, y1, x2, y2 = (max(side, 0) for side in window)
    return pixels[y1:y2, x1:x2]


def _mask_through(
    mask: NDArray[np.uint8], box_xyxy: NDArray[np.float32], window: Window, target: NDArray[np.uint8]
) -> tuple[tuple[int, int, int, int], float]:
    """Write what the window shows of a mask [H, W] into ``target`` [h, w]; its tight box there, the share that stays.

    Only the part around the mask's own box is touched: a street scene's instances are small.
    """
    left, top, right, bottom = shown = _shared(box_xyxy, window)
    part = _part(mask, shown)
    pixels = cv2.countNonZero(part) if part.size else 0
    if not pixels:
        return (0, 0, 0, 0), 0.0
    margins = int(top > window[1]), int(bottom < window[3]), int(left > window[0]), int(right < window[2])
    soft = cast(NDArray[np.uint8], cv2.copyMakeBorder(part * np.uint8(254), *margins, cv2.BORDER_CONSTANT))
    start_xy = left - window[0] - margins[2], top - window[1] - margins[0]
    box = _warp_onto(target, soft, start_xy, (window[2] - window[0], window[3] - window[1]))
    return box, pixels / cv2.countNonZero(mask)


def _shared(box_xyxy: NDArray[np.float32], window: Window) -> Window:
    x1, y1, x2, y2 = (int(side) for side in box_xyxy)
    return max(x1, window[0]), max(y1, window[1]), min(x2, window[2]), min(y2, window[3])


def _warp_onto(
    target: NDArray[np.uint8], soft: NDArray[np.uint8], start_xy: tuple[int, int], window_wh: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Sample a piece of the window, 0 or 254, that starts there bilinearly onto ``target``, cut at one half.

    The piece is repeated beyond its edge, so it has a margin of zeros where it is not also the edge of the window.
    Returns the tight box xyxy of what was written.
    """
    step_x, step_y = window_wh[0] / target.shape[1], window_wh[1] / target.shape[0]
    left, right = _target_span(start_xy[0], soft.shape[1], step_x, target.shape[1])
    top, bottom = _target_span(start_xy[1], soft.shape[0], step_y, target.shape[0])
    to_soft = np.array(
        [
            [step_x, 0, (left + 0.5) * step_x - 0.5 - start_xy[0]],
            [0, step_y, (top + 0.5) * step_y - 0.5 - start_xy[1]],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size_wh = right - left, bottom - top
    values = cv2.warpAffine(soft, to_soft, size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    target[top:bottom, left:right] = values >= 127
    x, y, w, h = cv2.boundingRect(target[top:bottom, left:right])
    return (x + left, y + top, x + w + left, y + h + top) if w else (0, 0, 0, 0)


def _target_span(start: int, length: int, step: float, limit: int) -> tuple[int, int]:
    """The target pixels that bilinear sampling of ``length`` source pixels from ``start`` can reach."""
    return max(int((start - 1) / step) - 1, 0), min(int((start + length + 1) / step) + 2, limit)
