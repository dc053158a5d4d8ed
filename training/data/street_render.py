"""Renders one moment of a synthetic street: shadows first, then everything from far to near."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from training.data.street_backdrop import paint_ground, paint_house, paint_sky
from training.data.street_camera import Camera, Points, look, turn
from training.data.street_mesh import Mesh
from training.data.street_outlines import Pose
from training.data.street_painter import Painter
from training.data.street_shadows import Shadows
from training.data.street_textures import TREES, tree
from training.data.street_world import Actor, House, World

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


def render(world: World, seconds: float, size_hw: tuple[int, int]) -> Painter:
    """The clean picture with everybody's pixels."""
    camera = camera_at(world, seconds, size_hw)
    image = np.zeros((*size_hw, 3), np.uint8)
    painter, shadows = Painter(image, camera, world.light), Shadows(camera, world.light)
    drawables = [item for actor in world.actors for item in _actor(actor, seconds, camera, shadows)]
    for house in _near_houses(world, camera):
        shadows.house(house)
        drawables.append(_house(house, camera, world))
    paint_sky(image, camera, world)
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


def _near_houses(world: World, camera: Camera) -> list[House]:
    here = float(camera.position[1])
    return [house for house in world.houses if house.y1 > here + 2 and house.y0 < here + _SIGHT + 40]


def _house(house: House, camera: Camera, world: World) -> _Drawable:
    low, high = sorted((house.x, house.x + house.side * house.reach))
    paint = partial(paint_house, camera=camera, house=house, light=world.light)
    return _Drawable((low, house.y0), (high, house.y1), paint)


def _actor(actor: Actor, seconds: float, camera: Camera, shadows: Shadows) -> list[_Drawable]:
    pose = actor.pose(seconds)
    if not _in_view(actor, pose, camera):
        return []
    if actor.kind == "tree":
        shadows.disc(pose.x, pose.y, actor.size)
        paint = partial(Painter.sprite, sprite=tree(actor.number % TREES), pose=pose, height=actor.size)
        return [_Drawable((pose.x - 0.3, pose.y - 0.3), (pose.x + 0.3, pose.y + 0.3), paint)]
    mesh = actor.mesh(seconds)
    rider = actor.rider_mesh(seconds) if actor.rider_id else None
    box = _ground_box(mesh, pose)
    if box[0][1] < camera.position[1] + 2.2 and abs(pose.x - camera.position[0]) < 1.6:
        return []
    for shape in (mesh, rider):
        if shape is not None:
            shadows.mesh(shape, pose)
    return [_Drawable(*box, partial(_paint_actor, actor=actor, pose=pose, shapes=(mesh, rider), eye=camera.position))]


def _paint_actor(painter: Painter, actor: Actor, pose: Pose, shapes: tuple[Mesh, Mesh | None], eye: Points) -> None:
    owners = (actor.track_id, actor.rider_id)
    pairs = [(shape, owner) for shape, owner in zip(shapes, owners, strict=True) if shape is not None]
    if len(pairs) > 1 and _comes(pose, eye):
        pairs.reverse()
    for shape, owner in pairs:
        painter.mesh(shape, pose, owner, actor.number)


def _comes(pose: Pose, eye: Points) -> bool:
    """Whether it heads for the camera, so that the machine hides its rider's legs."""
    way = eye[:2] - (pose.x, pose.y)
    return bool(way @ turn(pose.heading)[:2, 0] / max(1.0, float(np.hypot(*way))) > 0.75)


def _in_view(actor: Actor, pose: Pose, camera: Camera) -> bool:
    """Whether it may be seen at all and is not so far that nobody would miss it."""
    forward, right = camera.rotation[2], camera.rotation[0]
    dx, dy = pose.x - float(camera.position[0]), pose.y - float(camera.position[1])
    depth, aside = dx * float(forward[0]) + dy * float(forward[1]), dx * float(right[0]) + dy * float(right[1])
    reach, face = _BULK.get(actor.kind, (4.0, 1.0))
    half = camera.size_hw[1] / 2 / camera.focal
    if not (-reach < depth < _SIGHT and abs(aside) < max(depth, 0.0) * half + reach):
        return False
    return face * camera.focal**2 > _SPECK * camera.size_hw[0] * camera.size_hw[1] * depth * depth


def _ground_box(mesh: Mesh, pose: Pose) -> tuple[tuple[float, float], tuple[float, float]]:
    low, high = mesh.low_high
    corners: NDArray[np.float64] = np.array([[x, y] for x in (low[0], high[0]) for y in (low[1], high[1])])
    world = corners @ turn(pose.heading)[:2, :2].T + np.array([pose.x, pose.y])
    (x0, y0), (x1, y1) = world.min(axis=0).tolist(), world.max(axis=0).tolist()
    return (x0, y0), (x1, y1)
