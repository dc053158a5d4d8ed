"""Pictures and instances in Cityscapes' own layout, from polygons or from pictures of instance ids."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scene.classes import STREET_CLASSES
from scene.errors import DataError
from scene.image import RgbImage
from training.data.cityscapes_labels import VOID_IDS, class_table
from training.data.cityscapes_layout import Frame, frames_of
from training.data.cityscapes_truth import InstanceIds, Region, read_truth, regions, truth_size
from training.data.dataset import Label, coco_truth
from training.data.picture_file import read_picture
from training.data.run_lengths import RunLengths, crop_rle
from training.data.sample import EVERY_CLASS, Sample, SizeHw


class CityscapesDataset:
    """A split of Cityscapes' layout as samples: an ``InstanceDataset``.

    ``leftImg8bit/{split}/{city}/*_leftImg8bit.png`` with ``gtFine/{split}/{city}/*_gtFine_instanceIds.png``, or, where
    that is not there, ``*_gtFine_polygons.json``, drawn as Cityscapes' own script draws them. Labels find their class
    index by name in ``class_names``, others are left out. Groups are regions to be ignored for their class, one for
    each connected part; caravans and trailers are ignored for every class. Pictures are numbered
    from 1, sorted by city and name.

    Raises ``DataError`` when there is no picture, or one without its ground truth, or ground truth without its picture,
    and, item by item, when a file is broken or sizes disagree.
    """

    def __init__(self, root: Path, split: str, class_names: tuple[str, ...] = STREET_CLASSES) -> None:
        self.class_names = class_names
        self.split = split
        self.description = f"{split} of {root.name} (Cityscapes' layout)"
        self._class_of = class_table(class_names)
        self._frames = frames_of(root, split)
        self._truths = [_truth_file(frame) for frame in self._frames]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        ids, found = self._regions(index)
        image = read_picture(self.picture_path(index), (ids.shape[0], ids.shape[1]))
        classes = np.array([self._class_of[region.label_id] for region in found], np.int64)
        crowds = np.array([region.is_group for region in found], np.bool_) | (classes == EVERY_CLASS)
        boxes_xyxy = np.array([region.box_xyxy for region in found], np.float32).reshape(-1, 4)
        return Sample(image, boxes_xyxy, classes, _masks(ids, found), crowds)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process needs: not the ground truth, which only evaluation builds."""
        return {key: value for key, value in self.__dict__.items() if key != "ground_truth"}

    def frame(self, index: int) -> Frame:
        """City, name and files of a picture."""
        return self._frames[index]

    def image_id(self, index: int) -> int:
        """The picture's place in the split, from 1."""
        return index + 1

    def size_hw(self, index: int) -> SizeHw:
        """The whole picture's (height, width), as its ground truth has it."""
        return truth_size(self._truths[index])

    def picture_path(self, index: int) -> Path:
        """Where the picture lies."""
        return self._frames[index].picture

    def picture(self, index: int) -> RgbImage:
        """The picture alone, uint8 RGB [H, W, 3]."""
        return read_picture(self.picture_path(index), self.size_hw(index))

    def labels(self, index: int) -> list[Label]:
        """What is labelled on the whole picture."""
        ids, found = self._regions(index)
        return [self._label(ids, region) for region in found]

    def classes_on(self, index: int) -> list[tuple[int, bool]]:
        """The class index of each label of a picture, and whether that is ignored."""
        return [(self._class_of[region.label_id], self._is_ignored(region)) for region in self._regions(index)[1]]

    def cut_mask(self, index: int, row: int) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
        """The mask [h, w] of one label, by its place in ``classes_on``, within its tight box xyxy on the whole picture,
        and that box."""
        ids, found = self._regions(index)
        x1, y1, x2, y2 = box_xyxy = found[row].box_xyxy
        return (ids[y1:y2, x1:x2] == found[row].value).view(np.uint8), box_xyxy

    def first(self, count: int) -> "CityscapesDataset":
        """The same data set with its first ``count`` pictures at most."""
        return self.pick(range(len(self))[:count])

    def pick(self, indices: Sequence[int]) -> "CityscapesDataset":
        """The same data set with these of its pictures alone, in this order, numbered from 1 again."""
        part = object.__new__(CityscapesDataset)
        frames, truths = ([each[index] for index in indices] for each in (self._frames, self._truths))
        part.__dict__.update(self.__getstate__(), _frames=frames, _truths=truths)
        return part

    @cached_property
    def ground_truth(self) -> dict[str, Any]:
        """A COCO JSON as plain data, at full resolution: category ids are class indices plus one, masks compressed; and
        ``void``, a mask a picture, see ``training.cityscapes_ap``."""
        masks = (np.isin(read_truth(path), VOID_IDS).view(np.uint8) for path in self._truths)
        void = [
            {"image_id": self.image_id(index), "segmentation": crop_rle(mask, (0, 0), (mask.shape[0], mask.shape[1]))}
            for index, mask in enumerate(masks)
        ]
        return coco_truth(self) | {"void": void}

    def _regions(self, index: int) -> tuple[InstanceIds, list[Region]]:
        """The picture's ids and its regions of known classes."""
        ids = read_truth(self._truths[index])
        return ids, [region for region in regions(ids) if region.label_id in self._class_of]

    def _is_ignored(self, region: Region) -> bool:
        return region.is_group or self._class_of[region.label_id] == EVERY_CLASS

    def _label(self, ids: InstanceIds, region: Region) -> Label:
        x1, y1, x2, y2 = region.box_xyxy
        mask = (ids[y1:y2, x1:x2] == region.value).view(np.uint8)
        size_hw, class_index = (ids.shape[0], ids.shape[1]), self._class_of[region.label_id]
        counts = crop_rle(mask, (x1, y1), size_hw)["counts"].decode("ascii")
        box_xywh = float(x1), float(y1), float(x2 - x1), float(y2 - y1)
        return Label(
            class_index, self._is_ignored(region), RunLengths(size_hw, counts), box_xywh, float(np.count_nonzero(mask))
        )


def _truth_file(frame: Frame) -> Path:
    """The ground truth of a picture that is there."""
    if not frame.picture.is_file():
        raise DataError(f"{frame.truths[0]} has no picture: expected {frame.picture}; fetch the data set again")
    if not frame.truths:
        raise DataError(
            f"{frame.picture} has no ground truth: expected {frame.instance_ids} or {frame.polygons.name} beside it; "
            "fetch the data set again"
        )
    return frame.truths[0]


def _masks(ids: InstanceIds, found: list[Region]) -> NDArray[np.uint8]:
    """The regions' masks uint8 [N, H, W]; only the boxes are looked at."""
    masks = np.zeros((len(found), *ids.shape), np.uint8)
    for mask, region in zip(masks, found, strict=True):
        x1, y1, x2, y2 = region.box_xyxy
        mask[y1:y2, x1:x2] = ids[y1:y2, x1:x2] == region.value
    return masks
