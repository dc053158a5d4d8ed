"""Pictures that show which values a network sees: of a data set, of a plain folder, or generated streets."""

from pathlib import Path
from typing import cast

import numpy as np

from export.material import PictureFolder, Pictures
from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from scene.image import RgbImage, network_input
from training.data.location import locate, open_dataset
from training.data.synthetic import SceneSettings, scene

CALIBRATION_PICTURES = 64
"""So many show the ranges of the values."""

_SEED = 700_000


def calibration_pictures(
    size_hw: tuple[int, int],
    class_names: tuple[str, ...],
    calibration: Path | None = None,
    count: int = CALIBRATION_PICTURES,
) -> list[RgbImage]:
    """At most ``count`` pictures at the network's (height, width), evenly spread over those of ``calibration``.

    That is a data set by any of its names, or a folder of JPEG and PNG files, with those in its folders, that nobody
    labelled. Without one, generated streets. Raises ``ConfigurationError`` where there is none and no class is the
    street's, ``DataError`` where it holds no picture or a broken one.
    """
    if calibration is None:
        if not set(class_names) & set(STREET_CLASSES):
            raise ConfigurationError(
                "calibration",
                "expected a COCO JSON of pictures such as it will see, or a folder of such pictures, but none came",
            )
        return generated_streets(size_hw, count)
    if calibration.is_dir() and not _is_dataset(calibration):
        pictures: Pictures = _unlabelled(calibration)
    else:
        pictures = open_dataset(calibration, class_names=class_names)
    return [network_input(pictures.picture(index), size_hw) for index in _spread(len(pictures), count)]


def generated_streets(size_hw: tuple[int, int], count: int = CALIBRATION_PICTURES) -> list[RgbImage]:
    """Generated street scenes that no training set holds, at the network's (height, width), to calibrate on."""
    settings = SceneSettings(height=512, width=1024)
    return [network_input(scene(number, settings).image, size_hw) for number in range(_SEED, _SEED + count)]


def _is_dataset(folder: Path) -> bool:
    try:
        locate(folder)
    except DataError:
        return False
    return True


def _unlabelled(folder: Path) -> PictureFolder:
    try:
        return PictureFolder(folder)
    except DataError as error:
        raise DataError(
            f"{error}; to calibrate, name a data set, or a folder of frames such as the network will see"
        ) from error


def _spread(available: int, count: int) -> list[int]:
    """At most ``count`` of the numbers below ``available``, the first and the last among them."""
    return cast(list[int], np.unique(np.linspace(0, available - 1, count).round().astype(int)).tolist())
