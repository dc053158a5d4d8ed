"""Everything behind the instances: sky, skyline, ground with its shadows, houses."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import NEAR, Camera, Points
from training.data.street_light import Light
from training.data.street_mesh import LIT, TWO_SIDED, Mesh, MeshBuilder, shade
from training.data.street_outlines import Bytes, Outlines
from training.data.street_painter import Painter
from training.data.street_textures import FRONTS, asphalt, clouds, front, shining_front
from training.data.street_world import House, World

_FAR = 600.0


def paint_sky(image: Bytes, camera: Camera, world: World) -> None:
    """Gradient, clouds and a hazy skyline down to the horizon."""
    high, wide = image.shape[:2]
    horizon = camera.horizon_row()
    rows = int(np.clip(horizon + wide * 0.06, 4, high))
    # A sky has no edges: a quarter of the pixels will do.
    small = _sky(world, (max(rows // 4, 1), max(wide // 4, 1)), horizon / 4, wide / 4)
    image[:rows] = cv2.resize(small, (wide, rows))
    _skyline(image, camera, world)


def _sky(world: World, size_hw: tuple[int, int], horizon: float, span: float) -> Bytes:
    light = world.light
    rise = np.clip((horizon - np.arange(size_hw[0])) / (0.45 * span), 0, 1) ** 0.7
    sky = light.sky_low + (light.sky_top - light.sky_low) * rise[:, None]
    left = world.seed % 500
    part = cv2.resize(clouds()[0:300, left : left + 512], size_hw[::-1])
    cover = np.clip((part - 1 + 0.8 * light.cloud) * 2.2, 0, 0.9)[:, :, None]
    picture = sky[:, None] * (1 - cover) + light.sky_low * 1.03 * cover
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _skyline(image: Bytes, camera: Camera, world: World) -> None:
    """Trees and houses too far to be told apart, paler the taller they are."""
    rng = np.random.default_rng([9, world.seed])
    angles = np.linspace(-1.2, 1.2, 140)
    for layer in range(3):
        steps = np.repeat(rng.random(70), 2) if layer < 2 else np.convolve(rng.random(142), np.ones(3) / 3, "valid")
        heights = world.skyline * (1.3 - 0.4 * layer) * (0.35 + steps)
        directions = np.column_stack([np.sin(angles), np.cos(angles), heights]) @ camera.rotation.T
        seen = directions[directions[:, 2] > 0.1]
        edge = camera.to_pixels(seen)
        base = world.light.ambient * np.array(((95, 100, 108), (85, 88, 90), (62, 76, 52))[layer])
        colour = base + (world.light.sky_low - base) * (0.62 - 0.2 * layer)
        bottom = np.array([[edge[-1, 0], camera.horizon_row() + 60], [edge[0, 0], camera.horizon_row() + 60]])
        outline = np.concatenate([edge, bottom])
        cv2.fillPoly(image, [(outline * 16).astype(np.int32)], colour.tolist(), cv2.LINE_AA, 4)


def paint_ground(image: Bytes, camera: Camera, world: World, shadows: NDArray[np.float32]) -> None:
    """Strips, grain and shadows; ``shadows`` float32 [h / 2, w / 2] is the share of light that is left."""
    high, wide = image.shape[:2]
    light = world.light
    level = light.ambient * 1.02 + light.direct * max(0.0, float(light.sun[2]))
    here = float(camera.position[1])
    strips = [strip for strip in world.strips if strip.y1 > here and strip.y0 < here + _FAR]
    boxes = [(strip.x0, strip.x1, max(strip.y0, here), min(strip.y1, here + _FAR)) for strip in strips]
    outlines = camera.ground_polygons(_rectangles([(-_FAR, _FAR, here, here + _FAR), *boxes]))
    for outline, colour in zip(outlines, [world.outside, *(strip.colour for strip in strips)], strict=True):
        if outline is not None:
            _strip(image, outline, np.clip(np.array(colour) * level, 0, 255).tolist())
    top = int(np.clip(camera.horizon_row() - wide * 0.02, 0, high - 2)) // 2 * 2
    gain, depth = _grain(camera, top, image.shape[:2])
    gain *= shadows[top // 2 :]
    veil = np.where(depth < 5000, 1 - np.exp(-light.haze * np.minimum(depth, 500)), 0.0).astype(np.float32)
    _apply(image[top:], np.where(depth < 5000, gain * (1 - veil), 1.0), veil, light.sky_low)


def _apply(rows: Bytes, gain: NDArray[np.float32], veil: NDArray[np.float32], sky: Points) -> None:
    """Times ``gain`` plus ``veil`` of the sky's colour, both at half size, in place."""
    size = rows.shape[1::-1]
    factor = cv2.resize(np.clip(gain * 128, 0, 255).astype(np.uint8), size)
    haze = cv2.resize((veil[:, :, None] * sky).astype(np.uint8), size)
    cv2.multiply(rows, cv2.merge([factor, factor, factor]), dst=rows, scale=1 / 128)
    cv2.add(rows, haze, dst=rows)


def _rectangles(boxes: list[tuple[float, float, float, float]]) -> Points:
    """Corners [n, 4, 2] of boxes (x0, x1, y0, y1)."""
    x0, x1, y0, y1 = np.array(boxes).T
    return np.stack([np.stack([x0, x1, x1, x0], axis=1), np.stack([y0, y0, y1, y1], axis=1)], axis=2)


def _strip(image: Bytes, outline: Points, colour: list[float]) -> None:
    (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    if right < 0 or bottom < 0 or left > image.shape[1] or top > image.shape[0] or bottom - top < 0.15:
        return
    corners = np.minimum(np.maximum(outline, -3e6), 3e6) * 16
    cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA, 4)


def _grain(camera: Camera, top: int, size_hw: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Brightness factor and depth in metres of the ground from row ``top`` down, float32 at half the size."""
    right = (np.arange((size_hw[1] + 1) // 2, dtype=np.float32) * 2 + 1 - camera.centre_xy[0])[None] / camera.focal
    down = (np.arange((size_hw[0] - top + 1) // 2, dtype=np.float32) * 2 + 1 + top - camera.centre_xy[1])[:, None]
    down = down / camera.focal
    axes = camera.rotation.astype(np.float32)
    fall = right * axes[0, 2] + down * axes[1, 2] + axes[2, 2]
    depth = np.where(fall < -1e-4, -np.float32(camera.position[2]) / np.minimum(fall, -1e-4), np.float32(1e4))
    depth = depth.astype(np.float32)
    x = np.float32(camera.position[0] + 4000) + depth * (right * axes[0, 0] + down * axes[1, 0] + axes[2, 0])
    y = np.float32(camera.position[1] + 4000) + depth * (right * axes[0, 1] + down * axes[1, 1] + axes[2, 1])
    fine = cv2.remap(asphalt(), _wrapped(x * 60), _wrapped(y * 60), cv2.INTER_LINEAR)
    coarse = cv2.remap(asphalt(), _wrapped(x * 13), _wrapped(y * 13), cv2.INTER_LINEAR)
    near = np.clip(1.2 - depth / 22, 0, 1)
    middle = np.clip(1.1 - depth / 90, 0, 1)
    return (1 + (fine - 1) * near * 0.8 + (coarse - 1) * middle * 0.65).astype(np.float32), depth


def _wrapped(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Texture places modulo the tile; several times as fast as ``fmod`` and exact for these sizes."""
    tile = np.float32(511)
    rest: NDArray[np.float32] = np.floor(places / tile)
    rest *= tile
    np.subtract(places, rest, out=rest)
    rest[rest < 0] += tile
    return rest


def front_start(house: House, camera: Camera) -> float | None:
    """Where along the street the part of the house begins that can be painted; None if nothing can be."""
    reach = abs(house.x) * abs(float(camera.rotation[2, 0])) * 1.3
    start = max(house.y0, float(camera.position[1]) + 1.5 + reach)
    return start if start < house.y1 - 0.05 else None


def paint_house(
    painter: Painter, camera: Camera, house: House, light: Light, start: float, roof: Outlines | None
) -> None:
    """The wall towards us, the roof, and the wall along the street from ``start`` on."""
    here = float(camera.position[1])
    outer = house.x + house.side * house.reach
    if house.y0 > here + 2:
        across = ((house.x, house.y0), (outer, house.y0))
        edges = across if house.side > 0 else (across[1], across[0])
        _wall(painter, camera, edges, house, light, (0.0, -1.0), (0.0, 1.0), (house.front + 7) % FRONTS)
    if roof is not None:
        painter.outlines(roof, 0, house.front)
    share = (start - house.y0) / (house.y1 - house.y0)
    along = ((house.x, start), (house.x, house.y1))
    edges = along if house.side < 0 else (along[1], along[0])
    cut = (share, 1.0) if house.side < 0 else (0.0, 1 - share)
    _wall(painter, camera, edges, house, light, (-house.side, 0.0), cut, house.front)


def _wall(
    painter: Painter,
    camera: Camera,
    edges: tuple[tuple[float, float], tuple[float, float]],
    house: House,
    light: Light,
    normal: tuple[float, float],
    cut: tuple[float, float],
    number: int,
) -> None:
    (x0, y0), (x1, y1) = edges
    corners = np.array([[x0, y0, house.height], [x1, y1, house.height], [x1, y1, 0.0], [x0, y0, 0.0]])
    seen = camera.to_camera(corners)
    if seen[:, 2].min() < NEAR:
        return
    texture = front(number)
    wide = texture.shape[1]
    part = np.s_[:, int(cut[0] * wide) : max(int(cut[1] * wide), int(cut[0] * wide) + 1)]
    tint = light.shades(np.array([[normal[0], normal[1], 0.0]]), light.sun)[0] * np.array(house.tint)
    shine = None if painter.shine is None else shining_front(number)[part]
    painter.warped(texture[part], camera.to_pixels(seen), seen[:, 2], tint, shine)


@lru_cache(maxsize=64)
def roof(house: House, start: float) -> Mesh:
    """In world axes: a heading of minus a quarter turn maps object x to world x."""
    builder = MeshBuilder()
    x0, x1 = house.x - house.side * 0.3, house.x + house.side * house.reach * 0.5
    low, high = house.height, house.height + house.roof
    tone = shade(((120, 70, 55), (75, 72, 72), (95, 60, 50))[house.front % 3], 1.0)
    builder.part((x1, (start + house.y1) / 2, low - 3))
    builder.polygon(
        [(x0, start, low), (x0, house.y1, low), (x1, house.y1, high), (x1, start, high)], tone, LIT | TWO_SIDED
    )
    outer = house.x + house.side * house.reach
    builder.polygon([(x0, start, low), (outer, start, low), (x1, start, high)], shade(tone, 0.8), LIT | TWO_SIDED)
    return builder.build()
