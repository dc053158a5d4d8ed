"""A PNG file: the size that it claims, and its pixels, with what is not needed for them left aside unread.

What a small file can be inflated to is bounded by its own header. Handed over as it is, half a megabyte of compressed
text or of data behind the last pixel's holds OpenCV's reader up for seconds; a check of its own before would take most
of the decoding's time once more. So the data are inflated here, and handed over as they then are.
"""

import struct
import zlib
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.errors import FrameError

START = b"\x89PNG\r\n\x1a\n"
_HEADER, _PALETTE, _PIXELS, _END = b"IHDR", b"PLTE", b"IDAT", b"IEND"
_HEADER_LAYOUT = ">IIBBBBB"
_MAX_CHUNKS = 50_000
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Of the interlaced passes: first column and row, and the steps from there (PNG specification, section 8.2).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class Header(NamedTuple):
    """Sides in pixels, bits a channel, and codes by the specification's section 11.2.1."""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filters: int
    interlaced: int

    def data_bytes(self) -> int:
        """What the picture's data are inflated to: of each row a byte for its filter, and whole bytes of pixels."""
        bits = self.depth * _CHANNELS.get(self.colour, 0)
        sizes = [(self.width, self.height)]
        if self.interlaced:
            sizes = [
                (-(-(self.width - x) // step_x), -(-(self.height - y) // step_y)) for x, y, step_x, step_y in _PASSES
            ]
        return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def read_header(data: bytes) -> Header | None:
    """The file's header; None where another chunk or nothing comes first."""
    size = struct.calcsize(_HEADER_LAYOUT)
    head = data[len(START) : len(START) + 8 + size]
    if len(head) < 8 + size or head[:8] != struct.pack(">I", size) + _HEADER:
        return None
    return Header(*struct.unpack(_HEADER_LAYOUT, head[8:]))


def decode(data: bytes, header: Header) -> NDArray[np.uint8] | None:
    """The pixels, uint8 RGB [H, W, 3]: of 16 bits the upper eight, without transparency.

    None where the data are damaged or not of the header's size; raises ``FrameError`` for a truncated file.
    """
    palette, compressed = _needed(data)
    expected = header.data_bytes()
    try:
        inflated = zlib.decompressobj().decompress(compressed, expected + 1)
    except zlib.error:
        return None
    if len(inflated) != expected:
        return None
    parts = [_chunk(_HEADER, struct.pack(_HEADER_LAYOUT, *header)), *([_chunk(_PALETTE, palette)] if palette else [])]
    file = b"".join([START, *parts, _chunk(_PIXELS, zlib.compress(inflated, 0)), _chunk(_END, b"")])
    try:
        return cast(NDArray[np.uint8] | None, cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB))
    except cv2.error:
        return None


def _needed(data: bytes) -> tuple[bytes, bytes]:
    """The palette and the compressed pixels; raises ``FrameError`` for a truncated file or a wrong checksum."""
    kept: dict[bytes, list[bytes]] = {_PALETTE: [], _PIXELS: []}
    position, view = len(START), memoryview(data)
    for _ in range(_MAX_CHUNKS):
        end = position + 12 + int.from_bytes(view[position : position + 4], "big")
        if end > len(data) or position + 12 > len(data):
            raise FrameError(f"the PNG file of {len(data)} bytes is truncated: its end mark is missing")
        kind = bytes(view[position + 4 : position + 8])
        if kind == _END:
            return b"".join(kept[_PALETTE][:1]), b"".join(kept[_PIXELS])
        if kind in (*kept, _HEADER):
            if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
                raise FrameError(f"the PNG file of {len(data)} bytes is damaged: a checksum in it disagrees")
            kept.get(kind, []).append(bytes(view[position + 8 : end - 4]))
        position = end
    raise FrameError(f"a PNG file may have {_MAX_CHUNKS} chunks, but more came; write it with larger ones")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
