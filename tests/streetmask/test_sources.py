"""Where pictures come from."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
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


def test_damaged_packets_are_skipped_alike_each_time_and_mentioned_once(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = VideoFile(damaged)
    sent, drawn = list(source), list(source)
    assert 30 < len(sent) < 40
    assert np.array_equal(sent, drawn)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{damaged} is damaged; packets skipped: ")


def test_a_video_with_nothing_but_damage_is_refused(damaged: Path) -> None:
    data = bytearray(damaged.read_bytes())
    pictures = slice(data.index(b"mdat") + 4, len(data))
    data[pictures] = bytes(len(data[pictures]))
    damaged.write_bytes(data)
    with pytest.raises(DataError, match=r"damaged.mp4 is damaged: none of its \d+ packets"):
        list(VideoFile(damaged))


class FakeCamera:
    """A camera whose driver states ``rate``, and that one program at a time may open."""

    rate = 30.0
    in_use = False

    def __init__(self, _index: int) -> None:
        assert not FakeCamera.in_use
        FakeCamera.in_use = True

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def get(self, key: int) -> float:
        assert key == cv2.CAP_PROP_FPS
        return self.rate

    def read(self) -> tuple[bool, Any]:
        return True, moving(0)

    def release(self) -> None:
        FakeCamera.in_use = False


@pytest.mark.parametrize(
    ("stated", "rate"),
    [(30.0, 30), (29.97, Fraction(2997, 100)), (0.0, 25), (-1.0, 25), (90000.0, 25), (float("nan"), 25)],
)
def test_a_camera_has_the_rate_that_its_driver_states(
    monkeypatch: pytest.MonkeyPatch, stated: float, rate: Fraction
) -> None:
    monkeypatch.setattr("cv2.VideoCapture", FakeCamera)
    monkeypatch.setattr(FakeCamera, "rate", stated)
    monkeypatch.setattr(FakeCamera, "in_use", False)
    assert Camera(0).rate == rate
    camera = Camera(0)
    images = iter(camera)
    next(images)
    assert camera.rate == rate


def test_a_stream_of_the_network_has_the_rate_that_it_states(clip: Path) -> None:
    source = NetworkCamera(str(clip))
    assert len(list(source)) == FRAMES
    assert source.rate == NetworkCamera(str(clip)).rate == 50
