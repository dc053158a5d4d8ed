"""Where pictures come from."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from scene.errors import DataError
from streetmask.sources import Camera, NetworkCamera, Pictures, VideoFile, open_source
from tests.streetmask.conftest import FRAMES, moving


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no pictures"):
        open_source(str(tmp_path))


def test_a_folder_is_its_pictures_in_order(pictures: Path) -> None:
    (pictures / "notes.txt").touch()
    source = open_source(str(pictures))
    assert isinstance(source, Pictures)
    assert not source.live
    images = list(source)
    assert len(images) == 3
    assert all(np.array_equal(image, moving(number)) for number, image in enumerate(images))


def test_a_picture_is_a_source_of_one_frame(pictures: Path) -> None:
    (image,) = open_source(str(pictures / "1.png"))
    assert np.array_equal(image, moving(1))


def test_a_video_can_be_read_twice(clip: Path) -> None:
    source = open_source(str(clip))
    assert isinstance(source, VideoFile)
    assert source.rate == Fraction(50)
    assert not source.live
    assert len(list(source)) == len(list(source)) == FRAMES


def test_a_number_is_a_camera_and_an_address_a_stream() -> None:
    assert open_source("3") == Camera(3)
    address = "rtsp://camera.local/street"
    assert open_source(address) == NetworkCamera(address)
    assert Camera(3).live
    assert NetworkCamera(address).live


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.mp4 is not there: expected a video"):
        open_source(str(tmp_path / "none.mp4"))
    with pytest.raises(DataError, match="camera 999 cannot be opened"):
        next(iter(Camera(999)))


@pytest.mark.parametrize("name", ["broken.mp4", "broken.png"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=name):
        list(open_source(str(tmp_path / name)))
