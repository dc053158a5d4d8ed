"""A JPEG file: the size that it claims, whether it is whole, and its pixels, smaller by the decoder's own scaling."""

import re
from collections.abc import Iterator
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.errors import FrameError

START = b"\xff\xd8"
SCALES = (8, 4, 2, 1)
"""By which a decoder can divide a picture's sides, rounding up: it then computes that much less of each 8 x 8 block."""

MAX_SCANS = 100
"""A scan of 14 bytes costs a pass over the whole picture; progressive files have about ten."""

_MAX_SEGMENTS = 10_000
_SCAN, _END = 0xDA, 0xD9
_ALONE = (0x01, 0xD8, _END)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE = frozenset({0xC0, 0xC1})
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
# OpenCV names the reduced flags for grey and BGR only; the bit alone says the scale, whatever the colour's order.
_REDUCED = {2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: cv2.IMREAD_REDUCED_GRAYSCALE_8}


def size_hw(data: bytes) -> tuple[int, int] | None:
    """The (height, width) in the frame header; None where none comes before the first scan, and for other files."""
    _, position = _frame_header(data)
    header = data[position + 3 : position + 7] if position >= 0 else b""
    return (int.from_bytes(header[:2], "big"), int.from_bytes(header[2:], "big")) if len(header) == 4 else None


def is_baseline(data: bytes) -> bool:
    """Whether it is sequential, so that decoding takes one pass over its pixels and no more."""
    return _frame_header(data)[0] in _BASELINE


def is_whole(data: bytes) -> bool:
    """Whether the picture's end mark follows its first scan, with whatever behind it: padding, a film, more pictures.

    Segments are stepped over, not searched, as one may hold a thumbnail with a scan and an end mark of its own.
    """
    scan = _first_scan(data)
    return scan >= 0 and data.rfind(bytes((0xFF, _END)), scan) >= 0


def decode(data: bytes, scale: int = 1) -> NDArray[np.uint8] | None:
    """The pixels, uint8 RGB [ceil(H / scale), ceil(W / scale), 3], or None; ``scale`` is one of ``SCALES``.

    Orientation tags are ignored. Raises ``FrameError`` for a file that is truncated or has too many scans.
    """
    if not is_whole(data):
        raise FrameError(f"the JPEG file of {len(data)} bytes is truncated: its end mark is missing")
    if _has_too_many_scans(data):
        raise FrameError(f"a JPEG file may have {MAX_SCANS} scans, but more came; write it without them")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION | _REDUCED.get(scale, 0)
    try:
        return cast(NDArray[np.uint8] | None, cv2.imdecode(np.frombuffer(data, np.uint8), flags))
    except cv2.error:
        return None


def _frame_header(data: bytes) -> tuple[int, int]:
    """The code of the frame header before the first scan and where its length stands; (0, -1) without one."""
    for code, position in _segments(data, len(START)) if data.startswith(START) else ():
        if code in _FRAMES:
            return code, position
        if code == _SCAN:
            break
    return 0, -1


def _has_too_many_scans(data: bytes) -> bool:
    scan = _first_scan(data)
    if data.count(bytes((0xFF, _SCAN)), scan) < MAX_SCANS:
        return False  # one quick search is enough for all but files that mean harm and films behind a picture
    scans = 1
    for code, _ in _segments(data, scan):
        scans += code == _SCAN
        if code == _END or scans > MAX_SCANS:
            break
    return scans > MAX_SCANS


def _first_scan(data: bytes) -> int:
    """Where the header of the first scan begins, -1 without one."""
    return next((position for code, position in _segments(data, len(START)) if code == _SCAN), -1)


def _segments(data: bytes, position: int) -> Iterator[tuple[int, int]]:
    """Each segment's code and where its length stands, as the decoder steps through them; no more than so many."""
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            return
        code, position = found[1][0], found.end()
        yield code, position
        if code not in _ALONE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
