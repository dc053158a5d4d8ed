"""Writes any data set in Cityscapes' layout: pictures, pictures of instance ids, and polygons that draw these."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from scene.errors import DataError
from training.data.cityscapes_labels import GROUP, IGNORED_LABELS, LABEL_IDS, OBJECTS
from training.data.cityscapes_layout import Frame
from training.data.cityscapes_truth import InstanceIds, PolygonFile, PolygonObject, paint
from training.data.dataset import InstanceDataset, Label
from training.data.outline import Points, outline
from training.data.run_lengths import compressed
from training.data.sample import EVERY_CLASS, SizeHw

BACKGROUND = "road"
"""The label of what is no instance: Cityscapes' own scoring takes "unlabeled" for void, where nothing is wrong."""

_CITY = "streets"
_NUMBERS = 10**6
_PNG_COMPRESSION = [cv2.IMWRITE_PNG_COMPRESSION, 3]


class _Seen(NamedTuple):
    """A label of which something is seen: its place among the labels, its name, and polygons of its pixels.

    ``covers`` int64 [labels + 1]: how many pixels of each label the polygons cover, by its place.
    """

    number: int
    name: str
    is_group: bool
    polygons: list[Points]
    covers: NDArray[np.int64]


def write_cityscapes(
    dataset: InstanceDataset, root: Path, split: str, progress: Callable[[int], None] | None = None
) -> int:
    """Write pictures and both forms of ground truth below ``root``; how many instances could not be kept.

    A pixel is of one instance there: where masks overlap, the smaller lies on top, and what is hidden wholly is not
    kept. Groups, and regions of every class as groups of caravans, lie below all instances. The picture of instance ids
    is exact; polygons are, but where two instances are each seen through the other. PNG pictures are copied, others
    encoded. Names are kept if they are Cityscapes', else made of the picture's id. ``progress`` is
    called with the number of pictures done. Raises ``DataError`` for a class that Cityscapes does not know, a picture
    that is there already, and a folder that cannot be written.
    """
    unknown = [name for name in dataset.class_names if name not in LABEL_IDS]
    if unknown:
        raise DataError(f"Cityscapes has no labels for {', '.join(unknown)}; choose classes that it has")
    lost = 0
    for index in range(len(dataset)):
        frame = _frame(dataset, index, root, split)
        if frame.picture.exists():
            raise DataError(f"{frame.picture} is there already; choose another folder or split")
        try:
            lost += _write(dataset, index, frame)
        except OSError as error:
            raise DataError(f"expected a writable folder, got {root} ({error}); choose another one") from error
        if progress is not None:
            progress(index + 1)
    return lost


def _write(dataset: InstanceDataset, index: int, frame: Frame) -> int:
    """Write one picture; how many of its instances are hidden."""
    labels, size_hw = dataset.labels(index), dataset.size_hw(index)
    order = sorted(labels, key=lambda label: (not label.ignored, -label.area))
    tops = _tops(order, size_hw)
    seen = _in_order(list(_seen(tops, order, dataset.class_names)))
    ids = _instance_ids(tops, seen, len(order))
    picture, source = dataset.picture(index), dataset.picture_path(index)
    for path in (frame.picture, frame.polygons):
        path.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix.lower() == ".png":
        shutil.copyfile(source, frame.picture)
    else:
        _write_png(frame.picture, picture[..., ::-1])
    _write_png(frame.instance_ids, ids)
    content = PolygonFile(size_hw[0], size_hw[1], _objects(ids, seen))
    frame.polygons.write_bytes(msgspec.json.encode(content))
    return sum(not label.ignored for label in labels) - sum(not each.is_group for each in seen)


def _tops(order: list[Label], size_hw: SizeHw) -> NDArray[np.uint16]:
    """Which label, numbered from 1, is the last that has a pixel; 0 where none has it."""
    tops = np.zeros(size_hw, np.uint16)
    for number, label in enumerate(order, start=1):
        tops[coco_mask.decode(compressed(label.segmentation, size_hw)) > 0] = number
    return tops


def _seen(tops: NDArray[np.uint16], order: list[Label], class_names: tuple[str, ...]) -> Iterator[_Seen]:
    """What is seen of the labels, with its polygons: one of an instance, one for each part of a group."""
    for number, label in enumerate(order, start=1):
        x, y, w, h = cv2.boundingRect((tops == number).view(np.uint8))
        if w:
            crop = tops[y : y + h, x : x + w]
            mask = (crop == number).view(np.uint8)
            polygons = _parts(mask) if label.ignored else [_best_outline(mask, crop > 0)]
            covers = np.bincount(crop[_drawn(polygons, mask)], minlength=len(order) + 1)
            name = IGNORED_LABELS[0] if label.class_index == EVERY_CLASS else class_names[label.class_index]
            moved = [polygon + np.array([x, y], np.int32) for polygon in polygons]
            yield _Seen(number, name, label.ignored, moved, covers)


def _best_outline(mask: NDArray[np.uint8], labelled: NDArray[np.bool_]) -> Points:
    """The outline that goes around holes or covers them, whichever harms labelled pixels less."""
    right = mask.astype(np.bool_)
    choices = [outline(mask), outline(mask, holes=True)]
    return min(choices, key=lambda polygon: int((labelled & (_drawn([polygon], mask) != right)).sum()))


def _drawn(polygons: list[Points], mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What polygons cover of a picture as large as the mask."""
    return paint([_object(IGNORED_LABELS[0], polygon) for polygon in polygons], (mask.shape[0], mask.shape[1])) > 0


def _in_order(seen: list[_Seen]) -> list[_Seen]:
    """Groups first, then instances, what covers more of those that follow than they cover of it before these."""
    instances = [each for each in seen if not each.is_group]
    ordered = [each for each in seen if each.is_group]
    if not instances:
        return ordered
    covers = np.stack([each.covers for each in instances])[:, [each.number for each in instances]].astype(np.float64)
    balance = covers.sum(axis=1) - covers.sum(axis=0)
    for _ in instances:
        place = int(balance.argmax())
        ordered.append(instances[place])
        balance += covers[place] - covers[:, place]
        balance[place] = -np.inf
    return ordered


def _instance_ids(tops: NDArray[np.uint16], seen: list[_Seen], count: int) -> InstanceIds:
    """The ids of a picture, instances numbered in this order."""
    values = np.full(count + 1, LABEL_IDS[BACKGROUND], np.uint16)
    numbers = Counter[str]()
    for each in seen:
        values[each.number] = LABEL_IDS[each.name]
        if not each.is_group:
            values[each.number] = LABEL_IDS[each.name] * OBJECTS + numbers[each.name]
            numbers[each.name] += 1
    if max(numbers.values(), default=0) > OBJECTS:
        raise DataError(f"more than {OBJECTS} instances of one class on a picture; Cityscapes' ids end there")
    ids: InstanceIds = values[tops]
    return ids


def _objects(ids: InstanceIds, seen: list[_Seen]) -> list[PolygonObject]:
    """What draws these ids: the background, what is seen on it, and where the background shows through after all.

    In the order of ``seen``, later ones lie above.
    """
    height, width = ids.shape
    corners = np.array([(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)], np.int32)
    objects = [_object(BACKGROUND, corners)]
    for each in seen:
        objects += [_object(each.name + GROUP * each.is_group, polygon) for polygon in each.polygons]
    background = LABEL_IDS[BACKGROUND]
    covered = (ids == background) & (paint(objects, (height, width)) != background)
    return objects + [_object(BACKGROUND, polygon) for polygon in _parts(covered.view(np.uint8))]


def _object(label: str, polygon: Points) -> PolygonObject:
    return PolygonObject(label, [(x, y) for x, y in polygon.tolist()])


def _parts(mask: NDArray[np.uint8]) -> list[Points]:
    """A polygon for each connected part of a mask."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask)
    polygons = []
    for number, (x, y, w, h, _) in zip(range(1, count), stats[1:].tolist(), strict=True):
        part = (numbers[y : y + h, x : x + w] == number).view(np.uint8)
        polygons.append(outline(part) + np.array([x, y], np.int32))
    return polygons


def _frame(dataset: InstanceDataset, index: int, root: Path, split: str) -> Frame:
    """The files of a picture: named as it is in Cityscapes, or by its id."""
    path = dataset.picture_path(index)
    stem = path.name.removesuffix("_leftImg8bit.png")
    if stem != path.name:
        return Frame(root, split, stem.partition("_")[0], stem)
    high, low = divmod(dataset.image_id(index), _NUMBERS)
    return Frame(root, split, _CITY, f"{_CITY}_{high:06d}_{low:06d}")


def _write_png(path: Path, pixels: NDArray[np.generic]) -> None:
    _, data = cv2.imencode(".png", np.ascontiguousarray(pixels), _PNG_COMPRESSION)
    path.write_bytes(data.tobytes())
