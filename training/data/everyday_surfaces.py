"""Surfaces of the everyday views, made once per process: tiles of floors, lawns, tables and water; walls of rooms."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_textures import fractal

Bytes = NDArray[np.uint8]
Tone = tuple[float, float, float]
_Canvas = NDArray[np.float32]
SIDE = 512
"""A tile's side in pixels."""
VARIANTS = 4
_SEED = 20251
_PIXELS_PER_METRE = 90


@cache
def tile(kind: str, number: int) -> Bytes:
    """Variant ``number`` (0 to VARIANTS - 1) of a surface: RGB uint8 [SIDE, SIDE, 3] that repeats."""
    make, _ = TILES[kind]
    rng = np.random.default_rng([_SEED, list(TILES).index(kind), number])
    return np.clip(make(rng), 0, 255).astype(np.uint8)


def _noise(seed: int, coarsest: int = 8, fall: float = 0.6) -> _Canvas:
    """Around 0, from -1 to 1, [SIDE, SIDE, 1]."""
    return np.asarray(2 * fractal(SIDE, coarsest, 40 + seed % 6, fall) - 1, np.float32)[:, :, None]


def _plain(tone: Tone, rng: np.random.Generator, rough: float, coarsest: int = 8) -> _Canvas:
    base = np.array(tone, np.float32) * np.float32(rng.uniform(0.85, 1.15))
    fine = rng.normal(0, rough, (SIDE, SIDE, 1)).astype(np.float32)
    return base * (1 + 0.12 * _noise(int(rng.integers(6)), coarsest) + cv2.GaussianBlur(fine, (3, 3), 0.6)[:, :, None])


def _grass(rng: np.random.Generator) -> _Canvas:
    green = rng.uniform(95, 130)
    canvas = _plain((green * 0.75, green, green * 0.45), rng, 0.05, 16)
    spots, ends = rng.integers(0, SIDE, (6000, 2)), rng.normal(0, 6, (6000, 2))
    for (x, y), (dx, dy), lit in zip(spots.tolist(), ends.tolist(), rng.uniform(0.6, 1.45, 6000).tolist(), strict=True):
        colour = (green * 0.75 * lit, green * lit, green * 0.42 * lit)
        cv2.line(canvas, (x, y), (round(x + dx), round(y + dy)), colour, 1)
    return canvas


def _boards(rng: np.random.Generator) -> _Canvas:
    tones: tuple[Tone, ...] = ((150, 105, 68), (185, 145, 98), (110, 78, 54), (165, 150, 132))
    return _planks(tones[int(rng.integers(4))], int(rng.choice([4, 8])), rng)


def _table_wood(rng: np.random.Generator) -> _Canvas:
    tones: tuple[Tone, ...] = ((140, 92, 58), (196, 156, 108), (90, 62, 44), (168, 118, 76))
    return _planks(tones[int(rng.integers(4))], int(rng.choice([1, 2, 4])), rng)


def _planks(tone: Tone, count: int, rng: np.random.Generator) -> _Canvas:
    base, wide = np.array(tone, np.float32), SIDE // count
    grain = cv2.resize(_noise(int(rng.integers(6)), 32)[:32], (SIDE, SIDE))
    grain = np.roll(np.ascontiguousarray(grain.T), int(rng.integers(SIDE)), axis=1)
    canvas = base * (1 + 0.14 * grain[:, :, None] + 0.06 * _noise(1))
    for index in range(count):
        columns = slice(index * wide, (index + 1) * wide)
        canvas[:, columns] = np.roll(canvas[:, columns], int(rng.integers(SIDE)), axis=0) * rng.uniform(0.82, 1.12)
        canvas[:, index * wide : index * wide + max(2, wide // 40)] *= 0.45
        if count > 2:
            joint = int(rng.integers(SIDE - 3))
            canvas[joint : joint + 3, columns] *= 0.5
    return canvas


def _flags(rng: np.random.Generator) -> _Canvas:
    """Flagstones or bricks in rows that are shifted against each other."""
    rows = int(rng.choice([4, 8, 16]))
    tones: tuple[Tone, ...] = ((158, 152, 144), (170, 160, 142), (150, 100, 82), (128, 126, 124))
    return _laid(tones[int(rng.integers(4))], rows, rows // int(rng.choice([1, 2])), rng, shifted=True)


def _tiles(rng: np.random.Generator) -> _Canvas:
    tones: tuple[Tone, ...] = ((225, 222, 214), (190, 150, 120), (120, 130, 138), (205, 195, 170))
    canvas = _laid(tones[int(rng.integers(4))], 4, 4, rng, shifted=False)
    if rng.random() < 0.5:
        dark, step = rng.uniform(0.25, 0.75), SIDE // 4
        for row in range(4):
            for column in range(row % 2, 4, 2):
                canvas[row * step : (row + 1) * step, column * step : (column + 1) * step] *= dark
    return canvas


def _laid(tone: Tone, rows: int, columns: int, rng: np.random.Generator, shifted: bool) -> _Canvas:
    canvas = _plain(tone, rng, 0.03)
    high, wide = SIDE // rows, SIDE // columns
    for row in range(rows):
        band = canvas[row * high : (row + 1) * high]
        for column in range(columns):
            band[:, column * wide : (column + 1) * wide] *= rng.uniform(0.86, 1.12)
            band[:, column * wide : column * wide + max(2, wide // 30)] *= 0.62
        band[: max(2, high // 30)] *= 0.62
        if shifted and row % 2:
            canvas[row * high : (row + 1) * high] = np.roll(band, wide // 2, axis=1)
    return canvas


def _carpet(rng: np.random.Generator) -> _Canvas:
    tone = rng.uniform(60, 190, 3)
    canvas = _plain((tone[0], tone[1], tone[2]), rng, 0.16)
    if rng.random() < 0.5:
        other = np.asarray(rng.uniform(50, 210, 3), np.float32)
        for stripe in range(0, SIDE, 128):
            canvas[stripe : stripe + 40] = 0.35 * canvas[stripe : stripe + 40] + 0.65 * other
    return canvas


def _cloth(rng: np.random.Generator) -> _Canvas:
    """A table cloth with checks or dots."""
    canvas, ink = _plain((236, 232, 224), rng, 0.03), np.asarray(rng.uniform(30, 190, 3), np.float32)
    step = int(rng.choice([64, 128]))
    if rng.random() < 0.6:
        share = np.where(np.arange(SIDE) % step < step // 2, 0.45, 0.0).astype(np.float32)
        cover = (share[:, None] + share[None])[:, :, None]
        return np.asarray(canvas * (1 - cover) + ink * cover, np.float32)
    for y in range(step // 2, SIDE, step):
        for x in range(step // 2, SIDE, step):
            cv2.circle(canvas, (x, y), step // 5, ink.tolist(), -1, cv2.LINE_AA)
    return canvas


def _marble(rng: np.random.Generator) -> _Canvas:
    tones: tuple[Tone, ...] = ((226, 224, 220), (70, 72, 76), (196, 182, 164), (120, 132, 124))
    canvas = _plain(tones[int(rng.integers(4))], rng, 0.02, 4)
    veins = 1 - np.minimum(np.abs(_noise(int(rng.integers(6)), 4, 0.7)) * 9, 1)
    return np.asarray(canvas * (1 - 0.28 * veins), np.float32)


def _water(rng: np.random.Generator) -> _Canvas:
    tones: tuple[Tone, ...] = ((58, 96, 120), (70, 108, 112), (52, 84, 104), (84, 112, 118))
    lines = cv2.resize(_noise(int(rng.integers(6)), 8, 0.75)[:128], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    ripple = np.abs(lines)[:, :, None]
    return np.asarray(np.array(tones[int(rng.integers(4))]) * (0.82 + 0.3 * ripple + 0.12 * _noise(2, 16)), np.float32)


def _one(tone: Tone, rough: float) -> Callable[[np.random.Generator], _Canvas]:
    return lambda rng: _plain(tone, rng, rough)


TILES: dict[str, tuple[Callable[[np.random.Generator], _Canvas], float]] = {
    "asphalt": (_one((112, 112, 113), 0.12), 3.0), "concrete": (_one((165, 162, 156), 0.05), 4.0),
    "flags": (_flags, 3.0), "grass": (_grass, 2.2), "earth": (_one((140, 116, 88), 0.14), 3.0),
    "sand": (_one((212, 190, 150), 0.07), 3.5), "boards": (_boards, 1.6), "tiles": (_tiles, 2.0),
    "carpet": (_carpet, 1.5), "wood": (_table_wood, 0.9), "cloth": (_cloth, 0.6), "marble": (_marble, 1.2),
    "plain": (_one((200, 196, 190), 0.015), 2.0), "water": (_water, 7.0),
}  # fmt: skip
"""Maker and side in metres of each surface."""


def room_wall(rng: np.random.Generator, wide: float, tall: float) -> Bytes:
    """A wall this many metres wide and tall, opaque RGBA: paint, paper or bricks, and what hangs or stands on it."""
    size = (max(8, round(tall * _PIXELS_PER_METRE)), max(8, round(wide * _PIXELS_PER_METRE)))
    wall = _papered(rng, size)
    skirting = np.asarray(rng.uniform(0.6, 1.1) * np.array(cv2.mean(wall)[:3]) + 15, np.float32)
    x = rng.uniform(0, 0.8) * _PIXELS_PER_METRE
    while x < size[1] - 40:
        x += _HANGINGS[int(rng.integers(len(_HANGINGS)))](wall, rng, x) + rng.uniform(0.3, 1.6) * _PIXELS_PER_METRE
    wall[-9:] = skirting
    wall[-10:-9] *= 0.6
    return np.dstack([np.clip(wall, 0, 255).astype(np.uint8), np.full(size, 255, np.uint8)])


def _papered(rng: np.random.Generator, size: tuple[int, int]) -> _Canvas:
    base = np.asarray(rng.uniform(110, 235) * np.clip(rng.normal(1, 0.09, 3), 0.7, 1.2), np.float32)
    wall = np.ones((*size, 1), np.float32) * base
    kind, period = int(rng.integers(5)), int(rng.integers(14, 50))
    if kind == 1:
        wall[:, np.arange(size[1]) % period < period // 2] *= rng.uniform(0.82, 0.95)
    elif kind == 2:
        rows, columns = np.arange(size[0])[:, None], np.arange(size[1])[None]
        shifted = columns + (rows // period % 2) * (period // 2)
        wall[(rows % period - period // 2) ** 2 + (shifted % period - period // 2) ** 2 < (period / 5) ** 2] *= 0.82
    elif kind == 3:
        rows, columns = np.arange(size[0])[:, None], np.arange(size[1])[None]
        joints = (rows % 8 == 0) | ((columns + rows // 8 % 2 * 11) % 22 == 0)
        wall[joints] *= rng.uniform(0.75, 0.92)
    return wall


def _rectangle(wall: _Canvas, x: float, y: float, wide: float, tall: float, colour: _Canvas | Tone) -> None:
    """From its left lower corner, metres above the floor."""
    high, scale = wall.shape[0], _PIXELS_PER_METRE
    rows = slice(max(0, round(high - (y + tall) * scale)), max(0, round(high - y * scale)))
    wall[rows, max(0, round(x)) : max(0, round(x + wide * scale))] = colour


def _tone(rng: np.random.Generator, low: float, high: float) -> _Canvas:
    return np.asarray(rng.uniform(low, high, 3), np.float32)


def _picture(wall: _Canvas, rng: np.random.Generator, x: float) -> float:
    wide, tall = rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.8)
    y = rng.uniform(1.1, 1.6)
    _rectangle(wall, x, y, wide, tall, _tone(rng, 20, 120))
    _rectangle(wall, x + 4, y + 0.04, wide - 0.08, tall - 0.08, _tone(rng, 60, 230))
    for _ in range(int(rng.integers(2, 6))):
        part_w, part_h = rng.uniform(0.1, 0.7) * wide, rng.uniform(0.1, 0.5) * tall
        left = x + 5 + rng.uniform(0, max(0.01, wide - part_w - 0.1)) * _PIXELS_PER_METRE
        _rectangle(wall, left, y + 0.05 + rng.uniform(0, max(0.01, tall - part_h - 0.1)), part_w, part_h,
                   _tone(rng, 30, 230))  # fmt: skip
    return float(wide * _PIXELS_PER_METRE)


def _window(wall: _Canvas, rng: np.random.Generator, x: float) -> float:
    wide, low, tall = rng.uniform(0.8, 1.7), rng.uniform(0.7, 1.0), rng.uniform(1.0, 1.4)
    frame = np.full(3, rng.uniform(150, 250), np.float32)
    _rectangle(wall, x - 5, low - 0.06, wide + 0.12, tall + 0.12, frame)
    sky, panes = _tone(rng, 170, 250), int(rng.integers(1, 4))
    for pane in range(panes):
        left = x + (pane * wide / panes + 0.03) * _PIXELS_PER_METRE
        _rectangle(wall, left, low, wide / panes - 0.06, tall, sky)
        _rectangle(wall, left, low, wide / panes - 0.06, tall * rng.uniform(0.15, 0.45), _tone(rng, 60, 140))
    if rng.random() < 0.6:
        cloth = _tone(rng, 60, 220)
        for side in (x - 12, x + (wide - 0.1) * _PIXELS_PER_METRE):
            for fold in range(4):
                _rectangle(
                    wall, side + fold * 6, low - 0.3, 0.067, tall + 0.6, cloth * np.float32(0.85 + 0.1 * (fold % 2))
                )
    return float(wide * _PIXELS_PER_METRE)


def _door(wall: _Canvas, rng: np.random.Generator, x: float) -> float:
    wide, tall, paint = 0.9, 2.05, _tone(rng, 70, 235)
    _rectangle(wall, x - 6, 0, wide + 0.13, tall + 0.07, paint * np.float32(1.1))
    _rectangle(wall, x, 0, wide, tall, paint)
    for low in (0.2, 1.1):
        _rectangle(wall, x + 12, low, 0.62, 0.75, paint * np.float32(0.88))
    _rectangle(wall, x + 70, 1.0, 0.07, 0.04, (190, 180, 150))
    return float(wide * _PIXELS_PER_METRE)


def _shelf(wall: _Canvas, rng: np.random.Generator, x: float) -> float:
    """A bookcase, seen from in front."""
    wide, rows, timber = rng.uniform(0.7, 1.6), int(rng.integers(2, 6)), _tone(rng, 60, 200)
    _rectangle(wall, x, 0, wide, rows * 0.36 + 0.04, timber)
    for row in range(rows):
        _rectangle(wall, x + 4, row * 0.36 + 0.04, wide - 0.09, 0.32, timber * np.float32(0.45))
        spot = 0.05
        while spot < wide - 0.14:
            thick = rng.uniform(0.02, 0.06)
            if rng.random() < 0.85:
                tall = rng.uniform(0.18, 0.3)
                _rectangle(wall, x + spot * _PIXELS_PER_METRE, row * 0.36 + 0.04, thick, tall, _tone(rng, 30, 220))
            spot += thick + 0.005
    return float(wide * _PIXELS_PER_METRE)


def _nothing(wall: _Canvas, rng: np.random.Generator, x: float) -> float:
    return float(rng.uniform(0.2, 1.2) * _PIXELS_PER_METRE)


_HANGINGS: tuple[Callable[[_Canvas, np.random.Generator, float], float], ...] = (
    _picture, _picture, _window, _door, _shelf, _nothing,
)  # fmt: skip
