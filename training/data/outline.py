"""A mask as one polygon, its parts joined by lines, for formats that know one polygon an object."""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int32]
"""int32 [n, 2], (x, y) in pixels."""


def outline(mask: NDArray[np.uint8], holes: bool = False) -> Points:
    """One closed polygon, of at least three points, through the border pixels of a mask [h, w] that has a pixel.

    Drawn with its border by the even-odd rule it covers the mask, its holes, and the ways from part to part: lines of
    one pixel along rows and columns (a slanted line there and back upsets the filling of what it starts from). With
    ``holes`` it goes around these as well, which leaves them out, but may cost a row of pixels on the way.
    """
    mode = cv2.RETR_CCOMP if holes else cv2.RETR_EXTERNAL
    contours, _ = cv2.findContours(mask, mode, cv2.CHAIN_APPROX_SIMPLE)
    rings = [cast(Points, contour[:, 0]) for contour in contours]
    rings.sort(key=len, reverse=True)
    whole = rings[0]
    for ring in rings[1:]:
        whole = _joined(whole, ring)
    return whole if len(whole) >= 3 else np.repeat(whole, 3, axis=0)


def _joined(whole: Points, ring: Points) -> Points:
    """The polygon with a way to the ring's nearest point, around it, and back."""
    distances = ((whole[:, None].astype(np.int64) - ring[None]) ** 2).sum(axis=2)
    start, entry = np.unravel_index(int(distances.argmin()), distances.shape)
    corner = np.array([[whole[start, 0], ring[entry, 1]]], np.int32)
    around = np.concatenate([corner, ring[entry:], ring[: entry + 1], corner])
    return np.concatenate([whole[: start + 1], around, whole[start:]])
