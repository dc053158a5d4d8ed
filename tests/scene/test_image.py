import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scene.errors import ConfigurationError, FrameError
from scene.image import (
    KEPT_OVER_INPUT,
    MAX_PIXELS,
    as_rgb,
    check_size,
    decode_for,
    decode_image,
    decode_raw,
    is_whole,
    network_input,
    parse_size,
    reduction,
)

HEIGHT, WIDTH = 48, 64


def picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """RGB: red grows to the right, green downwards, blue stays low."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 255, width)
    rgb[..., 1] = np.linspace(0, 255, height)[:, None]
    rgb[..., 2] = 20
    return rgb


def encoded(file_format: str, **options: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(picture()).save(stream, file_format, **options)
    return stream.getvalue()


JPEG, PNG = encoded("JPEG", quality=95), encoded("PNG")


def lying_png(width: int, height: int) -> bytes:
    """The PNG with another size in its header, and a checksum that agrees."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + PNG[24:29]
    return PNG[:12] + header + zlib.crc32(header).to_bytes(4, "big") + PNG[33:]


def lying_jpeg(width: int, height: int) -> bytes:
    """The JPEG with another size in its frame header."""
    start = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:start] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + JPEG[start + 4 :]


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(FrameError, match=r"empty: expected a JPEG or PNG"):
        decode_image(b"")
    with pytest.raises(FrameError, match="has 9216 bytes, but 0 came"):
        decode_raw(b"", (HEIGHT, WIDTH))


def test_pictures_come_out_as_rgb() -> None:
    np.testing.assert_array_equal(decode_image(PNG), picture())
    assert np.abs(decode_image(JPEG).astype(int) - picture()).mean() < 3
    assert decode_image(JPEG).dtype == np.uint8


def test_an_orientation_tag_is_ignored() -> None:
    stream = BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(picture()).save(stream, "JPEG", exif=tags)
    assert decode_image(stream.getvalue()).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["jpeg", "png"])
def test_a_truncated_file_is_refused_wherever_it_ends(data: bytes) -> None:
    for length in {*range(1, len(data), 7), len(data) - 1, len(data) - 2, len(data) - 4}:
        with pytest.raises(FrameError, match=r"truncated|no JPEG or PNG|does not decode"):
            decode_image(data[:length])


def with_thumbnail() -> bytes:
    """The JPEG with a smaller whole JPEG, over 4096 bytes from its end, in a segment before its first scan."""
    segment = b"Exif\0\0" + JPEG
    return JPEG[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + JPEG[2:]


def test_several_pictures_in_one_jpeg_are_the_first() -> None:
    other = Image.new("RGB", (WIDTH, HEIGHT))
    data = encoded("MPO", save_all=True, append_images=[other], quality=95)
    assert data.count(b"MPF\0") == 1
    np.testing.assert_array_equal(decode_image(data), decode_image(JPEG))


@pytest.mark.parametrize("data", [JPEG, PNG, encoded("JPEG", progressive=True)], ids=["jpeg", "png", "progressive"])
@pytest.mark.parametrize("rest", [bytes(5000), b"\xff" * 5000, b"ftypmp42" * 9000], ids=["zeros", "ones", "film"])
def test_whatever_follows_the_end_mark_is_left_alone(data: bytes, rest: bytes) -> None:
    np.testing.assert_array_equal(decode_image(data + rest), decode_image(data))


def test_a_thumbnail_s_end_mark_is_not_the_picture_s() -> None:
    whole = with_thumbnail()
    np.testing.assert_array_equal(decode_image(whole), decode_image(JPEG))
    for length in range(len(whole) - len(JPEG) + 2, len(whole) - 1, 7):
        with pytest.raises(FrameError, match=r"truncated|no JPEG or PNG"):
            decode_image(whole[:length])


@pytest.mark.parametrize(
    "data",
    [b"\0", b"GIF89a", b"not a picture" * 50, b"\xff\xd8\xff\xd9", PNG[:8], b"\x89PNG\r\n\x1a\nIEND\xaeB`\x82"],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError, match="no JPEG or PNG file"):
        decode_image(data)


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_refused(file_format: str) -> None:
    with pytest.raises(FrameError, match="no JPEG or PNG file"):
        decode_image(encoded(file_format))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for start in (b"", JPEG[:150], PNG[:60]):
        with pytest.raises(FrameError):
            decode_image(start + data)


def test_a_frame_over_the_limit_is_refused_by_its_header() -> None:
    for data in (JPEG, PNG):
        assert decode_image(data, max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(FrameError, match="may have 3071 pixels, but 64x48 came"):
            decode_image(data, max_pixels=HEIGHT * WIDTH - 1)
    with pytest.raises(FrameError, match="8000x9000 came"):
        decode_image(lying_jpeg(8000, 9000))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("data", "size"),
    [
        (lying_jpeg(60000, 60000), "60000x60000"),
        (lying_png(30000, 30000), "30000x30000"),
        (lying_png(10000, 10000), "10000x10000"),
        (lying_png(2**31 - 1, 2**31 - 1), "2147483647x2147483647"),
    ],
)
def test_a_huge_claim_is_held_against_our_limit_alone(data: bytes, size: str) -> None:
    with pytest.raises(FrameError, match=f"may have {MAX_PIXELS} pixels, but {size} came"):
        decode_image(data)


def test_a_picture_within_our_limit_is_decoded_whatever_pillow_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 4)
    for data in (JPEG, PNG):
        assert decode_image(data).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("size_wh", [(64, 96), (640, 480), (128, 48)])
def test_a_png_whose_header_lies_is_refused(size_wh: tuple[int, int]) -> None:
    with pytest.raises(FrameError):
        decode_image(lying_png(*size_wh))


@pytest.mark.parametrize("data", [lying_jpeg(16, 8), lying_png(8, 64)])
def test_a_frame_too_small_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError, match="at least 16x16"):
        decode_image(data)


@pytest.mark.parametrize(("size_hw", "fits"), [((16, 16), True), ((15, 16), False), ((0, 9), False), ((-9, -9), False)])
def test_the_least_size(size_hw: tuple[int, int], fits: bool) -> None:
    if fits:
        check_size(size_hw)
    else:
        with pytest.raises(FrameError, match="at least 16x16"):
            check_size(size_hw)


def test_the_default_limit_is_cinema_4k() -> None:
    check_size((2160, 4096))
    with pytest.raises(FrameError, match=str(MAX_PIXELS)):
        check_size((2160, 4097))


@pytest.mark.parametrize(
    ("size_hw", "scale"),
    [
        ((720, 1280), 1),  # a half would be 640 wide, less than the input
        ((959, 1920), 1),
        ((960, 1919), 1),
        ((960, 1920), 2),
        ((1080, 1920), 2),
        ((1440, 2560), 2),
        ((2160, 3840), 4),
        ((2160, 1600), 1),
        ((480, 16_000), 1),
        ((8000, 16_000), 8),
    ],
)
def test_a_frame_is_decoded_smaller_where_that_is_still_larger_than_the_input(
    size_hw: tuple[int, int], scale: int
) -> None:
    assert reduction(size_hw, (384, 768)) == scale


@given(st.tuples(*[st.integers(16, 9000)] * 2), st.tuples(*[st.integers(16, 1000)] * 2))
def test_a_reduced_side_is_never_too_small(size_hw: tuple[int, int], network_hw: tuple[int, int]) -> None:
    scale = reduction(size_hw, network_hw)
    kept = [side / scale >= KEPT_OVER_INPUT * wanted for side, wanted in zip(size_hw, network_hw, strict=True)]
    assert scale == 1 or all(kept)


def test_a_jpeg_for_a_small_network_comes_smaller_with_its_frame_s_size() -> None:
    image, size_hw = decode_for(JPEG, (16, 16))
    assert size_hw == (HEIGHT, WIDTH)
    assert image.shape == (HEIGHT // 2, WIDTH // 2, 3)
    means = picture().astype(float).reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(image - means).mean() < 3


def test_a_png_and_a_jpeg_for_a_large_network_come_in_full() -> None:
    np.testing.assert_array_equal(decode_for(PNG, (1, 1)).image, decode_image(PNG))
    np.testing.assert_array_equal(decode_for(JPEG, (HEIGHT, WIDTH)).image, decode_image(JPEG))


def test_limits_hold_for_the_frame_that_would_be_decoded_smaller() -> None:
    with pytest.raises(FrameError, match="may have 3071 pixels, but 64x48 came"):
        decode_for(JPEG, (1, 1), max_pixels=HEIGHT * WIDTH - 1)
    with pytest.raises(FrameError, match="truncated"):
        decode_for(JPEG[:-2], (1, 1))
    with pytest.raises(FrameError, match="at least 16x16"):
        decode_for(lying_jpeg(8, 64), (1, 1))


def test_raw_pixels_are_rgb_or_turned_round() -> None:
    rgb = picture()
    np.testing.assert_array_equal(decode_raw(rgb.tobytes(), (HEIGHT, WIDTH)), rgb)
    np.testing.assert_array_equal(decode_raw(rgb[..., ::-1].tobytes(), (HEIGHT, WIDTH), bgr=True), rgb)


@pytest.mark.parametrize("length", [1, HEIGHT * WIDTH * 3 - 1, HEIGHT * WIDTH * 3 + 1])
def test_raw_pixels_of_another_number_are_refused(length: int) -> None:
    with pytest.raises(FrameError, match=f"has 9216 bytes, but {length} came"):
        decode_raw(bytes(length), (HEIGHT, WIDTH))


def test_raw_pixels_over_the_limit_are_refused() -> None:
    with pytest.raises(FrameError, match="may have 100 pixels"):
        decode_raw(bytes(HEIGHT * WIDTH * 3), (HEIGHT, WIDTH), max_pixels=100)


def test_network_input_of_the_same_size_is_the_frame() -> None:
    np.testing.assert_array_equal(network_input(picture(), (HEIGHT, WIDTH)), picture())


def test_network_input_is_bilinear_at_half_pixel_centres_without_antialiasing() -> None:
    """To a third, each target pixel is the middle one of three; to a half, the mean of the two that meet there."""
    image = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    np.testing.assert_array_equal(network_input(image, (4, 6)), image[1::3, 1::3])
    means = image.astype(float).reshape(6, 2, 9, 2, 3).mean(axis=(1, 3))
    assert np.abs(network_input(image, (6, 9)) - means).max() <= 0.5
    assert network_input(image, (24, 10)).shape == (24, 10, 3)


def test_network_input_stretches_without_letterbox() -> None:
    white = np.full((20, 80, 3), 255, np.uint8)
    assert network_input(white, (64, 32)).min() == 255


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((1, 1, 3), np.uint8), "at least 16x16 pixels, but 1x1 came"),
        (np.zeros((0, 0, 3), np.uint8), "at least 16x16 pixels, but 0x0 came"),
        (np.zeros((64, 64, 3), np.uint16), "uint8 values of 0 to 255, but uint16 came"),
        (np.zeros((64, 64, 3), np.float32), "uint8 values of 0 to 255, but float32 came"),
        (np.zeros((64, 64, 2), np.uint8), r"but \[64, 64, 2\] came"),
        (np.zeros((1, 64, 64, 3), np.uint8), r"but \[1, 64, 64, 3\] came"),
        (np.zeros(64, np.uint8), r"but \[64\] came"),
        (np.broadcast_to(np.uint8(7), (20_000, 20_000, 3)), "may have 8847360 pixels, but 20000x20000 came"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(pixels: np.ndarray[Any, Any], sentence: str) -> None:
    with pytest.raises(FrameError, match=sentence):
        as_rgb(pixels)


def test_grey_and_transparent_arrays_become_rgb() -> None:
    rgb = picture()
    assert np.shares_memory(as_rgb(rgb), rgb)
    grey = rgb[..., 0]
    for pixels in (grey, grey[..., None]):
        np.testing.assert_array_equal(as_rgb(pixels), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(as_rgb(np.dstack((rgb, np.full(grey.shape, 9, np.uint8)))), rgb)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("L", lambda rgb: np.stack([np.asarray(Image.fromarray(rgb).convert("L"))] * 3, axis=-1)),
        ("RGBA", lambda rgb: rgb),
        ("I;16", lambda rgb: np.stack([rgb[..., 0]] * 3, axis=-1)),
    ],
)
def test_files_of_one_or_four_channels_and_of_16_bits_are_read(mode: str, expected: Any) -> None:
    stream = BytesIO()
    if mode == "I;16":
        Image.fromarray(picture()[..., 0].astype(np.uint16) * 257).save(stream, "PNG")
    else:
        Image.fromarray(picture()).convert(mode).save(stream, "PNG")
    np.testing.assert_array_equal(decode_image(stream.getvalue()), expected(picture()))


def test_a_file_is_whole_until_its_end_mark_is_cut_off() -> None:
    for data in (JPEG, PNG):
        assert is_whole(data)
        assert is_whole(data + b"\0" * 9)
        assert not any(is_whole(data[:length]) for length in range(5, len(data) - 1, 7))
    assert is_whole(b"BM of another format")


def test_a_size_is_width_then_height() -> None:
    assert parse_size("1280x720") == (720, 1280)


@pytest.mark.parametrize(
    "size", ["", "big", "1280", "1280x", "x720", "1280x720x3", "15x720", "1280x8193", "-64x64", "²0x64"]
)
def test_a_size_that_is_none(size: str) -> None:
    with pytest.raises(ConfigurationError, match="size: expected WIDTHxHEIGHT such as 1280x720"):
        parse_size(size)
