"""The pinhole camera of the synthetic street: world metres to frame pixels.

World axes: x right across the street, y forward along it, z up; the ground is z = 0.
Camera axes: x right, y down, z forward (depth).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, sin

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
NEAR = 0.7
"""Metres in front of the lens where everything is cut off."""


@dataclass(frozen=True)
class Camera:
    """Where the camera stands and how it looks.

    ``position`` [3] metres, ``rotation`` [3, 3] whose rows are the camera axes in the world,
    ``focal`` and ``centre_xy`` in pixels, ``size_hw`` the frame in pixels.
    """

    position: Points
    rotation: Points
    focal: float
    centre_xy: tuple[float, float]
    size_hw: tuple[int, int]

    def to_camera(self, points: Points) -> Points:
        """World points [n, 3] to camera axes [n, 3]."""
        moved: Points = (points - self.position) @ self.rotation.T
        return moved

    def to_pixels(self, points: Points) -> Points:
        """Points [n, 3] in camera axes, all in front of the lens, to pixel positions [n, 2] (x, y)."""
        scale = self.focal / points[:, 2:3]
        pixels: Points = points[:, :2] * scale + np.asarray(self.centre_xy)
        return pixels

    def ground_polygons(self, outlines: Points) -> Iterator[Points | None]:
        """Ground outlines [n, k, 2] in metres to pixels [m, 2] each, cut at the near plane; None if nothing is left."""
        number, corners, _ = outlines.shape
        flat = np.concatenate([outlines, np.zeros((number, corners, 1))], axis=2)
        seen = self.to_camera(flat.reshape(-1, 3))
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = self.to_pixels(seen).reshape(number, corners, 2)
        seen = seen.reshape(number, corners, 3)
        for index, nearest in enumerate(seen[:, :, 2].min(axis=1).tolist()):
            if nearest >= NEAR:
                yield pixels[index]
                continue
            kept = clip_near(seen[index])
            yield self.to_pixels(kept) if len(kept) >= 3 else None

    def horizon_row(self) -> float:
        """The row of the horizon in the middle of the frame."""
        forward = self.rotation[2]
        level = np.array([forward[0], forward[1], 0.0])
        seen = level @ self.rotation.T
        return float(self.centre_xy[1] + self.focal * seen[1] / seen[2])


def clip_near(points: Points, near: float = NEAR) -> Points:
    """A polygon [n, 3] in camera axes, cut to the part whose depth is at least ``near``."""
    inside = points[:, 2] >= near
    if inside.all():
        return points
    kept: list[Points] = []
    for index in range(len(points)):
        here, after = points[index], points[(index + 1) % len(points)]
        if here[2] >= near:
            kept.append(here)
        if (here[2] >= near) != (after[2] >= near):
            kept.append(here + (after - here) * ((near - here[2]) / (after[2] - here[2])))
    return np.array(kept).reshape(-1, 3)


def look(yaw: float, pitch: float, roll: float) -> Points:
    """Rotation [3, 3] from angles in radians: yaw to the right, pitch up, roll clockwise."""
    forward = np.array([sin(yaw) * cos(pitch), cos(yaw) * cos(pitch), sin(pitch)])
    right = np.array([cos(yaw), -sin(yaw), 0.0])
    down = np.cross(forward, right)
    return np.stack([right * cos(roll) + down * sin(roll), down * cos(roll) - right * sin(roll), forward])


def turn(heading: float) -> Points:
    """Rotation [3, 3] from an object's axes (x ahead, y left, z up) to the world; heading 0 looks along +y."""
    return np.array([[-sin(heading), -cos(heading), 0.0], [cos(heading), -sin(heading), 0.0], [0.0, 0.0, 1.0]])
