"""Frames that mean harm: seeded damage to files of every kind, and small files that ask for much memory or time."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from scene.image import RgbImage
from serve.frame import EncodedFrame, Encoding

PNG_START = b"\x89PNG\r\n\x1a\n"
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PNG_FORMS = tuple((colour, depth) for colour, depths in _DEPTHS.items() for depth in depths)
"""Colour code and bits of every kind of PNG file."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MIB = 1 << 20
_SIDES = (0, 1, 15, 16, 17, 47, 64, 255, 8192, 16_384, 65_535, 2**31 - 1, 2**32 - 1)

Mutator = Callable[[random.Random, bytes], bytes]
NamedFrames = Iterator[tuple[str, EncodedFrame]]


def malformed_frames(seed: int, count: int) -> NamedFrames:
    """``count`` frames, the same for the same seed, each named by what was done to it: damaged files of all kinds,
    files under another name, raw pixels of another number than claimed, and now and then one that is sound."""
    rng = random.Random(seed)
    files = whole_files()
    jpegs = [(name, data) for name, data in files if name.startswith("JPEG")]
    for _ in range(count):
        if rng.random() < 0.1:
            yield _raw_frame(rng)
            continue
        name, data = rng.choice(jpegs if rng.random() < 0.5 else files)
        steps = rng.choices(list(MUTATORS), k=rng.choice((0, 1, 1, 1, 2, 3)))
        for step in steps:
            data = MUTATORS[step](rng, data)
        if data.startswith(PNG_START) and rng.random() < 0.5:
            data, steps = with_right_checksums(data), [*steps, "right checksums"]
        encoding = Encoding.FILE if rng.random() < 0.8 else rng.choice((None, Encoding.JPEG, Encoding.PNG))
        yield " + ".join([name, *steps]), EncodedFrame(data, encoding, (rng.choice(_SIDES), rng.choice(_SIDES)))


def bombs() -> NamedFrames:
    """Small files that a careless reader spends gigabytes or minutes on; to be refused before a pixel is decoded."""
    inflated = compressed_zeros(200 * _MIB)
    scan = _jpeg(np.zeros((2160, 4096, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    start = scan.rindex(b"\xff\xda")
    sound = _jpeg(street(48, 64))
    huge = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    small, data = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0), zlib.compress(bytes((1 + 3 * 64) * 48))
    cinema = struct.pack(">IIBBBBB", 4096, 2160, 16, 6, 0, 0, 0)
    files = {
        "PNG of 30,000 x 30,000": png_of((b"IHDR", huge), (b"IDAT", compressed_zeros(3_751 * 30_000))),
        "PNG whose second header is huge": png_of((b"IHDR", small), (b"IHDR", huge), (b"IDAT", inflated)),
        "PNG with more data than pixels": png_of((b"IHDR", small), (b"IDAT", inflated)),
        "PNG with fewer data than pixels": png_of((b"IHDR", cinema), (b"IDAT", data)),
        "PNG of 100,000 chunks": png_of((b"IHDR", small), *[(b"IDAT", b"")] * 100_000, (b"IDAT", data)),
        "JPEG that claims 65,535 x 65,535": with_jpeg_size(sound, 65_535, 65_535),
        "JPEG of 70,000 scans": scan[:-2] + scan[start : start + 14] * 70_000 + scan[-2:],
        "JPEG of 100,000 segments": sound[:2] + b"\xff\xfe\0\2" * 100_000 + sound[2:],
    }
    for name, file in files.items():
        yield name, EncodedFrame(file)


def ballast() -> NamedFrames:
    """Sound pictures of 64 x 48 with text, profiles and filling that cost a careless reader seconds or gigabytes."""
    inflated, text = compressed_zeros(200 * _MIB), compressed_zeros(_MIB - 10)
    header = (b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0))
    pixels = (b"IDAT", zlib.compress(bytes((1 + 3 * 64) * 48)))
    giants = ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0"))
    for kind, start in giants:
        chunk = (kind, start + inflated)
        yield f"PNG with a giant {kind.decode()} before", EncodedFrame(png_of(header, chunk, pixels))
        yield f"PNG with a giant {kind.decode()} behind", EncodedFrame(png_of(header, pixels, chunk))
    texts = [(b"zTXt", b"k\0\0" + text)] * 2000
    yield "PNG with 2000 texts of a mebibyte", EncodedFrame(png_of(header, pixels, *texts))
    yield "PNG with a plain text of 16 MiB", EncodedFrame(png_of(header, (b"tEXt", b"k\0" + b"a" * 16 * _MIB), pixels))
    sound = _jpeg(street(48, 64))
    yield "JPEG with 16 MiB of filling", EncodedFrame(sound[:2] + b"\xff" * 16 * _MIB + sound[2:])
    yield "JPEG with 16 MiB behind it", EncodedFrame(sound + bytes(16 * _MIB))


@cache
def whole_files() -> tuple[tuple[str, bytes], ...]:
    """Sound small files of every kind, by name."""
    rgb = street(37, 53)
    grey = np.ascontiguousarray(rgb[..., 0])
    files = {
        "JPEG": _jpeg(rgb),
        "JPEG progressive": _jpeg(rgb, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "JPEG with restarts": _jpeg(rgb, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        "JPEG 4:4:4": _jpeg(rgb, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        "JPEG grey": _saved(Image.fromarray(grey), "JPEG"),
        "JPEG CMYK": _saved(Image.fromarray(rgb).convert("CMYK"), "JPEG"),
        "JPEG with a profile and tags": _saved(Image.fromarray(rgb), "JPEG", icc_profile=bytes(300), exif=_tags()),
        "PNG of Pillow": _saved(Image.fromarray(rgb), "PNG", icc_profile=bytes(300), exif=_tags(), pnginfo=_text()),
        "PNG of OpenCV": cv2.imencode(".png", rgb)[1].tobytes(),
        "PNG of several frames": _saved(
            Image.fromarray(rgb), "PNG", save_all=True, append_images=[Image.fromarray(rgb[::-1])]
        ),
        "GIF": _saved(Image.fromarray(rgb), "GIF"),
        "WebP": _saved(Image.fromarray(rgb), "WEBP"),
        "TIFF": _saved(Image.fromarray(rgb), "TIFF"),
        "empty": b"",
    }
    for colour, depth in PNG_FORMS:
        for interlaced in (False, True):
            name = f"PNG of colour {colour} with {depth} bits{', interlaced' if interlaced else ''}"
            files[name] = random_png(colour, depth, (19, 23), interlaced)
    return tuple(files.items())


def random_png(colour: int, depth: int, size_hw: tuple[int, int], interlaced: bool = False, seed: int = 1) -> bytes:
    """A sound PNG file of random pixels, (height, width), of one of ``PNG_FORMS``."""
    height, width = size_hw
    rng = np.random.default_rng(seed)
    bits = depth * _CHANNELS[colour]
    shapes = [size_hw]
    if interlaced:
        steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        shapes = [(len(range(y, height, down)), len(range(x, width, right))) for x, y, right, down in steps]
    rows = [
        bytes([rng.integers(0, 5)]) + rng.bytes(-(-columns * bits // 8))
        for count, columns in shapes
        if columns
        for _ in range(count)
    ]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    palette = [(b"PLTE", rng.bytes(3 << depth))] if colour == 3 else []
    return png_of((b"IHDR", header), *palette, (b"IDAT", zlib.compress(b"".join(rows))))


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of chunks, (kind, content), with right checksums and its end mark."""
    return PNG_START + b"".join(_png_chunk(kind, content) for kind, content in (*chunks, (b"IEND", b"")))


def with_right_checksums(data: bytes) -> bytes:
    """A PNG file with every checksum computed anew, so that damage is not told by it, as far as its chunks go."""
    position, parts = len(PNG_START), [data[: len(PNG_START)]]
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            break
        parts.append(_png_chunk(data[position + 4 : position + 8], data[position + 8 : end - 4]))
        position = end
    return b"".join(parts) + data[position:]


def with_jpeg_size(data: bytes, height: int, width: int) -> bytes:
    """A JPEG file with other sides in its first frame header; unchanged where none is found."""
    starts = [data.find(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in data]
    place = min(starts, default=-1) + 5
    return data if place < 5 else data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def compressed_zeros(count: int) -> bytes:
    """So many zeros as zlib packs them, about a thousand to one."""
    packer, block = zlib.compressobj(9), bytes(_MIB)
    parts = [packer.compress(block) for _ in range(count // _MIB)]
    return b"".join([*parts, packer.compress(bytes(count % _MIB)), packer.flush()])


def street(height: int, width: int) -> RgbImage:
    """A smooth picture with some noise, uint8 RGB [height, width, 3]."""
    rng = np.random.default_rng(7)
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    noise = rng.integers(0, 15, (min(height, 64), min(width, 64), 3))
    tiled = np.tile(noise, (-(-height // noise.shape[0]), -(-width // noise.shape[1]), 1))[:height, :width]
    return np.asarray(ramp + tiled, np.uint8)


def truncated(rng: random.Random, data: bytes) -> bytes:
    """The first part."""
    return data[: rng.randrange(len(data) + 1)]


def flipped(rng: random.Random, data: bytes) -> bytes:
    """Some bits turned."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20)) if data else 0):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def overwritten(rng: random.Random, data: bytes) -> bytes:
    """A run of other bytes in it."""
    place, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 30))
    run = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return data[:place] + run + data[place + length :]


def inserted(rng: random.Random, data: bytes) -> bytes:
    """Bytes more in it."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 9, 100))) + data[place:]


def shortened(rng: random.Random, data: bytes) -> bytes:
    """A part of it gone."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[place + rng.choice((1, 2, 9, 100)) :]


def repeated(rng: random.Random, data: bytes) -> bytes:
    """A part of it several times."""
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + data[first:last] * rng.choice((2, 3, 20)) + data[last:]


def spliced(rng: random.Random, data: bytes) -> bytes:
    """The first part of it before the last part of another file."""
    other = rng.choice(whole_files())[1]
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def resized(rng: random.Random, data: bytes) -> bytes:
    """Another size in its header."""
    height, width = rng.choice(_SIDES), rng.choice(_SIDES)
    if data.startswith(PNG_START) and len(data) > 33:
        return data[:16] + struct.pack(">II", width, height) + data[24:]
    return with_jpeg_size(data, height & 0xFFFF, width & 0xFFFF)


def recoded(rng: random.Random, data: bytes) -> bytes:
    """One marker of a JPEG, or the form of a PNG, turned into another."""
    found = bytearray(data)
    if data.startswith(PNG_START) and len(data) > 33:
        found[24:29] = bytes(rng.choice((0, 1, 2, 3, 4, 6, 8, 16)) for _ in range(5))
    places = [place for place in range(len(data) - 1) if data[place] == 0xFF and data[place + 1] not in (0, 0xFF)]
    if places and data.startswith(b"\xff\xd8"):
        found[rng.choice(places) + 1] = rng.randrange(1, 256)
    return bytes(found)


MUTATORS: dict[str, Mutator] = {
    step.__name__: step
    for step in (truncated, flipped, overwritten, inserted, shortened, repeated, spliced, resized, recoded)
}
"""What can be done to a file, by name."""


def _raw_frame(rng: random.Random) -> tuple[str, EncodedFrame]:
    size_hw = rng.choice(((rng.randrange(16, 65), rng.randrange(16, 65)), (rng.choice(_SIDES), rng.choice(_SIDES))))
    right = min(size_hw[0] * size_hw[1] * 3, 64 * 64 * 3)
    length = max(0, right + rng.choice((0, 0, -1, 1, -right, 3, 1000)))
    encoding = rng.choice((Encoding.RAW_RGB, Encoding.RAW_BGR))
    return f"{encoding.value} of {length} bytes", EncodedFrame(rng.randbytes(length), encoding, size_hw)


def _jpeg(rgb: RgbImage, *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", rgb[..., ::-1], options)[1].tobytes())


def _saved(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def _tags() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags


def _text() -> PngInfo:
    text = PngInfo()
    text.add_text("Title", "a street " * 50, zip=True)
    return text


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
