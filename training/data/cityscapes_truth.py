"""One picture's ground truth in Cityscapes' two forms, as one array of instance ids, and its instances found in it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from struct import unpack
from typing import NamedTuple, TypeVar

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from scene.errors import DataError
from training.data.cityscapes_labels import (
    INSTANCE_LABELS,
    LABEL_IDS,
    OBJECTS,
    UnknownLabelError,
    is_known,
    split_label,
)
from training.data.picture_file import decode_file
from training.data.sample import SizeHw

InstanceIds = NDArray[np.uint16]
"""uint16 [H, W] as in ``*_instanceIds.png``: label id x 1000 + n for object n of a label, else the label id."""

_PNG_SIZE = slice(16, 24)
_FIRST_PART = 40000
"""Ids from here on are free for parts of groups."""


class PolygonObject(msgspec.Struct, gc=False):
    """One polygon (x, y) in pixels; later ones cover earlier ones."""

    label: str
    polygon: list[tuple[float, float]]
    deleted: int | bool = 0


class PolygonFile(msgspec.Struct, gc=False):
    """What of ``*_polygons.json`` is read and written."""

    imgHeight: int  # noqa: N815 - Cityscapes' name
    imgWidth: int  # noqa: N815
    objects: list[PolygonObject]


class _PolygonSize(msgspec.Struct, gc=False):
    imgHeight: int  # noqa: N815
    imgWidth: int  # noqa: N815


_Content = TypeVar("_Content", PolygonFile, _PolygonSize)


class Region(NamedTuple):
    """An object, or one connected part of a group, with its tight box: its pixels have the value ``value``."""

    value: int
    label_id: int
    is_group: bool
    box_xyxy: tuple[int, int, int, int]


def read_truth(path: Path) -> InstanceIds:
    """The instance ids of either form; ``DataError`` naming the file where it is missing, broken or of unknown labels.

    The array is the caller's own.
    """
    if path.suffix == ".png":
        return read_instance_ids(path)
    content = read_polygons(path)
    try:
        return paint(content.objects, (content.imgHeight, content.imgWidth))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_instance_ids(path: Path) -> InstanceIds:
    """The picture of instance ids as it is stored."""
    pixels = decode_file(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2 or pixels.dtype not in (np.uint16, np.uint8):
        raise DataError(
            f"{path} should hold 16-bit instance ids [H, W], but {pixels.dtype} {list(pixels.shape)} came; "
            "write the ground truth again"
        )
    ids = pixels.astype(np.uint16, copy=False)
    unknown = [value for value in np.flatnonzero(np.bincount(run_starts(ids)[1])).tolist() if not is_known(value)]
    if unknown:
        raise UnknownLabelError(f"{path} has the instance ids {unknown[:5]}, which no label of Cityscapes has")
    return ids


def read_polygons(path: Path) -> PolygonFile:
    """The polygons as they are stored."""
    return _decode_json(path, PolygonFile)


def truth_size(path: Path) -> SizeHw:
    """The (height, width) that either form states, without reading the rest of a picture."""
    if path.suffix == ".json":
        content = _decode_json(path, _PolygonSize)
        return content.imgHeight, content.imgWidth
    try:
        with path.open("rb") as file:
            header = file.read(_PNG_SIZE.stop)
    except OSError as error:
        raise DataError(
            f"expected instance ids at {path}, but they cannot be read; fetch the data set again"
        ) from error
    if not header.startswith(b"\x89PNG") or len(header) < _PNG_SIZE.stop:
        raise DataError(f"{path} is no PNG file; write the ground truth again")
    width, height = unpack(">II", header[_PNG_SIZE])
    return height, width


def paint(objects: Iterable[PolygonObject], size_hw: SizeHw) -> InstanceIds:
    """Polygons drawn one over the other, as Cityscapes' own script makes its instance pictures, to the pixel.

    Objects are numbered by label in the order of the file, those that others hide included. Raises ``DataError`` for an
    unknown label, a polygon of fewer than two points, or more objects of a label than its ids can tell apart.
    """
    canvas = Image.new("I;16", size_hw[::-1], LABEL_IDS["unlabeled"])
    drawer, seen = ImageDraw.Draw(canvas), Counter[int]()
    for item in objects:
        label_id, is_group = split_label(item.label)
        if label_id < 0 or item.deleted:
            continue
        if len(item.polygon) < 2:
            raise DataError(f"a polygon of {item.label} has {len(item.polygon)} points, which cannot be drawn")
        value = label_id
        if label_id in INSTANCE_LABELS and not is_group:
            value = label_id * OBJECTS + seen[label_id]
            seen[label_id] += 1
            if seen[label_id] > OBJECTS:
                raise DataError(
                    f"more than {OBJECTS} objects of {item.label} on one picture; ids cannot tell them apart"
                )
        drawer.polygon(item.polygon, fill=value)
    return np.array(canvas)


def regions(ids: InstanceIds) -> list[Region]:
    """The objects and the groups' connected parts on a picture, by id; groups' pixels get values of their own.

    Group pixels of a label share one id, wherever they lie: as one region they would have a box as large as the street.
    """
    values, boxes = _boxes_by_value(ids)
    found, parts = list[Region](), _FIRST_PART
    for value, box in zip(values.tolist(), boxes.tolist(), strict=True):
        if value >= OBJECTS:
            found.append(Region(value, value // OBJECTS, False, tuple(box)))
        elif value in INSTANCE_LABELS:
            split = _split_group(ids, value, tuple(box), parts)
            found, parts = found + split, parts + len(split)
    return found


def run_starts(ids: InstanceIds) -> tuple[NDArray[np.int64], InstanceIds]:
    """Where runs of one value start in the rows, as places in the flat array, and their values; each row starts one."""
    starts = np.ones(ids.shape, np.bool_)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=starts[:, 1:])
    places = np.flatnonzero(starts)
    return places, ids.ravel()[places]


def _boxes_by_value(ids: InstanceIds) -> tuple[InstanceIds, NDArray[np.int64]]:
    """The values of objects and groups on a picture, rising, and their tight boxes xyxy [N, 4]."""
    places, values = run_starts(ids)
    stops = np.append(places[1:], ids.size)
    chosen = np.flatnonzero(values >= min(INSTANCE_LABELS))
    chosen = chosen[np.argsort(values[chosen], kind="stable")]
    rows, columns = np.divmod(places[chosen], ids.shape[1])
    ends = columns + stops[chosen] - places[chosen]
    found, first = np.unique(values[chosen], return_index=True)
    if not len(found):
        return found, np.zeros((0, 4), np.int64)
    limits = [np.minimum.reduceat(side, first) for side in (columns, rows)]
    limits += [np.maximum.reduceat(side, first) for side in (ends, rows + 1)]
    return found, np.stack(limits, axis=1)


def _split_group(ids: InstanceIds, value: int, box_xyxy: tuple[int, int, int, int], first: int) -> list[Region]:
    """Give each connected part of a group a value of its own, from ``first`` on."""
    x1, y1, x2, y2 = box_xyxy
    crop = ids[y1:y2, x1:x2]
    count, parts, stats, _ = cv2.connectedComponentsWithStats((crop == value).view(np.uint8), ltype=cv2.CV_16U)
    if first + count > np.iinfo(np.uint16).max:
        raise DataError(f"a group of {INSTANCE_LABELS[value]} has {count} parts; that is noise, write it again")
    crop[parts > 0] = parts[parts > 0] + np.uint16(first - 1)
    boxes = [(x1 + x, y1 + y, x1 + x + w, y1 + y + h) for x, y, w, h, _ in stats[1:].tolist()]
    return [Region(first + number, value, True, box) for number, box in enumerate(boxes)]


def _decode_json(path: Path, kind: type[_Content]) -> _Content:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise DataError(f"expected Cityscapes polygons at {path}, but they cannot be read") from error
    except msgspec.DecodeError as error:
        raise DataError(f"{path} has no polygons of Cityscapes: {error}; fetch the data set again") from error
