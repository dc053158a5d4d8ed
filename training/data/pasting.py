"""Instances of a source set pasted into a sample, their edges blended.

After Dwibedi et al. 2017, "Cut, Paste and Learn", and Ghiasi et al. 2021, "Simple Copy-Paste"; unlike there, nothing is
covered.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError
from scene.image import RgbImage
from training.data.dataset import InstanceDataset
from training.data.mixing import PasteSettings, SourceRule, draw_lots, fitting_pictures, place
from training.data.sample import Sample, Window, part_of, whole_pixels

_REDRAWS = 20
_LEAST_WEIGHT = 1e-6
_BORDER = 2
"""Pixels to the picture's border within which an instance counts as cut by it."""


@dataclass(frozen=True)
class SourceInstance:
    """One source instance: its picture's index and (height, width), its class, its tight box there, and in that its
    mask uint8 [h, w] of 0 and 1."""

    picture: int
    picture_hw: tuple[int, int]
    class_index: int
    box_xyxy: Window
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class Cutout:
    """An instance as it will be pasted: ``inner``, its mask without the edge, in its own picture; ``alpha`` float32
    [h, w] in [0, 1], its weight against the picture, scaled, mirrored where ``mirrored``, and faded to zero."""

    instance: SourceInstance
    inner: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    mirrored: bool

    @property
    def mask(self) -> NDArray[np.uint8]:
        """Where the instance weighs at least as much as the picture: uint8 [h, w] of 0 and 1."""
        return (self.alpha >= 0.5).view(np.uint8)


class InstanceDonor:
    """The instances that a source set has to give, each as likely as any other, or each class, if ``balanced``.

    Crowds are none, nor what the border of its picture cuts off, what stands behind others in pieces or what is smaller
    than ``settings.smallest_side``. Raises ``DataError`` where the source holds no single instance.
    """

    def __init__(self, source: InstanceDataset, settings: PasteSettings, seed: int) -> None:
        fitting = fitting_pictures(source, SourceRule(any_of=source.class_names))
        if not fitting:
            raise DataError(
                f"{place(source)}: expected an instance to paste, found none; give a source set that holds some"
            )
        self.source = draw_lots(source, fitting, settings.pool, seed)
        self.settings = settings
        rows = (
            (class_index, index, row)
            for index in range(len(self.source))
            for row, (class_index, crowd) in enumerate(self.source.classes_on(index))
            if not crowd
        )
        self._rows = np.array(sorted(rows), np.int32)
        self._first_of_class = np.flatnonzero(np.diff(self._rows[:, 0], prepend=-1))

    def draw(self, rng: np.random.Generator) -> SourceInstance | None:
        """One of them at random; None where a number of draws came upon none that is whole and large enough."""
        for _ in range(_REDRAWS):
            class_index, index, row = (int(number) for number in self._rows[self._draw_row(rng)])
            mask, box_xyxy = self.source.cut_mask(index, row)
            picture_hw = self.source.size_hw(index)
            large_enough = mask.size > 0 and max(mask.shape) >= self.settings.smallest_side
            if large_enough and _stands_free(box_xyxy, picture_hw) and _is_one_piece(mask, self.settings.one_piece):
                return SourceInstance(index, picture_hw, class_index, box_xyxy, mask)
        return None

    def _draw_row(self, rng: np.random.Generator) -> int:
        if not self.settings.balanced:
            return int(rng.integers(len(self._rows)))
        bounds = [*self._first_of_class, len(self._rows)]
        number = int(rng.integers(len(self._first_of_class)))
        return int(rng.integers(bounds[number], bounds[number + 1]))


def paste_instances(sample: Sample, donor: InstanceDonor, settings: PasteSettings, rng: np.random.Generator) -> Sample:
    """The sample with instances of the donor, behind its own in number and beside them in place.

    What stood there keeps its pixels, and pasted instances do not touch each other. A pasted mask is where its instance
    outweighs the picture, and its box the tight one.
    """
    image, taken = sample.image.copy(), _taken(sample)
    pasted: list[tuple[Cutout, Window]] = []
    for cutout in _draw_cutouts(donor, sample.size_hw, settings, rng):
        place = _free_place(cutout.alpha, taken, settings.tries, rng)
        if place is not None:
            part_of(taken, place)[cutout.alpha > 0] = 1
            _blend(part_of(image, place), cutout.alpha, _colours(cutout, donor, settings.feather))
            pasted.append((cutout, place))
    return _joined(sample, image, pasted) if pasted else sample


def _stands_free(box_xyxy: Window, size_hw: tuple[int, int]) -> bool:
    x1, y1, x2, y2 = box_xyxy
    return min(x1, y1, size_hw[1] - x2, size_hw[0] - y2) >= _BORDER


def _is_one_piece(mask: NDArray[np.uint8], share: float) -> bool:
    areas = cv2.connectedComponentsWithStats(mask)[2][1:, cv2.CC_STAT_AREA]
    return bool(areas.max() >= share * areas.sum())


def _draw_cutouts(
    donor: InstanceDonor, size_hw: tuple[int, int], settings: PasteSettings, rng: np.random.Generator
) -> Iterator[Cutout]:
    for _ in range(int(rng.integers(settings.count[0], settings.count[1] + 1))):
        found = donor.draw(rng)
        cutout = None if found is None else _perturbed(found, size_hw, settings, rng)
        if cutout is not None:
            yield cutout


def _perturbed(
    found: SourceInstance, size_hw: tuple[int, int], settings: PasteSettings, rng: np.random.Generator
) -> Cutout | None:
    """The instance scaled and perhaps mirrored, for a picture of (height, width); None where it is too small or large.

    Its proportions stay, so neither picture may have been stretched.
    """
    factor = rng.uniform(*settings.scale) * size_hw[0] / found.picture_hw[0]
    mirrored = settings.mirror and rng.random() < 0.5
    height, width = (max(round(side * factor), 1) for side in found.mask.shape)
    margin = _margin(settings.feather)
    if height + 2 * margin > size_hw[0] or width + 2 * margin > size_hw[1]:
        return None
    inner = _inner(found.mask, settings.inset)
    alpha = _blurred(_framed(inner.astype(np.float32), (height, width), margin), settings.feather)
    cutout = Cutout(found, inner, alpha[:, ::-1] if mirrored else alpha, mirrored)
    sides = cv2.boundingRect(cutout.mask)[2:]
    return cutout if max(sides) >= settings.smallest_side else None


def _inner(mask: NDArray[np.uint8], inset: int) -> NDArray[np.uint8]:
    kernel = np.ones((3, 3), np.uint8)
    eroded = cv2.erode(mask, kernel, iterations=inset, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return cast(NDArray[np.uint8], eroded)


def _margin(feather: float) -> int:
    return ceil(3 * feather)


def _framed(values: NDArray[np.float32], size_hw: tuple[int, int], margin: int) -> NDArray[np.float32]:
    """Values [h, w, ...] at another (height, width), with a margin of zeros."""
    shrinks = size_hw[0] < values.shape[0]
    resized = cv2.resize(values, size_hw[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    framed = cv2.copyMakeBorder(resized, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    return cast(NDArray[np.float32], framed)


def _blurred(values: NDArray[np.float32], feather: float) -> NDArray[np.float32]:
    side = 2 * _margin(feather) + 1
    return cast(NDArray[np.float32], cv2.GaussianBlur(values, (side, side), feather)) if feather else values


def _colours(cutout: Cutout, donor: InstanceDonor, feather: float) -> NDArray[np.float32]:
    """The instance's own colours float32 [h, w, 3], spread outwards where its edge fades: none are its background's."""
    found, margin = cutout.instance, _margin(feather)
    size_hw = cutout.alpha.shape[0] - 2 * margin, cutout.alpha.shape[1] - 2 * margin
    own = part_of(donor.source.picture(found.picture), found.box_xyxy) * cutout.inner[..., None].astype(np.float32)
    weight = _framed(cutout.inner.astype(np.float32), size_hw, margin)[..., None]
    colours = _framed(own, size_hw, margin)
    spread = _blurred(colours, feather) / np.maximum(_blurred(weight, feather).reshape(weight.shape), _LEAST_WEIGHT)
    mixed = np.where(weight > 0.5, colours / np.maximum(weight, _LEAST_WEIGHT), spread)
    return mixed[:, ::-1] if cutout.mirrored else mixed


def _free_place(
    alpha: NDArray[np.float32], taken: NDArray[np.uint8], tries: int, rng: np.random.Generator
) -> Window | None:
    """A random place, as xyxy, where what shows of a cutout meets nothing; None where no try finds one."""
    shown, (height, width) = alpha > 0, alpha.shape
    for _ in range(tries):
        x, y = int(rng.integers(taken.shape[1] - width + 1)), int(rng.integers(taken.shape[0] - height + 1))
        place = x, y, x + width, y + height
        if not part_of(taken, place)[shown].any():
            return place
    return None


def _blend(part: RgbImage, alpha: NDArray[np.float32], colours: NDArray[np.float32]) -> None:
    """Lay colours onto a picture's part [h, w, 3] by their weight."""
    part[:] = np.rint(part + alpha[..., None] * (colours - part))


def _taken(sample: Sample) -> NDArray[np.uint8]:
    """Where instances and crowds stand: uint8 [H, W] of 0 and 1."""
    taken = np.zeros(sample.size_hw, np.uint8)
    for mask, box in zip(sample.masks, sample.boxes_xyxy, strict=True):
        window = whole_pixels(box)
        part_of(taken, window)[:] |= part_of(mask, window)
    return taken


def _joined(sample: Sample, image: RgbImage, pasted: list[tuple[Cutout, Window]]) -> Sample:
    count, (height, width) = len(sample), sample.size_hw
    masks = np.zeros((count + len(pasted), height, width), np.uint8)
    for target, mask, box in zip(masks, sample.masks, sample.boxes_xyxy, strict=False):
        window = whole_pixels(box)  # all else is zero already: copying whole masks would cost more than pasting
        part_of(target, window)[:] = part_of(mask, window)
    boxes = [_paste_mask(target, *each) for target, each in zip(masks[count:], pasted, strict=True)]
    classes = [cutout.instance.class_index for cutout, _ in pasted]
    return Sample(
        image,
        np.concatenate([sample.boxes_xyxy, np.array(boxes, np.float32)]),
        np.concatenate([sample.classes, np.array(classes, np.int64)]),
        masks,
        np.concatenate([sample.crowds, np.zeros(len(pasted), np.bool_)]),
    )


def _paste_mask(target: NDArray[np.uint8], cutout: Cutout, place: Window) -> Window:
    mask = cutout.mask
    part_of(target, place)[:] = mask
    x, y, w, h = cv2.boundingRect(mask)
    return place[0] + x, place[1] + y, place[0] + x + w, place[1] + y + h
