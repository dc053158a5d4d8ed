"""Reading a data set's picture, at the size that is asked for."""

from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError
from scene.image import RgbImage, is_whole, network_input
from training.data.mask_window import SizeHw


def read_picture(path: Path, size_hw: SizeHw, scale_to_hw: SizeHw | None = None) -> RgbImage:
    """The picture uint8 RGB [H, W, 3], whole or stretched to (height, width).

    It is decoded at half size where that is still enough: a training step must not wait for pixels that it discards.
    Orientation tags are ignored, as COCO's annotations do. ``size_hw`` is what its labels say. Raises ``DataError``
    naming the file where it is missing, truncated, no picture, or of another size.
    """
    half = scale_to_hw is not None and all(2 * to <= side for to, side in zip(scale_to_hw, size_hw, strict=True))
    reduction = cv2.IMREAD_REDUCED_GRAYSCALE_2 if half else 0
    pixels = decode_file(path, reduction | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if not _has_size(pixels.shape, size_hw, half):
        height, width = (side * 2 if half else side for side in pixels.shape[:2])
        raise DataError(
            f"{path} is no picture of {size_hw} (height, width) as its labels say, but of about {(height, width)}; "
            "fetch the data set again"
        )
    image = cast(RgbImage, pixels)
    return network_input(image, scale_to_hw) if scale_to_hw and image.shape[:2] != scale_to_hw else image


def decode_file(path: Path, flags: int) -> NDArray[np.generic]:
    """What OpenCV decodes of a file with these flags; ``DataError`` where it is missing, truncated or no picture.

    The end mark is looked for because OpenCV answers a truncated JPEG with grey.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"expected a picture at {path}, but it cannot be read; fetch the data set again") from error
    if not is_whole(data):
        raise DataError(f"{path} is truncated: the end mark is missing from its {len(data)} bytes; fetch it again")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise DataError(f"{path} is no picture that can be decoded; fetch the data set again")
    return cast(NDArray[np.generic], pixels)


def _has_size(shape: tuple[int, ...], size_hw: SizeHw, half: bool) -> bool:
    """Whether a decoded picture has the stated size; halves of odd sides are rounded up for JPEG, down for PNG."""
    return all(abs(2 * got - side) <= 1 if half else got == side for got, side in zip(shape, size_hw, strict=False))
