"""The ground of an everyday view: surfaces laid in perspective, marks on them, shadows and haze."""

from dataclasses import dataclass
from math import cos, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.everyday_surfaces import SIDE, TILES, tile
from training.data.street_camera import Camera, Points
from training.data.street_light import Light
from training.data.street_outlines import Bytes

_Field = NDArray[np.float32]
_FAR = np.float32(5e3)


@dataclass(frozen=True)
class Surface:
    """A tile ``kind`` and ``number`` times ``tint`` [3], ``side`` units long, turned by ``slant`` radians.

    Beyond ``fade`` units it shows its mean colour alone.
    """

    kind: str
    number: int
    tint: Points
    side: float
    slant: float
    fade: float


def draw_surface(rng: np.random.Generator, kinds: tuple[str, ...], unit: float, slant: float) -> Surface:
    """One of these kinds at random."""
    kind = kinds[int(rng.integers(len(kinds)))]
    tint = rng.uniform(0.8, 1.12) * np.clip(rng.normal(1, 0.04, 3), 0.85, 1.15)
    side = TILES[kind][1] * unit * rng.uniform(0.8, 1.3)
    return Surface(kind, int(rng.integers(4)), tint, float(side), slant, float(side * rng.uniform(5, 8)))


class Ground:
    """The plane on which things stand, from row ``top`` down, at half of the frame's size.

    ``x`` and ``y`` [h, w] are in world units, ``depth`` [h, w] along the camera's axis.
    """

    def __init__(self, camera: Camera) -> None:
        high, wide = camera.size_hw
        self.top = int(np.clip(camera.horizon_row() - wide * 0.05, 0, high - 2)) // 2 * 2
        right = (np.arange((wide + 1) // 2, dtype=np.float32) * 2 + 1 - camera.centre_xy[0])[None] / camera.focal
        down = np.arange((high - self.top + 1) // 2, dtype=np.float32) * 2 + 1 + self.top - camera.centre_xy[1]
        down = down[:, None] / camera.focal
        axes = camera.rotation.astype(np.float32)
        fall = right * axes[0, 2] + down * axes[1, 2] + axes[2, 2]
        depth = np.where(fall < -1e-4, -camera.position[2] / np.minimum(fall, -1e-4), _FAR)
        self.depth: _Field = np.minimum(depth, _FAR).astype(np.float32)
        self.x: _Field = self.depth * (right * axes[0, 0] + down * axes[1, 0] + axes[2, 0])
        self.y: _Field = self.depth * (right * axes[0, 1] + down * axes[1, 1] + axes[2, 1])
        self.seen = self.depth < _FAR

    def lay(self, image: Bytes, surface: Surface, light: Light, where: NDArray[np.bool_] | None = None) -> None:
        """Paint a surface, everywhere or ``where`` [h, w] it lies."""
        rows = image[self.top :]
        size = rows.shape[1::-1]
        c, s, scale = cos(surface.slant), sin(surface.slant), SIDE / surface.side
        across: _Field = ((self.x * c + self.y * s) * scale).astype(np.float32)
        along: _Field = ((self.y * c - self.x * s) * scale).astype(np.float32)
        lit = _lit(tile(surface.kind, surface.number), surface, light)
        maps = [_wrapped(np.asarray(cv2.resize(field, size), np.float32)) for field in (across, along)]
        picture = cv2.remap(lit, maps[0], maps[1], cv2.INTER_LINEAR)
        near = np.clip(1.2 - self.depth / np.float32(surface.fade), 0, 1)
        factor = cv2.resize((near * 128).astype(np.uint8), size)
        rest = cv2.resize(((1 - near)[:, :, None] * np.array(cv2.mean(lit)[:3], np.float32)).astype(np.uint8), size)
        cv2.multiply(picture, cv2.merge([factor, factor, factor]), dst=picture, scale=1 / 128)
        cv2.add(picture, rest, dst=picture)
        mask = self.seen if where is None else self.seen & where
        cv2.copyTo(picture, cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), rows)

    def shade(
        self, image: Bytes, light: Light, left: NDArray[np.float32], where: NDArray[np.bool_] | None = None
    ) -> None:
        """Shadows, where ``left`` [frame height / 2, w] of the light is left, and haze; everywhere or ``where``."""
        rows = image[self.top :]
        size = rows.shape[1::-1]
        seen = self.seen if where is None else self.seen & where
        veil = np.where(seen, 1 - np.exp(-light.haze * np.minimum(self.depth, 500)), 0.0).astype(np.float32)
        gain = np.where(seen, left[self.top // 2 :] * (1 - veil), 1.0)
        factor = cv2.resize((gain * 128).astype(np.uint8), size)
        haze = cv2.resize((veil[:, :, None] * light.sky_low).astype(np.uint8), size)
        cv2.multiply(rows, cv2.merge([factor, factor, factor]), dst=rows, scale=1 / 128)
        cv2.add(rows, haze, dst=rows)


def mark(image: Bytes, camera: Camera, outlines: Points, colour: Points) -> None:
    """Paint flat outlines [n, k, 2] in world units onto the ground."""
    for outline in camera.ground_polygons(outlines):
        if outline is not None:
            corners = np.clip(outline, -3e6, 3e6) * 16
            cv2.fillPoly(image, [corners.astype(np.int32)], colour.tolist(), cv2.LINE_AA, 4)


def level(light: Light) -> Points:
    """Factors [3] of a surface that faces up."""
    brightness: Points = light.ambient * 1.02 + light.direct * max(0.0, float(light.sun[2]))
    return brightness


def _lit(picture: Bytes, surface: Surface, light: Light) -> Bytes:
    return np.asarray(cv2.multiply(picture, np.array([*(level(light) * surface.tint), 1.0])), np.uint8)


def _wrapped(places: _Field) -> _Field:
    """Texture places modulo the tile."""
    side = np.float32(SIDE - 1)
    rest: _Field = np.floor(places / side)
    rest *= side
    np.subtract(places, rest, out=rest)
    return rest
