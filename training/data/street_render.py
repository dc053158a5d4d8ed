"""Renders one moment of a synthetic street: shadows first, then everything from far to near."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from training.data.street_backdrop import front_start, paint_ground, paint_house, paint_sky, roof
from training.data.street_camera import Camera, Points, look, turn
from training.data.street_depths import Depths
from training.data.street_ensemble import Ensemble, Pose
from training.data.street_light import Light
from training.data.street_mesh import Mesh
from training.data.street_outlines import Outlines
from training.data.street_painter import Painter
from training.data.street_shadows import Shadows
from training.data.street_textures import TREES, tree
from training.data.street_world import Actor, World

_Placed = tuple[Actor, Pose]
_SIGHT = 150.0
_SPECK = 1.0e-5
"""Share of the frame below which a thing is not worth painting: under half of what gets a label."""
_BULK = {"train": (18.0, 9.0), "truck": (10.0, 7.0), "bus": (8.0, 7.0), "car": (3.5, 2.2), "person": (1.5, 0.45),
         "bicycle": (2.0, 0.5), "motorcycle": (2.0, 0.8), "tree": (9.0, 20.0), "prop:rail": (3.0, 0.6),
         "prop:bollard": (1.0, 0.15)}  # fmt: skip
"""Half length in metres and seen area in square metres by kind."""


@dataclass(frozen=True)
class _Drawable:
    """Something to paint and the box [x, y] it fills on the ground."""

    low: tuple[float, float]
    high: tuple[float, float]
    paint: Callable[[Painter], None]


@dataclass(frozen=True)
class _Body:
    """An actor with a mesh, between its corners on the ground, and its shapes with their owners in painting order."""

    actor: Actor
    pose: Pose
    low: tuple[float, float]
    high: tuple[float, float]
    shapes: list[tuple[Mesh, int]]


def camera_at(world: World, seconds: float, size_hw: tuple[int, int]) -> Camera:
    """The camera after this time."""
    drive = world.drive
    x, pitch, roll = drive.at(seconds)
    high, wide = size_hw
    return Camera(
        position=np.array([x, drive.speed * seconds, drive.height]),
        rotation=look(drive.yaw, pitch, roll),
        focal=drive.focal * max(wide, 1.5 * high),
        centre_xy=(wide / 2, high / 2),
        size_hw=size_hw,
    )


def render(
    world: World, seconds: float, size_hw: tuple[int, int], sky: Light | None = None, depths: bool = False
) -> Painter:
    """The clean picture with everybody's pixels.

    ``sky`` is the light of the sky alone, at hours when windows shine; ``depths`` asks for them.
    """
    camera = camera_at(world, seconds, size_hw)
    image = np.zeros((*size_hw, 3), np.uint8)
    shine = np.zeros_like(image) if sky else None
    painter = Painter(image, camera, world.light, Depths(camera) if depths else None, shine)
    shadows = Shadows(camera, world.light)
    seen = list(_in_view(world.actors, seconds, camera))
    drawables = _trees(seen, shadows) + _solids(seen, seconds, painter, shadows)
    drawables += _houses(world, painter, shadows)
    paint_sky(image, camera, replace(world, light=sky) if sky else world)
    paint_ground(image, camera, world, shadows.left())
    lows, highs = np.array([d.low for d in drawables]), np.array([d.high for d in drawables])
    for index in painting_order(lows.reshape(-1, 2), highs.reshape(-1, 2), camera.position[:2]):
        drawables[index].paint(painter)
    return painter


def painting_order(lows: Points, highs: Points, eye: Points) -> list[int]:
    """Indices of ground boxes [n, 2] such that none is painted before what it hides from ``eye`` [2]."""
    cannot = np.zeros((len(lows), len(lows)), bool)
    for axis in (0, 1):
        # A plane with the eye and j on one side and i on the other: i cannot hide j.
        above = (highs[None, :, axis] <= lows[:, None, axis]) & (eye[axis] <= lows[:, None, axis])
        below = (lows[None, :, axis] >= highs[:, None, axis]) & (eye[axis] >= highs[:, None, axis])
        cannot |= above | below
    first = cannot & ~cannot.T
    waiting = first.sum(axis=0).astype(np.float64)
    distance = np.hypot(*((lows + highs) / 2 - eye).T) if len(lows) else np.zeros(0)
    order: list[int] = []
    for _ in range(len(lows)):
        free = np.where(waiting <= 0, distance, distance - 1e6 - waiting)
        pick = int(free.argmax())
        order.append(pick)
        waiting -= first[pick]
        distance[pick] = -1e12
    return order


def _houses(world: World, painter: Painter, shadows: Shadows) -> list[_Drawable]:
    camera = painter.camera
    here = float(camera.position[1])
    near = [house for house in world.houses if house.y1 > here + 2 and house.y0 < here + _SIGHT + 40]
    for house in near:
        shadows.house(house)
    shown = [(house, start) for house in near if (start := front_start(house, camera)) is not None]
    tiled = [(house, roof(house, start)) for house, start in shown if house.roof > 0]
    ensemble = Ensemble([mesh for _, mesh in tiled], [Pose(0.0, 0.0, -np.pi / 2)] * len(tiled))
    roofs = dict(zip([house for house, _ in tiled], painter.project(ensemble), strict=True))
    return [
        _Drawable(
            (min(house.x, house.x + house.side * house.reach), house.y0),
            (max(house.x, house.x + house.side * house.reach), house.y1),
            partial(paint_house, camera=camera, house=house, light=world.light, start=start, roof=roofs.get(house)),
        )
        for house, start in shown
    ]


def _trees(seen: list[_Placed], shadows: Shadows) -> list[_Drawable]:
    trees = [actor for actor, _ in seen if actor.kind == "tree"]
    shadows.trees(trees)
    return [
        _Drawable(
            (actor.x - 0.3, actor.y - 0.3),
            (actor.x + 0.3, actor.y + 0.3),
            partial(Painter.sprite, sprite=tree(actor.number % TREES), pose=actor.pose(0.0), height=actor.size),
        )
        for actor in trees
    ]


def _solids(seen: list[_Placed], seconds: float, painter: Painter, shadows: Shadows) -> list[_Drawable]:
    """Everything that has a mesh; riders belong to their machines."""
    eye = painter.camera.position
    placed = [(actor, pose, actor.mesh(seconds)) for actor, pose in seen if actor.kind != "tree"]
    boxes = _ground_boxes(Ensemble([mesh for _, _, mesh in placed], [pose for _, pose, _ in placed]))
    bodies: list[_Body] = []
    for (actor, pose, mesh), (low, high) in zip(placed, boxes, strict=True):
        if low[1] < eye[1] + 2.2 and abs(pose.x - eye[0]) < 1.6:
            continue
        shapes = [(mesh, actor.track_id)]
        if actor.rider_id:
            shapes.insert(0 if _comes(pose, eye) else 1, (actor.rider_mesh(seconds), actor.rider_id))
        bodies.append(_Body(actor, pose, low, high, shapes))
    ensemble = Ensemble(
        [mesh for body in bodies for mesh, _ in body.shapes], [body.pose for body in bodies for _ in body.shapes]
    )
    shadows.meshes(ensemble)
    outlines = iter(painter.project(ensemble))
    return [
        _Drawable(body.low, body.high, partial(_paint, body=body, outlines=[next(outlines) for _ in body.shapes]))
        for body in bodies
    ]


def _paint(painter: Painter, body: _Body, outlines: list[Outlines | None]) -> None:
    for shape, (_, owner) in zip(outlines, body.shapes, strict=True):
        if shape is not None:
            painter.outlines(shape, owner, body.actor.number)


def _comes(pose: Pose, eye: Points) -> bool:
    """Whether it heads for the camera, so that the machine hides its rider's legs."""
    way = eye[:2] - (pose.x, pose.y)
    return bool(way @ turn(pose.heading)[:2, 0] / max(1.0, float(np.hypot(*way))) > 0.75)


def _ground_boxes(ensemble: Ensemble) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Each mesh's low and high corner (x, y) on the ground."""
    corners = ensemble.on_ground(ensemble.feet)
    lows, highs = corners.min(axis=1).tolist(), corners.max(axis=1).tolist()
    return [((x0, y0), (x1, y1)) for (x0, y0), (x1, y1) in zip(lows, highs, strict=True)]


def _in_view(actors: tuple[Actor, ...], seconds: float, camera: Camera) -> Iterator[_Placed]:
    """Those that may be seen at all and are not so far that nobody would miss them."""
    (right_x, right_y, _), _, (ahead_x, ahead_y, _) = camera.rotation.tolist()
    eye_x, eye_y, _ = camera.position.tolist()
    half = camera.size_hw[1] / 2 / camera.focal
    least = _SPECK * camera.size_hw[0] * camera.size_hw[1] / camera.focal**2
    for actor in actors:
        pose = actor.pose(seconds)
        dx, dy = pose.x - eye_x, pose.y - eye_y
        depth, aside = dx * ahead_x + dy * ahead_y, dx * right_x + dy * right_y
        reach, face = _BULK.get(actor.kind, (4.0, 1.0))
        within = -reach < depth < _SIGHT and abs(aside) < max(depth, 0.0) * half + reach
        if within and face > least * depth * depth:
            yield actor, pose
