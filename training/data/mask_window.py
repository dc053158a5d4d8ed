"""Resizing one instance's mask without touching the rest of its picture."""

from math import gcd
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

SizeHw = tuple[int, int]
Span = tuple[int, int]
"""First pixel and end, exclusive."""


class MaskWindow(NamedTuple):
    """What of a mask must be resized, and where that lies on the resized one: ``rows`` and ``columns`` give
    ``to_rows`` and ``to_columns``. ``shrinks``: whether no side grows."""

    rows: Span
    columns: Span
    to_rows: Span
    to_columns: Span
    shrinks: bool


def mask_window(rows: Span, columns: Span, size_hw: SizeHw, to_hw: SizeHw) -> MaskWindow:
    """The window for a mask of (height, width) that is zero outside of these rows and columns.

    It is grown to where the pixel borders of both sizes meet, so that resizing it is resizing the whole mask.
    """
    shrinks = to_hw[0] <= size_hw[0] and to_hw[1] <= size_hw[1]
    rows, to_rows = _meeting(rows, size_hw[0], to_hw[0], shrinks)
    columns, to_columns = _meeting(columns, size_hw[1], to_hw[1], shrinks)
    return MaskWindow(rows, columns, to_rows, to_columns, shrinks)


def resized(mask: NDArray[np.uint8], to_hw: SizeHw, shrinks: bool) -> NDArray[np.uint8]:
    """A mask [h, w] of 0 and 1 at another size: averaged over areas (bilinear where a side grows), cut at one half."""
    if mask.shape == to_hw:
        return mask
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    soft = cv2.resize(mask * np.uint8(254), to_hw[::-1], interpolation=method)
    return cast(NDArray[np.uint8], (soft >= 127).view(np.uint8))


def _meeting(interval: Span, side: int, to_side: int, crop: bool) -> tuple[Span, Span]:
    """The interval in pixels, grown to borders that a side of both lengths has, in the one and in the other."""
    meetings = gcd(side, to_side) if crop else 1
    step, to_step = side // meetings, to_side // meetings
    first, last = interval[0] // step, -(-interval[1] // step)
    return (first * step, last * step), (first * to_step, last * to_step)
