from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.errors import DataError
from training.data.picture_file import read_picture

SIZE = (80, 120)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    """OpenCV answers half a JPEG with a picture whose lower half is grey."""
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))
    assert read_picture(path, SIZE).shape == (*SIZE, 3)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a\{suffix} is truncated"):
        read_picture(path, SIZE)


def test_channels_are_red_green_blue(tmp_path: Path) -> None:
    pixels = np.full((*SIZE, 3), (10, 90, 200), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", SIZE), pixels)


def test_a_size_that_disagrees_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 50, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.png is no picture of \(80, 120\).*but of \(30, 50\)"):
        read_picture(tmp_path / "a.png", SIZE)


def test_a_file_of_nothing_and_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png is no picture"):
        read_picture(tmp_path / "a.png", SIZE)
    with pytest.raises(DataError, match=r"expected a picture at .*b\.png"):
        read_picture(tmp_path / "b.png", SIZE)
