"""Augmentation of YOLACT's training: SSD's chain (Liu et al. 2016, section 2.2 "Data augmentation") on masks.

Expanding, cropping, jittering the scale and stretching are one window on the picture, so that pixels and masks are
resampled once, and only what is seen is touched. All randomness comes from the generator passed in.
"""

from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.image import RgbImage, network_input
from training.data.sample import Sample, Window, part_of, whole_pixels
from training.distortion import Distortion

MEAN_RGB = (124, 117, 104)
"""ImageNet's mean colour, rounded: what an expanded picture is filled with, zero to a normalised network."""

CROP_AS_PUBLISHED = (None, 0.0, 0.0, 0.0, 0.0, 0.0)
"""``Augmentation.crop_min_iou`` as YOLACT's code does it, whose least IoU never turns a crop down: five of six pictures
are cropped, however small their objects."""

LARGE_SCALE_JITTER = (0.1, 2.0)
"""``Augmentation.jitter`` of Ghiasi et al. 2021, "Simple Copy-Paste", section 3."""

_CROP_TRIES = 50


@dataclass(frozen=True)
class Augmentation:
    """How strongly a sample is changed; the defaults are SSD's and YOLACT's.

    Every photometric step, the expansion and the mirror happen with one half. ``brightness`` is in levels of 255,
    ``contrast`` and ``saturation`` are ranges of factors, ``hue_degrees`` is to either side. ``expand_max`` is the
    largest ratio of the sides, 1 for none. ``crop_min_iou`` lists what a crop may be asked for: None leaves the picture
    whole, 0 takes any crop that holds a box's centre. ``crop_aspect`` is height by width relative to the picture's own.
    ``jitter`` is a range of factors for large-scale jitter, None for none: the picture is scaled by one of them, then
    cropped or filled up to its old size at a random place; expansion and crop do not happen then.
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
    jitter: tuple[float, float] | None = None
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
    distortion = draw_distortion(settings, rng) if settings.photometric else None
    sample = look_through(sample, _draw_window(sample, settings, rng), size_hw, settings, distortion)
    return mirror(sample) if settings.mirror and rng.random() < 0.5 else sample


def draw_distortion(settings: Augmentation, rng: np.random.Generator) -> Distortion:
    """Brightness, contrast, saturation and hue, each with one half, and the place of contrast."""
    brightness = rng.uniform(-settings.brightness, settings.brightness) if rng.random() < 0.5 else 0.0
    contrast = rng.uniform(*settings.contrast) if rng.random() < 0.5 else 1.0
    saturation = rng.uniform(*settings.saturation) if rng.random() < 0.5 else 1.0
    hue = rng.uniform(-settings.hue_degrees, settings.hue_degrees) if rng.random() < 0.5 else 0.0
    return Distortion(brightness, contrast, saturation, hue, rng.random() < 0.5)


def expanded_window(size_hw: tuple[int, int], expand_max: float, rng: np.random.Generator) -> Window:
    """A window up to ``expand_max`` times as wide and high as the picture that holds it somewhere, with one half."""
    if expand_max <= 1 or rng.random() < 0.5:
        return _whole(size_hw)
    ratio = rng.uniform(1, expand_max)
    height, width = (int(side * ratio) for side in size_hw)
    top, left = int(rng.uniform(0, height - size_hw[0])), int(rng.uniform(0, width - size_hw[1]))
    return -left, -top, width - left, height - top


def jittered_window(size_hw: tuple[int, int], scales: tuple[float, float], rng: np.random.Generator) -> Window:
    """A window of the picture's shape through which it appears scaled by a factor from ``scales``.

    Above 1 it lies somewhere in the picture, below 1 the picture lies somewhere in it.
    """
    scale = rng.uniform(*scales)
    height, width = (max(round(side / scale), 1) for side in size_hw)
    top, left = (round((side - shown) * rng.random()) for side, shown in zip(size_hw, (height, width), strict=True))
    return left, top, left + width, top + height


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


def look_through(
    sample: Sample,
    window: Window,
    size_hw: tuple[int, int],
    settings: Augmentation,
    distortion: Distortion | None = None,
) -> Sample:
    """What of the sample lies in the window, distorted and stretched to (height, width); the rest is the fill colour.

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
    part = part_of(sample.image, window)
    if distortion is not None and part.size:
        part = distortion.of(part)
    image = _pixels_through(part, window, size_hw, settings.fill_rgb)
    if keep.all():
        return Sample(image, boxes, sample.classes, masks, sample.crowds)
    return Sample(image, boxes[keep], sample.classes[keep], masks[keep], sample.crowds[keep])


def mirror(sample: Sample) -> Sample:
    """The sample with left and right exchanged."""
    x1, y1, x2, y2 = sample.boxes_xyxy.T
    width = sample.size_hw[1]
    boxes = np.stack([width - x2, y1, width - x1, y2], axis=1).astype(np.float32)
    masks = np.zeros_like(sample.masks)
    for target, mask, there, here in zip(masks, sample.masks, boxes, sample.boxes_xyxy, strict=True):
        part_of(target, whole_pixels(there))[:] = part_of(mask, whole_pixels(here))[:, ::-1]
    return replace(sample, image=cast(RgbImage, cv2.flip(sample.image, 1)), boxes_xyxy=boxes, masks=masks)


def _draw_window(sample: Sample, settings: Augmentation, rng: np.random.Generator) -> Window:
    if settings.jitter is not None:
        return jittered_window(sample.size_hw, settings.jitter, rng)
    window = expanded_window(sample.size_hw, settings.expand_max, rng)
    if not settings.crop:
        return window
    return cropped_window(window, sample.boxes_xyxy[~sample.crowds], settings, rng)


def _whole(size_hw: tuple[int, int]) -> Window:
    return 0, 0, size_hw[1], size_hw[0]


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


def _pixels_through(
    part: RgbImage, window: Window, size_hw: tuple[int, int], fill_rgb: tuple[int, int, int]
) -> RgbImage:
    """The window at (height, width), of which ``part`` is what the picture has of it."""
    x1, y1, x2, y2 = window
    if part.shape[:2] == (y2 - y1, x2 - x1):
        return network_input(part, size_hw)
    target = np.full((*size_hw, 3), fill_rgb, np.uint8)
    if part.size:
        left, top = max(x1, 0), max(y1, 0)
        shown = left, top, left + part.shape[1], top + part.shape[0]
        values, (left, top, right, bottom) = _warp(part, shown, window, size_hw, fill_rgb)
        target[top:bottom, left:right] = values
    return target


def _mask_through(
    mask: NDArray[np.uint8], box_xyxy: NDArray[np.float32], window: Window, target: NDArray[np.uint8]
) -> tuple[Window, float]:
    """Write what the window shows of a mask [H, W] into ``target`` [h, w]; its tight box there, the share that stays.

    Only the part around the mask's own box is touched: a street scene's instances are small.
    """
    own = whole_pixels(box_xyxy)
    shown = max(own[0], window[0]), max(own[1], window[1]), min(own[2], window[2]), min(own[3], window[3])
    part = part_of(mask, shown)
    pixels = cv2.countNonZero(part) if part.size else 0
    if not pixels:
        return (0, 0, 0, 0), 0.0
    values, (left, top, right, bottom) = _warp(part * np.uint8(254), shown, window, target.shape, 0)
    cut = target[top:bottom, left:right]
    np.greater_equal(values, 127, out=cut.view(np.bool_))
    x, y, w, h = cv2.boundingRect(cut)
    box = (left + x, top + y, left + x + w, top + y + h) if w else (0, 0, 0, 0)
    return box, pixels / cv2.countNonZero(part_of(mask, own))


def _warp(
    part: NDArray[np.uint8],
    shown: Window,
    window: Window,
    size_hw: tuple[int, ...],
    fill: int | tuple[int, int, int],
) -> tuple[NDArray[np.uint8], Window]:
    """Bilinear samples of the window at (height, width) around where it shows ``part``, and where these lie.

    Around the part all is ``fill``, except beyond the window, whose edge pixels are repeated, as in a resized picture.
    """
    margins = [int(shown[side] != window[side]) for side in range(4)]
    left, top, right, bottom = margins
    piece = cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_CONSTANT, value=fill)
    steps = [(window[axis + 2] - window[axis]) / size_hw[1 - axis] for axis in (0, 1)]
    starts = [shown[axis] - window[axis] - margins[axis] for axis in (0, 1)]
    (x1, x2), (y1, y2) = (
        _target_span(starts[axis], piece.shape[1 - axis], steps[axis], size_hw[1 - axis]) for axis in (0, 1)
    )
    to_piece = np.array(
        [
            [steps[0], 0, (x1 + 0.5) * steps[0] - 0.5 - starts[0]],
            [0, steps[1], (y1 + 0.5) * steps[1] - 0.5 - starts[1]],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    values = cv2.warpAffine(piece, to_piece, (x2 - x1, y2 - y1), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cast(NDArray[np.uint8], values), (x1, y1, x2, y2)


def _target_span(start: int, length: int, step: float, limit: int) -> tuple[int, int]:
    """The target pixels that bilinear sampling of ``length`` source pixels from ``start`` can reach."""
    return max(int((start - 1) / step) - 1, 0), min(int((start + length + 1) / step) + 2, limit)
