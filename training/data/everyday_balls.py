"""Sports balls of the everyday views: football, basketball, volleyball, tennis ball, beach ball."""

from itertools import pairwise
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

from training.data.everyday_solids import globe
from training.data.everyday_vessels import vivid
from training.data.street_camera import Points
from training.data.street_mesh import Colour, Mesh, MeshBuilder, Point, shade

_GOLDEN = (1 + 5**0.5) / 2


def sports_ball(rng: np.random.Generator) -> Mesh:
    """A ball that lies on the ground, turned at random."""
    kind = int(rng.choice(5, p=[0.32, 0.26, 0.16, 0.12, 0.14]))
    radius = (0.11, 0.12, 0.105, 0.034, 0.2)[kind] * rng.uniform(0.95, 1.1)
    base: Colour = ((240, 240, 238), (205, 105, 45), (240, 232, 205), (200, 220, 60), (240, 240, 240))[kind]
    builder = MeshBuilder()
    base = shade(base, rng.uniform(0.85, 1.05))
    globe(builder, (0, 0, radius), (radius, radius, radius), lambda _longitude, _latitude: base, 36, 20)
    builder.part((0, 0, radius), 1)
    spin = _spin(rng)
    (_football, _basketball, _volleyball, _tennis_ball, _beach_ball)[kind](builder, radius, spin, rng)
    return builder.build()


def _spin(rng: np.random.Generator) -> Points:
    """A random rotation [3, 3]."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    turned: NDArray[np.float64] = q * np.sign(np.diag(r))
    return turned


def _patch(builder: MeshBuilder, directions: Points, radius: float, colour: Colour) -> None:
    """A face whose corners lie just above the ball's surface in these directions [n, 3]."""
    corners = directions / np.linalg.norm(directions, axis=1, keepdims=True) * radius * 1.004
    points: list[Point] = [(x, y, z + radius) for x, y, z in corners.tolist()]
    builder.polygon(points, colour)


def _band(builder: MeshBuilder, way: Points, wide: float, radius: float, colour: Colour) -> None:
    """A line along these directions [n, 3] on the ball, ``wide`` radians across."""
    for here, after in pairwise(way):
        across = np.cross(here, after)
        across *= wide / 2 / max(float(np.linalg.norm(across)), 1e-9)
        _patch(builder, np.array([here - across, here + across, after + across, after - across]), radius, colour)


def _circle(normal: Points, height: float, spin: Points, steps: int = 32) -> Points:
    """Directions [steps + 1, 3] around the circle that a plane at this height cuts."""
    u = np.cross(normal, (0.3, 0.5, 0.81))
    u /= np.linalg.norm(u)
    v, wide = np.cross(normal, u), (1 - height**2) ** 0.5
    turns = np.linspace(0, 2 * pi, steps + 1)[:, None]
    way: Points = (wide * (np.cos(turns) * u + np.sin(turns) * v) + height * normal) @ spin
    return way


def _football(builder: MeshBuilder, radius: float, spin: Points, rng: np.random.Generator) -> None:
    """Twelve pentagons and the seams between them."""
    ink: Colour = (28, 28, 30) if rng.random() < 0.75 else vivid(rng)
    corners = np.array([np.roll((0, a, b * _GOLDEN), shift) for shift in range(3) for a in (-1, 1) for b in (-1, 1)])
    tips = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    for tip in tips:
        near = tips[np.argsort(-(tips @ tip))[1:6]]
        u = near[0] - tip * (near[0] @ tip)
        u /= np.linalg.norm(u)
        v = np.cross(tip, u)
        turn = [2 * pi * k / 5 for k in range(5)]
        pentagon = np.array([tip + 0.36 * (cos(t) * u + sin(t) * v) for t in turn])
        _patch(builder, pentagon @ spin, radius, ink)
        for t in turn:
            way = np.array([tip + s * (cos(t) * u + sin(t) * v) for s in (0.36, 0.62)])
            _band(builder, way @ spin, 0.035, radius, shade(ink, 1.5))


def _basketball(builder: MeshBuilder, radius: float, spin: Points, rng: np.random.Generator) -> None:
    ink: Colour = (35, 26, 22)
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    for normal, height in ((x, 0.0), (y, 0.0), (x, 0.62), (x, -0.62)):
        _band(builder, _circle(normal, height, spin), 0.05, radius, ink)


def _volleyball(builder: MeshBuilder, radius: float, spin: Points, rng: np.random.Generator) -> None:
    """Three axes, each with a pair of faces cut in three bands."""
    first, second = vivid(rng), vivid(rng)
    edges = np.linspace(-pi / 4, pi / 4, 7)
    for axis in range(3):
        for side in (-1, 1):
            for band in range(3):
                colour = (first, (244, 240, 225), second)[(band + axis) % 3]
                low, high = np.tan(edges[2 * band]), np.tan(edges[2 * band + 2])
                strip = np.array([[low, -1], [low, -0.5], [low, 0], [low, 0.5], [low, 1],
                                  [high, 1], [high, 0.5], [high, 0], [high, -0.5], [high, -1]]) * 0.97  # fmt: skip
                corners = np.zeros((10, 3))
                corners[:, axis], corners[:, (axis + 1) % 3], corners[:, (axis + 2) % 3] = (
                    side,
                    strip[:, 0],
                    strip[:, 1],
                )
                for k in range(4):
                    _patch(builder, corners[[k, k + 1, 8 - k, 9 - k]] @ spin, radius, colour)


def _tennis_ball(builder: MeshBuilder, radius: float, spin: Points, rng: np.random.Generator) -> None:
    t = np.linspace(0, 2 * pi, 41)
    a, b = 0.75, 0.25
    way = np.stack([a * np.cos(t) + b * np.cos(3 * t), a * np.sin(t) - b * np.sin(3 * t),
                    2 * (a * b) ** 0.5 * np.sin(2 * t)], axis=1)  # fmt: skip
    _band(builder, way @ spin, 0.11, radius, (240, 240, 232))


def _beach_ball(builder: MeshBuilder, radius: float, spin: Points, rng: np.random.Generator) -> None:
    paints = [vivid(rng) for _ in range(3)]
    rows = np.linspace(-pi / 2 + 0.15, pi / 2 - 0.15, 9)
    for panel in range(6):
        if panel % 2:
            continue
        left = panel * pi / 3
        for low, high in pairwise(rows.tolist()):
            for part in (0, 1):
                t0, t1 = left + part * pi / 6, left + (part + 1) * pi / 6
                corners = [(cos(e) * cos(t), cos(e) * sin(t), sin(e)) for e, t in
                           ((low, t0), (low, t1), (high, t1), (high, t0))]  # fmt: skip
                _patch(builder, np.array(corners) @ spin, radius, paints[panel // 2])
    for pole in (-1, 1):
        cap = np.array([(0.16 * cos(t), 0.16 * sin(t), pole) for t in np.linspace(0, 2 * pi, 9)[:-1]])
        _patch(builder, cap @ spin, radius, paints[0])
