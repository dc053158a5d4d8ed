"""Pictures to calibrate on: of a data set, of a folder that nobody labelled, or generated."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from export.calibration import calibration_pictures, generated_streets
from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from scene.image import network_input
from tests.export.conftest import Published

SIZE_HW = (64, 128)


def write_picture(path: Path, size_hw: tuple[int, int], seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A PNG of noise; answers its RGB pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return pixels


def test_a_folder_with_no_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(
        DataError, match=r"has no pictures: .* \.png; to calibrate, name a data set, or a folder of frames"
    ):
        calibration_pictures(SIZE_HW, STREET_CLASSES, tmp_path)


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a data set at"):
        calibration_pictures(SIZE_HW, STREET_CLASSES, tmp_path / "nowhere")


def test_no_calibration_and_no_street_class() -> None:
    with pytest.raises(ConfigurationError, match="calibration: expected a COCO JSON of pictures such as it will see"):
        calibration_pictures(SIZE_HW, ("cup", "fork"))


def test_pictures_of_other_sizes_are_stretched(tmp_path: Path) -> None:
    small, large = write_picture(tmp_path / "a.png", (30, 40), 1), write_picture(tmp_path / "in" / "b.PNG", (90, 70), 2)
    found = calibration_pictures(SIZE_HW, ("cup",), tmp_path)
    assert len(found) == 2
    assert all(
        np.array_equal(ours, network_input(theirs, SIZE_HW)) for ours, theirs in zip(found, (small, large), strict=True)
    )


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 and nothing more")
    with pytest.raises(DataError, match=r"broken\.jpg is truncated"):
        calibration_pictures(SIZE_HW, STREET_CLASSES, tmp_path)


def test_pictures_are_spread_over_a_folder(tmp_path: Path) -> None:
    written = [write_picture(tmp_path / f"{index}.png", SIZE_HW, index) for index in range(9)]
    found = calibration_pictures(SIZE_HW, STREET_CLASSES, tmp_path, count=3)
    assert [np.array_equal(ours, written[index]) for ours, index in zip(found, (0, 4, 8), strict=True)] == [True] * 3


def test_a_data_set_by_its_folder(published: Published) -> None:
    found = calibration_pictures(SIZE_HW, STREET_CLASSES, published.data.parent)
    assert [picture.shape for picture in found] == [(*SIZE_HW, 3)] * 3


def test_generated_streets_without_any() -> None:
    found = calibration_pictures(SIZE_HW, ("cup", "car"), count=1)
    assert np.array_equal(found, generated_streets(SIZE_HW, 1))
