"""Picture files that are written."""

from pathlib import Path

import cv2

from scene.errors import DataError
from scene.image import RgbImage


def write_picture(path: Path, image: RgbImage) -> None:
    """Write uint8 [H, W, 3] RGB as a PNG file. Raises ``DataError`` if it cannot be written."""
    # Encoded first: `cv2.imwrite` would tell a full disk and a missing folder alike by returning False.
    good, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not good:
        raise DataError(f"{path} cannot be written: its picture cannot be encoded")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
