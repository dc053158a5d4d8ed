"""What every data set of pictures with instances offers to training, evaluation and conversion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scene.classes import coco_categories
from scene.image import RgbImage
from training.data.run_lengths import Rle, Segmentation, compressed
from training.data.sample import EVERY_CLASS, Sample, SizeHw


@dataclass(frozen=True)
class Label:
    """One object, or one region to be ignored, on its whole picture.

    ``class_index`` from 0; ``EVERY_CLASS`` where a region is ignored whatever is found in it. ``ignored`` is COCO's
    ``iscrowd``. ``box_xywh`` and ``area`` in pixels, as the data set states them.
    """

    class_index: int
    ignored: bool
    segmentation: Segmentation
    box_xywh: tuple[float, float, float, float]
    area: float


class InstanceDataset(Protocol):
    """Pictures with labelled instances, numbered from 0.

    Each raises ``DataError`` on opening where the set is missing, malformed or empty, and, item by item, where a
    picture or its labels are: a sentence that names the file.
    """

    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The picture with its instances; what has no pixel is out."""
        ...

    @property
    def description(self) -> str:
        """What the set is, in words for a model card."""
        ...

    def image_id(self, index: int) -> int:
        """The picture's id in ``ground_truth``."""
        ...

    def size_hw(self, index: int) -> SizeHw:
        """The picture's (height, width), as its labels have it."""
        ...

    def picture_path(self, index: int) -> Path:
        """Where the picture lies."""
        ...

    def picture(self, index: int) -> RgbImage:
        """The picture alone, uint8 RGB [H, W, 3]."""
        ...

    def labels(self, index: int) -> list[Label]:
        """What is labelled on the whole picture."""
        ...

    def classes_on(self, index: int) -> list[tuple[int, bool]]:
        """The class index of each of a picture's ``labels`` and whether that is ignored, found with less work."""
        ...

    def cut_mask(self, index: int, row: int) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
        """The mask uint8 [h, w] of 0 and 1 of one of a picture's ``labels``, within its tight box xyxy on the whole
        picture, end-exclusive, and that box."""
        ...

    def pick(self, indices: Sequence[int]) -> "InstanceDataset":
        """The same data set with these of its pictures alone, in this order."""
        ...

    def first(self, count: int) -> "InstanceDataset":
        """The same data set with its first ``count`` pictures at most."""
        ...

    @property
    def ground_truth(self) -> dict[str, Any]:
        """A COCO JSON as plain data, at full resolution: category ids are class indices plus one, masks compressed."""
        ...


def describe(dataset: InstanceDataset) -> str:
    """A data set in words: what it says of itself, and how many pictures it has."""
    return f"{len(dataset)} pictures: {dataset.description}"


def coco_truth(dataset: InstanceDataset) -> dict[str, Any]:
    """The ``ground_truth`` of a data set, from its labels."""
    images, annotations = [], list[dict[str, Any]]()
    for index in range(len(dataset)):
        image_id, (height, width) = dataset.image_id(index), dataset.size_hw(index)
        images.append({"id": image_id, "height": height, "width": width})
        for label in dataset.labels(index):
            rle = compressed(label.segmentation, (height, width))
            annotations += coco_rows(label, rle, image_id, len(dataset.class_names))
    return {
        "images": images,
        "annotations": [{"id": number, **row} for number, row in enumerate(annotations, start=1)],
        "categories": coco_categories(dataset.class_names),
    }


def coco_rows(
    label: Label, segmentation: Rle | list[list[float]], image_id: int, class_count: int
) -> Iterator[dict[str, Any]]:
    """A label as rows of COCO's ``annotations``, without ids.

    COCO ignores a crowd for its own category alone, so a region that is ignored for every class is a row of each,
    marked ``every_class``.
    """
    every = label.class_index == EVERY_CLASS
    for class_index in range(class_count) if every else [label.class_index]:
        yield {
            **({"every_class": 1} if every else {}),
            "image_id": image_id,
            "category_id": class_index + 1,
            "iscrowd": int(label.ignored),
            "bbox": list(label.box_xywh),
            "area": label.area,
            "segmentation": segmentation,
        }
