"""Reads splits of Cityscapes' layout once and notes whatever is wrong, without stopping at it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scene.errors import DataError
from training.data.census import Census, Fault, examine_extent, examine_picture
from training.data.cityscapes_labels import IGNORED_LABELS, INSTANCE_LABELS, UnknownLabelError, split_label
from training.data.cityscapes_layout import Frame, frames_of
from training.data.cityscapes_truth import (
    InstanceIds,
    PolygonObject,
    paint,
    read_instance_ids,
    read_polygons,
    regions,
)
from training.data.sample import SizeHw


def cityscapes_census(
    root: Path, splits: tuple[str, ...], progress: Callable[[int, int], None] | None = None
) -> Census:
    """Count and check everything in these splits; ``progress`` gets pictures done and all of them.

    Both forms of a picture's ground truth are read where both are there; instances are those of the exact one.
    """
    census = Census(f"{root}:{'+'.join(splits)}")
    frames = [frame for split in splits for frame in frames_of(root, split)]
    for done, frame in enumerate(frames, start=1):
        _examine_frame(census, frame)
        if progress is not None:
            progress(done, len(frames))
    return census.end()


def _examine_frame(census: Census, frame: Frame) -> None:
    size_hw = examine_picture(census, frame.picture)
    census.pictures += 1
    if not frame.truths:
        what = f"it has no ground truth: expected {frame.instance_ids.name} or {frame.polygons.name} in gtFine"
        census.find(Fault.MISSING_LABELS, frame.picture, what)
    read = [(path, _read(census, path)) for path in frame.truths]
    whole = [(path, ids) for path, ids in read if ids is not None]
    for path, ids in whole:
        if size_hw is not None and ids.shape != size_hw:
            census.find(Fault.WRONG_SIZE, path, f"it has {ids.shape} (height, width), its picture {size_hw}")
    if whole:
        _count(census, *whole[0])


def _read(census: Census, path: Path) -> InstanceIds | None:
    """The ids of either form, without what is wrong; None where nothing can be read."""
    try:
        if path.suffix == ".png":
            return read_instance_ids(path)
        content = read_polygons(path)
        size_hw = content.imgHeight, content.imgWidth
        kept = [
            item
            for number, item in enumerate(content.objects)
            if _examine_polygon(census, f"{path}, objects[{number}]", item, size_hw)
        ]
        return paint(kept, size_hw)
    except DataError as error:
        fault = Fault.UNKNOWN_CATEGORY if isinstance(error, UnknownLabelError) else Fault.BROKEN_LABELS
        census.find(fault, path, str(error).removeprefix(f"{path} ").removeprefix(f"{path}: "))
        return None


def _examine_polygon(census: Census, place: str, item: PolygonObject, size_hw: SizeHw) -> bool:
    """Add what is wrong with a polygon; whether it can be drawn."""
    try:
        split_label(item.label)
    except DataError as error:
        census.find(Fault.UNKNOWN_CATEGORY, place, str(error))
        return False
    if len(item.polygon) < 3:
        census.find(Fault.DEGENERATE, place, f"a polygon of {item.label} has {len(item.polygon)} points, less than 3")
        return False
    (x1, y1), (x2, y2) = np.min(item.polygon, axis=0).tolist(), np.max(item.polygon, axis=0).tolist()
    examine_extent(census, place, (x1, y1, x2, y2), size_hw)
    return True


def _count(census: Census, path: Path, ids: InstanceIds) -> None:
    try:
        found = regions(ids)
    except DataError as error:
        census.find(Fault.BROKEN_LABELS, path, str(error))
        return
    for region in found:
        x1, y1, x2, y2 = region.box_xyxy
        area = int(np.count_nonzero(ids[y1:y2, x1:x2] == region.value))
        name = INSTANCE_LABELS[region.label_id]
        census.count(name, area, region.is_group or name in IGNORED_LABELS)
