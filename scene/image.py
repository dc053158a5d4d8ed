"""From bytes to pixels, and from a frame to the network input: the one way that all who predict share."""

from io import BytesIO
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from scene.errors import ConfigurationError, FrameError

RgbImage = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""

MAX_PIXELS = 4096 * 2160
"""The default limit of a frame: cinema 4K."""

_MIN_SIDE, _MAX_SIDE = 16, 8192
_PNG_START, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"
_JPEG_START, _JPEG_END, _JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_JPEG_BARE = (0x00, 0x01, *range(0xD0, 0xD9), 0xFF)


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
    file_format, width, height = _read_header(data)
    check_size((height, width), max_pixels)
    if not is_whole(data):
        raise FrameError(f"the {file_format} file of {len(data)} bytes is truncated: its end mark is missing")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape[:2] != (height, width):
        raise FrameError(f"the {file_format} file does not decode to the {width}x{height} pixels of its header")
    return cast(RgbImage, pixels)


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
    if data.startswith(_PNG_START):
        return _PNG_END in data
    return not data.startswith(_JPEG_START) or _jpeg_is_whole(data)


def _read_header(data: bytes) -> tuple[str, int, int]:
    """(format, width, height) as the file's header claims them."""
    if not data:
        raise FrameError("the frame is empty: expected a JPEG or PNG file, or raw pixels with their size")
    kind: type[JpegImageFile | PngImageFile] = PngImageFile if data.startswith(_PNG_START) else JpegImageFile
    try:
        # Not `Image.open`: it has a limit of its own, and calls a JPEG that more pictures follow another format.
        with kind(BytesIO(data)) as header:
            return kind.format, header.width, header.height
    except (OSError, SyntaxError, ValueError) as error:
        raise FrameError(f"the frame of {len(data)} bytes is no JPEG or PNG file, or its header is broken") from error


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the picture's end mark follows its first scan, with whatever behind it: padding, a film, more pictures.

    Segments are stepped over, not searched, as one may hold a thumbnail with a scan and an end mark of its own.
    """
    position = data.find(b"\xff", 2)
    while 0 <= position < len(data) - 3:
        marker = data[position + 1]
        if marker == _JPEG_SCAN:
            return data.rfind(_JPEG_END, position) >= 0
        step = 1 if marker in _JPEG_BARE else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        position = data.find(b"\xff", position + step)
    return False
