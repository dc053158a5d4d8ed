"""Bytes that claim to be a picture."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.errors import FrameError
from serve.frame import EncodedFrame, Encoding

IMAGE = np.arange(32 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 48, 3)
JPEG = EncodedFrame.jpeg(IMAGE).data
PNG = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG file of 48 x 32 pixels whose header claims another size, its checksum intact."""
    header = b"IHDR" + struct.pack(">II", width, height) + PNG[24:29]
    return PNG[:12] + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]


@pytest.mark.parametrize("encoding", list(Encoding))
def test_an_empty_frame_is_refused(encoding: Encoding) -> None:
    with pytest.raises(FrameError):
        EncodedFrame(b"", encoding, (32, 48)).decode()


def test_raw_pixels_and_png_files_come_back_to_the_bit() -> None:
    assert np.array_equal(EncodedFrame.raw(IMAGE).decode(), IMAGE)
    assert np.array_equal(EncodedFrame(IMAGE[..., ::-1].tobytes(), Encoding.RAW_BGR, (32, 48)).decode(), IMAGE)
    assert np.array_equal(EncodedFrame(PNG).decode(), IMAGE)
    assert np.array_equal(EncodedFrame(PNG, Encoding.PNG).decode(), IMAGE)


def test_a_smooth_picture_survives_jpeg() -> None:
    smooth = np.broadcast_to(np.linspace(40, 200, 48).astype(np.uint8)[None, :, None], (32, 48, 3))
    decoded = EncodedFrame.jpeg(smooth, 95).decode()
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (EncodedFrame(b"hello"), "no JPEG or PNG"),
        (EncodedFrame(JPEG[: len(JPEG) // 2]), "truncated"),
        (EncodedFrame(PNG[:-20]), "truncated"),
        (EncodedFrame(JPEG[:10]), "no JPEG or PNG"),
        (EncodedFrame(PNG, Encoding.JPEG), "is not a JPEG file"),
        (EncodedFrame(JPEG, Encoding.PNG), "is not a PNG file"),
        (EncodedFrame(JPEG, None), "unknown value"),
        (EncodedFrame(png_claiming(48, 64)), "does not decode"),
        (EncodedFrame(png_claiming(9_000, 8_000)), "may have"),
        (EncodedFrame(IMAGE.tobytes(), Encoding.RAW_RGB, (32, 47)), "but 4608 came"),
        (EncodedFrame(IMAGE.tobytes(), Encoding.RAW_RGB), "at least 16x16"),
        (EncodedFrame(IMAGE.tobytes(), Encoding.RAW_RGB, (3200, 4800)), "may have"),
    ],
)
def test_a_frame_that_is_not_what_it_claims_is_refused_in_words(frame: EncodedFrame, sentence: str) -> None:
    with pytest.raises(FrameError, match=sentence):
        frame.decode()


def test_only_jpeg_files_come_smaller_for_a_small_network() -> None:
    raw, bgr = EncodedFrame.raw(IMAGE), EncodedFrame(IMAGE[..., ::-1].tobytes(), Encoding.RAW_BGR, (32, 48))
    for whole in (raw, bgr, EncodedFrame(PNG), EncodedFrame(PNG, Encoding.PNG)):
        image, size_hw = whole.decode_for((8, 8))
        assert size_hw == (32, 48)
        assert np.array_equal(image, IMAGE)
    for file in (EncodedFrame(JPEG), EncodedFrame(JPEG, Encoding.JPEG)):
        image, size_hw = file.decode_for((8, 8))
        assert size_hw == (32, 48)
        assert image.shape == (16, 24, 3)
        assert np.array_equal(file.decode_for((32, 48)).image, file.decode())


def test_what_is_refused_in_full_is_refused_for_a_network() -> None:
    for frame in (EncodedFrame(JPEG, None), EncodedFrame(PNG, Encoding.JPEG), EncodedFrame.raw(IMAGE[:8])):
        with pytest.raises(FrameError):
            frame.decode_for((8, 8))


@given(st.binary(max_size=200), st.sampled_from([None, *Encoding]), st.tuples(*[st.integers(0, 1 << 32)] * 2))
def test_no_bytes_raise_anything_but_a_frame_error(data: bytes, encoding: Encoding, size_hw: tuple[int, int]) -> None:
    with pytest.raises(FrameError):
        EncodedFrame(data, encoding, size_hw).decode()


@given(st.integers(0, len(JPEG) - 1), st.integers(0, 255), st.sampled_from([JPEG, PNG]))
def test_a_damaged_byte_gives_a_picture_or_a_frame_error(place: int, value: int, whole: bytes) -> None:
    place %= len(whole)
    damaged = whole[:place] + bytes([value]) + whole[place + 1 :]
    try:
        assert EncodedFrame(damaged).decode().shape[2] == 3
    except FrameError as error:
        assert str(error)
