"""JPEG files: size, scans, and the decoder's own scaling, against Pillow's."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from bench.hostile import street
from scene import jpeg
from scene.errors import FrameError


def encoded(height: int, width: int, mode: str = "RGB", **options: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(street(height, width)).convert(mode).save(stream, "JPEG", quality=92, **options)
    return stream.getvalue()


def with_scans(count: int) -> bytes:
    """A progressive file with its last scan repeated until it has so many."""
    data = encoded(32, 32, progressive=True)
    start, scans = data.rindex(b"\xff\xda"), data.count(b"\xff\xda")
    return data[:-2] + data[start:-2] * (count - scans) + data[-2:]


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xc0\0\x11\x08\0", b"\x89PNG"])
def test_what_has_no_frame_header_has_no_size(data: bytes) -> None:
    assert jpeg.size_hw(data) is None
    assert not jpeg.is_whole(data)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"mode": "L"}, {"mode": "CMYK"}, {"exif": b"Exif\0\0" * 9}]
)
def test_the_size_is_the_header_s(options: dict[str, Any]) -> None:
    assert jpeg.size_hw(encoded(37, 53, **options)) == (37, 53)


@pytest.mark.parametrize("scale", jpeg.SCALES)
@pytest.mark.parametrize("size_hw", [(64, 96), (33, 47), (16, 17), (129, 250)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"mode": "L"}], ids=str)
def test_a_scaled_picture_is_the_one_that_pillow_s_decoder_makes(
    options: dict[str, Any], size_hw: tuple[int, int], scale: int
) -> None:
    """Rounded up, red first, to the level."""
    data = encoded(*size_hw, **options)
    found = jpeg.decode(data, scale)
    assert found is not None
    with JpegImageFile(BytesIO(data)) as picture:
        picture.draft(None, (size_hw[1] // scale, size_hw[0] // scale))
        expected = np.asarray(picture.convert("RGB"))
    assert found.shape == (-(-size_hw[0] // scale), -(-size_hw[1] // scale), 3)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_an_orientation_tag_turns_no_scaled_picture() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    found = jpeg.decode(encoded(64, 96, exif=tags), 2)
    assert found is not None
    assert found.shape == (32, 48, 3)


def test_so_many_scans_and_no_more() -> None:
    assert jpeg.decode(with_scans(jpeg.MAX_SCANS)) is not None
    with pytest.raises(FrameError, match="may have 100 scans, but more came"):
        jpeg.decode(with_scans(jpeg.MAX_SCANS + 1))


def test_what_looks_like_scans_behind_the_picture_or_in_a_segment_is_none() -> None:
    data, marks = encoded(32, 32), b"\xff\xda\0\x0c" * 1000
    assert jpeg.decode(data + marks) is not None
    segment = b"\xff\xe5" + (len(marks) + 2).to_bytes(2, "big") + marks
    assert jpeg.decode(data[:2] + segment + data[2:]) is not None
