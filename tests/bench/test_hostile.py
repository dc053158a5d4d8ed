"""The generator of frames that mean harm."""

from io import BytesIO

import numpy as np
from PIL import Image

from bench.hostile import (
    MUTATORS,
    ballast,
    bombs,
    compressed_zeros,
    malformed_frames,
    whole_files,
    with_jpeg_size,
    with_right_checksums,
)
from scene.image import decode_image
from serve.frame import Encoding

OTHER_FORMATS = ("GIF", "WebP", "TIFF", "empty")


def test_no_zeros_are_packed_to_a_stream_of_none() -> None:
    packed = compressed_zeros(0)
    assert packed
    assert compressed_zeros(5 << 20) != packed
    assert len(compressed_zeros(5 << 20)) < 10_000


def test_every_whole_file_is_sound() -> None:
    """Damage, and nothing else, is what a refusal is for."""
    for name, data in whole_files():
        if name in OTHER_FORMATS:
            continue
        with Image.open(BytesIO(data)) as picture:
            size_hw = (picture.height, picture.width)
        assert decode_image(data).shape == (*size_hw, 3), name


def test_every_kind_of_damage_and_of_file_comes() -> None:
    frames = list(malformed_frames(3, 2000))
    names = " ".join(name for name, _ in frames)
    assert all(step in names for step in (*MUTATORS, *OTHER_FORMATS, "right checksums", "raw RGB", "raw BGR"))
    assert {frame.encoding for _, frame in frames} == {None, *Encoding}
    assert any(frame.data in dict(whole_files()).values() and frame.data for _, frame in frames), "some stay sound"


def test_bombs_and_ballast_have_names_of_their_own() -> None:
    names = [name for source in (bombs(), ballast()) for name, _ in source]
    assert len(names) == len(set(names)) > 10


def test_checksums_are_made_right_again() -> None:
    data = dict(whole_files())["PNG of OpenCV"]
    place = data.index(b"IHDR") + 12
    damaged = data[:place] + b"\0" + data[place + 1 :]
    assert with_right_checksums(data) == data
    assert with_right_checksums(damaged + b"rest") != damaged + b"rest"
    assert with_right_checksums(with_right_checksums(damaged)) == with_right_checksums(damaged)


def test_another_size_of_a_jpeg_is_read_back() -> None:
    data = with_jpeg_size(dict(whole_files())["JPEG progressive"], 40, 90)
    with Image.open(BytesIO(data)) as picture:
        assert picture.size == (90, 40)
    assert with_jpeg_size(b"no JPEG", 40, 90) == b"no JPEG"
    assert np.array_equal(decode_image(data).shape, (40, 90, 3))
