"""The pictures that a model is verified on: generated scenes, a user's data sets, and a folder of plain pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import cv2

from scene.classes import STREET_CLASSES
from scene.errors import DataError, require
from scene.image import RgbImage
from training.data.coco import CocoDataset
from training.data.dataset import InstanceDataset
from training.data.location import open_dataset
from training.data.picture_file import decode_file
from training.data.synthetic import SceneSettings, write_dataset

GENERATED = "generated scenes"

_SEED = 900_000
"""No training set has it."""

_SUFFIXES = (".jpg", ".jpeg", ".png")


class Pictures(Protocol):
    """So many pictures, numbered from 0; every data set is such."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> RgbImage:
        """uint8 RGB [H, W, 3]; ``DataError`` where it cannot be read."""
        ...


@dataclass(frozen=True)
class PictureSet:
    """Pictures, and their labels where they have any of the model's classes."""

    name: str
    pictures: Pictures
    labelled: InstanceDataset | None = None
    generated: bool = False


@dataclass(frozen=True)
class Material:
    """What to verify on: so many generated ``scenes`` (None for as many as the network's size allows), labelled
    ``data`` by name, of each its ``first`` pictures at most, and a folder of ``pictures`` without labels."""

    scenes: int | None = None
    data: Sequence[tuple[str, Path]] = ()
    pictures: Path | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        require("scenes", self.scenes is None or self.scenes >= 0, "0 or more", self.scenes)
        require("first", self.first is None or self.first >= 1, "1 or more", self.first)
        given = self.scenes != 0 or bool(self.data) or self.pictures is not None
        require("scenes", given, "1 or more where neither --data nor --pictures is given", self.scenes)


class PictureFolder:
    """The JPEG and PNG files of a folder and of those in it, by name; ``DataError`` where there is none."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"expected a folder of pictures at {folder}, found none")
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        if not self.paths:
            raise DataError(f"{folder} has no pictures: expected files that end in {', '.join(_SUFFIXES)}")

    def __len__(self) -> int:
        return len(self.paths)

    def picture(self, index: int) -> RgbImage:
        """uint8 RGB [H, W, 3]."""
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        return cast(RgbImage, decode_file(self.paths[index], flags))


def picture_sets(material: Material, class_names: tuple[str, ...], scenes: int, scratch: Path) -> list[PictureSet]:
    """The sets in the order in which they are gone through; ``scenes`` where the material leaves their number open.

    Generated scenes, which come first, are written into the folder ``scratch``. Raises ``DataError`` for what cannot be
    opened.
    """
    count = scenes if material.scenes is None else material.scenes
    sets = list[PictureSet]()
    for name, path in material.data:
        dataset = open_dataset(path, class_names)
        dataset = dataset if material.first is None else dataset.first(material.first)
        sets.append(PictureSet(name, dataset, dataset))
    if material.pictures is not None:
        sets.append(PictureSet(str(material.pictures), PictureFolder(material.pictures)))
    return [generated_scenes(count, class_names, scratch), *sets] if count else sets


def scored_set(sets: Sequence[PictureSet]) -> PictureSet | None:
    """The set on which AP is measured: the first of the user's that has labels, else the generated scenes."""
    labelled = [each for each in sets if each.labelled is not None]
    return next((each for each in labelled if not each.generated), labelled[0] if labelled else None)


def generated_scenes(count: int, class_names: tuple[str, ...], scratch: Path) -> PictureSet:
    """So many scenes in the folder, the same every time; labelled if the model knows a street class."""
    path = write_dataset(scratch / "scenes", count, _SEED, SceneSettings(height=512, width=1024))
    if set(class_names) & set(STREET_CLASSES):
        dataset = CocoDataset(path, class_names)
        return PictureSet(GENERATED, dataset, dataset, generated=True)
    return PictureSet(GENERATED, CocoDataset(path), generated=True)
