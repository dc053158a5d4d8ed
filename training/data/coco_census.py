"""Reads a COCO JSON and its pictures once and notes whatever is wrong, without stopping at it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from scene.classes import STREET_CLASSES
from scene.errors import DataError
from training.data.census import OUTSIDE_PX, Census, Fault, examine_extent, examine_picture
from training.data.coco_file import CocoAnnotation, CocoCategory, CocoImage, picture_file, picture_folder
from training.data.run_lengths import Rle, RunLengths, compressed, mask_area

_Box = tuple[float, float, float, float]
_NOTHING_PX = 4.0
"""A box of less area may well have a mask without a pixel."""


class _RawFile(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]


class _Annotation(CocoAnnotation):
    id: int | str | None = None


_Row = TypeVar("_Row", CocoImage, _Annotation, CocoCategory)


def coco_census(path: Path, progress: Callable[[int, int], None] | None = None) -> Census:
    """Count and check everything in the JSON at ``path``; ``progress`` gets pictures done and all of them."""
    census = Census(str(path))
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_RawFile)
    except (OSError, msgspec.DecodeError) as error:
        census.find(Fault.BROKEN_LABELS, path, f"it is no COCO instance file: {error}")
        return census.end()
    names = _categories(census, path, content.categories)
    images = _images(census, path, content.images)
    folder = picture_folder(path)
    for done, entry in enumerate(images.values(), start=1):
        _examine_image(census, picture_file(path, folder, entry.file_name), entry)
        if progress is not None:
            progress(done, len(images))
    _examine_annotations(census, path, content.annotations, images, names)
    return census.end()


def _categories(census: Census, path: Path, raw: list[msgspec.Raw]) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, each in enumerate(raw):
        row = _decoded(census, f"{path}, categories[{number}]", each, CocoCategory)
        if row is None:
            continue
        if row.id in names:
            census.find(
                Fault.DUPLICATE_ID, path, f"two categories have the id {row.id}: {names[row.id]} and {row.name}"
            )
        names[row.id] = row.name
    return names


def _images(census: Census, path: Path, raw: list[msgspec.Raw]) -> dict[int, CocoImage]:
    """The pictures by id, the first of each."""
    images: dict[int, CocoImage] = {}
    for number, each in enumerate(raw):
        row = _decoded(census, f"{path}, images[{number}]", each, CocoImage)
        if row is None:
            continue
        census.pictures += 1
        if row.id in images:
            other = images[row.id].file_name
            census.find(Fault.DUPLICATE_ID, path, f"two pictures have the id {row.id}: {other} and {row.file_name}")
        images.setdefault(row.id, row)
    return images


def _examine_image(census: Census, path: Path, entry: CocoImage) -> None:
    size_hw = examine_picture(census, path)
    if size_hw is not None and size_hw != (entry.height, entry.width):
        census.find(
            Fault.WRONG_SIZE, path, f"it has {size_hw} (height, width), but the JSON says {(entry.height, entry.width)}"
        )


def _examine_annotations(
    census: Census, path: Path, raw: list[msgspec.Raw], images: dict[int, CocoImage], names: dict[int, str]
) -> None:
    seen, others = set[int | str](), Counter[str]()
    for number, each in enumerate(raw):
        row = _decoded(census, f"{path}, annotations[{number}]", each, _Annotation)
        if row is None:
            continue
        place = f"{path}, annotation {row.id if row.id is not None else f'[{number}]'}"
        if row.id is not None and row.id in seen:
            census.find(Fault.DUPLICATE_ID, place, "another annotation has this id")
        if row.id is not None:
            seen.add(row.id)
        if row.category_id not in names:
            census.find(Fault.UNKNOWN_CATEGORY, place, f"its category {row.category_id} is not listed")
        if row.image_id not in images:
            census.find(Fault.UNKNOWN_PICTURE, place, f"its picture {row.image_id} is not listed")
            continue
        name = names.get(row.category_id, f"category {row.category_id}")
        others[name] += row.category_id in names and name not in STREET_CLASSES
        _examine_mask(census, f"{place} of {images[row.image_id].file_name}", row, images[row.image_id], name)
    for name, count in others.items():
        if count:
            what = f"{count} annotations of {name}, which networks of the street's classes do not learn"
            census.find(Fault.OTHER_CLASS, path, what, hurts=False)


def _examine_mask(census: Census, place: str, row: _Annotation, entry: CocoImage, class_name: str) -> None:
    size_hw = entry.height, entry.width
    shape = row.segmentation
    if isinstance(shape, RunLengths) and shape.size != size_hw:
        census.find(Fault.WRONG_SIZE, place, f"its mask has {shape.size} (height, width), its picture {size_hw}")
        return
    if not isinstance(shape, RunLengths) and any(len(points) % 2 for points in shape):
        census.find(Fault.BROKEN_LABELS, place, "a polygon has an odd number of coordinates")
        return
    try:
        rle = compressed(shape, size_hw)
        area = mask_area(rle)
    except DataError as error:
        census.find(Fault.BROKEN_LABELS, place, str(error))
        return
    polygons = None if isinstance(shape, RunLengths) else _extent(shape)
    if polygons is not None:
        examine_extent(census, place, polygons, size_hw)
    _examine_box(census, place, row.bbox, rle if area else None, polygons)
    if area:
        census.count(class_name, area, row.iscrowd != 0)


def _examine_box(census: Census, place: str, box_xywh: _Box | None, rle: Rle | None, polygons: _Box | None) -> None:
    """The stated box against the mask (None where that has no pixel) or the span of its polygons."""
    if rle is None:
        stated = 0.0 if box_xywh is None else box_xywh[2] * box_xywh[3]
        census.find(Fault.DEGENERATE, place, "its mask has no pixel, so it is left out", hurts=stated >= _NOTHING_PX)
        return
    if box_xywh is None:
        return
    if not (box_xywh[2] > 0 and box_xywh[3] > 0):
        census.find(Fault.DEGENERATE, place, f"its box {list(box_xywh)} (x, y, w, h) is empty, its mask is not")
        return
    corners = _xyxy(box_xywh)
    x, y, w, h = coco_mask.toBbox(rle).tolist()
    spans = [_xyxy((x, y, w, h)), *([polygons] if polygons is not None else [])]
    if all(max(abs(a - b) for a, b in zip(corners, span, strict=True)) > OUTSIDE_PX for span in spans):
        census.find(Fault.BOX_DIFFERS, place, f"its box {list(box_xywh)} (x, y, w, h) is not its mask's {[x, y, w, h]}")


def _extent(polygons: list[list[float]]) -> _Box | None:
    """The box xyxy around all points."""
    points = np.array([value for polygon in polygons for value in polygon]).reshape(-1, 2)
    if not len(points):
        return None
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x1, y1, x2, y2


def _xyxy(box_xywh: _Box) -> _Box:
    x, y, w, h = box_xywh
    return x, y, x + w, y + h


def _decoded(census: Census, place: str, raw: msgspec.Raw, kind: type[_Row]) -> _Row | None:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        census.find(Fault.BROKEN_LABELS, place, str(error))
        return None
