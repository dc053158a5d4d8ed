"""Pictures and instances from a COCO JSON (Lin et al. 2014): run lengths, polygons, crowds, decoded when asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from scene.classes import STREET_CLASSES
from scene.errors import DataError
from scene.image import RgbImage
from training.data.coco_file import (
    CocoAnnotation,
    CocoFile,
    CocoImage,
    described,
    picture_file,
    picture_folder,
    read_coco,
)
from training.data.dataset import Label, coco_truth
from training.data.picture_file import read_picture
from training.data.run_lengths import RunLengths, compressed, decode_onto, mask_area
from training.data.sample import EVERY_CLASS, Sample, SizeHw

_Row = tuple[int, CocoAnnotation]
"""A class index, or ``EVERY_CLASS``, and the annotation."""


class CocoDataset:
    """A COCO JSON and its pictures, as samples: an ``InstanceDataset``.

    Categories find their class index by name in ``class_names``; annotations of other names are left out. A picture
    lies at its ``file_name`` beside the JSON, in ``images/`` where that names no folder, or where COCO's own layout has
    it (``annotations/instances_val2017.json`` beside ``val2017/``). Masks stay run lengths until an item is asked for;
    instances without a pixel do not appear in it. A crowd that stands there once for every class is one region of
    ``EVERY_CLASS``.

    Raises ``DataError`` when the JSON is missing, malformed or empty, and, item by item, when a picture is.
    """

    def __init__(self, annotation_file: Path, class_names: tuple[str, ...] = STREET_CLASSES) -> None:
        content = read_coco(annotation_file)
        self.class_names = class_names
        self.description = described(content.info, annotation_file.name)
        self._file = annotation_file
        self._folder = picture_folder(annotation_file)
        self._images = content.images
        class_of = _map_classes(content, class_names, annotation_file)
        groups = _group(content, class_of, annotation_file)
        self._rows = {image_id: _merge_ignored(rows, len(class_names)) for image_id, rows in groups.items()}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        entry = self._images[index]
        image, rows = self.picture(index), self._rows[entry.id]
        masks, boxes_xyxy = self._masks(entry)
        classes = np.array([class_index for class_index, _ in rows], np.int64)
        crowds = np.array([row.iscrowd != 0 for _, row in rows], np.bool_)
        sample = Sample(image, boxes_xyxy, classes, masks, crowds)
        visible = boxes_xyxy[:, 2] > boxes_xyxy[:, 0]
        return sample if visible.all() else sample.rows(visible)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process needs: not the ground truth, which only evaluation builds."""
        return {key: value for key, value in self.__dict__.items() if key != "ground_truth"}

    def image_id(self, index: int) -> int:
        """The picture's id in the JSON."""
        return self._images[index].id

    def size_hw(self, index: int) -> SizeHw:
        """The whole picture's (height, width), as the JSON has it."""
        return self._images[index].height, self._images[index].width

    def picture_path(self, index: int) -> Path:
        """Where the picture lies."""
        return picture_file(self._file, self._folder, self._images[index].file_name)

    def picture(self, index: int) -> RgbImage:
        """The picture alone, uint8 RGB [H, W, 3]."""
        return read_picture(self.picture_path(index), self.size_hw(index))

    def labels(self, index: int) -> list[Label]:
        """What is labelled on the whole picture; boxes and areas are the masks' where the JSON states none."""
        entry = self._images[index]
        with self._naming(entry):
            return [_label(class_index, row, entry) for class_index, row in self._rows[entry.id]]

    def classes_on(self, index: int) -> list[tuple[int, bool]]:
        """The class index of each label of a picture, and whether that is ignored; no mask is decoded for it."""
        return [(class_index, row.iscrowd != 0) for class_index, row in self._rows[self.image_id(index)]]

    def cut_mask(self, index: int, row: int) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
        """The mask [h, w] of one label, by its place in ``classes_on``, within its tight box xyxy on the whole picture,
        and that box; [0, 0] where it has no pixel."""
        entry, size_hw = self._images[index], self.size_hw(index)
        mask = np.zeros(size_hw, np.uint8)
        with self._naming(entry):
            segmentation = self._rows[entry.id][row][1].segmentation
            x1, y1, x2, y2 = box_xyxy = decode_onto(mask, compressed(segmentation, size_hw))
        return mask[y1:y2, x1:x2], box_xyxy

    def first(self, count: int) -> "CocoDataset":
        """The same data set with its first ``count`` pictures at most."""
        return self.pick(range(len(self))[:count])

    def pick(self, indices: Sequence[int]) -> "CocoDataset":
        """The same data set with these of its pictures alone, in this order."""
        part = object.__new__(CocoDataset)
        images = [self._images[index] for index in indices]
        rows = {entry.id: self._rows[entry.id] for entry in images}
        part.__dict__.update(self.__getstate__(), _images=images, _rows=rows)
        return part

    @cached_property
    def ground_truth(self) -> dict[str, Any]:
        """A COCO JSON as plain data, at full resolution: category ids are class indices plus one, masks compressed."""
        return coco_truth(self)

    def _masks(self, entry: CocoImage) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A picture's masks [N, h, w] and their tight boxes xyxy."""
        rows, size_hw = self._rows[entry.id], (entry.height, entry.width)
        masks, boxes_xyxy = np.zeros((len(rows), *size_hw), np.uint8), np.zeros((len(rows), 4), np.float32)
        with self._naming(entry):
            for mask, box, (_, row) in zip(masks, boxes_xyxy, rows, strict=True):
                box[:] = decode_onto(mask, compressed(row.segmentation, size_hw))
        return masks, boxes_xyxy

    @contextmanager
    def _naming(self, entry: CocoImage) -> Iterator[None]:
        """Say where the mask stands that is wrong."""
        try:
            yield
        except DataError as error:
            raise DataError(f"{self._file}, picture {entry.file_name}: {error}") from error


def _label(class_index: int, row: CocoAnnotation, entry: CocoImage) -> Label:
    rle = compressed(row.segmentation, (entry.height, entry.width))
    area = mask_area(rle)  # first, since it checks what the C code trusts
    x, y, w, h = row.bbox or coco_mask.toBbox(rle).tolist()
    return Label(class_index, row.iscrowd != 0, row.segmentation, (x, y, w, h), area if row.area is None else row.area)


def _map_classes(content: CocoFile, class_names: tuple[str, ...], path: Path) -> dict[int, int]:
    """Class index by category id."""
    name_of = {category.id: category.name for category in content.categories}
    class_of = {number: class_names.index(name) for number, name in name_of.items() if name in class_names}
    if not class_of:
        raise DataError(
            f"{path} has the categories {sorted(name_of.values())}, none of which is one of {list(class_names)}; "
            "rename its categories or choose other class names"
        )
    unknown = next((row.category_id for row in content.annotations if row.category_id not in name_of), None)
    if unknown is not None:
        raise DataError(f"{path} has an annotation of category {unknown}, which its categories do not list")
    return class_of


def _group(content: CocoFile, class_of: dict[int, int], path: Path) -> dict[int, list[_Row]]:
    """The annotations of known classes by picture; they must fit it in size."""
    sizes = {entry.id: (entry.height, entry.width) for entry in content.images}
    groups: dict[int, list[_Row]] = {image_id: [] for image_id in sizes}
    for row in content.annotations:
        if row.image_id not in sizes:
            raise DataError(f"{path} has an annotation of picture {row.image_id}, which it does not list")
        if isinstance(row.segmentation, RunLengths) and row.segmentation.size != sizes[row.image_id]:
            raise DataError(
                f"{path} has a mask of {row.segmentation.size} (height, width) on picture {row.image_id} "
                f"of {sizes[row.image_id]}; write the data set again"
            )
        if row.category_id in class_of:
            groups[row.image_id].append((class_of[row.category_id], row))
    return groups


def _merge_ignored(rows: list[_Row], class_count: int) -> list[_Row]:
    """Crowds of one shape that stand there for each class are one region that is ignored for every class."""
    shapes: dict[str, list[_Row]] = {}
    for class_index, row in rows:
        if row.iscrowd:
            shapes.setdefault(repr(row.segmentation), []).append((class_index, row))
    every = [found for found in shapes.values() if 1 < class_count == len({class_index for class_index, _ in found})]
    if not every:
        return rows
    merged = {id(row) for found in every for _, row in found}
    return [each for each in rows if id(each[1]) not in merged] + [(EVERY_CLASS, found[0][1]) for found in every]
