"""Video files that a browser plays."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from scene.errors import DataError
from streetmask.sources import VideoFile
from streetmask.video import VideoWriter
from tests.streetmask.conftest import FRAMES, moving


def test_a_video_of_nothing_is_closed_without_a_complaint(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "empty.mp4", Fraction(25)) as writer:
        assert writer.frames == 0


def test_a_video_is_h264_in_a_browser_s_format_with_its_index_in_front(clip: Path) -> None:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert stream.average_rate == 50
        assert stream.frames == FRAMES
    data = clip.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_frames_come_back_in_order(clip: Path) -> None:
    for number, image in enumerate(VideoFile(clip)):
        assert np.abs(image.astype(int) - moving(number)).mean() < 12


@pytest.mark.parametrize("size_hw", [(33, 49), (33, 48), (32, 49)])
def test_odd_sides_gain_a_row_or_a_column(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    path = tmp_path / "deep" / "odd.mp4"
    with VideoWriter(path, Fraction(30000, 1001)) as writer:
        for _ in range(3):
            writer.write(np.full((*size_hw, 3), 100, np.uint8))
    images = list(VideoFile(path))
    assert [image.shape for image in images] == [(size_hw[0] + size_hw[0] % 2, size_hw[1] + size_hw[1] % 2, 3)] * 3
    assert VideoFile(path).rate == Fraction(30000, 1001)
    assert np.abs(images[0].astype(int) - 100).max() < 5


def test_a_frame_of_another_size_is_stretched_to_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "mixed.mp4", Fraction(10)) as writer:
        for side in (32, 64, 48):
            writer.write(np.full((side, 2 * side, 3), 100, np.uint8))
    assert [image.shape for image in VideoFile(tmp_path / "mixed.mp4")] == [(32, 64, 3)] * 3


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "out.mp4", Fraction(25))
