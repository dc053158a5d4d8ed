"""Shapes that everyday things are made of: turned and swept solids, slabs, and meshes that are scaled and tilted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import cos, pi, sin

import numpy as np

from training.data.street_camera import Points
from training.data.street_mesh import LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, Point

Profile = Sequence[tuple[float, float]]
"""Radius and height in metres of each ring of a turned solid, from below."""
Flat = list[tuple[float, float]]
"""An outline of (y, z) in metres."""
Place = Callable[[float, float, float], Point]


def upright(x: float, y: float, z: float) -> Place:
    """Along, across and out of a turned solid's axis to the object's: the axis stands on this point."""
    return lambda axis, u, v: (x + u, y + v, z + axis)


def along_x(x: float, y: float, z: float) -> Place:
    """The axis runs ahead from this point."""
    return lambda axis, u, v: (x + axis, y + u, z + v)


def along_y(x: float, y: float, z: float) -> Place:
    """The axis runs to the left from this point."""
    return lambda axis, u, v: (x + u, y + axis, z + v)


def turned(
    builder: MeshBuilder,
    profile: Profile,
    colours: Colour | list[Colour],
    place: Place,
    sides: int = 20,
    layer: int = 0,
    flat: float = 1.0,
) -> None:
    """A solid of revolution; each ring between two of the profile's is a part, with a colour of its own if given.

    ``flat`` squeezes it along the second direction across the axis. Ends are closed where the radius is not zero.
    """
    angles = [2 * pi * index / sides for index in range(sides + 1)]
    bands = colours if isinstance(colours, list) else [colours] * (len(profile) - 1)
    for index, ((r0, a0), (r1, a1)) in enumerate(pairwise(profile)):
        colour = bands[index]
        builder.part(place((a0 + a1) / 2, 0.0, 0.0), layer)
        for first, second in pairwise(angles):
            corners = [(a0, r0, first), (a0, r0, second), (a1, r1, second), (a1, r1, first)]
            points = [place(a, r * cos(t), r * sin(t) * flat) for a, r, t in corners]
            if r0 <= 1e-6 or r1 <= 1e-6:
                points = points[1:] if r0 <= 1e-6 else points[:3]
            builder.polygon(points, colour)
        for closed, radius, axis in ((index == 0, r0, a0), (index == len(profile) - 2, r1, a1)):
            if closed and radius > 1e-6:
                rim = [place(axis, radius * cos(t), radius * sin(t) * flat) for t in angles[:-1]]
                builder.polygon(rim, colour)


def globe(
    builder: MeshBuilder,
    centre: Point,
    radii: Point,
    colour: Callable[[float, float], Colour],
    sides: int = 20,
    rings: int = 12,
    layer: int = 0,
) -> None:
    """An ellipsoid; ``colour`` of each face follows from its longitude (0 to 2 pi) and latitude (-pi/2 to pi/2)."""
    builder.part(centre, layer)

    def at(longitude: float, latitude: float) -> Point:
        wide = cos(latitude)
        return (
            centre[0] + radii[0] * wide * cos(longitude),
            centre[1] + radii[1] * wide * sin(longitude),
            centre[2] + radii[2] * sin(latitude),
        )

    latitudes = [pi * (index / rings - 0.5) for index in range(rings + 1)]
    longitudes = [2 * pi * index / sides for index in range(sides + 1)]
    for low, high in pairwise(latitudes):
        for left, right in pairwise(longitudes):
            corners = [at(left, low), at(right, low), at(right, high), at(left, high)]
            if low <= -pi / 2 + 1e-6:
                corners = corners[1:]
            elif high >= pi / 2 - 1e-6:
                corners = corners[:3]
            builder.polygon(corners, colour((left + right) / 2, (low + high) / 2))


def slab(
    builder: MeshBuilder, outline: Sequence[Point], thickness: Point, colours: tuple[Colour, Colour], layer: int = 0
) -> None:
    """A flat outline given a ``thickness`` (a step in metres): two faces of the first colour, edges of the second."""
    there = [(x + thickness[0], y + thickness[1], z + thickness[2]) for x, y, z in outline]
    middle = np.mean([*outline, *there], axis=0).tolist()
    builder.part((middle[0], middle[1], middle[2]), layer)
    for (a, b), (c, d) in zip(pairwise([*outline, outline[0]]), pairwise([*there, there[0]]), strict=True):
        builder.polygon([a, b, d, c], colours[1])
    builder.polygon(list(outline), colours[0])
    builder.polygon(there, colours[0])


def block(builder: MeshBuilder, low: Point, high: Point, colour: Colour, layer: int = 0) -> None:
    """An upright box that is a part of its own."""
    builder.part(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2), layer)
    builder.box(low, high, colour)


def plate(
    builder: MeshBuilder, outline: Sequence[tuple[float, float]], x: float, colour: Colour, flags: int = LIT
) -> None:
    """A flat outline of (y, z) across the x axis at ``x``."""
    builder.polygon([(x, y, z) for y, z in outline], colour, flags)


def ribbon(builder: MeshBuilder, points: Sequence[Point], wide: Point, colour: Colour) -> None:
    """A band along these points, ``wide`` (a step in metres) across, seen from both sides."""
    for (x0, y0, z0), (x1, y1, z1) in pairwise(points):
        a, b, c = wide
        corners = [(x0, y0, z0), (x1, y1, z1), (x1 + a, y1 + b, z1 + c), (x0 + a, y0 + b, z0 + c)]
        builder.polygon(corners, colour, LIT | TWO_SIDED)


def regular(centre: tuple[float, float], radius: float, sides: int, start: float = 0.0) -> Flat:
    """Corners of a regular polygon around (y, z)."""
    angles = [start + 2 * pi * index / sides for index in range(sides)]
    return [(centre[0] + radius * sin(angle), centre[1] + radius * cos(angle)) for angle in angles]


def arc(
    centre: tuple[float, float], radius: float, angles: tuple[float, float], steps: int
) -> list[tuple[float, float]]:
    """Points on a part of a circle, from one angle to the other."""
    turns = np.linspace(*angles, steps).tolist()
    return [(centre[0] + radius * cos(angle), centre[1] + radius * sin(angle)) for angle in turns]


def scaled(mesh: Mesh, factor: float) -> Mesh:
    """The mesh this many times as large."""
    return replace(mesh, points=mesh.points * factor, radii=mesh.radii * factor, centres=mesh.centres * factor)


def tilted(mesh: Mesh, pitch: float, roll: float, pivot: float = 0.0) -> Mesh:
    """The mesh turned nose up by ``pitch`` and then to its right by ``roll``, radians, about a height in metres."""
    nose = np.array([[cos(pitch), 0, -sin(pitch)], [0, 1, 0], [sin(pitch), 0, cos(pitch)]])
    side = np.array([[1, 0, 0], [0, cos(roll), sin(roll)], [0, -sin(roll), cos(roll)]])
    rotation, middle = nose @ side, np.array([0.0, 0.0, pivot])

    def moved(points: Points) -> Points:
        return np.asarray((points - middle) @ rotation.T + middle, np.float64)

    return replace(mesh, points=moved(mesh.points), centres=moved(mesh.centres), normals=mesh.normals @ rotation.T)


def raised(mesh: Mesh, height: float) -> Mesh:
    """The mesh moved up by this many metres."""
    step = np.array([0.0, 0.0, height])
    return replace(mesh, points=mesh.points + step, centres=mesh.centres + step)


def grounded(mesh: Mesh) -> Mesh:
    """The mesh moved up or down so that its lowest point stands on the ground."""
    return raised(mesh, -float(mesh.low_high[0][2]))


@dataclass(frozen=True)
class Thing:
    """A labelled ``mesh``; a ``stand`` that holds it up or hangs on it and is no part of it; and who rides it."""

    mesh: Mesh
    stand: Mesh | None = None
    rider: Mesh | None = None
