"""Lays out an everyday view: theme, camera, and where its few labelled things stand, hang or fly."""

from dataclasses import dataclass, replace
from math import atan, atan2, log, pi

import numpy as np

from scene.classes import EVERYDAY_CLASSES
from training.data.everyday_solids import Thing, scaled
from training.data.everyday_things import (
    ROOM,
    SKY,
    STREET,
    TABLE,
    THEMES,
    Kind,
    class_shares,
    draw_kind,
    theme_shares,
)
from training.data.street_camera import Camera, Points, look, turn
from training.data.street_ensemble import Pose
from training.data.street_mesh import Mesh

_COUNTS = (0.19, 0.31, 0.27, 0.15, 0.08)
"""Shares of pictures with one to five labelled things."""
_LONG_SIDE = 0.45
"""A thing's size in the picture is its height, or this share of its width if that is more."""
_LEAST_DEPTH = 0.8
_TRIES = 14
_VIEWS = 20


@dataclass(frozen=True)
class Placed:
    """A labelled thing where it is: corners ``low`` and ``high`` (x, y) on the ground, ``box_xyxy`` in pixels."""

    kind: Kind
    pose: Pose
    low: tuple[float, float]
    high: tuple[float, float]
    box_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Layout:
    """A whole view; ``unit`` is what a metre measures in its world, ``slant`` how far walls and floor are turned.

    ``wall`` is where the wall behind all things crosses the line of sight, ``shore`` where the water begins.
    """

    theme: str
    unit: float
    camera: Camera
    slant: float
    wall: float
    shore: float
    things: tuple[Placed, ...]


def draw_layout(rng: np.random.Generator, size_hw: tuple[int, int]) -> Layout:
    """A random view with one to five labelled things; another one is tried where no place is found for any."""
    layout = _tried(rng, size_hw)
    for _ in range(_VIEWS):
        if layout.things:
            break
        layout = _tried(rng, size_hw)
    return layout


def _tried(rng: np.random.Generator, size_hw: tuple[int, int]) -> Layout:
    shares = theme_shares()
    theme = THEMES[int(rng.choice(len(THEMES), p=[shares[name] for name in THEMES]))]
    kinds = _kinds(theme, rng)
    unit = _unit(theme, kinds)
    kinds = [replace(kind, thing=_enlarged(kind.thing, unit)) for kind in kinds]
    slant = float(rng.normal(0, 0.3)) if theme in (ROOM, TABLE, STREET) else 0.0
    camera = _camera(theme, kinds, unit, rng, size_hw)
    things, shore = _placed(kinds, camera, unit, rng)
    wall = _wall(theme, things, slant, unit, rng)
    for kind in kinds:
        if kind.on_wall:
            ideal = camera.focal * _reach(kind.thing.mesh) / (_share(rng) * size_hw[0])
            wall = max(wall, ideal * (0.7 if things else 1.0))
    things += [hung for kind in kinds if kind.on_wall and (hung := _hung(kind, camera, wall, slant, things, rng))]
    return Layout(theme, unit, camera, slant, wall, shore, tuple(things))


def _kinds(theme: str, rng: np.random.Generator) -> list[Kind]:
    """The labelled things, in no order; those who ride count among them."""
    wanted = 1 + int(rng.choice(len(_COUNTS), p=_COUNTS))
    shares, kinds, seen = class_shares(theme), list[Kind](), 0
    while seen < wanted:
        name = EVERYDAY_CLASSES[int(rng.choice(len(shares), p=shares))]
        kinds.append(draw_kind(name, theme, rng, alone=seen == len(_COUNTS) - 1))
        seen += 1 + (kinds[-1].thing.rider is not None)
    return kinds


def _unit(theme: str, kinds: list[Kind]) -> float:
    """Small things are seen from near; nothing is drawn that is nearer to the lens than a fixed distance."""
    least = min(_reach(kind.thing.mesh) for kind in kinds)
    return 10.0 if theme == TABLE else max(1.0, 1.3 / least)


def _reach(mesh: Mesh) -> float:
    low, high = mesh.low_high
    wide, deep, tall = (high - low).tolist()
    return float(max(tall, _LONG_SIDE * max(wide, deep)))


def _enlarged(thing: Thing, factor: float) -> Thing:
    if factor == 1.0:
        return thing
    stand, rider = (None if mesh is None else scaled(mesh, factor) for mesh in (thing.stand, thing.rider))
    return Thing(scaled(thing.mesh, factor), stand, rider)


def _camera(theme: str, kinds: list[Kind], unit: float, rng: np.random.Generator, size_hw: tuple[int, int]) -> Camera:
    """It looks at the tallest thing, so that there is room for the others."""
    high, wide = size_hw
    focal = 0.5 / np.tan(np.radians(rng.uniform(38, 72)) / 2) * max(wide, 4 * high / 3)
    tallest = max(kinds, key=lambda kind: float(kind.thing.mesh.low_high[1][2]))
    low, top = (float(corner[2]) for corner in tallest.thing.mesh.low_high)
    size = _reach(tallest.thing.mesh)
    depth = focal * size / (_share(rng) * high)
    least = min((float(kind.thing.mesh.low_high[1][2]) for kind in kinds if not kind.raised), default=top)
    eye = _eye(theme, top, least, unit, rng)
    if theme == SKY:
        pitch = float(rng.uniform(0.12, 0.7))
    else:
        aim = atan2((low + top) / 2 - eye, depth)
        pitch = float(np.clip(aim + atan(rng.uniform(-0.1, 0.14) * high / focal), -0.9, 0.7))
    if len(kinds) > 1 and theme != SKY:
        pitch = min(pitch, atan(0.22 * high / focal))
    rotation = look(0.0, pitch, float(np.radians(rng.normal(0, 2.0))))
    return Camera(np.array([0.0, 0.0, eye]), rotation, float(focal), (wide / 2, high / 2), size_hw)


def _eye(theme: str, top: float, least: float, unit: float, rng: np.random.Generator) -> float:
    """The camera's height: held by someone who stands, is somewhere above, or crouches before small things.

    ``top`` and ``least`` are the heights of the tallest and of the lowest thing.
    """
    if theme == TABLE:
        return float(min(top * rng.uniform(0.7, 1.3) + rng.uniform(0.02, 0.25) * unit, least * rng.uniform(1.3, 3.5)))
    draw = rng.random()
    standing = rng.uniform(1.25, 1.75) if draw < 0.5 else rng.uniform(0.5, 1.25) if draw < 0.85 else rng.uniform(1.8, 4)
    if theme == ROOM:
        standing = min(standing, 1.9)
    return float(min(standing * unit, max(least * rng.uniform(1.2, 3.5), 0.35 * unit)))


def _share(rng: np.random.Generator) -> float:
    """A thing's wanted size as a share of the picture's height."""
    return float(np.clip(np.exp(rng.normal(log(0.46), 0.45)), 0.12, 0.95))


def _placed(kinds: list[Kind], camera: Camera, unit: float, rng: np.random.Generator) -> tuple[list[Placed], float]:
    """Those that hang on no wall; what stands on land first, so that the water begins behind it."""
    things, shore = list[Placed](), 0.0
    free = [kind for kind in kinds if not kind.on_wall]
    for kind in [*(k for k in free if not k.on_water), *(k for k in free if k.on_water)]:
        if kind.on_water and not shore:
            land = [thing.high[1] for thing in things if not thing.kind.aloft]
            shore = max(land) + rng.uniform(0.3, 3.0) * unit if land else 1e-6
        made = _find_place(kind, camera, unit, things, shore if kind.on_water else 0.0, rng)
        if made is not None:
            things.append(made)
    if not shore:
        land = [thing.high[1] for thing in things if not thing.kind.aloft]
        shore = max(land, default=0.0) + rng.uniform(0.5, 8.0) * unit
    return things, shore


def _find_place(
    kind: Kind, camera: Camera, unit: float, others: list[Placed], least_y: float, rng: np.random.Generator
) -> Placed | None:
    """The first place tried where it runs into nothing and hides, or is hidden by, no more than this view allows."""
    allowed = rng.uniform(0.2, 0.65) if rng.random() < 0.5 else 0.1
    beside = others[int(rng.integers(len(others)))] if others and rng.random() < 0.45 else None
    best: tuple[float, Placed] | None = None
    for _ in range(_TRIES):
        made = _try(kind, camera, unit, least_y, beside, rng)
        if made is None or any(_collide(made, other, 0.03 * unit) for other in others):
            continue
        overlap = max((_overlap(made.box_xyxy, other.box_xyxy) for other in others), default=0.0)
        if overlap <= allowed:
            return made
        if best is None or overlap < best[0]:
            best = (overlap, made)
    return best[1] if best is not None and best[0] < 0.75 else None


def _try(
    kind: Kind, camera: Camera, unit: float, least_y: float, beside: Placed | None, rng: np.random.Generator
) -> Placed | None:
    """A place at random, ``beside`` or before another thing if one is given; some are cut by the frame's edge."""
    high, wide = camera.size_hw
    share, heading = _share(rng), kind.heading
    column = wide * (float(rng.choice([-0.02, 1.02])) if rng.random() < 0.14 else rng.uniform(0.12, 0.88))
    if beside is not None:
        left, _, right, _ = beside.box_xyxy
        column = float(np.clip(rng.uniform(1.2 * left - 0.2 * right, 1.2 * right - 0.2 * left), 0, wide))
    if kind.aloft:
        return _flown(kind, camera, (column, high * rng.uniform(0.12, 0.6)), share)
    lift = rng.uniform(0.35, 0.8) * unit if kind.raised else 0.0
    lowest = high * (1.12 if rng.random() < 0.2 else rng.uniform(0.8, 0.98))
    y = camera.focal * _reach(kind.thing.mesh) / (share * high)
    for _ in range(12):
        y = max(y, least_y + 0.5 * unit)
        seen, pose = _seen(kind, camera, column, y, heading, lift)
        if seen[:, 2].min() < _LEAST_DEPTH:
            y *= 1.4
            continue
        left, top, right, bottom = _box(seen, camera)
        ratio = max(bottom - top, _LONG_SIDE * (right - left)) / (share * high)
        foot = bottom if lift == 0 else _row(camera, pose.x, pose.y)
        if foot > lowest and ratio < 1.15:
            y *= 1.15
        elif not 0.9 < ratio < 1.12 and not (ratio < 0.9 and foot > lowest * 0.97):
            y *= float(np.clip(ratio, 0.6, 1.8))
        else:
            break
    else:
        if seen[:, 2].min() < _LEAST_DEPTH:
            return None
    return _made(kind, pose, seen, camera)


def _flown(kind: Kind, camera: Camera, spot: tuple[float, float], share: float) -> Placed | None:
    """A thing in the air, which a pixel shows."""
    high = camera.size_hw[0]
    depth = camera.focal * _reach(kind.thing.mesh) / (share * high)
    for _ in range(4):
        ray = np.array([*(np.array(spot) - camera.centre_xy) / camera.focal, 1.0]) @ camera.rotation
        x, y, z = (camera.position + depth * ray).tolist()
        pose = Pose(x, y, kind.heading, z)
        seen = camera.to_camera(_points(kind.thing.mesh, pose))
        if seen[:, 2].min() < _LEAST_DEPTH:
            depth *= 1.5
            continue
        left, top, right, bottom = _box(seen, camera)
        depth *= float(np.clip(max(bottom - top, _LONG_SIDE * (right - left)) / (share * high), 0.5, 2.0))
    if seen[:, 2].min() < _LEAST_DEPTH or z < 0.3 * _reach(kind.thing.mesh):
        return None
    return _made(kind, pose, seen, camera)


def _seen(kind: Kind, camera: Camera, column: float, y: float, heading: float, lift: float) -> tuple[Points, Pose]:
    """Its points in camera axes when it stands this far away and its middle shows in this column."""
    mesh = kind.thing.mesh
    middle = (mesh.low_high[0][2] + mesh.low_high[1][2]) / 2 + lift
    (right_x, _, right_z), _, ahead = camera.rotation
    depth = y * ahead[1] + (middle - camera.position[2]) * ahead[2]
    aside = (column - camera.centre_xy[0]) / camera.focal * depth - (middle - camera.position[2]) * right_z
    pose = Pose(float(aside / right_x), y, heading, lift)
    return camera.to_camera(_points(mesh, pose)), pose


def _points(mesh: Mesh, pose: Pose) -> Points:
    placed: Points = mesh.points @ turn(pose.heading).T + (pose.x, pose.y, pose.z)
    return placed


def _box(seen: Points, camera: Camera) -> tuple[float, float, float, float]:
    pixels = camera.to_pixels(seen)
    (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return left, top, right, bottom


def _row(camera: Camera, x: float, y: float) -> float:
    return float(camera.to_pixels(camera.to_camera(np.array([[x, y, 0.0]])))[0, 1])


def _made(kind: Kind, pose: Pose, seen: Points, camera: Camera) -> Placed | None:
    """None where less than a third of it would lie in the frame."""
    left, top, right, bottom = _box(seen, camera)
    high, wide = camera.size_hw
    inside = max(0.0, min(right, wide) - max(left, 0)) * max(0.0, min(bottom, high) - max(top, 0))
    if inside < 0.35 * (right - left) * (bottom - top):
        return None
    low, top_corner = ground_corners(kind.thing, pose)
    return Placed(kind, pose, low, top_corner, (left, top, right, bottom))


def ground_corners(thing: Thing, pose: Pose) -> tuple[tuple[float, float], tuple[float, float]]:
    """The low and the high corner (x, y) of all that stands there."""
    corners = [_points(mesh, pose)[:, :2] for mesh in (thing.mesh, thing.rider) if mesh is not None]
    places = np.concatenate(corners)
    (x0, y0), (x1, y1) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    return (x0, y0), (x1, y1)


def _collide(first: Placed, second: Placed, gap: float) -> bool:
    """Whether two things would stand in one place; what flies only meets what flies."""
    if first.kind.aloft != second.kind.aloft:
        return False
    sides = zip(first.low, first.high, second.low, second.high, strict=True)
    return all(a0 - gap < b1 and b0 - gap < a1 for a0, a1, b0, b1 in sides)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """The shared area of two boxes as a part of the smaller one."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / max(min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)), 1e-9)


def _wall(theme: str, things: list[Placed], slant: float, unit: float, rng: np.random.Generator) -> float:
    """Behind everything: a room's wall is near, a row of houses further off."""
    corners = [(x, y) for thing in things for x in (thing.low[0], thing.high[0]) for y in (thing.high[1],)]
    last = max((y - x * np.tan(slant) for x, y in corners), default=1.5 * unit)
    beyond = {STREET: (3.0, 25.0), TABLE: (0.1, 2.0), ROOM: (0.15, 1.5)}.get(theme, (5.0, 40.0))
    return float(last + rng.uniform(*beyond) * unit)


def _hung(
    kind: Kind, camera: Camera, wall: float, slant: float, others: list[Placed], rng: np.random.Generator
) -> Placed | None:
    """Against the wall, looking along its normal."""
    wide = camera.size_hw[1]
    best: tuple[float, Placed] | None = None
    for _ in range(_TRIES):
        x = (rng.uniform(0.1, 0.9) * wide - camera.centre_xy[0]) / camera.focal * wall
        pose = Pose(float(x), float(wall + x * np.tan(slant)), pi + slant)
        made = _made(kind, pose, camera.to_camera(_points(kind.thing.mesh, pose)), camera) if pose.y > 1 else None
        if made is None:
            continue
        overlap = max((_overlap(made.box_xyxy, other.box_xyxy) for other in others), default=0.0)
        if best is None or overlap < best[0]:
            best = (overlap, made)
    return best[1] if best is not None and best[0] < 0.5 else None
