"""Reading a data set's picture."""

from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError
from scene.image import RgbImage, is_whole
from training.data.sample import SizeHw


def read_picture(path: Path, size_hw: SizeHw) -> RgbImage:
    """The picture, uint8 RGB [H, W, 3]; ``size_hw`` is what its labels say.

    Orientation tags are ignored, as COCO's annotations do. Raises ``DataError`` naming the file where it is missing,
    truncated, no picture, or of another size.
    """
    pixels = decode_file(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels.shape[:2] != size_hw:
        raise DataError(
            f"{path} is no picture of {size_hw} (height, width) as its labels say, but of {pixels.shape[:2]}; "
            "fetch the data set again"
        )
    return cast(RgbImage, pixels)


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
