"""Writes any data set as a folder with a COCO JSON and its pictures."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from scene.classes import coco_categories
from scene.errors import DataError
from training.data.dataset import InstanceDataset, coco_rows
from training.data.run_lengths import RunLengths, Segmentation


def write_coco(dataset: InstanceDataset, folder: Path, progress: Callable[[int], None] | None = None) -> Path:
    """Write ``images/`` and ``instances.json`` into ``folder``; the JSON's path.

    Pictures are copied as they are. Polygons stay polygons, run lengths run lengths and crowds crowds; category ids are
    class indices plus one; a region that is ignored for every class becomes a crowd of each. ``progress`` is called
    with the number of pictures done. Raises ``DataError`` where the folder has a data set already, two pictures would
    have one name, or it cannot be written.
    """
    path = folder / "instances.json"
    if path.exists():
        raise DataError(f"{path} is there already; choose another folder")
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        content = _copy(dataset, folder / "images", progress)
        path.write_bytes(msgspec.json.encode(content))
    except OSError as error:
        raise DataError(f"a data set cannot be written to {folder} ({error}); choose another folder") from error
    return path


def _copy(dataset: InstanceDataset, folder: Path, progress: Callable[[int], None] | None) -> dict[str, Any]:
    """Copy the pictures and return the JSON's content."""
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    taken = set[str]()
    for index in range(len(dataset)):
        source, image_id, (height, width) = dataset.picture_path(index), dataset.image_id(index), dataset.size_hw(index)
        if source.name in taken:
            raise DataError(f"{source} has the name of another picture of the set; rename one of them")
        taken.add(source.name)
        if not source.is_file():
            raise DataError(f"expected a picture at {source}, found none; fetch the data set again")
        shutil.copyfile(source, folder / source.name)
        images.append({"id": image_id, "file_name": source.name, "height": height, "width": width})
        for label in dataset.labels(index):
            shape = _plain(label.segmentation)
            rows = coco_rows(label, shape, image_id, len(dataset.class_names))
            annotations += [{"id": len(annotations) + number, **row} for number, row in enumerate(rows, start=1)]
        if progress is not None:
            progress(index + 1)
    info = {"description": dataset.description}
    categories = coco_categories(dataset.class_names)
    return {"info": info, "images": images, "categories": categories, "annotations": annotations}


def _plain(segmentation: Segmentation) -> Any:
    """As a JSON holds it."""
    if isinstance(segmentation, RunLengths):
        return {"size": list(segmentation.size), "counts": segmentation.counts}
    return segmentation
