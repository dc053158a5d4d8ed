"""How a data set is named on the command line, and the one way to open it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from scene.artifact import file_sha256
from scene.classes import STREET_CLASSES
from scene.errors import DataError
from training.data.cityscapes import CityscapesDataset
from training.data.cityscapes_layout import frames_of, is_cityscapes, splits_of
from training.data.coco import CocoDataset
from training.data.coco_file import read_coco
from training.data.dataset import InstanceDataset

INSTANCES = "instances.json"
"""The COCO JSON of a folder that holds a data set."""

FORMS = (
    "a COCO JSON, a folder with instances.json, DIR:NAME for COCO's annotations/instances_NAME.json, or DIR:SPLIT for "
    "Cityscapes' leftImg8bit and gtFine"
)


@dataclass(frozen=True)
class CocoLocation:
    """A COCO JSON."""

    annotation_file: Path


@dataclass(frozen=True)
class CityscapesLocation:
    """Splits of a folder with Cityscapes' layout, at least one."""

    root: Path
    splits: tuple[str, ...]


def locate(data: Path) -> CocoLocation | CityscapesLocation:
    """What a name means; ``DataError`` where it means nothing.

    A JSON file; a folder that holds ``instances.json``; ``DIR`` or ``DIR:SPLIT`` of Cityscapes' layout, ``DIR`` alone
    being all its splits; ``DIR:NAME`` of COCO's own layout, ``annotations/instances_NAME.json`` beside ``NAME/``.
    """
    if data.is_file():
        return CocoLocation(data)
    if (data / INSTANCES).is_file():
        return CocoLocation(data / INSTANCES)
    root, _, split = (data, "", "") if data.exists() else _root_and_split(data)
    if is_cityscapes(root) and (splits := (split,) if split else splits_of(root)):
        return CityscapesLocation(root, splits)
    named = root / "annotations" / f"instances_{split}.json"
    if named.is_file():
        return CocoLocation(named)
    raise DataError(f"expected a data set at {data}, found none: name {FORMS}")


def open_dataset(data: Path, class_names: tuple[str, ...] = STREET_CLASSES) -> InstanceDataset:
    """The data set of this name (see ``locate``).

    Raises ``DataError`` where there is none, or where a folder has several splits and none is chosen.
    """
    place = locate(data)
    if isinstance(place, CocoLocation):
        return CocoDataset(place.annotation_file, class_names)
    if len(place.splits) > 1:
        choices = ", ".join(f"{data}:{split}" for split in place.splits)
        raise DataError(f"{data} has several splits; name one of {choices}")
    return CityscapesDataset(place.root, place.splits[0], class_names)


def labels_sha256(data: Path) -> str:
    """The SHA-256 of a data set's labels, wherever they lie: of the COCO JSON, or of the names and contents of all of a
    split's ground truth, in hexadecimal digits. Raises what ``locate`` raises."""
    place = locate(data)
    if isinstance(place, CocoLocation):
        return file_sha256(place.annotation_file)
    frames = [frame for split in place.splits for frame in frames_of(place.root, split)]
    lines = [f"{frame.split} {path.name} {file_sha256(path)}" for frame in frames for path in frame.truths[:1]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def picture_count(data: Path) -> int:
    """How many pictures a data set has, of whatever classes. Raises what ``locate`` raises, and ``DataError`` where its
    file or folder is none."""
    place = locate(data)
    if isinstance(place, CocoLocation):
        return len(read_coco(place.annotation_file).images)
    return sum(len(frames_of(place.root, split)) for split in place.splits)


def _root_and_split(data: Path) -> tuple[Path, str, str]:
    root, mark, split = str(data).rpartition(":")
    return Path(root or data), mark, split if root else ""
