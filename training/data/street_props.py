"""Things of the synthetic street that are no instance: signs, poles, lights, bins, benches, parked trailers."""

from collections.abc import Callable
from functools import lru_cache
from math import cos, pi, sin

import numpy as np

from training.data.street_mesh import LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, Point, mix, shade
from training.data.street_vehicles import Section, loft, panel, wheels

_GREY: Colour = (112.0, 114.0, 116.0)
PROPS = 40


def _rod(builder: MeshBuilder, x: float, y: float, top: float, radius: float, colour: Colour) -> None:
    builder.part((x, y, top / 2))
    builder.blob([(x, y, 0.0, radius), (x, y, top, radius * 0.8)], colour)


def _plate(builder: MeshBuilder, outline: list[tuple[float, float]], x: float, colour: Colour) -> None:
    builder.polygon([(x, y, z) for y, z in outline], colour, LIT | TWO_SIDED)


def _regular(z: float, radius: float, sides: int, start: float = 0.0) -> list[tuple[float, float]]:
    angles = [start + 2 * pi * k / sides for k in range(sides)]
    return [(radius * sin(a), z + radius * cos(a)) for a in angles]


def _sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign whose picture looks back along x."""
    builder = MeshBuilder()
    high, kind = rng.uniform(2.2, 2.8), int(rng.integers(5))
    _rod(builder, 0, 0, high + 0.2, 0.035, _GREY)
    builder.part((1.0, 0, high), 1)
    if kind == 0:
        _plate(builder, _regular(high, 0.36, 14), -0.05, (190, 30, 32))
        _plate(builder, _regular(high, 0.26, 14), -0.06, (238, 238, 235))
    elif kind == 1:
        _plate(builder, _regular(high, 0.42, 3), -0.05, (190, 30, 32))
        _plate(builder, _regular(high, 0.28, 3), -0.06, (238, 238, 232))
    elif kind == 2:
        _plate(
            builder,
            [(-0.35, high - 0.35), (0.35, high - 0.35), (0.35, high + 0.35), (-0.35, high + 0.35)],
            -0.05,
            (35, 80, 160),
        )
        _plate(
            builder,
            [(-0.15, high - 0.2), (0.05, high - 0.2), (0.05, high + 0.2), (-0.15, high + 0.2)],
            -0.06,
            (238, 238, 238),
        )
    elif kind == 3:
        _plate(builder, _regular(high, 0.38, 4), -0.05, (235, 235, 230))
        _plate(builder, _regular(high, 0.28, 4), -0.06, (225, 180, 40))
    else:
        _plate(
            builder,
            [(-0.6, high - 0.2), (0.6, high - 0.2), (0.6, high + 0.25), (-0.6, high + 0.25)],
            -0.05,
            (225, 190, 60),
        )
        _plate(
            builder,
            [(-0.45, high - 0.02), (0.4, high - 0.02), (0.4, high + 0.1), (-0.45, high + 0.1)],
            -0.06,
            (30, 30, 30),
        )
    return builder.build()


def _lamp(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    high, reach = rng.uniform(5.5, 9.0), rng.uniform(0.6, 2.2)
    colour = mix(_GREY, (50, 60, 55), rng.uniform(0, 1))
    _rod(builder, 0, 0, high, 0.075, colour)
    builder.limb([(0, 0, high, 0.05), (0, reach, high + 0.25, 0.05)], colour)
    builder.limb([(0, reach, high + 0.25, 0.09), (0, reach + 0.6, high + 0.25, 0.08)], shade(colour, 1.3))
    return builder.build()


def _traffic_light(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    _rod(builder, 0, 0, 2.5, 0.055, _GREY)
    builder.part((0, 0, 2.9), 1)
    builder.box((-0.14, -0.17, 2.4), (0.14, 0.17, 3.35), (28, 30, 30))
    lit = int(rng.integers(3))
    for index, colour in enumerate(((230, 40, 35), (235, 170, 40), (60, 220, 130))):
        shown = colour if index == lit else shade(colour, 0.25)
        _plate(builder, _regular(3.18 - 0.3 * index, 0.11, 12), -0.15, shown)
    return builder.build()


def _bin(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    colour = ((60, 75, 62), (70, 72, 75), (40, 70, 120), (120, 95, 50), (150, 60, 40))[int(rng.integers(5))]
    builder.part((0, 0, 0.5), 1)
    wide, high = rng.uniform(0.24, 0.6), rng.uniform(0.8, 1.35)
    builder.box((-0.3, -wide, 0.05), (0.3, wide, high), colour)
    builder.part((0, 0, high), 2)
    builder.box((-0.34, -wide - 0.03, high), (0.34, wide + 0.03, high + 0.09), shade(colour, 0.7))
    return builder.build()


def _bollard(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    colour = ((60, 62, 64), (190, 190, 188), (170, 45, 40))[int(rng.integers(3))]
    _rod(builder, 0, 0, 0.95, 0.07, colour)
    builder.limb([(0, 0, 0.72, 0.075), (0, 0, 0.82, 0.075)], (225, 222, 215), 1)
    return builder.build()


def _bench(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    wood = mix((125, 88, 55), (95, 95, 95), rng.uniform(0, 1))
    builder.part((0, 0, 0.3))
    builder.box((-0.25, -0.9, 0.38), (0.25, 0.9, 0.46), wood)
    builder.box((-0.28, -0.9, 0.55), (-0.22, 0.9, 0.9), shade(wood, 1.1))
    for y in (-0.75, 0.75):
        builder.limb([(0.2, y, 0.0, 0.03), (0.2, y, 0.4, 0.03)], (50, 50, 52))
        builder.limb([(-0.25, y, 0.0, 0.03), (-0.25, y, 0.9, 0.03)], (50, 50, 52))
    return builder.build()


def _billboard(rng: np.random.Generator) -> Mesh:
    """A lit poster at the kerb, some with a figure on it."""
    builder = MeshBuilder()
    builder.part((0, 0, 1.3))
    builder.box((-0.1, -0.7, 0.3), (0.1, 0.7, 2.5), (60, 62, 64))
    ground = tuple(rng.uniform(60, 240, 3).tolist())
    builder.part((1, 0, 1.3), 1)
    _plate(
        builder, [(-0.62, 0.45), (0.62, 0.45), (0.62, 2.42), (-0.62, 2.42)], -0.11, (ground[0], ground[1], ground[2])
    )
    ink = tuple(rng.uniform(20, 220, 3).tolist())
    _plate(builder, [(-0.5, 0.6), (0.5, 0.6), (0.45, 1.1), (-0.45, 1.1)], -0.12, (ink[0], ink[1], ink[2]))
    _plate(builder, _regular(1.75, rng.uniform(0.2, 0.4), 12), -0.12, shade((ink[2], ink[0], ink[1]), 1.1))
    return builder.build()


def _cabinet(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    builder.part((0, 0, 0.6))
    tone = rng.uniform(90, 170)
    wide = rng.uniform(0.3, 0.9)
    builder.box((-0.2, -wide, 0.0), (0.2, wide, rng.uniform(0.9, 1.4)), (tone, tone * 1.02, tone * 0.95))
    return builder.build()


def _trailer(rng: np.random.Generator) -> Mesh:
    """A parked caravan or covered trailer: vehicle-like, and no instance."""
    builder = MeshBuilder()
    caravan = rng.random() < 0.6
    end, half, top = rng.uniform(1.4, 2.5), 1.05, rng.uniform(2.3, 2.6) if caravan else rng.uniform(1.5, 2.0)
    paint = shade((228, 226, 218), rng.uniform(0.85, 1.0)) if caravan else shade((70, 90, 110), rng.uniform(0.6, 1.6))
    builder.part((0, 0, 1.3), 1)
    sections: list[Section] = [
        (end, half * 0.95, 0.6, top - 0.4),
        (end - 0.4, half, 0.5, top),
        (-end + 0.3, half, 0.5, top),
        (-end, half * 0.95, 0.6, top - 0.3),
    ]
    loft(builder, sections, paint, (120, 122, 125))
    if caravan:
        panel(builder, -end - 0.01, (-0.7, 0.7), (1.3, top - 0.5), (50, 56, 62))
        for y in (-half - 0.01, half + 0.01):
            for x in (-end * 0.5, end * 0.3):
                builder.polygon([(x, y, 1.3), (x + 0.7, y, 1.3), (x + 0.7, y, 1.85), (x, y, 1.85)], (52, 58, 64))
    wheels(builder, [0.0], half, 0.3, (130, 132, 135))
    builder.limb([(end, 0, 0.45, 0.05), (end + 1.0, 0, 0.45, 0.05)], (60, 60, 60), 0)
    return builder.build()


def _rail(rng: np.random.Generator) -> Mesh:
    """Four metres of guard rail along x."""
    builder = MeshBuilder()
    tone = rng.uniform(140, 175)
    for x in (-2.0, 0.0):
        builder.limb([(x, 0, 0.0, 0.05), (x, 0, 0.6, 0.05)], (105, 107, 110))
    builder.part((0, 0.0, 0.6), 1)
    for z, factor in ((0.45, 0.85), (0.55, 1.05), (0.65, 0.8)):
        outline: list[Point] = [(-2, 0.0, z), (2, 0.0, z), (2, 0.0, z + 0.1), (-2, 0.0, z + 0.1)]
        builder.polygon(outline, shade((tone, tone, tone), factor), LIT | TWO_SIDED)
    return builder.build()


def _gantry(rng: np.random.Generator) -> Mesh:
    """A motorway direction sign on two legs."""
    builder = MeshBuilder()
    for y in (-1.3, 1.3):
        _rod(builder, 0, y, 3.2, 0.07, _GREY)
    ground: Colour = (30, 85, 160) if rng.random() < 0.5 else (25, 115, 75)
    builder.part((1, 0, 3.5), 1)
    _plate(builder, [(-2.0, 2.4), (2.0, 2.4), (2.0, 4.6), (-2.0, 4.6)], -0.1, (235, 235, 235))
    _plate(builder, [(-1.92, 2.48), (1.92, 2.48), (1.92, 4.52), (-1.92, 4.52)], -0.11, ground)
    for z in (2.9, 3.5, 4.1):
        y = rng.uniform(0.3, 1.6)
        _plate(builder, [(-1.6, z), (y, z), (y, z + 0.22), (-1.6, z + 0.22)], -0.12, (235, 235, 235))
    return builder.build()


_MAKERS: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "sign": _sign, "lamp": _lamp, "light": _traffic_light, "bin": _bin, "bollard": _bollard, "bench": _bench,
    "billboard": _billboard, "cabinet": _cabinet, "trailer": _trailer, "rail": _rail, "gantry": _gantry,
}  # fmt: skip


@lru_cache(maxsize=1024)
def prop(kind: str, number: int) -> Mesh:
    """Variant ``number`` (0 to PROPS - 1) of a thing; ``kind`` is one of the names above."""
    return _MAKERS[kind](np.random.default_rng([7, list(_MAKERS).index(kind), number]))
