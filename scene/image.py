"""From bytes to pixels, and from a frame to the network input: the one way that all who predict share."""

from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene import jpeg, png
from scene.errors import ConfigurationError, FrameError

RgbImage = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""

MAX_PIXELS = 4096 * 2160
"""The default limit of a frame: cinema 4K."""

KEPT_OVER_INPUT = 1.25
"""How many times as large as the network's input a picture that is decoded smaller must stay, on either side.

By measurement (``bench decode``): so AP stays within 0.2 points; at 0.83 times box AP lost 0.25 on 1280x720."""

_MIN_SIDE, _MAX_SIDE = 16, 8192
_PNG_END = b"IEND\xaeB`\x82"


class Decoded(NamedTuple):
    """A picture, uint8 RGB [h, w, 3], and the (height, width) of its frame, whose pixels boxes and masks are laid on.

    The picture shows the whole frame, and may be smaller.
    """

    image: RgbImage
    size_hw: tuple[int, int]


def parse_size(size: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT``, as a user writes it, as (height, width)."""
    width, _, height = size.partition("x")
    if not all(side.isdecimal() and _MIN_SIDE <= int(side) <= _MAX_SIDE for side in (width, height)):
        raise ConfigurationError("size", f"expected WIDTHxHEIGHT such as 1280x720, but {size!r} came")
    return int(height), int(width)


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """Decode one JPEG or PNG file to uint8 RGB [H, W, 3]; orientation tags are ignored, as a camera stream has none.

    The header is read and held against the limit before a pixel is decoded, so that a small file that claims a huge
    picture costs nothing. Raises ``FrameError`` for whatever is empty, no picture, truncated or over the limit.
    """
    return _decode_file(data, None, max_pixels).image


def decode_for(data: bytes, network_hw: tuple[int, int], max_pixels: int = MAX_PIXELS) -> Decoded:
    """The same for a network of input (height, width): a JPEG that is far larger comes at a half, quarter or eighth.

    By ``reduction``; the decoder then has less to compute. Limits hold for the frame's own size.
    """
    return _decode_file(data, network_hw, max_pixels)


def reduction(size_hw: tuple[int, int], network_hw: tuple[int, int]) -> int:
    """By how much both sides of a frame may be divided: 8, 4, 2 or 1.

    Except by 1 they are still ``KEPT_OVER_INPUT`` times the network's (height, width) or more.
    """
    return next(
        scale
        for scale in jpeg.SCALES
        if scale == 1
        or all(side >= scale * KEPT_OVER_INPUT * wanted for side, wanted in zip(size_hw, network_hw, strict=True))
    )


def decode_raw(data: bytes, size_hw: tuple[int, int], bgr: bool = False, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """View raw interleaved uint8 pixels of the stated (height, width) as RGB [H, W, 3]; BGR is turned round."""
    check_size(size_hw, max_pixels)
    height, width = size_hw
    if len(data) != height * width * 3:
        raise FrameError(f"a raw {width}x{height} frame has {height * width * 3} bytes, but {len(data)} came")
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, 3)
    return cast(RgbImage, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)) if bgr else pixels


def check_size(size_hw: tuple[int, int], max_pixels: int = MAX_PIXELS) -> None:
    """Raise ``FrameError`` unless both sides have at least 16 pixels and their product is within the limit."""
    height, width = size_hw
    if min(size_hw) < _MIN_SIDE:
        raise FrameError(f"a frame needs at least {_MIN_SIDE}x{_MIN_SIDE} pixels, but {width}x{height} came")
    if height * width > max_pixels:
        raise FrameError(f"a frame may have {max_pixels} pixels, but {width}x{height} came; send it smaller")


def as_rgb(pixels: NDArray[np.generic], max_pixels: int = MAX_PIXELS) -> RgbImage:
    """A picture in an array as RGB: [H, W] and [H, W, 1] grey, [H, W, 3] RGB, [H, W, 4] RGBA, whose alpha is dropped.

    Raises ``FrameError`` for other shapes, numbers other than uint8, and sizes that are not taken.
    """
    if pixels.dtype != np.uint8:
        raise FrameError(f"a picture has uint8 values of 0 to 255, but {pixels.dtype} came; scale it to that first")
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise FrameError(f"a picture is [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], but {list(pixels.shape)} came")
    check_size((pixels.shape[0], pixels.shape[1]), max_pixels)
    if channels == 1:
        return cast(RgbImage, np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2))
    return cast(RgbImage, np.ascontiguousarray(pixels[..., :3]))


def network_input(image: RgbImage, size_hw: tuple[int, int]) -> RgbImage:
    """Stretch the whole frame [H, W, 3] to the network's (height, width): bilinear, no letterbox, no antialiasing.

    The arithmetic of the original's preprocessing (``F.interpolate`` with ``align_corners=False``), rounded to uint8.
    """
    height, width = size_hw
    return cast(RgbImage, cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))


def is_whole(data: bytes) -> bool:
    """Whether a JPEG or PNG file has its end mark; files of other formats are taken for whole."""
    if data.startswith(png.START[:4]):
        return _PNG_END in data
    return not data.startswith(jpeg.START) or jpeg.is_whole(data)


def _decode_file(data: bytes, network_hw: tuple[int, int] | None, max_pixels: int) -> Decoded:
    if not data:
        raise FrameError("the frame is empty: expected a JPEG or PNG file, or raw pixels with their size")
    header = png.read_header(data) if data.startswith(png.START) else None
    size_hw = jpeg.size_hw(data) if header is None else (header.height, header.width)
    if size_hw is None:
        raise FrameError(f"the frame of {len(data)} bytes is no JPEG or PNG file, or its header is broken")
    check_size(size_hw, max_pixels)
    scale = 1 if header or network_hw is None else reduction(size_hw, network_hw)
    pixels = png.decode(data, header) if header else jpeg.decode(data, scale)
    height, width = size_hw
    if pixels is None or pixels.shape[:2] != (-(-height // scale), -(-width // scale)):
        name = "PNG" if header else "JPEG"
        raise FrameError(f"the {name} file does not decode to the {width}x{height} pixels of its header")
    return Decoded(pixels, size_hw)
