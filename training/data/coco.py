"""Pictures and instances from a COCO JSON (Lin et al. 2014): run lengths, polygons, crowds, decoded when asked for."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from math import gcd
from pathlib import Path
from typing import Any, cast

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from scene.classes import STREET_CLASSES, coco_categories
from scene.errors import DataError
from scene.image import RgbImage, network_input
from training.data.sample import Sample

SizeHw = tuple[int, int]
Rle = dict[str, Any]
"""COCO's compressed run lengths: ``{"size": [h, w], "counts": str or bytes}``."""

_LONGEST_COUNT = 7
"""Characters of a count, five bits each: enough for any picture."""


class _RunLengths(msgspec.Struct, gc=False):
    size: tuple[int, int]
    counts: str | list[int]


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    height: int
    width: int


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    segmentation: _RunLengths | list[list[float]]
    iscrowd: int = 0
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _CocoFile(msgspec.Struct, gc=False):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class CocoDataset:
    """A COCO JSON and the pictures beside it, as samples.

    Categories find their class index by name in ``class_names``; annotations of other names are left out and counted in
    ``dropped``. A picture lies at its ``file_name`` beside the JSON, or in ``images/`` where that names no folder. With
    ``scale_to_hw`` samples are read stretched to that (height, width); ``picture`` and ``ground_truth`` stay whole.
    Masks stay run lengths until an item is asked for; instances without a pixel left do not appear in it.

    Raises ``DataError`` when the JSON is missing, malformed or empty, and, item by item, when a picture is.
    """

    def __init__(
        self, annotation_file: Path, scale_to_hw: SizeHw | None = None, class_names: tuple[str, ...] = STREET_CLASSES
    ) -> None:
        content = _read_json(annotation_file)
        self.class_names = class_names
        self.scale_to_hw = scale_to_hw
        self.annotation_file = annotation_file
        self._folder = annotation_file.parent
        self._images = content.images
        self._class_of, self.dropped = _map_classes(content, class_names, annotation_file)
        self._annotations = _group(content, self._class_of, annotation_file)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        entry = self._images[index]
        image, size_hw = self.picture(index, self.scale_to_hw), (entry.height, entry.width)
        masks, boxes_xyxy = self._masks(entry, self.scale_to_hw or size_hw)
        annotations = self._annotations[entry.id]
        classes = np.array([self._class_of[row.category_id] for row in annotations], np.int64)
        crowds = np.array([row.iscrowd != 0 for row in annotations], np.bool_)
        sample = Sample(image, boxes_xyxy, classes, masks, crowds)
        visible = sample.boxes_xyxy[:, 2] > sample.boxes_xyxy[:, 0]
        return sample if visible.all() else sample.rows(visible)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process needs: not the ground truth, which only evaluation builds."""
        return {key: value for key, value in self.__dict__.items() if key != "ground_truth"}

    def image_id(self, index: int) -> int:
        """The picture's id in the JSON."""
        return self._images[index].id

    def picture(self, index: int, scale_to_hw: SizeHw | None = None) -> RgbImage:
        """The picture alone, uint8 RGB [H, W, 3], whole or stretched to (height, width)."""
        entry = self._images[index]
        name = Path(entry.file_name)
        path = self._folder / (name if len(name.parts) > 1 else Path("images") / name)
        return _read_picture(path, (entry.height, entry.width), scale_to_hw)

    def size_hw(self, index: int) -> SizeHw:
        """The whole picture's (height, width), as the JSON has it."""
        return self._images[index].height, self._images[index].width

    def classes_on(self, index: int) -> list[tuple[int, bool]]:
        """The class index of each annotation of a picture, and whether that is a crowd; no mask is decoded for it."""
        return [(self._class_of[row.category_id], row.iscrowd != 0) for row in self._annotations[self.image_id(index)]]

    def cut_mask(self, index: int, row: int) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
        """The mask [h, w] of one annotation, by its place in ``classes_on``, within its tight box xyxy on the whole
        picture, and that box; [0, 0] where it has no pixel."""
        size_hw = self.size_hw(index)
        mask = np.zeros(size_hw, np.uint8)
        annotation = self._annotations[self.image_id(index)][row]
        x1, y1, x2, y2 = box_xyxy = _decode_onto(mask, _compressed(annotation.segmentation, size_hw))
        return mask[y1:y2, x1:x2], box_xyxy

    def first(self, count: int) -> "CocoDataset":
        """The same data set with its first ``count`` pictures at most."""
        return self.pick(range(len(self))[:count])

    def pick(self, indices: Sequence[int]) -> "CocoDataset":
        """The same data set with these of its pictures alone, in this order."""
        part = object.__new__(CocoDataset)
        images = [self._images[index] for index in indices]
        annotations = {entry.id: self._annotations[entry.id] for entry in images}
        part.__dict__.update(self.__getstate__(), _images=images, _annotations=annotations)
        return part

    @cached_property
    def ground_truth(self) -> dict[str, Any]:
        """A COCO JSON as plain data, at full resolution: category ids are class indices plus one, masks compressed."""
        annotations = [
            _truth(row, entry, self._class_of[row.category_id])
            for entry in self._images
            for row in self._annotations[entry.id]
        ]
        return {
            "images": [{"id": entry.id, "height": entry.height, "width": entry.width} for entry in self._images],
            "annotations": [{"id": number, **row} for number, row in enumerate(annotations, start=1)],
            "categories": coco_categories(self.class_names),
        }

    def _masks(self, entry: _Image, to_hw: SizeHw) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A picture's masks [N, h, w] and their tight boxes xyxy."""
        size_hw = (entry.height, entry.width)
        rles = [_compressed(row.segmentation, size_hw) for row in self._annotations[entry.id]]
        masks, boxes_xyxy = np.zeros((len(rles), *to_hw), np.uint8), np.zeros((len(rles), 4), np.float32)
        for mask, box, rle in zip(masks, boxes_xyxy, rles, strict=True):
            box[:] = _decode_onto(mask, rle)
        return masks, boxes_xyxy


def _read_json(path: Path) -> _CocoFile:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_CocoFile)
    except OSError as error:
        raise DataError(
            f"expected a COCO JSON at {path}, found none; name an existing file, or make one with "
            "`streetmask data synth DIR`"
        ) from error
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is no COCO instance file: {error}; write the data set again") from error
    if not content.images:
        raise DataError(f"{path} lists no pictures; a data set needs at least one")
    return content


def _map_classes(content: _CocoFile, class_names: tuple[str, ...], path: Path) -> tuple[dict[int, int], dict[str, int]]:
    """Class index by category id, and how many annotations each unknown name loses."""
    name_of = {category.id: category.name for category in content.categories}
    class_of = {number: class_names.index(name) for number, name in name_of.items() if name in class_names}
    if not class_of:
        raise DataError(
            f"{path} has the categories {sorted(name_of.values())}, none of which is one of {list(class_names)}; "
            "rename its categories or choose other class names"
        )
    try:
        names = Counter(name_of[row.category_id] for row in content.annotations if row.category_id not in class_of)
    except KeyError as error:
        raise DataError(f"{path} has an annotation of category {error}, which its categories do not list") from error
    return class_of, dict(names)


def _group(content: _CocoFile, class_of: dict[int, int], path: Path) -> dict[int, list[_Annotation]]:
    """The annotations of known classes by picture; they must fit it in size."""
    sizes = {entry.id: (entry.height, entry.width) for entry in content.images}
    groups: dict[int, list[_Annotation]] = {image_id: [] for image_id in sizes}
    for row in content.annotations:
        if row.image_id not in sizes:
            raise DataError(f"{path} has an annotation of picture {row.image_id}, which it does not list")
        if isinstance(row.segmentation, _RunLengths) and row.segmentation.size != sizes[row.image_id]:
            raise DataError(
                f"{path} has a mask of {row.segmentation.size} (height, width) on picture {row.image_id} "
                f"of {sizes[row.image_id]}; write the data set again"
            )
        if row.category_id in class_of:
            groups[row.image_id].append(row)
    return groups


def _read_picture(path: Path, size_hw: SizeHw, scale_to_hw: SizeHw | None) -> RgbImage:
    """Read whole, or at half size where that is still enough: a training step must not wait for pixels it discards.

    Orientation tags are ignored, as COCO's annotations do.
    """
    half = scale_to_hw is not None and all(2 * to <= side for to, side in zip(scale_to_hw, size_hw, strict=True))
    reduction = cv2.IMREAD_REDUCED_GRAYSCALE_2 if half else 0
    try:
        data = np.fromfile(path, np.uint8)
        pixels = cv2.imdecode(data, reduction | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except (OSError, cv2.error) as error:
        raise DataError(f"expected a picture at {path}, but it cannot be read; fetch the data set again") from error
    if pixels is None or not _has_size(pixels.shape, size_hw, half):
        raise DataError(f"{path} is no picture of {size_hw} (height, width) as its JSON says; fetch the data set again")
    image = cast(RgbImage, pixels)
    return network_input(image, scale_to_hw) if scale_to_hw and image.shape[:2] != scale_to_hw else image


def _has_size(shape: tuple[int, ...], size_hw: SizeHw, half: bool) -> bool:
    """Whether a decoded picture has the stated size; halves of odd sides are rounded up for JPEG, down for PNG."""
    return all(abs(2 * got - side) <= 1 if half else got == side for got, side in zip(shape, size_hw, strict=False))


def _compressed(segmentation: _RunLengths | list[list[float]], size_hw: SizeHw) -> Rle:
    """Any of COCO's three mask forms as compressed run lengths; polygons of fewer than three points have no pixel."""
    if not isinstance(segmentation, _RunLengths):
        polygons = [points for points in segmentation if len(points) >= 6]
        if not polygons:
            return _compressed(_RunLengths(size_hw, [size_hw[0] * size_hw[1]]), size_hw)
        return cast(Rle, coco_mask.merge(coco_mask.frPyObjects(polygons, *size_hw)))
    if isinstance(segmentation.counts, str):
        return {"size": list(size_hw), "counts": segmentation.counts}
    return cast(Rle, coco_mask.frPyObjects({"size": list(size_hw), "counts": segmentation.counts}, *size_hw))


def _decode_onto(target: NDArray[np.uint8], rle: Rle) -> tuple[int, int, int, int]:
    """Write a mask into ``target`` uint8 [h, w], averaged over areas and cut at one half; its tight box xyxy there.

    Only what holds the instance is decoded and resized: its box, grown to where the pixel borders of both sizes meet,
    so that the result is that of resizing the whole mask. Run lengths go down columns, so all is done transposed.
    """
    size_hw, runs = rle["size"], _runs(rle)
    if not len(runs):
        return 0, 0, 0, 0
    shrinks = all(to <= side for to, side in zip(target.shape, size_hw, strict=True))
    columns, rows = _extent(runs, size_hw[0])
    (x1, x2), (left, right) = _meeting(columns, size_hw[1], target.shape[1], shrinks)
    (y1, y2), (top, bottom) = _meeting(rows, size_hw[0], target.shape[0], shrinks)
    crop = _fill_columns(runs, (x1, x2), size_hw[0])[:, y1:y2]
    if target.shape != tuple(size_hw):
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        soft = cv2.resize(crop * np.uint8(254), (bottom - top, right - left), interpolation=method)
        crop = (soft >= 127).view(np.uint8)
    cut = target[top:bottom, left:right]
    cut[:] = crop.T
    x, y, w, h = cv2.boundingRect(cut)
    return (left + x, top + y, left + x + w, top + y + h) if w else (0, 0, 0, 0)


def _runs(rle: Rle) -> NDArray[np.int64]:
    """Where the mask's runs of ones start and stop, counted down the columns: int64 [R, 2]."""
    height, width = rle["size"]
    counts = _run_lengths(rle["counts"])
    if counts.sum() != height * width or counts.min() < 0:
        raise DataError(f"a mask's run lengths do not fill its {width}x{height} pixels; write the data set again")
    borders = np.cumsum(counts)
    ones = borders[: len(borders) // 2 * 2].reshape(-1, 2)
    return ones[ones[:, 1] > ones[:, 0]]


def _extent(runs: NDArray[np.int64], height: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The columns and the rows that hold all ones, end-exclusive; a run over a column's foot takes all rows."""
    starts, lasts = runs[:, 0], runs[:, 1] - 1
    columns = int(starts[0] // height), int(lasts[-1] // height) + 1
    if (starts // height != lasts // height).any():
        return columns, (0, height)
    return columns, (int((starts % height).min()), int((lasts % height).max()) + 1)


def _fill_columns(runs: NDArray[np.int64], span: tuple[int, int], height: int) -> NDArray[np.uint8]:
    """The columns from ``span[0]`` up to ``span[1]``, which hold all runs, as uint8 [columns, height] of 0 and 1.

    Decoding whole frames, as pycocotools does, would take most of the time of reading a scene of small instances.
    """
    columns = np.zeros((span[1] - span[0]) * height, np.uint8)
    for start, stop in (runs - span[0] * height).tolist():
        columns[start:stop] = 1
    return columns.reshape(-1, height)


def _run_lengths(counts: str | bytes) -> NDArray[np.int64]:
    """COCO's compressed counts as numbers.

    Five bits a character, low bits first; the fourth count and all after it as the difference to the count before the
    last (``rleFrString`` of the COCO API, which trusts its input; a file may be broken, so this does not).
    """
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = np.diff(ends, prepend=-1)
    if not len(ends) or ends[-1] != len(codes) - 1 or lengths.max() > _LONGEST_COUNT:
        raise DataError("a mask's run lengths are no compressed counts of COCO's; write the data set again")
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * places), starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _meeting(interval: tuple[int, int], side: int, to_side: int, crop: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """The interval in pixels, grown to borders that a side of both lengths has, in the one and in the other."""
    meetings = gcd(side, to_side) if crop else 1
    step, to_step = side // meetings, to_side // meetings
    first, last = interval[0] // step, -(-interval[1] // step)
    return (first * step, last * step), (first * to_step, last * to_step)


def _truth(row: _Annotation, entry: _Image, class_index: int) -> dict[str, Any]:
    rle = _compressed(row.segmentation, (entry.height, entry.width))
    area = int(np.diff(_runs(rle)).sum())
    return {
        "image_id": row.image_id,
        "category_id": class_index + 1,
        "iscrowd": int(row.iscrowd != 0),
        "bbox": list(row.bbox) if row.bbox is not None else coco_mask.toBbox(rle).tolist(),
        "area": row.area if row.area is not None else area,
        "segmentation": rle,
    }
