"""A frame as it travels: bytes that claim to be a picture."""

import time
from dataclasses import dataclass, field
from enum import Enum

import cv2
import numpy as np

from scene import jpeg
from scene.errors import FrameError
from scene.image import MAX_PIXELS, Decoded, RgbImage, decode_for, decode_image, decode_raw


class Encoding(Enum):
    """What a frame's bytes are: a JPEG or PNG file, by name or left to its header, or raw pixels."""

    FILE = "a JPEG or PNG file"
    JPEG = "a JPEG file"
    PNG = "a PNG file"
    RAW_RGB = "raw RGB pixels"
    RAW_BGR = "raw BGR pixels"


_SOON_PIXELS = 1920 * 1088

_MAGIC = {Encoding.JPEG: b"\xff\xd8\xff", Encoding.PNG: b"\x89PNG\r\n\x1a\n"}


@dataclass(frozen=True)
class EncodedFrame:
    """Bytes and what they claim to be. ``size_hw`` in pixels counts for raw pixels only.

    ``encoding`` is None where the sender named one that does not exist. ``arrived_s`` is of the monotonic clock.
    """

    data: bytes = field(repr=False)
    encoding: Encoding | None = Encoding.FILE
    size_hw: tuple[int, int] = (0, 0)
    arrived_s: float = field(default_factory=time.perf_counter, compare=False)

    @classmethod
    def raw(cls, image: RgbImage) -> "EncodedFrame":
        """The pixels of a picture, uint8 [H, W, 3] RGB, as they are: no loss, much data."""
        height, width = image.shape[:2]
        return cls(np.ascontiguousarray(image).tobytes(), Encoding.RAW_RGB, (height, width))

    @classmethod
    def jpeg(cls, image: RgbImage, quality: int = 90) -> "EncodedFrame":
        """A picture, uint8 [H, W, 3] RGB, as a JPEG file of the quality, 1 to 100."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cls(data.tobytes(), Encoding.JPEG)

    def decode(self, max_pixels: int = MAX_PIXELS) -> RgbImage:
        """The pixels, uint8 [H, W, 3]; raises ``FrameError`` for bytes that are not what they claim."""
        if self._is_raw:
            return decode_raw(self.data, self.size_hw, self.encoding is Encoding.RAW_BGR, max_pixels)
        self._check_file()
        return decode_image(self.data, max_pixels)

    def decode_for(self, network_hw: tuple[int, int], max_pixels: int = MAX_PIXELS) -> Decoded:
        """The pixels for a network of input (height, width), and the frame's size: a JPEG that is far larger than the
        input comes smaller, as ``scene.image.reduction`` has it, everything else as by ``decode``."""
        if self._is_raw:
            return Decoded(self.decode(max_pixels), self.size_hw)
        self._check_file()
        return decode_for(self.data, network_hw, max_pixels)

    @property
    def is_soon_decoded(self) -> bool:
        """Whether decoding takes milliseconds whatever the bytes are: raw pixels and sequential JPEGs of Full HD."""
        size_hw = self.size_hw if self._is_raw else jpeg.size_hw(self.data)
        if size_hw is None or size_hw[0] * size_hw[1] > _SOON_PIXELS:
            return False
        return self._is_raw or (len(self.data) <= _SOON_PIXELS and jpeg.is_baseline(self.data))

    @property
    def _is_raw(self) -> bool:
        return self.encoding in (Encoding.RAW_RGB, Encoding.RAW_BGR)

    def _check_file(self) -> None:
        """Raise ``FrameError`` for an encoding that does not exist, and for a file of another one."""
        if self.encoding is None:
            raise FrameError("image.encoding: expected JPEG, PNG, raw RGB or raw BGR, but an unknown value came")
        if self.data and not self.data.startswith(_MAGIC.get(self.encoding, b"")):
            raise FrameError(f"the frame of {len(self.data)} bytes is not {self.encoding.value}, as it claims to be")
