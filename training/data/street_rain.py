"""Rain in a painted street: its light, a wet road that mirrors what stands on it, streaks, drops on the lens."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_depths import Depths, rays
from training.data.street_light import Light
from training.data.street_outlines import Bytes
from training.data.street_textures import fractal

Floats = NDArray[np.float32]
_COARSE = 4
"""Reflections are blurred, so that every fourth pixel will do."""


@dataclass(frozen=True)
class Rain:
    """``light`` is a rainy day's; ``wet`` (0-1) how much of the dry road's colour is left, ``gloss`` (0-1) how much it
    mirrors; ``streaks`` per megapixel, ``slant`` sideways per downwards; ``drops`` on the lens."""

    light: Light
    wet: float
    gloss: float
    streaks: float
    slant: float
    drops: int


def draw_rain(rng: np.random.Generator) -> Rain:
    """A shower or a downpour."""
    force = rng.uniform(0.2, 1.0)
    grey = rng.uniform(125, 205)
    light = Light(
        sun=np.array([0.0, 0.0, 1.0]),
        direct=np.ones(3) * rng.uniform(0.02, 0.08),
        ambient=np.array([0.95, 1.0, 1.05]) * rng.uniform(0.5, 0.74),
        sky_top=np.array([0.95, 0.98, 1.02]) * grey * 0.88,
        sky_low=np.array([0.98, 1.0, 1.02]) * grey,
        haze=float(0.005 + 0.014 * force * rng.uniform(0.5, 1.0)),
        hardness=0.0,
        cloud=float(rng.uniform(0.6, 1.0)),
    )
    return Rain(
        light=light,
        wet=float(rng.uniform(0.55, 0.75)),
        gloss=float(rng.uniform(0.4, 0.9)),
        streaks=float(force * rng.uniform(500, 1900)),
        slant=float(rng.normal(0, 0.16)),
        drops=int(rng.integers(0, 46)) if rng.random() < 0.75 else 0,
    )


def soaked(image: Bytes, depths: Depths, rain: Rain) -> Bytes:
    """The picture [h, w, 3] with a wet ground: darker, and mirroring what rises behind it."""
    mirrored = _mirrored(image, depths)
    metres = depths.ground[::_COARSE, ::_COARSE]
    steep = np.float32(depths.camera.position[2]) / metres
    share = np.float32(rain.gloss) * (0.12 + 0.75 * np.exp(-6 * steep)) * _puddles(depths) * _smooth(image)
    size = image.shape[1::-1]
    shine = cv2.resize(mirrored * share[:, :, None], size)
    left = cv2.resize(np.asarray(rain.wet * (1 - 0.6 * share), np.float32), size)
    wet = cv2.add(cv2.multiply(image, cv2.cvtColor(left, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_32F), shine)
    return np.asarray(np.where(depths.on_ground[:, :, None], np.clip(wet, 0, 255), image), np.uint8)


def _mirrored(image: Bytes, depths: Depths) -> Floats:
    """What each coarse pixel of the ground reflects, float32 [h / 4, w / 4, 3].

    A point at some height and depth is mirrored in a level ground to the row as far below its foot as it is above.
    """
    camera = depths.camera
    size = (-(-image.shape[1] // _COARSE), -(-image.shape[0] // _COARSE))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    metres, rising = depths.metres[::_COARSE, ::_COARSE], ~depths.on_ground[::_COARSE, ::_COARSE]
    rows, columns = np.nonzero(rising)
    far = metres[rows, columns]
    feet = camera.horizon_row() + camera.position[2] * camera.focal / far
    images = np.round((2 * feet - _COARSE * rows) / _COARSE).astype(int)
    order = np.argsort(-far, kind="stable")
    order = order[(images[order] >= 0) & (images[order] < size[1])]
    mirror = np.zeros((*small.shape[:2], 4), np.float32)
    mirror[images[order], columns[order], :3] = small[rows[order], columns[order]]
    mirror[images[order], columns[order], 3] = 1
    scale = image.shape[1] / 1024
    mirror = cv2.GaussianBlur(mirror, (0, 0), sigmaX=max(0.5, 0.9 * scale), sigmaY=max(0.8, 3.2 * scale))
    unknown = small[rows, columns].mean(axis=0, dtype=np.float32) if len(rows) else np.zeros(3, np.float32)
    return np.asarray((mirror[:, :, :3] + 0.1 * unknown) / (mirror[:, :, 3:] + 0.1), np.float32)


def _smooth(image: Bytes) -> Floats:
    """Asphalt and paving mirror, grass does not: a share float32 [h / 4, w / 4]."""
    red, green, blue = cv2.split(image[::_COARSE, ::_COARSE].astype(np.float32))
    excess = (2 * green - red - blue) / (red + green + blue + 1)
    return np.asarray(np.clip(1.6 - 12 * excess, 0.1, 1.0), np.float32)


def _puddles(depths: Depths) -> Floats:
    """Where water stands, float32 [h / 4, w / 4] around 1."""
    x, y, _ = rays(depths.camera, _COARSE)
    metres = np.minimum(depths.ground[::_COARSE, ::_COARSE], 300)
    columns = np.floor(22 * (x * metres + np.float32(depths.camera.position[0]))).astype(np.int64) % 256
    rows = np.floor(9 * (y * metres + np.float32(depths.camera.position[1]))).astype(np.int64) % 256
    share = fractal(256, 8, 9)[rows, columns]
    return np.asarray(0.7 + 0.9 * np.clip(2.2 * share - 0.9, 0, 1) * np.clip(1.4 - metres / 60, 0, 1), np.float32)


def streaked(image: Bytes, rain: Rain, rng: np.random.Generator) -> Bytes:
    """The picture with falling drops, drawn long by the exposure; they are as bright as what is around them."""
    high, wide = image.shape[:2]
    scale = wide / 1024
    number = round(rain.streaks * high * wide / 1e6)
    near = rng.random(number) ** 3
    starts = rng.random((number, 2)) * (wide, high * 1.1) - (0, high * 0.1)
    lengths = (7 + 42 * near) * scale * rng.uniform(0.6, 1.3, number)
    ends = starts + np.column_stack([lengths * rain.slant, lengths])
    tones = ((20 + 70 * rng.random(number)) * (1.1 - 0.5 * near)).tolist()
    lines = (np.stack([starts, ends], axis=1) * 16).astype(int).tolist()
    falling = np.zeros((high, wide), np.uint8)
    for (start, end), tone, thick in zip(lines, tones, (near > 0.6).tolist(), strict=True):
        cv2.line(falling, start, end, tone, 2 if thick and scale > 0.7 else 1, cv2.LINE_AA, 4)
    soft = cv2.cvtColor(cv2.GaussianBlur(falling, (0, 0), max(0.4, 0.7 * scale)), cv2.COLOR_GRAY2RGB)
    around = cv2.blur(cv2.resize(image, (wide // 8, high // 8), interpolation=cv2.INTER_AREA), (9, 9))
    bright = cv2.resize(cv2.addWeighted(around, 0.45, around, 0.0, 12), (wide, high))
    return np.asarray(cv2.add(image, cv2.multiply(bright, soft, scale=1 / 255)), np.uint8)


def dripped(image: Bytes, rain: Rain, rng: np.random.Generator) -> Bytes:
    """The picture through drops on the lens: each shows the scene small and upside down, out of focus."""
    scale = image.shape[1] / 1024
    result = image.copy()
    for _ in range(rain.drops):
        x, y = (rng.random(2) * image.shape[1::-1]).astype(int).tolist()
        radius = max(2, round(float(3 + rng.gamma(1.7, 2.8)) * scale))
        _drop(image, result, (x, y), radius, float(rng.uniform(0.9, 1.35)))
    return result


def _drop(image: Bytes, result: Bytes, centre_xy: tuple[int, int], radius: int, tall: float) -> None:
    (x, y), reach = centre_xy, 7 * radius
    seen = image[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
    down = round(radius * tall)
    x0, y0, x1, y1 = x - radius, y - down, x + radius + 1, y + down + 1
    if x0 < 0 or y0 < 0 or x1 > image.shape[1] or y1 > image.shape[0]:
        return
    small = cv2.resize(cv2.flip(seen, -1), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    across, along = np.meshgrid(np.linspace(-1, 1, x1 - x0), np.linspace(-1, 1, y1 - y0))
    off = np.hypot(across, along)
    cover = np.clip((1.08 - off) * 2.2, 0, 1) * 0.85
    shade = np.clip(1.06 - 0.45 * off**4 + 0.14 * along, 0.4, 1.3)
    under = result[y0:y1, x0:x1]
    mixed = under * (1 - cover)[:, :, None] + small * (shade * cover)[:, :, None]
    result[y0:y1, x0:x1] = np.clip(mixed, 0, 255).astype(np.uint8)
