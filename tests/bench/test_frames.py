"""Frames that are shown to other processes."""

from pathlib import Path

import numpy as np
import pytest

from bench.frames import load_frames, store_frames, stored_frames
from scene.errors import DataError
from serve.frame import EncodedFrame


def test_no_picture_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no pictures"):
        load_frames(str(tmp_path), 3, None)


def test_pictures_and_files_come_back_in_their_order(tmp_path: Path) -> None:
    frames = np.stack([np.full((16, 24, 3), 20 * number, np.uint8) for number in range(12)])
    np.testing.assert_array_equal(stored_frames(store_frames(frames, tmp_path)), frames)
    files = stored_frames(store_frames(frames, tmp_path, jpeg_quality=90))
    assert isinstance(files, list)
    assert [file.data for file in files] == [EncodedFrame.jpeg(frame, 90).data for frame in frames]
    np.testing.assert_allclose(files[11].decode(), frames[11], atol=2)
