"""Passenger cars and vans of the synthetic street as lofted bodies with glass, wheels and lights."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from training.data.street_mesh import LIT, Colour, Mesh, MeshBuilder, Point, mix, shade

Section = tuple[float, float, float, float]
"""A cut through a body: x, half width, lower z, upper z in metres."""
_LEVELS = ((0.0, 0.94), (0.32, 1.0), (0.72, 0.995), (1.0, 0.93))
RUBBER: Colour = (26.0, 26.0, 28.0)
GLASS: Colour = (38.0, 44.0, 50.0)
_PAINTS: tuple[Colour, ...] = (
    (222, 222, 220), (235, 235, 232), (28, 29, 31), (40, 41, 44), (95, 98, 102), (128, 131, 134), (170, 173, 176),
    (150, 152, 155), (40, 55, 95), (45, 80, 140), (140, 25, 28), (170, 35, 35), (55, 75, 60), (150, 135, 110),
    (90, 70, 58), (205, 165, 40), (190, 90, 35), (70, 115, 150), (60, 63, 68), (245, 245, 245),
)  # fmt: skip


@dataclass(frozen=True)
class CarShape:
    """Measures of one car in metres; positions run along x, the front bumper at ``length / 2``."""

    length: float
    width: float
    height: float
    belt: float
    bonnet: float
    windscreen: tuple[float, float]
    rear: tuple[float, float]
    tail: float
    wheel: float
    inset: float


_SHAPES: dict[str, CarShape] = {
    "saloon": CarShape(4.7, 1.82, 1.45, 0.96, 0.80, (1.05, 0.30), (-1.05, -1.75), 1.00, 0.32, 0.20),
    "hatch": CarShape(4.1, 1.76, 1.48, 0.97, 0.82, (1.00, 0.30), (-1.55, -1.92), 0.98, 0.31, 0.18),
    "suv": CarShape(4.55, 1.88, 1.70, 1.10, 0.98, (1.05, 0.45), (-1.80, -2.12), 1.08, 0.36, 0.17),
    "estate": CarShape(4.7, 1.82, 1.48, 0.97, 0.80, (1.05, 0.30), (-1.95, -2.22), 0.99, 0.32, 0.19),
    "sports": CarShape(4.4, 1.85, 1.28, 0.88, 0.70, (0.75, -0.05), (-0.75, -1.75), 0.92, 0.33, 0.23),
    "van": CarShape(5.0, 1.95, 1.97, 1.12, 1.05, (1.75, 1.05), (-2.30, -2.42), 1.12, 0.34, 0.12),
    "mini": CarShape(3.6, 1.65, 1.50, 0.97, 0.84, (1.05, 0.45), (-1.35, -1.68), 0.98, 0.29, 0.17),
    "pickup": CarShape(5.3, 1.92, 1.80, 1.12, 1.02, (1.00, 0.45), (-0.65, -0.85), 1.12, 0.39, 0.18),
}
_SHARES = {
    "saloon": 0.24, "hatch": 0.24, "suv": 0.22, "estate": 0.09, "sports": 0.04, "van": 0.08,
    "mini": 0.06, "pickup": 0.03,
}  # fmt: skip
CARS = 900


@lru_cache(maxsize=CARS)
def car(number: int) -> Mesh:
    """Car ``number`` (0 to CARS - 1): shape, colour and details follow from the number."""
    rng = np.random.default_rng([1, number])
    kinds = list(_SHARES)
    kind = kinds[int(rng.choice(len(kinds), p=np.array([_SHARES[k] for k in kinds]) / sum(_SHARES.values())))]
    shape = _varied(_SHAPES[kind], rng)
    paint = shade(_PAINTS[int(rng.integers(len(_PAINTS)))], rng.uniform(0.88, 1.05))
    builder = MeshBuilder()
    _underbody(builder, shape)
    _body(builder, shape, paint, rng)
    _cabin(builder, shape, paint, rng, blind=kind == "van" and rng.random() < 0.6)
    if kind == "pickup":
        _bed(builder, shape)
    _mirrors(builder, shape, paint)
    return builder.build()


def loft(builder: MeshBuilder, sections: list[Section], colour: Colour, sill: Colour | None = None) -> None:
    """Side, top and end faces through cuts ordered from front to rear; ``sill`` colours the lowest band."""
    rows = [_cut(section) for section in sections]
    for front, rear in pairwise(rows):
        for side in (0, 1):
            for level in range(3):
                band = sill if level == 0 and sill else shade(colour, (0.86, 0.98, 1.04)[level])
                a, b = front[side], rear[side]
                builder.polygon([a[level], b[level], b[level + 1], a[level + 1]], band)
        builder.polygon([front[0][3], rear[0][3], rear[1][3], front[1][3]], colour)
    for cut in (rows[-1], rows[0]):
        for level in range(3):
            band = sill if level == 0 and sill else shade(colour, (0.84, 0.97, 1.03)[level])
            builder.polygon([cut[0][level], cut[1][level], cut[1][level + 1], cut[0][level + 1]], band)


def _cut(section: Section) -> tuple[list[Point], list[Point]]:
    x, half, low, high = section
    heights = [(low + (high - low) * share, half * wide) for share, wide in _LEVELS]
    return [(x, y, z) for z, y in heights], [(x, -y, z) for z, y in heights]


def wheels(builder: MeshBuilder, xs: list[float], half: float, radius: float, rim: Colour) -> None:
    """Both sides' wheels at these x positions: the tread as seen from the ends, and the outer sides on top."""
    for x in xs:
        for side in (-1, 1):
            y = side * half
            builder.part((x, y * 0.9, radius), 0)
            builder.box(
                (x - radius * 0.9, min(y, y - side * 0.22), 0.0),
                (x + radius * 0.9, max(y, y - side * 0.22), radius),
                RUBBER,
            )
    for x in xs:
        for side in (-1, 1):
            y = side * (half + 0.012)
            builder.part((x, 0.0, radius), 2)
            builder.disc((x, y, radius * 1.08), radius * 1.16, (14, 14, 15))
            builder.disc((x, y * 1.003, radius), radius, RUBBER)
            builder.disc((x, y * 1.005, radius), radius * 0.66, shade(rim, 0.55))
            _spokes(builder, (x, y * 1.007, radius), radius * 0.62, rim)


def _spokes(builder: MeshBuilder, centre: Point, radius: float, rim: Colour) -> None:
    x, y, z = centre
    for index in range(5):
        angle = 2 * np.pi * index / 5 + 0.3
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        ends = [across * -0.2, across * 0.2, along + across * 0.14, along - across * 0.14]
        builder.polygon([(x + radius * float(e[0]), y, z + radius * float(e[1])) for e in ends], rim)


def _varied(shape: CarShape, rng: np.random.Generator) -> CarShape:
    long, wide, tall = rng.uniform(0.95, 1.05), rng.uniform(0.98, 1.03), rng.uniform(0.97, 1.04)
    return CarShape(
        shape.length * long, shape.width * wide, shape.height * tall, shape.belt * tall, shape.bonnet * tall,
        (shape.windscreen[0] * long, shape.windscreen[1] * long), (shape.rear[0] * long, shape.rear[1] * long),
        shape.tail * tall, shape.wheel * rng.uniform(0.95, 1.06), shape.inset * rng.uniform(0.8, 1.2),
    )  # fmt: skip


def _underbody(builder: MeshBuilder, shape: CarShape) -> None:
    end, half = shape.length / 2 - 0.25, shape.width / 2 - 0.12
    builder.part((0, 0, 0.3), 0)
    builder.box((-end, -half, 0.17), (end, half, 0.4), (16, 16, 17))


def _body(builder: MeshBuilder, shape: CarShape, paint: Colour, rng: np.random.Generator) -> None:
    end, half, low = shape.length / 2, shape.width / 2, 0.20 if shape.belt < 1.05 else 0.28
    sill = (38.0, 38.0, 40.0) if rng.random() < 0.35 else None
    nose = shape.bonnet
    sections: list[Section] = [
        (end, half * rng.uniform(0.74, 0.86), low + 0.10, nose * 0.86),
        (end - 0.16, half * 0.94, low, nose * 0.95),
        (end - 0.6, half, low, nose),
        (shape.windscreen[0], half, low, shape.belt),
        (shape.rear[0], half, low, shape.belt + 0.02),
        (-end + 0.5, half, low, shape.tail + 0.01),
        (-end + 0.12, half * 0.95, low, shape.tail),
        (-end, half * rng.uniform(0.82, 0.9), low + 0.1, shape.tail * 0.93),
    ]
    builder.part((0, 0, 0.6), 1)
    loft(builder, sections, paint, sill)
    _doors(builder, shape, paint)
    _face(builder, shape, sections[0], paint, rng)
    _tail(builder, shape, sections[-1], paint, rng)
    rim = mix((165, 167, 170), (60, 60, 62), rng.uniform(0, 1))
    wheels(builder, [end - rng.uniform(0.78, 0.9), -end + rng.uniform(0.75, 0.95)], half, shape.wheel, rim)


def _doors(builder: MeshBuilder, shape: CarShape, paint: Colour) -> None:
    half = shape.width / 2 + 0.004
    seam = shade(paint, 0.55)
    middle = (shape.windscreen[1] + shape.rear[0]) / 2
    for side in (-1, 1):
        y = side * half
        for x in (shape.windscreen[0] - 0.1, middle, shape.rear[0] + 0.1):
            builder.polygon([(x, y, 0.34), (x + 0.02, y, 0.34), (x + 0.02, y, shape.belt), (x, y, shape.belt)], seam)
        for x in (middle + 0.12, shape.rear[0] + 0.25):
            z = shape.belt - 0.14
            builder.polygon([(x, y, z), (x + 0.2, y, z), (x + 0.2, y, z + 0.03), (x, y, z + 0.03)], shade(paint, 1.25))


def panel(
    builder: MeshBuilder, x: float, ys: tuple[float, float], zs: tuple[float, float], colour: Colour, flags: int = LIT
) -> None:
    """A rectangle across the vehicle at ``x``, facing ahead or back."""
    (y0, y1), (z0, z1) = ys, zs
    builder.polygon([(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)], colour, flags)


def _face(builder: MeshBuilder, shape: CarShape, cut: Section, paint: Colour, rng: np.random.Generator) -> None:
    x, half, low, high = cut[0] + 0.006, cut[1], cut[2], cut[3]
    tall = high - low
    grille = half * rng.uniform(0.35, 0.75)
    panel(builder, x, (-half * 0.85, half * 0.85), (low, low + tall * rng.uniform(0.2, 0.38)), (30, 30, 32))
    panel(builder, x, (-grille, grille), (low + tall * 0.5, low + tall * 0.82), (24, 24, 26))
    panel(builder, x + 0.002, (-grille, grille), (low + tall * 0.64, low + tall * 0.68), (130, 132, 135))
    lamp = half * rng.uniform(0.25, 0.42)
    lit = rng.random() < 0.35
    glow = (250.0, 250.0, 240.0) if lit else (185.0, 190.0, 198.0)
    for side in (-1, 1):
        outer, inner = side * half * 0.99, side * (half - lamp)
        panel(builder, x + 0.001, (inner, outer), (low + tall * 0.6, low + tall * 0.88), (60, 62, 66))
        panel(
            builder,
            x + 0.003,
            (inner * 0.96 + outer * 0.04, outer * 0.9),
            (low + tall * 0.65, low + tall * 0.86),
            glow,
            0 if lit else LIT,
        )
    _plate(builder, x + 0.004, low + tall * 0.3, rng)


def _tail(builder: MeshBuilder, shape: CarShape, cut: Section, paint: Colour, rng: np.random.Generator) -> None:
    x, half, low, high = cut[0] - 0.006, cut[1], cut[2], cut[3]
    tall = high - low
    if rng.random() < 0.7:
        panel(builder, x, (-half * 0.9, half * 0.9), (low, low + tall * rng.uniform(0.18, 0.3)), (32, 32, 34))
    panel(builder, x, (-half, half), (low + tall * 0.42, low + tall * 0.435), shade(paint, 0.6))
    wide, bottom = half * rng.uniform(0.25, 0.5), rng.uniform(0.52, 0.66)
    braking = rng.random() < 0.3
    red = (245.0, 40.0, 35.0) if braking else (150.0, 18.0, 20.0)
    for side in (-1, 1):
        outer, inner = side * half, side * (half - wide)
        panel(builder, x - 0.001, (inner, outer), (low + tall * bottom, low + tall * 0.97), red, 0 if braking else LIT)
        panel(
            builder,
            x - 0.003,
            (inner * 0.8 + outer * 0.2, outer),
            (low + tall * (bottom + 0.08), low + tall * (bottom + 0.16)),
            (225, 190, 180),
        )
    _plate(builder, x - 0.004, low + tall * rng.choice([0.26, 0.6]), rng)


def _plate(builder: MeshBuilder, x: float, z: float, rng: np.random.Generator) -> None:
    colour = (228.0, 228.0, 220.0) if rng.random() < 0.75 else (215.0, 185.0, 50.0)
    panel(builder, x, (-0.26, 0.26), (z, z + 0.115), colour)
    beyond = x + (0.002 if x > 0 else -0.002)
    panel(builder, beyond, (-0.2, 0.2), (z + 0.035, z + 0.08), (110, 110, 112))


def _cabin(builder: MeshBuilder, shape: CarShape, paint: Colour, rng: np.random.Generator, blind: bool) -> None:
    low, high = shape.width / 2 * 0.93, shape.width / 2 - shape.inset
    base, roof = shape.belt - 0.02, shape.height
    (front_low, front_high), (rear_high, rear_low) = shape.windscreen, shape.rear
    left = [
        (front_low, low, base),
        (front_high, high, roof - 0.04),
        (rear_high, high, roof - 0.02),
        (rear_low, low, base),
    ]
    right = [(x, -y, z) for x, y, z in left]
    builder.part((0, 0, base), 2)
    roof_paint = (22.0, 22.0, 24.0) if rng.random() < 0.12 else paint
    middle = (front_high + rear_high) / 2
    builder.polygon([left[1], left[2], right[2], right[1]], roof_paint)
    builder.polygon([(middle, high * 0.9, roof), (left[2]), right[2], (middle, -high * 0.9, roof)], roof_paint)
    builder.polygon([left[0], left[1], right[1], right[0]], paint)
    builder.polygon([left[2], left[3], right[3], right[2]], paint)
    glass = mix(GLASS, (95, 108, 118), rng.uniform(0, 0.5))
    for side in (left, right):
        builder.polygon(side, paint)
        _side_glass(builder, side, glass, 1 if blind else 2 + int(rng.random() < 0.5), blind)
    _end_glass(builder, [left[1], right[1], right[0], left[0]], 0.008, shade(glass, 1.25))
    if not (blind and rng.random() < 0.5):
        _end_glass(builder, [left[2], right[2], right[3], left[3]], -0.008, glass)


def _side_glass(builder: MeshBuilder, side: list[Point], glass: Colour, panes: int, blind: bool) -> None:
    stretch = 0.32 if blind else 0.94
    edges = np.linspace(0.06, stretch, panes + 1)
    for start, stop in pairwise(edges.tolist()):
        corners = [(start + 0.012, 0.1), (start + 0.012, 0.86), (stop - 0.012, 0.86), (stop - 0.012, 0.1)]
        builder.polygon([_on(side, u, v, 0.008) for u, v in corners], glass)
        builder.polygon(
            [_on(side, u, 0.55 + (v - 0.1) * 0.4, 0.01) for u, v in corners], mix(glass, (150, 165, 180), 0.3)
        )


def _on(quad: list[Point], u: float, v: float, lift: float) -> Point:
    """A point on a side: ``u`` from front to rear, ``v`` from the belt up; lifted off the paint."""
    a, b, c, d = (np.array(corner) for corner in quad)
    lower, upper = a + (d - a) * u, b + (c - b) * u
    x, y, z = (lower + (upper - lower) * v).tolist()
    return x, y + (lift if y > 0 else -lift), z


def _end_glass(builder: MeshBuilder, quad: list[Point], lift: float, glass: Colour) -> None:
    a, b, c, d = (np.array(corner) for corner in quad)

    def at(u: float, v: float) -> Point:
        top, bottom = a + (b - a) * u, d + (c - d) * u
        x, y, z = (top + (bottom - top) * v).tolist()
        return x + lift, y, z + 0.006

    builder.polygon([at(0.05, 0.07), at(0.95, 0.07), at(0.96, 0.94), at(0.04, 0.94)], glass)
    builder.polygon([at(0.05, 0.07), at(0.95, 0.07), at(0.95, 0.4), at(0.05, 0.3)], mix(glass, (150, 165, 180), 0.35))
    for seat in (0.28, 0.72):
        builder.polygon(
            [at(seat - 0.07, 0.45), at(seat + 0.07, 0.45), at(seat + 0.1, 0.93), at(seat - 0.1, 0.93)],
            shade(glass, 0.5),
        )


def _bed(builder: MeshBuilder, shape: CarShape) -> None:
    half, top = shape.width / 2 - 0.16, shape.tail + 0.035
    x0, x1 = -shape.length / 2 + 0.14, shape.rear[1] - 0.1
    builder.part((0, 0, 0.5), 1)
    builder.polygon([(x0, -half, top), (x1, -half, top), (x1, half, top), (x0, half, top)], (35, 35, 36))


def _mirrors(builder: MeshBuilder, shape: CarShape, paint: Colour) -> None:
    x, y, z = shape.windscreen[0] - 0.28, shape.width / 2 + 0.06, shape.belt + 0.05
    for side in (-1, 1):
        builder.limb([(x, side * y, z, 0.065), (x, side * (y + 0.08), z + 0.01, 0.065)], shade(paint, 0.9), 3)
