"""Meshes of the synthetic street: flat polygons and round blobs, grouped in parts, in an object's own axes.

Object axes in metres: x ahead, y left, z up, the origin on the ground below the middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Point = tuple[float, float, float]
LIT, TWO_SIDED, GHOST, ROUND = 1, 2, 4, 8
"""Face flags: shaded by the sun; seen from both sides; fills the mask but paints nothing; a hull of spheres."""


@dataclass(frozen=True)
class Mesh:
    """Faces in painting order within each part.

    ``points`` [p, 3] and ``radii`` [p] metres; face f uses points ``starts[f]:starts[f + 1]``;
    ``colours`` [f, 3] RGB 0-255, ``normals`` [f, 3] (zero where round), ``flags`` [f], ``parts`` [f];
    ``layers`` [parts] (lower is painted first) and ``centres`` [parts, 3].
    """

    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    starts: NDArray[np.int64]
    colours: NDArray[np.float64]
    normals: NDArray[np.float64]
    flags: NDArray[np.int64]
    parts: NDArray[np.int64]
    layers: NDArray[np.int64]
    centres: NDArray[np.float64]

    @cached_property
    def two_sided(self) -> NDArray[np.bool_]:
        """Whether each face [f] is seen from both sides."""
        return self.flags & TWO_SIDED > 0

    @cached_property
    def reaches(self) -> NDArray[np.float64]:
        """How far each face's plane [f] lies from the origin along its normal."""
        reaches: NDArray[np.float64] = np.sum(self.normals * self.points[self.starts[:-1]], axis=1)
        return reaches

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of points of each face [f]."""
        return np.diff(self.starts)

    @cached_property
    def part_edges(self) -> NDArray[np.int64]:
        """The first face of each part, and the number of faces."""
        return np.flatnonzero(np.diff(self.parts, prepend=-1, append=self.parts[-1] + 1))

    @cached_property
    def low_high(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The corners [3] of the box around all points, in object axes."""
        reach = self.radii[:, None]
        return (self.points - reach).min(axis=0), (self.points + reach).max(axis=0)


class MeshBuilder:
    """Collects faces; every face belongs to the part opened last."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._radii: list[float] = []
        self._starts: list[int] = [0]
        self._colours: list[Colour] = []
        self._flags: list[int] = []
        self._parts: list[int] = []
        self._layers: list[int] = []
        self._insides: list[Point] = []

    def part(self, inside: Point, layer: int = 0) -> None:
        """Open a part; ``inside`` is a point within it, from which all its faces look away."""
        self._layers.append(layer)
        self._insides.append(inside)

    def polygon(self, points: Sequence[Point], colour: Colour, flags: int = LIT) -> None:
        """Add one flat face."""
        self._add(points, [0.0] * len(points), colour, flags)

    def blob(self, spheres: Sequence[tuple[float, float, float, float]], colour: Colour, flags: int = LIT) -> None:
        """Add the hull of spheres (x, y, z, radius)."""
        self._add([(x, y, z) for x, y, z, _ in spheres], [s[3] for s in spheres], colour, flags | ROUND | TWO_SIDED)

    def limb(self, spheres: Sequence[tuple[float, float, float, float]], colour: Colour, layer: int = 0) -> None:
        """A part of its own made of one blob, so that it is sorted by depth by itself."""
        self.part(spheres[0][:3], layer)
        self.blob(spheres, colour)

    def box(self, low: Point, high: Point, colour: Colour) -> None:
        """Six faces of an upright box."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        for x in (x0, x1):
            self.polygon([(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)], colour)
        for y in (y0, y1):
            self.polygon([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)], colour)
        for z in (z0, z1):
            self.polygon([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour)

    def disc(self, centre: Point, radius: float, colour: Colour, flags: int = LIT, sides: int = 16) -> None:
        """A disc that stands upright along the x axis (a wheel's side)."""
        self.polygon(circle(centre, radius, sides), colour, flags)

    def ring(self, centre: Point, outer: float, inner: float, colour: Colour, sides: int = 18) -> None:
        """A flat upright ring; the seam between its two circles vanishes under even-odd filling."""
        outside, inside = circle(centre, outer, sides), circle(centre, inner, sides)
        outline = [*outside, outside[0], inside[0], *inside[:0:-1], inside[0]]
        self.polygon(outline, colour, LIT | TWO_SIDED)

    def build(self) -> Mesh:
        """The finished mesh."""
        points = np.array(self._points)
        starts, parts, flags = np.array(self._starts), np.array(self._parts), np.array(self._flags)
        insides = np.array(self._insides)
        normals, flat = np.zeros((len(parts), 3)), np.flatnonzero(flags & ROUND == 0)
        if len(flat):
            normals[flat] = _normals(points, starts[flat], insides[parts[flat]])
        return Mesh(
            points=points,
            radii=np.array(self._radii),
            starts=starts,
            colours=np.array(self._colours),
            normals=normals,
            flags=flags,
            parts=parts,
            layers=np.array(self._layers),
            centres=insides,
        )

    def _add(self, points: Sequence[Point], radii: Sequence[float], colour: Colour, flags: int) -> None:
        self._points.extend(points)
        self._radii.extend(radii)
        self._starts.append(len(self._points))
        self._colours.append(colour)
        self._flags.append(flags)
        self._parts.append(len(self._layers) - 1)


def circle(centre: Point, radius: float, sides: int) -> list[Point]:
    """Corners of a regular polygon that stands along the x axis."""
    x, y, z = centre
    angles = [2 * pi * index / sides for index in range(sides)]
    return [(x + radius * cos(angle), y, z + radius * sin(angle)) for angle in angles]


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker or brighter, kept within 0-255."""
    red, green, blue = (min(255.0, max(0.0, channel * factor)) for channel in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``share`` 0 gives the first colour, 1 the second."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def _normals(
    points: NDArray[np.float64], firsts: NDArray[np.int64], insides: NDArray[np.float64]
) -> NDArray[np.float64]:
    origin = points[firsts]
    (ax, ay, az), (bx, by, bz) = (points[firsts + 1] - origin).T, (points[firsts + 2] - origin).T
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    normals = np.stack([x, y, z], axis=1) / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)[:, None]
    outward = np.sum(normals * (origin - insides), axis=1, keepdims=True) >= 0
    return np.asarray(np.where(outward, normals, -normals), np.float64)
