from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.errors import DataError
from training.data.picture_file import read_picture

SIZE = (80, 120)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("scale_to_hw", [None, (40, 60), (70, 70)])
def test_truncated_pictures_are_refused_at_any_size(
    tmp_path: Path, suffix: str, scale_to_hw: tuple[int, int] | None
) -> None:
    """OpenCV answers half a JPEG with a picture whose lower half is grey."""
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))
    assert read_picture(path, SIZE, scale_to_hw).shape == (*(scale_to_hw or SIZE), 3)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a\{suffix} is truncated"):
        read_picture(path, SIZE, scale_to_hw)


def test_a_size_that_disagrees_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 50, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.png is no picture of \(80, 120\).*of about \(30, 50\)"):
        read_picture(tmp_path / "a.png", SIZE)


def test_a_file_of_nothing_and_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png is no picture"):
        read_picture(tmp_path / "a.png", SIZE)
    with pytest.raises(DataError, match=r"expected a picture at .*b\.png"):
        read_picture(tmp_path / "b.png", SIZE)
