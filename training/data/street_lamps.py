"""Lamps of the street and of its vehicles: where they hang, which are seen, how they glare."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import Camera, Points, turn
from training.data.street_depths import Depths
from training.data.street_ensemble import Pose
from training.data.street_light import Rgb
from training.data.street_outlines import Bytes
from training.data.street_painter import Painter
from training.data.street_world import Actor, World

Floats = NDArray[np.float32]
_REACH = 95.0
"""Metres ahead up to which street lamps are lit."""
_MOST_LAMPS = 10
_WHITE, _RED = np.array([255.0, 246.0, 228.0]), np.array([255.0, 44.0, 28.0])
_HEADLIGHTS = {"car": (0.66, 0.68), "truck": (0.62, 0.66), "bus": (0.64, 0.61), "train": (0.58, 0.95),
               "motorcycle": (0.0, 0.88), "bicycle": (0.0, 0.88)}  # fmt: skip
_TAILLIGHTS = {"car": (0.60, 0.80), "truck": (0.64, 0.58), "bus": (0.77, 1.05), "train": (0.58, 0.95),
               "motorcycle": (0.0, 0.72), "bicycle": (0.0, 0.80)}  # fmt: skip
"""Where a vehicle carries its lights: share of its half width with mirrors, height in metres."""


@dataclass(frozen=True)
class SeenLight:
    """A light in the frame: pixel place, radius of its disc in pixels, RGB 0-255, and its glare's strength."""

    place_xy: tuple[float, float]
    radius: float
    colour: Rgb
    glare: float


def street_lamps(world: World, seconds: float, camera: Camera, rng: np.random.Generator) -> Points:
    """Heads [n, 3] of the nearest lamps: those on posts, and in towns a row of them above the lane."""
    here = float(camera.position[1])
    heads = [_on_post(actor, seconds) for actor in world.actors if actor.kind == "prop:lamp"]
    if world.houses:
        step, height, aside = rng.uniform(22, 32), rng.uniform(6.5, 9.0), rng.uniform(-5.0, 3.0)
        first = rng.uniform(0, step)
        heads += [np.array([aside, y, height]) for y in np.arange(first - step, here + _REACH, step)]
    near = [head for head in heads if -12 < head[1] - here < _REACH]
    near.sort(key=lambda head: float(np.hypot(*(head[:2] - camera.position[:2]))))
    return np.array(near[:_MOST_LAMPS]).reshape(-1, 3)


def _on_post(actor: Actor, seconds: float) -> Points:
    """A lamp's head hangs at the far end of its arm, which reaches to the object's left."""
    high = actor.mesh(seconds).low_high[1]
    head: Points = np.array([actor.x, actor.y, 0.0])
    head += turn(actor.heading) @ np.array([0.0, high[1] - 0.35, high[2] - 0.12])
    return head


def pools(depths: Depths, lamps: Points) -> Floats:
    """How much light of the lamps [n, 3] falls where, float32 [h / 2, w / 2], 1 straight below one."""
    x, y, z = depths.places()
    total = np.zeros_like(x)
    for lamp in lamps.astype(np.float32):
        square = (x - lamp[0]) ** 2 + (y - lamp[1]) ** 2 + np.maximum(lamp[2] - z, 2.0) ** 2
        total += lamp[2] ** 3 / (square * np.sqrt(square))
    return np.asarray(np.minimum(total, 1.3), np.float32)


def own_beam(depths: Depths) -> Floats:
    """How much light of our own dipped headlights falls where, float32 [h / 2, w / 2], up to about 1."""
    camera = depths.camera
    rows = np.arange(0, camera.size_hw[0], 2, dtype=np.float32)[:, None]
    columns = np.arange(0, camera.size_hw[1], 2, dtype=np.float32)[None]
    above = (np.float32(camera.horizon_row()) - rows) / np.float32(camera.focal)
    aside = (columns - np.float32(camera.centre_xy[0])) / np.float32(camera.focal)
    spread = np.exp(-((aside / 0.45) ** 2)) * (0.1 + 0.9 / (1 + np.exp((above + 0.012) * 90)))
    reach = 1 / (1 + (depths.metres[::2, ::2] / 17) ** 2)
    return np.asarray(spread * reach, np.float32)


def seen_lamps(painter: Painter, lamps: Points, colour: Rgb) -> Iterator[SeenLight]:
    """Those whose heads are in view and not hidden."""
    camera, depths = painter.camera, painter.depths
    seen = camera.to_camera(lamps)
    for place in seen[seen[:, 2] > 3.0]:
        x, y = camera.to_pixels(place[None])[0].tolist()
        depth = float(place[2])
        if depths is not None and _inside(x, y, camera) and depths.metres[int(y), int(x)] > depth - 1.0:
            yield SeenLight((x, y), max(0.9, 0.16 * camera.focal / depth), np.minimum(colour * 330, 255), 0.75)


def vehicle_lights(
    painter: Painter, world: World, seconds: float, share: float, rng: np.random.Generator
) -> Iterator[SeenLight]:
    """Head and tail lights of what moves; ``share`` of the vehicles has them on."""
    for actor in world.actors:
        on = actor.kind in _HEADLIGHTS and actor.velocity != (0.0, 0.0) and rng.random() < share
        if on and actor.track_id in painter.silhouettes:
            yield from _lights_of(painter, actor, seconds)


def _lights_of(painter: Painter, actor: Actor, seconds: float) -> Iterator[SeenLight]:
    low, high = actor.mesh(seconds).low_high
    size = 0.04 if actor.kind == "bicycle" else 0.085
    for end, (across, z), colour, glare in (
        (float(high[0]), _HEADLIGHTS[actor.kind], _WHITE, 1.0),
        (float(low[0]), _TAILLIGHTS[actor.kind], _RED, 0.5),
    ):
        for side in (-1, 1) if across else (0,):
            spot = np.array([end, side * across * float(high[1]), z])
            light = _seen_on(painter, actor, actor.pose(seconds), spot, size)
            if light is not None:
                place, radius, towards = light
                yield SeenLight(place, radius, colour, glare * towards**2)


def _seen_on(
    painter: Painter, actor: Actor, pose: Pose, spot: Points, size: float
) -> tuple[tuple[float, float], float, float] | None:
    """Pixel place and radius of a light of ``size`` metres at ``spot`` [3] in the vehicle's axes, and the cosine of the
    angle at which it looks at us; None if it is out of the frame, hidden, or looks away."""
    rotation, camera = turn(pose.heading), painter.camera
    there = rotation @ spot + np.array([pose.x, pose.y, 0.0])
    way, seen = camera.position - there, camera.to_camera(there[None])
    towards = float(way @ rotation[:, 0]) / float(np.linalg.norm(way)) * (1 if spot[0] > 0 else -1)
    if towards < 0.15 or seen[0, 2] < 2.0:
        return None
    x, y = camera.to_pixels(seen)[0].tolist()
    radius = max(0.7, size * camera.focal / float(seen[0, 2]))
    reach = max(1, round(radius))
    around = painter.owners[max(0, int(y) - reach) : int(y) + reach + 1, max(0, int(x) - reach) : int(x) + reach + 1]
    shows = _inside(x, y, camera) and np.isin(around, [actor.track_id, actor.rider_id or actor.track_id]).any()
    return ((x, y), radius, towards) if shows else None


def _inside(x: float, y: float, camera: Camera) -> bool:
    return 0 <= x < camera.size_hw[1] and 0 <= y < camera.size_hw[0]


def glare(size_hw: tuple[int, int], lights: Iterable[SeenLight]) -> Bytes:
    """What the lights add to a picture, RGB [h, w, 3]: bright discs and the halo of a lens around them."""
    high, wide = size_hw
    scale = wide / 1024
    discs = np.zeros((high, wide, 3), np.uint8)
    halo = np.zeros(((high + 3) // 4, (wide + 3) // 4, 3), np.float32)
    for light in lights:
        x, y = light.place_xy
        core = np.minimum(light.colour * 1.15 + 30, 255) * (0.45 + 0.55 * light.glare)
        cv2.circle(discs, (round(x * 16), round(y * 16)), round(light.radius * 16), core.tolist(), -1, cv2.LINE_AA, 4)
        wide_px = max(0.6, 0.35 * light.radius)
        power = light.colour * light.glare * min(6.0, 1.2 + 0.5 * light.radius)
        cv2.circle(halo, (round(x * 4), round(y * 4)), round(wide_px * 16), power.tolist(), -1, cv2.LINE_AA, 4)
    near, far = cv2.GaussianBlur(halo, (0, 0), 1.6 * scale), cv2.GaussianBlur(halo, (0, 0), 6.5 * scale)
    spread = cv2.resize(cv2.convertScaleAbs(cv2.addWeighted(near, 0.75, far, 0.9, 0)), (wide, high))
    return np.asarray(cv2.add(spread, cv2.GaussianBlur(discs, (0, 0), max(0.5, 0.6 * scale))), np.uint8)
