"""Bicycles and motorcycles of the synthetic street, and the poses of those who ride them."""

from functools import lru_cache
from math import cos, pi, sin

import numpy as np

from training.data.street_mesh import GHOST, LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, Point, circle, mix, shade
from training.data.street_people import Look, sitter

BICYCLES, MOTORCYCLES = 200, 200
_FRAMES: tuple[Colour, ...] = (
    (28, 28, 30), (200, 200, 198), (175, 35, 35), (40, 80, 150), (50, 120, 80), (220, 180, 50),
    (130, 132, 135), (230, 120, 40), (90, 60, 110),
)  # fmt: skip
_BLACK: Colour = (24.0, 24.0, 26.0)
_STEEL: Colour = (150.0, 152.0, 155.0)


@lru_cache(maxsize=BICYCLES)
def bicycle(number: int) -> Mesh:
    """Bicycle ``number``; its mask covers the wheels' insides and the frame, as annotators outline it."""
    rng = np.random.default_rng([5, number])
    builder = MeshBuilder()
    radius, base = rng.uniform(0.32, 0.35), rng.uniform(0.50, 0.54)
    paint = shade(_FRAMES[int(rng.integers(len(_FRAMES)))], rng.uniform(0.8, 1.1))
    for x in (-base, base):
        _bicycle_wheel(builder, x, radius)
    _bicycle_frame(builder, base, radius, paint, step_through=bool(rng.random() < 0.35))
    if rng.random() < 0.55:
        _mudguards(builder, base, radius)
    if rng.random() < 0.3:
        _basket(builder, base)
    builder.part((0, 0, 0.5), 0)
    ghost = [
        (-base, 0, 0.08),
        (base, 0, 0.08),
        (base, 0, radius),
        (base - 0.12, 0, 0.98),
        (-0.2, 0, 0.9),
        (-base, 0, radius),
    ]
    builder.polygon(ghost, _BLACK, GHOST | TWO_SIDED)
    for x in (-base, base):
        builder.polygon(circle((x, 0, radius), radius, 14), _BLACK, GHOST | TWO_SIDED)
    return builder.build()


@lru_cache(maxsize=MOTORCYCLES)
def motorcycle(number: int) -> Mesh:
    """Motorcycle ``number``: a naked or sports machine, or a scooter."""
    rng = np.random.default_rng([6, number])
    builder = MeshBuilder()
    paint = shade(_FRAMES[int(rng.integers(len(_FRAMES)))], rng.uniform(0.8, 1.1))
    if rng.random() < 0.4:
        _scooter(builder, paint, rng)
    else:
        _motorbike(builder, paint, rng)
    return builder.build()


def cyclist(look: Look, phase: float) -> Mesh:
    """Someone pedalling; ``phase`` in radians turns the cranks."""
    feet = tuple(
        (0.02 + 0.17 * cos(phase + turn), side * 0.12, 0.33 + 0.17 * sin(phase + turn))
        for side, turn in ((1, 0.0), (-1, pi))
    )
    sporty = look.garment in (0, 2)
    shoulder: Point = (0.22, 0.0, 1.40) if sporty else (0.05, 0.0, 1.50)
    hands: tuple[Point, Point] = ((0.42, 0.24, 1.02), (0.42, -0.24, 1.02))
    cover = 1 if look.garment in (0, 1) else 0
    return sitter(look, (-0.2, 0.0, 0.97), shoulder, hands, (feet[0], feet[1]), cover)


def motorcyclist(look: Look, number: int) -> Mesh:
    """Someone astride motorcycle ``number``."""
    feet: tuple[Point, Point] = ((0.0, 0.2, 0.34), (0.0, -0.2, 0.34))
    shoulder: Point = (0.12 if number % 3 else 0.25, 0.0, 1.36)
    hands: tuple[Point, Point] = ((0.45, 0.3, 1.02), (0.45, -0.3, 1.02))
    return sitter(look, (-0.22, 0.0, 0.86), shoulder, hands, feet, 2)


def _bicycle_wheel(builder: MeshBuilder, x: float, radius: float) -> None:
    builder.part((x, 0, radius), 0)
    for index in range(9):
        angle = pi * index / 9
        dx, dz = radius * 0.92 * cos(angle), radius * 0.92 * sin(angle)
        thin = 0.004
        outline = [
            (x - dx, 0, radius - dz - thin),
            (x + dx, 0, radius + dz - thin),
            (x + dx, 0, radius + dz + thin),
            (x - dx, 0, radius - dz + thin),
        ]
        builder.polygon(outline, (165, 167, 170), TWO_SIDED)
    builder.polygon([(x, -0.022, 0), (x, 0.022, 0), (x, 0.022, radius * 2), (x, -0.022, radius * 2)], _BLACK, TWO_SIDED)
    builder.ring((x, 0, radius), radius * 0.93, radius * 0.86, _STEEL)
    for y in (-0.014, 0.014):
        builder.ring((x, y, radius), radius, radius * 0.91, _BLACK)


def _tube(builder: MeshBuilder, first: Point, second: Point, radius: float, colour: Colour) -> None:
    builder.blob([(*first, radius), (*second, radius)], colour)


def _bicycle_frame(builder: MeshBuilder, base: float, radius: float, paint: Colour, step_through: bool) -> None:
    rear, front, crank = (-base, 0.0, radius), (base, 0.0, radius), (-0.06, 0.0, 0.30)
    seat, head, neck = (-0.2, 0.0, 0.82), (base - 0.13, 0.0, 0.86), (base - 0.09, 0.0, 0.72)
    builder.part((0, 0, 0.6), 1)
    for start, end, thick in (
        (rear, crank, 0.013), (rear, seat, 0.012), (crank, seat, 0.02), (crank, neck, 0.023), (neck, front, 0.016),
        (head, neck, 0.022), ((-0.1, 0.0, 0.5) if step_through else seat, neck if step_through else head, 0.02),
    ):  # fmt: skip
        _tube(builder, start, end, thick, paint)
    _tube(builder, seat, (-0.22, 0, 0.92), 0.014, _STEEL)
    builder.blob([(-0.34, 0, 0.94, 0.05), (-0.1, 0, 0.94, 0.025)], _BLACK)
    _tube(builder, head, (base - 0.15, 0, 1.0), 0.014, _STEEL)
    builder.blob([(base - 0.14, side * 0.29, 1.02, 0.018) for side in (-1, 1)], _BLACK)
    builder.disc((crank[0], -0.03, crank[2]), 0.09, (70, 70, 72), TWO_SIDED | LIT, 10)
    _tube(builder, crank, (crank[0] + 0.12, 0.1, crank[2] - 0.11), 0.012, _STEEL)
    _tube(builder, crank, (crank[0] - 0.12, -0.1, crank[2] + 0.11), 0.012, _STEEL)
    builder.blob([(-0.36, 0, 0.8, 0.03)], (190, 30, 28))
    builder.blob([(base - 0.05, 0, 0.88, 0.035)], (215, 215, 205))


def _mudguards(builder: MeshBuilder, base: float, radius: float) -> None:
    builder.part((0, 0, 0.5), 1)
    for x, low, high in ((-base, 0.25, 1.0), (base, 0.1, 0.75)):
        angles = np.linspace(low * pi, high * pi, 8).tolist()
        outer = [(x + radius * 1.06 * cos(a), 0.0, radius + radius * 1.06 * sin(a)) for a in angles]
        inner = [(x + radius * 1.01 * cos(a), 0.0, radius + radius * 1.01 * sin(a)) for a in reversed(angles)]
        builder.polygon(outer + inner, (50, 50, 52), TWO_SIDED | LIT)
        builder.polygon(
            [(x - 0.3, -0.03, 0.62), (x - 0.3, 0.03, 0.62), (x - 0.3, 0.03, 0.3), (x - 0.3, -0.03, 0.3)],
            (50, 50, 52),
            TWO_SIDED | LIT,
        )


def _basket(builder: MeshBuilder, base: float) -> None:
    builder.part((base + 0.02, 0, 0.85), 1)
    builder.box((base - 0.08, -0.17, 0.76), (base + 0.16, 0.17, 0.98), (110, 88, 62))


def _fat_wheel(builder: MeshBuilder, x: float, radius: float, wide: float) -> None:
    builder.part((x, 0, radius), 0)
    spheres = [(x + radius * 0.8 * cos(a), side * wide * 0.25, radius + radius * 0.8 * sin(a), radius * 0.2)
               for a in np.linspace(0, 2 * pi, 9).tolist()[:-1] for side in (-1, 1)]  # fmt: skip
    builder.blob(spheres, (27, 27, 29))
    for y in (-wide / 2, wide / 2):
        builder.ring((x, y, radius), radius * 0.7, radius * 0.58, (115, 117, 120))
        builder.disc((x, y * 1.01, radius), radius * 0.3, (85, 86, 90), TWO_SIDED | LIT, 10)


def _motorbike(builder: MeshBuilder, paint: Colour, rng: np.random.Generator) -> None:
    sport = rng.random() < 0.4
    _fat_wheel(builder, 0.72, 0.31, 0.13)
    _fat_wheel(builder, -0.70, 0.31, 0.19)
    builder.limb([(0.2, 0, 0.42, 0.17), (-0.2, 0, 0.40, 0.17), (0.1, 0, 0.55, 0.15)], (52, 53, 56), 0)
    for side in (-1, 1):
        builder.limb([(0.72, side * 0.09, 0.31, 0.03), (0.50, side * 0.09, 0.92, 0.035)], _STEEL, 0)
        builder.limb([(-0.70, side * 0.1, 0.31, 0.03), (-0.1, side * 0.1, 0.42, 0.035)], (60, 60, 63), 0)
    builder.limb([(0.15, -0.17, 0.28, 0.045), (-0.6, -0.19, 0.36, 0.065)], _STEEL, 1)
    builder.limb([(0.36, 0, 0.84, 0.14), (0.02, 0, 0.80, 0.12)], paint, 1)
    builder.limb([(0.0, 0, 0.80, 0.09), (-0.5, 0, 0.84, 0.085)], (30, 30, 32), 1)
    builder.limb([(-0.3, 0, 0.72, 0.09), (-0.82, 0, 0.83, 0.06)], paint, 0)
    if sport:
        builder.limb([(0.62, 0, 0.85, 0.12), (0.45, 0, 0.95, 0.15), (0.40, 0, 0.55, 0.15)], paint, 1)
        builder.limb([(0.58, 0, 1.05, 0.07), (0.45, 0, 1.15, 0.08)], (85, 95, 105), 1)
    _handlebar(builder, 0.48, 1.02)
    _motor_lights(builder, (0.66, 0.88), (-0.88, 0.78))


def _scooter(builder: MeshBuilder, paint: Colour, rng: np.random.Generator) -> None:
    _fat_wheel(builder, 0.62, 0.24, 0.11)
    _fat_wheel(builder, -0.58, 0.24, 0.13)
    builder.limb([(0.62, 0, 0.34, 0.13), (0.5, 0, 0.5, 0.1)], paint, 1)
    builder.limb(
        [(0.48, side * 0.13, 0.42, 0.07) for side in (-1, 1)] + [(0.42, side * 0.12, 0.92, 0.06) for side in (-1, 1)],
        paint,
        1,
    )
    builder.limb([(0.3, 0, 0.3, 0.09), (-0.2, 0, 0.3, 0.1)], (60, 60, 62), 0)
    builder.limb([(-0.15, 0, 0.5, 0.17), (-0.7, 0, 0.55, 0.15), (-0.45, 0, 0.35, 0.16)], mix(paint, _BLACK, 0.1), 1)
    builder.limb([(-0.05, 0, 0.75, 0.09), (-0.7, 0, 0.78, 0.09)], (35, 34, 34), 1)
    if rng.random() < 0.35:
        builder.part((-0.85, 0, 1.0), 1)
        builder.box((-1.0, -0.19, 0.85), (-0.62, 0.19, 1.18), shade(paint, 0.9))
    _handlebar(builder, 0.4, 1.02)
    _motor_lights(builder, (0.52, 0.95), (-0.86, 0.66))


def _handlebar(builder: MeshBuilder, x: float, z: float) -> None:
    builder.limb([(x, side * 0.34, z, 0.024) for side in (-1, 1)], _BLACK, 1)
    for side in (-1, 1):
        builder.limb([(x, side * 0.3, z, 0.01), (x - 0.02, side * 0.36, z + 0.2, 0.012)], _BLACK, 1)
        builder.limb(
            [(x - 0.02, side * 0.34, z + 0.2, 0.03), (x - 0.02, side * 0.42, z + 0.22, 0.035)], (50, 50, 53), 1
        )


def _motor_lights(builder: MeshBuilder, front: tuple[float, float], rear: tuple[float, float]) -> None:
    builder.limb([(front[0], 0, front[1], 0.085)], (70, 70, 74), 1)
    builder.limb([(front[0] + 0.05, 0, front[1], 0.07)], (225, 225, 215), 1)
    builder.limb([(rear[0], side * 0.06, rear[1], 0.035) for side in (-1, 1)], (195, 28, 25), 1)
    x, z = rear[0] - 0.01, rear[1] - 0.18
    builder.part((x + 0.3, 0, z), 1)
    builder.polygon([(x, -0.1, z - 0.14), (x, 0.1, z - 0.14), (x, 0.1, z), (x, -0.1, z)], (220, 220, 210))
