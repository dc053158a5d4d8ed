"""PNG files of every form: pixels as OpenCV reads them, data of another size refused, the rest left aside."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from bench.hostile import PNG_FORMS, png_of, random_png
from scene import png
from scene.errors import FrameError

SIZES = [(16, 16), (17, 31), (33, 18)]


def decoded(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    header = png.read_header(data)
    assert header is not None
    return png.decode(data, header)


def test_nothing_has_no_header() -> None:
    assert png.read_header(b"") is None
    assert png.read_header(png.START) is None
    assert png.read_header(png_of((b"IDAT", bytes(13)))) is None


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), PNG_FORMS)
def test_every_form_is_read_as_opencv_reads_it(colour: int, depth: int, interlaced: bool) -> None:
    for size_hw in SIZES:
        data = random_png(colour, depth, size_hw, interlaced)
        expected = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))
        assert expected.shape == (*size_hw, 3)
        np.testing.assert_array_equal(decoded(data), expected)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (5, 9), (8, 8), (4, 1)])
def test_data_bytes_of_interlaced_pictures_smaller_than_the_pattern(width: int, height: int) -> None:
    """Eight bits of grey: a byte a pixel, and one a row of each pass that has pixels, counted one by one."""
    sevens, fives = "7" * 8, "56" * 4
    grid = ["16462646", sevens, fives, sevens, "36463646", sevens, fives, sevens]  # the pass of each pixel
    rows = {(grid[y % 8][x % 8], y) for y in range(height) for x in range(width)}
    assert png.Header(width, height, 8, 0, 0, 0, 1).data_bytes() == width * height + len(rows)


@pytest.mark.parametrize("change", [-1, 1, 100_000])
def test_data_of_another_size_are_refused(change: int) -> None:
    header = struct.pack(">IIBBBBB", 20, 16, 8, 2, 0, 0, 0)
    count = (1 + 3 * 20) * 16
    assert decoded(png_of((b"IHDR", header), (b"IDAT", zlib.compress(bytes(count))))) is not None
    assert decoded(png_of((b"IHDR", header), (b"IDAT", zlib.compress(bytes(count + change))))) is None


def test_a_form_that_does_not_exist_is_refused() -> None:
    for depth, colour, compression, filters, interlaced in [(3, 0, 0, 0, 0), (8, 1, 0, 0, 0), (8, 0, 1, 0, 0)]:
        header = struct.pack(">IIBBBBB", 16, 16, depth, colour, compression, filters, interlaced)
        count = png.Header(16, 16, depth, colour, compression, filters, interlaced).data_bytes()
        assert decoded(png_of((b"IHDR", header), (b"IDAT", zlib.compress(bytes(count))))) is None


def test_a_wrong_checksum_is_told() -> None:
    data = random_png(2, 8, (16, 16))
    place = data.index(b"IDAT") + 10
    with pytest.raises(FrameError, match="a checksum in it disagrees"):
        decoded(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_a_second_header_or_palette_changes_nothing() -> None:
    plain = random_png(3, 8, (16, 16))
    place = plain.index(b"IDAT") - 4
    other = png_of((b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)), (b"PLTE", bytes(768)))
    chunks = other[len(png.START) : -12]
    np.testing.assert_array_equal(decoded(plain[:place] + chunks + plain[place:]), decoded(plain))


def test_data_in_many_pieces_and_anything_between_them() -> None:
    header = struct.pack(">IIBBBBB", 20, 16, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(20)) for _ in range(16))
    packed = zlib.compress(rows)
    pieces = [chunk for byte in packed for chunk in ((b"IDAT", bytes([byte])), (b"tEXt", b"k\0text"))]
    found = decoded(png_of((b"IHDR", header), *pieces))
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(20)[None, :, None], (16, 20, 3)))
