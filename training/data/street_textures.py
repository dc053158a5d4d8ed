"""Textures of the synthetic street, made once per process: noise, clouds, house fronts, trees.

All of them depend on nothing but their arguments, so every process makes the same ones.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Pane = tuple[float, float, float, float]
"""A window in a front: x0, y0, x1, y1 in its pixels."""
FRONTS = 36
TREES = 14
_SEED = 20240
_SHOPS = 232
"""Row below which a front's windows are a shop's."""


@cache
def fractal(size: int, coarsest: int, seed: int, fall: float = 0.55) -> NDArray[np.float32]:
    """Smooth noise float32 [size, size] that tiles, in 0-1; ``coarsest`` cells across for the largest octave."""
    rng = np.random.default_rng([_SEED, seed])
    total = np.zeros((size, size), np.float32)
    cells, weight = coarsest, 1.0
    while cells <= size // 2:
        grid = rng.random((cells, cells), dtype=np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        step = size // cells
        large = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += weight * large[2 * step : 2 * step + size, 2 * step : 2 * step + size]
        cells, weight = cells * 2, weight * fall
    low, high = np.percentile(total, [1, 99])
    return np.asarray(np.clip((total - low) / (high - low), 0, 1), np.float32)


@cache
def blotches() -> Bytes:
    """Dirt and reflections: uint8 [256, 256] around 128, to multiply with."""
    return np.asarray(104 + 48 * fractal(256, 8, 1), np.uint8)


@cache
def asphalt() -> NDArray[np.float32]:
    """Ground grain: float32 [512, 512] around 1."""
    grain = np.random.default_rng([_SEED, 2]).normal(0, 0.05, (512, 512)).astype(np.float32)
    soft = cv2.GaussianBlur(grain, (3, 3), 0.7)
    return np.asarray(0.86 + 0.28 * fractal(512, 8, 3, 0.75) + soft, np.float32)


@cache
def clouds() -> NDArray[np.float32]:
    """Cloud cover: float32 [512, 1024] in 0-1, wider than high."""
    square = fractal(512, 4, 4, 0.5)
    return np.asarray(cv2.resize(np.tile(square, (1, 2)), (1024, 512)), np.float32)


def front(number: int) -> Bytes:
    """House front ``number`` (0 to FRONTS - 1): opaque RGBA uint8 [280, 240, 4], shop floor at the bottom."""
    return _front(number)[0]


@cache
def shining_front(number: int) -> Bytes:
    """What the windows of that front give off at night: RGB uint8 [280, 240, 3], black where none is lit."""
    picture, panes = _front(number)
    rng = np.random.default_rng([_SEED, 7, number])
    shine = np.zeros((*picture.shape[:2], 3), np.float32)
    lived_in = rng.uniform(0.08, 0.4)
    for box in panes:
        shop = box[3] > _SHOPS
        if rng.random() < (0.7 if shop else lived_in):
            tone = np.array([255.0, 205.0, 140.0]) if rng.random() < 0.75 else np.array([225.0, 232.0, 240.0])
            x0, y0, x1, y1 = (round(value) for value in box)
            room = picture[y0:y1, x0:x1, :3].astype(np.float32) if shop else np.full((y1 - y0, x1 - x0, 3), 190.0)
            shine[y0:y1, x0:x1] = (room + 60) / 250 * tone * rng.uniform(0.45, 1.0)
            if not shop:
                shine[y0:y1, round((x0 + x1) / 2)] *= 0.2
    return np.clip(cv2.GaussianBlur(shine, (0, 0), 0.6), 0, 255).astype(np.uint8)


@cache
def _front(number: int) -> tuple[Bytes, list[Pane]]:
    rng = np.random.default_rng([_SEED, 5, number])
    picture = _wall(rng)
    glass_front = rng.random() < 0.2
    panes = (_glass_storeys if glass_front else _storeys)(picture, rng)
    panes += _ground_floor(picture, rng)
    noise = rng.normal(0, 4, picture.shape[:2])[:, :, None]
    picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]), panes


@cache
def tree(number: int) -> Bytes:
    """Tree ``number`` (0 to TREES - 1): premultiplied RGBA uint8 [256, 192, 4] standing on its lower edge."""
    rng = np.random.default_rng([_SEED, 6, number])
    canvas = np.zeros((512, 384, 4), np.uint8)
    _trunk(canvas, rng)
    _crown(canvas, rng, bare=number % 7 == 6)
    return np.asarray(cv2.resize(canvas, (192, 256), interpolation=cv2.INTER_AREA), np.uint8)


def _wall(rng: np.random.Generator) -> NDArray[np.uint8]:
    palette = [(196, 180, 150), (150, 90, 72), (170, 165, 158), (205, 200, 190), (125, 118, 112), (190, 150, 110),
               (140, 60, 50), (160, 170, 175), (215, 195, 140), (110, 105, 105), (178, 140, 125)]  # fmt: skip
    base = np.array(palette[int(rng.integers(len(palette)))], np.float32) * rng.uniform(0.75, 1.0)
    dirt = cv2.resize(fractal(256, 8, int(rng.integers(20, 24))), (240, 280))
    wall = base * (0.9 + 0.2 * dirt[:, :, None])
    if rng.random() < 0.35:
        wall[::4] *= 0.86
        wall[2::8, ::12] *= 0.9
    return np.clip(wall, 0, 255).astype(np.uint8)


def _storeys(picture: Bytes, rng: np.random.Generator) -> list[Pane]:
    panes: list[Pane] = []
    rows, columns = int(rng.integers(3, 5)), int(rng.integers(3, 7))
    high, wide = 215 / rows, 240 / columns
    pane_w, pane_h = wide * rng.uniform(0.35, 0.62), high * rng.uniform(0.45, 0.68)
    frame = tuple(rng.uniform(0.6, 1.0) * c for c in (235, 232, 225))
    balcony = rng.random() < 0.3
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) * wide - pane_w / 2, (row + 0.25) * high
            panes.append((x, y, x + pane_w, y + pane_h))
            _window(picture, rng, panes[-1], frame)
            if balcony and column % 2 == 0:
                top = y + pane_h * 0.7
                _rect(picture, (x - 5, top, x + pane_w + 5, y + pane_h + 4), shade_tuple(frame, 0.55))
        ledge = (row + 1) * high
        _rect(picture, (0, ledge - 3, 240, ledge - 1), shade_tuple(frame, 0.8))
    return panes


def _window(picture: Bytes, rng: np.random.Generator, box: Pane, frame: tuple[float, ...]) -> None:
    x0, y0, x1, y1 = box
    _rect(picture, (x0 - 2, y0 - 2, x1 + 2, y1 + 2), frame)
    bright = rng.uniform(25, 95) if rng.random() < 0.85 else rng.uniform(120, 200)
    _rect(picture, box, (bright * 0.9, bright, bright * 1.1))
    if rng.random() < 0.5:
        _rect(
            picture, (x0, y0, x1, y0 + (y1 - y0) * rng.uniform(0.15, 0.5)), (bright * 1.5, bright * 1.5, bright * 1.4)
        )
    middle = (x0 + x1) / 2
    _rect(picture, (middle - 1, y0, middle + 1, y1), frame)
    _rect(picture, (x0 - 3, y1 + 2, x1 + 3, y1 + 4), shade_tuple(frame, 0.7))


def _glass_storeys(picture: Bytes, rng: np.random.Generator) -> list[Pane]:
    panes: list[Pane] = []
    rows, columns = int(rng.integers(4, 8)), int(rng.integers(4, 10))
    tone = np.array([rng.uniform(60, 120), rng.uniform(85, 135), rng.uniform(100, 155)])
    for row in range(rows):
        for column in range(columns):
            x, y = column * 240 / columns, row * 215 / rows
            colour = tuple(tone * rng.uniform(0.7, 1.2))
            panes.append((x + 2, y + 4, x + 240 / columns - 2, y + 215 / rows - 1))
            _rect(picture, panes[-1], colour)
    return panes


def _ground_floor(picture: Bytes, rng: np.random.Generator) -> list[Pane]:
    panes: list[Pane] = []
    if rng.random() < 0.3:
        _rect(picture, (0, 215, 240, 280), _muted(rng, 70, 150))
        _rect(picture, (100, 225, 130, 280), _muted(rng, 30, 110))
        return panes
    shops = int(rng.integers(1, 4))
    for shop in range(shops):
        x0, x1 = shop * 240 / shops + 4, (shop + 1) * 240 / shops - 4
        _rect(picture, (x0, 216, x1, 280), _muted(rng, 40, 120))
        dark = rng.uniform(25, 80)
        panes.append((x0 + 5, 236, x1 - 5, 272))
        _rect(picture, panes[-1], (dark, dark, dark * 1.1))
        for _ in range(5):
            spot = rng.uniform(x0 + 6, x1 - 14)
            _rect(picture, (spot, 245, spot + rng.uniform(3, 12), 270), _muted(rng, 40, 210, 0.7))
        _rect(picture, (x0, 217, x1, 232), _muted(rng, 30, 220, 0.6))
        _lettering(picture, rng, (x0 + 8, 220, x1 - 8, 229))
        door = rng.uniform(x0 + 6, x1 - 24)
        _rect(picture, (door, 238, door + 16, 280), (dark * 0.6, dark * 0.6, dark * 0.6))
    return panes


def _lettering(picture: Bytes, rng: np.random.Generator, box: tuple[float, float, float, float]) -> None:
    colour = tuple(rng.uniform(180, 255, 3)) if rng.random() < 0.6 else (20.0, 20.0, 30.0)
    x = box[0]
    while x < box[2] - 4:
        wide = rng.uniform(2, 5)
        _rect(picture, (x, box[1] + rng.uniform(0, 3), x + wide, box[3]), colour)
        x += wide + rng.uniform(1.5, 3)


def _muted(rng: np.random.Generator, low: float, high: float, strength: float = 0.3) -> tuple[float, ...]:
    """A random colour around a grey of ``low`` to ``high``; ``strength`` 0-1 is how far it may stray."""
    grey = rng.uniform(low, high)
    return tuple((grey + strength * (rng.uniform(low, high, 3) - grey)).tolist())


def shade_tuple(colour: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """The colour times ``factor``."""
    return tuple(channel * factor for channel in colour)


def _rect(picture: Bytes, box: tuple[float, float, float, float], colour: tuple[float, ...]) -> None:
    x0, y0, x1, y1 = (round(value) for value in box)
    picture[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = np.clip(colour, 0, 255)


def _trunk(canvas: Bytes, rng: np.random.Generator) -> None:
    bark = (70 + rng.uniform(-15, 20), 58 + rng.uniform(-12, 15), 48.0, 255.0)
    thick = rng.uniform(8, 15)
    top = rng.uniform(200, 260)
    outline = np.array([[192 - thick, 511], [192 + thick, 511], [192 + thick * 0.5, top], [192 - thick * 0.5, top]])
    cv2.fillPoly(canvas, [outline.astype(np.int32)], bark)
    for _ in range(9):
        end = (int(192 + rng.uniform(-130, 130)), int(rng.uniform(60, 230)))
        cv2.line(canvas, (192, int(top + rng.uniform(0, 60))), end, bark, int(rng.integers(3, 8)), cv2.LINE_AA)


def _crown(canvas: Bytes, rng: np.random.Generator, bare: bool) -> None:
    """Leaves in clumps: dark ones first, the lit upper sides of the clumps last."""
    green = rng.uniform(62, 92)
    tone = np.array([green * rng.uniform(0.72, 1.0), green, green * rng.uniform(0.42, 0.65)])
    if rng.random() < 0.12:
        tone = np.array([125.0, 92.0, 48.0])
    wide, tall = rng.uniform(70, 125), rng.uniform(100, 140)
    clumps = 10 if bare else int(rng.integers(26, 44))
    turn, reach = rng.uniform(0, 2 * np.pi, clumps), np.sqrt(rng.random(clumps))
    xs, ys = 192 + wide * reach * np.cos(turn), 175 + tall * reach * np.sin(turn)
    order = np.argsort(rng.random(clumps) - 0.4 * reach)
    for x, y in zip(xs[order].tolist(), ys[order].tolist(), strict=True):
        _clump(canvas, rng, (x, y, rng.uniform(24, 52)), tone * rng.uniform(0.8, 1.1))


def _clump(
    canvas: Bytes, rng: np.random.Generator, spot: tuple[float, float, float], tone: NDArray[np.float64]
) -> None:
    x, y, size = spot
    offsets = rng.normal(0, 0.5, (150, 2)) * size
    for dx, dy in offsets[np.argsort(-offsets[:, 1])].tolist():
        lit = np.clip(0.72 - 0.42 * dy / size + rng.uniform(-0.2, 0.2) + 0.15 * (190 - y) / 190, 0.3, 1.5)
        radius = int(rng.integers(2, 7))
        cv2.circle(canvas, (int(x + dx), int(y + dy)), radius, (*np.clip(tone * lit, 0, 255).tolist(), 255.0), -1)
