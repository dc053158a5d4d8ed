"""Traffic lights, stop signs, clocks and fire hydrants of the everyday views; they look ahead along x.

What holds a light, a sign or a clock up is a mesh of its own, as it is no part of the object's mask.
"""

from itertools import pairwise
from math import cos, pi, sin

import numpy as np

from training.data.everyday_solids import Thing, along_x, along_y, block, plate, regular, slab, turned, upright
from training.data.everyday_vessels import vivid
from training.data.street_mesh import LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, mix, shade

_STEEL: Colour = (120.0, 122.0, 124.0)
_LENSES: tuple[Colour, ...] = ((238, 45, 38), (245, 180, 45), (60, 225, 135))


def traffic_light(rng: np.random.Generator) -> Thing:
    """A head of three lenses under visors, on a pole or hanging from an arm; one lens is lit."""
    low = rng.uniform(2.2, 2.9)
    housing: Colour = ((30, 32, 32), (38, 46, 40), (215, 165, 45))[int(rng.choice(3, p=[0.5, 0.2, 0.3]))]
    builder = MeshBuilder()
    half, deep = rng.uniform(0.15, 0.19), 0.12
    if rng.random() < 0.35:
        board = [(half + 0.1, low - 0.1), (half + 0.1, low + 1.0), (-half - 0.1, low + 1.0), (-half - 0.1, low - 0.1)]
        slab(builder, [(-deep - 0.01, y, z) for y, z in board], (0.01, 0, 0), ((24, 24, 25), (24, 24, 25)))
    block(builder, (-deep, -half, low), (deep, half, low + 0.9), housing, 1)
    lit = int(rng.integers(3))
    for index, colour in enumerate(_LENSES):
        _lens(builder, (deep, low + 0.75 - 0.3 * index), half * 0.72, colour, index == lit, housing)
    head = builder.build()
    pole = MeshBuilder()
    if rng.random() < 0.6:
        pole.limb([(-0.05, 0, 0, 0.06), (-0.05, 0, low + 0.1, 0.055)], _STEEL)
    else:
        side, top = (-1 if rng.random() < 0.5 else 1) * rng.uniform(2.0, 3.5), low + 1.0
        pole.limb([(0, side, 0, 0.1), (0, side, top, 0.08)], _STEEL)
        pole.limb([(0, side, top, 0.07), (0, 0, top, 0.05)], _STEEL)
    return Thing(head, pole.build())


def _lens(
    builder: MeshBuilder, place: tuple[float, float], radius: float, colour: Colour, lit: bool, housing: Colour
) -> None:
    x, z = place
    builder.part((x - 1, 0, z), 2)
    plate(builder, regular((0, z), radius * 1.15, 16), x + 0.003, (14, 14, 14))
    plate(builder, regular((0, z), radius, 16), x + 0.005, colour if lit else shade(colour, 0.3), 0 if lit else LIT)
    if lit:
        plate(builder, regular((0, z), radius * 0.5, 12), x + 0.007, mix(colour, (255, 255, 255), 0.5), 0)
    builder.part((x, 0, z + radius), 3)
    turns = np.linspace(0.1 * pi, 0.9 * pi, 8).tolist()
    for a, b in pairwise(turns):
        edge = [(cos(t) * radius * 1.2, z + sin(t) * radius * 1.2) for t in (a, b)]
        (y0, z0), (y1, z1) = edge
        builder.polygon([(x, y0, z0), (x, y1, z1), (x + 0.17, y1, z1), (x + 0.17, y0, z0)], shade(housing, 0.8),
                        LIT | TWO_SIDED)  # fmt: skip


_LETTERS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "S": ((0, 0, 1, 0.18), (0.75, 0.1, 1, 0.55), (0, 0.41, 1, 0.59), (0, 0.5, 0.25, 0.9), (0, 0.82, 1, 1)),
    "T": ((0.37, 0, 0.63, 1), (0, 0.82, 1, 1)),
    "O": ((0, 0, 0.25, 1), (0.75, 0, 1, 1), (0, 0, 1, 0.18), (0, 0.82, 1, 1)),
    "P": ((0, 0, 0.25, 1), (0.75, 0.42, 1, 1), (0, 0.42, 1, 0.58), (0, 0.82, 1, 1)),
}
"""Strokes of the letters as boxes (x0, y0, x1, y1) in a unit square, y up."""


def stop_sign(rng: np.random.Generator) -> Thing:
    """A red octagon with its four letters, grey from behind, on a post."""
    middle, radius = rng.uniform(1.9, 2.3), rng.uniform(0.36, 0.46)
    red = shade((190, 28, 32), rng.uniform(0.8, 1.15))
    builder = MeshBuilder()
    builder.part((-1, 0, middle))
    eight = regular((0, middle), radius, 8, pi / 8)
    plate(builder, eight, 0.03, (236, 234, 230))
    plate(builder, regular((0, middle), radius * 0.93, 8, pi / 8), 0.032, red)
    wide, tall = radius * 0.3, radius * 0.58
    for index, letter in enumerate("STOP"):
        # Whoever reads the sign looks against it: the reader's left is the sign's right.
        left, low = radius * (0.39 * index - 0.75), middle - tall / 2
        for x0, y0, x1, y1 in _LETTERS[letter]:
            a, b, c, d = left + x0 * wide, left + x1 * wide, low + y0 * tall, low + y1 * tall
            plate(builder, [(a, c), (b, c), (b, d), (a, d)], 0.034, (240, 240, 238))
    builder.part((1, 0, middle))
    plate(builder, eight, 0.028, (140, 142, 144))
    sign = builder.build()
    post = MeshBuilder()
    colour = shade(_STEEL, rng.uniform(0.6, 1.2)) if rng.random() < 0.7 else (115, 85, 60)
    post.limb([(0, 0, 0, 0.035), (0, 0, middle + radius * 0.8, 0.035)], colour)
    return Thing(sign, post.build())


def clock(rng: np.random.Generator, kind: str) -> Thing:
    """A clock that hangs on a wall, stands on a table (``alarm``) or on a post in the street."""
    if kind == "alarm":
        return Thing(_alarm_clock(rng))
    radius = rng.uniform(0.18, 0.4) if kind == "wall" else rng.uniform(0.3, 0.42)
    middle = rng.uniform(1.7, 2.1) if kind == "wall" else rng.uniform(2.4, 3.0)
    builder = MeshBuilder()
    frame = vivid(rng) if rng.random() < 0.5 else (34, 34, 36)
    if kind == "wall" and rng.random() < 0.25:
        block(builder, (0.0, -radius, middle - radius), (0.05, radius, middle + radius), frame, 0)
    else:
        thick = 0.05 if kind == "wall" else 0.16
        rings = [(radius, -thick if kind == "post" else 0.0), (radius, thick), (radius * 0.9, thick * 1.1)]
        turned(builder, rings, frame, along_x(0, 0, middle), 28, 0)
    _dial(builder, 0.058 if kind == "wall" else 0.178, middle, radius * 0.9, rng)
    if kind == "wall":
        return Thing(builder.build())
    _dial(builder, -0.178, middle, radius * 0.9, rng)
    post = MeshBuilder()
    post.limb([(0, 0, 0, 0.09), (0, 0, 0.9, 0.08)], (40, 46, 42))
    post.limb([(0, 0, 0.9, 0.055), (0, 0, middle - radius, 0.05)], (40, 46, 42))
    return Thing(builder.build(), post.build())


def _dial(builder: MeshBuilder, x: float, middle: float, radius: float, rng: np.random.Generator) -> None:
    """Face, marks and hands on the side that looks along ``x``'s sign."""
    out = 1.0 if x > 0 else -1.0
    dark = rng.random() < 0.15
    face: Colour = (36, 36, 40) if dark else mix((244, 242, 235), vivid(rng), rng.uniform(0, 0.12))
    ink: Colour = (235, 235, 230) if dark else (28, 28, 30)
    builder.part((x - out, 0, middle), 2)
    plate(builder, regular((0, middle), radius, 32), x, face)
    for hour in range(12):
        length, half = (0.2, 0.035) if hour % 3 == 0 else (0.12, 0.02)
        _hand(builder, x + 0.001 * out, middle, hour * pi / 6 * out, (radius * (0.94 - length), radius * 0.94),
              radius * half, ink)  # fmt: skip
    shorter, longer = rng.uniform(0, 2 * pi), rng.uniform(0, 2 * pi)
    _hand(builder, x + 0.002 * out, middle, shorter, (-radius * 0.12, radius * 0.52), radius * 0.045, ink)
    _hand(builder, x + 0.003 * out, middle, longer, (-radius * 0.15, radius * 0.8), radius * 0.03, ink)
    if rng.random() < 0.5:
        _hand(builder, x + 0.004 * out, middle, rng.uniform(0, 2 * pi), (-radius * 0.2, radius * 0.85), radius * 0.012,
              (195, 40, 40))  # fmt: skip
    plate(builder, regular((0, middle), radius * 0.06, 10), x + 0.005 * out, ink)


def _hand(
    builder: MeshBuilder, x: float, middle: float, turn: float, reach: tuple[float, float], half: float, ink: Colour
) -> None:
    along, across = (sin(turn), cos(turn)), (cos(turn), -sin(turn))
    ends = [(reach[0], -half), (reach[0], half), (reach[1], half * 0.7), (reach[1], -half * 0.7)]
    plate(builder, [(a * along[0] + b * across[0], middle + a * along[1] + b * across[1]) for a, b in ends], x, ink)


def _alarm_clock(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    radius, paint = rng.uniform(0.05, 0.07), vivid(rng)
    middle = radius + 0.022
    for side in (-1, 1):
        foot = (0.0, side * radius * 0.75, 0.008)
        builder.limb([(*foot, 0.008), (0, side * radius * 0.55, middle - radius * 0.7, 0.008)], (60, 60, 62), 0)
        bell = (0.0, side * radius * 0.55, middle + radius * 0.98)
        builder.limb([(*bell, radius * 0.34)], mix(paint, (225, 215, 190), 0.5), 0)
    builder.limb([(0, 0, middle + radius * 0.9, 0.006), (0, 0, middle + radius * 1.35, 0.008)], (70, 70, 72), 0)
    turned(builder, [(radius, -0.025), (radius, 0.025), (radius * 0.9, 0.03)], paint, along_x(0, 0, middle), 26, 1)
    _dial(builder, 0.0305, middle, radius * 0.9, rng)
    return builder.build()


def fire_hydrant(rng: np.random.Generator) -> Mesh:
    """A turned body with a domed bonnet, a nut on top, and a nozzle to each side and ahead."""
    builder = MeshBuilder()
    paints: tuple[Colour, ...] = ((190, 35, 32), (215, 165, 40), (200, 60, 40), (60, 90, 150), (205, 205, 200))
    paint = shade(paints[int(rng.choice(5, p=[0.45, 0.25, 0.12, 0.08, 0.1]))], rng.uniform(0.8, 1.1))
    trim = paint if rng.random() < 0.5 else shade(paints[int(rng.integers(5))], 1.0)
    wide, tall = rng.uniform(0.11, 0.14), rng.uniform(0.62, 0.8)
    dark = shade(paint, 0.8)
    profile = [
        (wide * 1.5, 0.0), (wide * 1.5, 0.05), (wide, 0.055), (wide, tall * 0.68), (wide * 1.3, tall * 0.69),
        (wide * 1.3, tall * 0.74), (wide * 1.08, tall * 0.75), (wide * 0.95, tall * 0.86), (wide * 0.5, tall * 0.94),
        (wide * 0.22, tall * 0.95), (wide * 0.2, tall * 1.02),
    ]  # fmt: skip
    bands = [dark, dark, paint, dark, dark, dark, trim, trim, trim, dark]
    turned(builder, profile, bands, upright(0, 0, 0), 18)
    for index in range(10):
        turn = 2 * pi * index / 10
        builder.limb([(wide * 1.18 * cos(turn), wide * 1.18 * sin(turn), tall * 0.76, 0.018)], shade(dark, 0.8), 1)
    nozzle = [(wide * 0.62, 0.0), (wide * 0.62, wide * 1.35), (wide * 0.75, wide * 1.36), (wide * 0.75, wide * 1.7)]
    cap = [shade(trim, 0.9), trim, shade(trim, 0.95)]
    for side in (-1, 1):
        turned(builder, [(r, side * a) for r, a in nozzle], cap, along_y(0, 0, tall * 0.55), 14, 1, 1.0)
        nut = [(0, side * wide * out, tall * 0.55, wide * 0.2) for out in (1.7, 1.85)]
        builder.limb(nut, dark, 2)
    turned(builder, [(r * 1.25, a) for r, a in nozzle], cap, along_x(0, 0, tall * 0.42), 16, 2)
    return builder.build()
