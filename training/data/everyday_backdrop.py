"""What lies behind everyday views: sky, houses, lawns, water, rooms and tables."""

from dataclasses import dataclass, replace
from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.everyday_ground import Ground, draw_surface, level, mark
from training.data.everyday_layout import Layout
from training.data.everyday_surfaces import room_wall
from training.data.everyday_things import LAWN, ROOM, SHORE, SKY, STREET, TABLE
from training.data.street_backdrop import paint_sky
from training.data.street_camera import Points
from training.data.street_light import Light, draw_light
from training.data.street_outlines import Bytes
from training.data.street_painter import Painter
from training.data.street_textures import FRONTS, front
from training.data.street_world import Drive, World

_GROUNDS: dict[str, tuple[str, ...]] = {
    STREET: ("asphalt", "asphalt", "flags", "flags", "concrete"), LAWN: ("grass", "grass", "grass", "grass", "earth"),
    SHORE: ("sand", "sand", "earth", "concrete", "flags", "grass"), SKY: ("grass", "earth"),
    ROOM: ("boards", "boards", "tiles", "carpet", "plain", "concrete"),
    TABLE: ("wood", "wood", "wood", "cloth", "marble", "plain"),
}  # fmt: skip
_NEAREST = 0.9


@dataclass(frozen=True)
class Wall:
    """An upright rectangle: ``start`` and ``end`` (x, y) of its foot as seen from left to right, ``zs`` its heights."""

    start: Points
    end: Points
    zs: tuple[float, float]


def draw_everyday_light(theme: str, unit: float, rng: np.random.Generator) -> Light:
    """A time of day, or in rooms a lamp or a window; haze is per world unit."""
    light = draw_light(rng)
    if theme not in (ROOM, TABLE):
        return replace(light, haze=light.haze / unit)
    azimuth, rise, warm = rng.uniform(0, 360), rng.uniform(35, 75), rng.uniform(0.85, 1.02)
    a, e = radians(azimuth), radians(rise)
    return Light(
        sun=np.array([sin(a) * cos(e), cos(a) * cos(e), sin(e)]),
        direct=np.array([1.0, warm, warm**2]) * rng.uniform(0.2, 0.5),
        ambient=np.array([1.0, (1 + warm) / 2, warm]) * rng.uniform(0.45, 0.78),
        sky_top=np.full(3, 200.0),
        sky_low=np.full(3, 200.0),
        haze=0.0,
        hardness=rng.uniform(0.1, 0.4),
        cloud=0.0,
    )


def paint_backdrop(painter: Painter, layout: Layout, light: Light, left: NDArray[np.float32], seed: int) -> None:
    """All that is behind the things, with the shadows that they cast; some cameras have it out of focus."""
    rng = np.random.default_rng([12, seed])
    image, ground = painter.image, Ground(layout.camera)
    if layout.theme in (ROOM, TABLE):
        (_room if layout.theme == ROOM else _table)(painter, layout, light, ground, rng)
        ground.shade(image, light, left, _before(ground, layout))
    else:
        _outdoors(painter, layout, light, ground, rng)
        ground.shade(image, light, left)
        if layout.theme == STREET and rng.random() < 0.8:
            _houses(painter, layout, light, rng)
    _defocus(image, rng, 0.25, 1.8)


def _defocus(image: Bytes, rng: np.random.Generator, share: float, most: float) -> None:
    sigma = rng.uniform(0.5, most) * image.shape[1] / 640
    if rng.random() < share:
        cv2.GaussianBlur(image, (0, 0), sigma, dst=image)


def _before(ground: Ground, layout: Layout) -> NDArray[np.bool_]:
    """Where [h, w] the ground lies on our side of the wall."""
    return np.asarray(ground.y - ground.x * np.tan(layout.slant) < layout.wall, np.bool_)


def _outdoors(painter: Painter, layout: Layout, light: Light, ground: Ground, rng: np.random.Generator) -> None:
    unit, image, camera = layout.unit, painter.image, layout.camera
    drive = Drive(float(camera.position[2]), 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    flat = 0.015 if layout.theme == SHORE else rng.uniform(0.02, 0.1)
    paint_sky(image, camera, World(light, drive, (90, 100, 70), (), (), (), flat, int(rng.integers(1 << 30))))
    slant = float(rng.uniform(-0.8, 0.8))
    ground.lay(image, draw_surface(rng, _GROUNDS[layout.theme], unit, slant), light)
    if layout.theme == SHORE:
        bend = 0.35 * unit * np.sin(ground.x / (1.7 * unit) + rng.uniform(0, 6))
        wet = ground.y + ground.x * rng.normal(0, 0.1) + bend > layout.shore
        ground.lay(image, draw_surface(rng, ("water",), unit, 0.0), light, wet)
    elif layout.theme == STREET:
        _marks(painter, layout, light, rng)
    elif rng.random() < 0.35:
        _path(painter, layout, light, rng)


def _marks(painter: Painter, layout: Layout, light: Light, rng: np.random.Generator) -> None:
    """A kerb with another pavement behind it, and lines or a crossing on the ground."""
    unit, slant = layout.unit, layout.slant
    if rng.random() < 0.6:
        edge = layout.wall * rng.uniform(0.3, 0.9)
        tone = np.array([1.0, 0.98, 0.95]) * rng.uniform(110, 185)
        _across(painter, layout, (edge, layout.wall + 3 * unit), np.clip(tone * level(light), 0, 255))
        _across(painter, layout, (edge, edge + 0.18 * unit), np.clip(tone * 1.18 * level(light), 0, 255))
    if rng.random() < 0.5:
        paint = np.clip(np.array([225.0, 222, 212]) * level(light), 0, 255)
        step, wide = rng.uniform(0.6, 3.0) * unit, rng.uniform(0.12, 0.5) * unit
        turned = slant + rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.1)
        along, side = np.array([cos(turned), sin(turned)]), np.array([-sin(turned), cos(turned)])
        first = np.array([rng.normal(0, 2) * unit, layout.wall * rng.uniform(0.2, 0.6)])
        lines = [first + side * step * k for k in range(-3, 4)]
        length = rng.uniform(1.5, 6.0) * unit
        quads = [[p - along * length, p + along * length, p + along * length + side * wide,
                  p - along * length + side * wide] for p in lines]  # fmt: skip
        mark(painter.image, layout.camera, np.array(quads), paint)


def _across(painter: Painter, layout: Layout, ys: tuple[float, float], colour: Points) -> None:
    """A band along the wall, between two distances."""
    way = np.array([cos(layout.slant), sin(layout.slant)]) * 80 * layout.unit
    corners = [np.array([0.0, ys[0]]) - way, np.array([0.0, ys[0]]) + way, np.array([0.0, ys[1]]) + way,
               np.array([0.0, ys[1]]) - way]  # fmt: skip
    mark(painter.image, layout.camera, np.array([corners]), colour)


def _path(painter: Painter, layout: Layout, light: Light, rng: np.random.Generator) -> None:
    turn, wide = rng.uniform(-1.2, 1.2), rng.uniform(0.8, 2.5) * layout.unit
    way, side = np.array([sin(turn), cos(turn)]) * 60 * layout.unit, np.array([cos(turn), -sin(turn)]) * wide
    middle = np.array([rng.normal(0, 2) * layout.unit, layout.wall * rng.uniform(0.3, 1.0)])
    tone = np.array([1.0, 0.93, 0.82]) * rng.uniform(110, 190)
    quad = np.array([[middle - way, middle + way, middle + way + side, middle - way + side]])
    mark(painter.image, layout.camera, quad, np.clip(tone * level(light), 0, 255))


def _rugs(painter: Painter, layout: Layout, light: Light, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:
        centre = np.array([rng.normal(0, 0.8) * layout.unit, layout.wall * rng.uniform(0.4, 0.7)])
        for size in (1.0, 0.88, 0.6):
            half = np.array([1.1, 0.75]) * layout.unit * size
            c, s = cos(layout.slant), sin(layout.slant)
            corners = [(a * half[0] * c - b * half[1] * s, a * half[0] * s + b * half[1] * c)
                       for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]  # fmt: skip
            tone = np.clip(rng.uniform(40, 210, 3) * level(light), 0, 255)
            mark(painter.image, layout.camera, centre + np.array([corners]), tone)


def _room(painter: Painter, layout: Layout, light: Light, ground: Ground, rng: np.random.Generator) -> None:
    """Ceiling, walls and floor."""
    painter.image[:] = np.clip(rng.uniform(165, 245) * light.ambient, 0, 255)
    _walls(painter, layout, light, rng, layout.wall, (0.0, rng.uniform(2.5, 3.4) * layout.unit))
    surface = draw_surface(rng, _GROUNDS[ROOM], layout.unit, layout.slant)
    ground.lay(painter.image, surface, light, _before(ground, layout))
    _rugs(painter, layout, light, rng)


def _table(painter: Painter, layout: Layout, light: Light, ground: Ground, rng: np.random.Generator) -> None:
    """The table's top, and a room out of focus behind it; some tables stand against the wall."""
    unit, image = layout.unit, painter.image
    image[:] = np.clip(rng.uniform(60, 150) * rng.normal(1, 0.08, 3), 0, 255)
    against = rng.random() < 0.4
    beyond = layout.wall if against else layout.wall + rng.uniform(0.6, 3.0) * unit
    foot = 0.0 if against else -0.75 * unit
    _walls(painter, layout, light, rng, beyond, (foot, foot + 2.8 * unit))
    _defocus(image, rng, 0.3 if against else 0.85, 4.0)
    surface = draw_surface(rng, _GROUNDS[TABLE], unit, layout.slant + float(rng.choice([0.0, np.pi / 2])))
    ground.lay(image, surface, light, _before(ground, layout))


def _walls(
    painter: Painter, layout: Layout, light: Light, rng: np.random.Generator, at: float, zs: tuple[float, float]
) -> None:
    """The wall ahead and one to each side."""
    unit, slant = layout.unit, layout.slant
    along, back = np.array([cos(slant), sin(slant)]), np.array([sin(slant), -cos(slant)])
    reach = max((abs(x) for thing in layout.things for x in (thing.low[0], thing.high[0])), default=0.0)
    left, right = (rng.uniform(1.2, 4.5) * unit + reach / cos(slant) for _ in range(2))
    foot, deep = np.array([0.0, at]), at * 1.5 + 3 * unit
    corners = (foot - along * left, foot + along * right)
    seed = int(rng.integers(1 << 30))
    for wall in (
        Wall(corners[0] + back * deep, corners[0], zs),
        Wall(corners[1], corners[1] + back * deep, zs),
        Wall(*corners, zs),
    ):
        _paint_wall(painter, layout, light, wall, seed)


def _paint_wall(painter: Painter, layout: Layout, light: Light, wall: Wall, seed: int) -> None:
    """What of it is before the lens; the same ``seed`` gives the walls of one room the same paper."""
    shown = _ahead(wall, layout)
    if shown is None:
        return
    start, end = shown
    wide = float(np.hypot(*(end - start))) / layout.unit
    if wide < 0.1:
        return
    tall = (wall.zs[1] - wall.zs[0]) / layout.unit
    texture = room_wall(np.random.default_rng([13, seed]), min(wide, 12.0), tall)
    _hang(painter, layout, light, Wall(start, end, wall.zs), texture, (1.0, 1.0, 1.0))


def _ahead(wall: Wall, layout: Layout) -> tuple[Points, Points] | None:
    """The ends of its part that is far enough before the lens at its foot and its head."""
    camera = layout.camera
    depths = []
    for x, y in (wall.start.tolist(), wall.end.tolist()):
        both = camera.to_camera(np.array([[x, y, wall.zs[0]], [x, y, wall.zs[1]]]))[:, 2]
        depths.append(float(both.min()))
    if max(depths) <= _NEAREST:
        return None
    shares = [0.0, 1.0]
    if min(depths) < _NEAREST:
        cut = (_NEAREST - depths[0]) / (depths[1] - depths[0])
        shares = [cut, 1.0] if depths[0] < _NEAREST else [0.0, cut]
    way = wall.end - wall.start
    return wall.start + way * shares[0], wall.start + way * shares[1]


def _hang(
    painter: Painter, layout: Layout, light: Light, wall: Wall, texture: Bytes, tint: tuple[float, float, float]
) -> None:
    (x0, y0), (x1, y1), (low, high) = wall.start.tolist(), wall.end.tolist(), wall.zs
    corners = np.array([[x0, y0, high], [x1, y1, high], [x1, y1, low], [x0, y0, low]])
    seen = layout.camera.to_camera(corners)
    if seen[:, 2].min() < 0.7:
        return
    normal = np.array([[y1 - y0, x0 - x1, 0.0]]) / max(float(np.hypot(x1 - x0, y1 - y0)), 1e-9)
    shades = light.shades(normal, light.sun)[0] * np.array(tint)
    painter.warped(texture, layout.camera.to_pixels(seen), seen[:, 2], shades, None)


def _houses(painter: Painter, layout: Layout, light: Light, rng: np.random.Generator) -> None:
    """A row of house fronts along the wall, with gaps."""
    unit = layout.unit
    along = np.array([cos(layout.slant), sin(layout.slant)])
    sight = layout.wall * 1.2 + 20 * unit
    spot = -sight
    while spot < sight:
        wide = rng.uniform(7, 14) * unit
        if rng.random() < 0.85:
            start = np.array([0.0, layout.wall]) + along * spot
            wall = Wall(start, start + along * wide, (0.0, rng.uniform(8, 17) * unit))
            tint = tuple(rng.uniform(0.85, 1.12, 3).tolist())
            shown, number = _ahead(wall, layout), int(rng.integers(FRONTS))
            if shown is not None:
                kept = max(8, int(240 * float(np.hypot(*(shown[1] - shown[0]))) / wide))
                _hang(
                    painter, layout, light, Wall(*shown, wall.zs), front(number)[:, :kept], (tint[0], tint[1], tint[2])
                )
        spot += wide
