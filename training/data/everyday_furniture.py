"""Benches, chairs, suitcases and umbrellas of the everyday views."""

from itertools import pairwise
from math import cos, pi, sin

import numpy as np

from training.data.everyday_solids import Thing, arc, block, grounded, slab, tilted, turned, upright
from training.data.everyday_vessels import vivid
from training.data.street_mesh import LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, Point, mix, shade

_IRON: Colour = (48.0, 50.0, 52.0)
_WOODS: tuple[Colour, ...] = ((140, 98, 62), (105, 70, 44), (170, 128, 84), (125, 110, 95), (80, 56, 40))


def wood(rng: np.random.Generator) -> Colour:
    """A colour of timber."""
    return shade(_WOODS[int(rng.integers(len(_WOODS)))], rng.uniform(0.85, 1.15))


def bench(rng: np.random.Generator) -> Mesh:
    """A park bench along y whose sitters look ahead: slats on iron or concrete legs, most with a back."""
    builder = MeshBuilder()
    half, timber = rng.uniform(0.7, 1.0), wood(rng) if rng.random() < 0.8 else vivid(rng)
    stone = rng.random() < 0.25
    for y in (-half * 0.8, half * 0.8):
        if stone:
            block(builder, (-0.2, y - 0.06, 0.0), (0.22, y + 0.06, 0.42), (160, 158, 152), 0)
        else:
            builder.limb([(0.2, y, 0.0, 0.025), (0.18, y, 0.42, 0.025)], _IRON, 0)
            builder.limb([(-0.26, y, 0.0, 0.025), (-0.2, y, 0.42, 0.025)], _IRON, 0)
            builder.limb([(0.2, y, 0.40, 0.022), (-0.22, y, 0.40, 0.022)], _IRON, 0)
    slats = int(rng.integers(3, 6))
    step = 0.46 / slats
    for index in range(slats):
        x = -0.23 + index * step
        block(builder, (x, -half, 0.43), (x + step * 0.8, half, 0.465), shade(timber, rng.uniform(0.9, 1.1)), 1)
    if rng.random() < 0.85:
        rows = int(rng.integers(2, 5))
        for y in (-half * 0.8, half * 0.8):
            builder.limb([(-0.22, y, 0.42, 0.022), (-0.32, y, 0.9, 0.02)], _IRON, 1)
            if rng.random() < 0.6:
                builder.limb([(-0.28, y, 0.66, 0.02), (0.2, y, 0.66, 0.02)], _IRON, 2)
                builder.limb([(0.2, y, 0.66, 0.02), (0.19, y, 0.43, 0.02)], _IRON, 2)
        for index in range(rows):
            z = 0.54 + 0.36 * index / rows
            x = -0.22 - 0.1 * (z - 0.42) / 0.48
            _rail(builder, x, (-half, half), (z, z + 0.36 / rows * 0.75), timber)
    return builder.build()


def _rail(
    builder: MeshBuilder, x: float, ys: tuple[float, float], zs: tuple[float, float], colour: Colour, layer: int = 1
) -> None:
    block(builder, (x - 0.015, ys[0], zs[0]), (x + 0.015, ys[1], zs[1]), colour, layer)


def chair(rng: np.random.Generator) -> Mesh:
    """A wooden or plastic chair on four legs, an office chair on its star, or an armchair; its sitter looks ahead."""
    return (_plain_chair, _office_chair, _armchair)[int(rng.choice(3, p=[0.55, 0.2, 0.25]))](rng)


def _plain_chair(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    paint = wood(rng) if rng.random() < 0.65 else vivid(rng)
    leg = paint if rng.random() < 0.6 else _IRON
    half, seat, top = rng.uniform(0.19, 0.23), rng.uniform(0.42, 0.47), rng.uniform(0.85, 1.05)
    splay = rng.uniform(0.0, 0.05)
    for x, y in ((half, half), (half, -half), (-half, half), (-half, -half)):
        foot = (x + (splay if x > 0 else -splay), y * 1.1)
        builder.limb([(*foot, 0.0, 0.018), (x * 0.9, y * 0.9, seat, 0.02)], leg, 0)
    if rng.random() < 0.5:
        for y in (-half, half):
            builder.limb([(half, y, 0.2, 0.012), (-half, y, 0.2, 0.012)], shade(leg, 0.9), 0)
    block(builder, (-half - 0.01, -half - 0.02, seat), (half + 0.02, half + 0.02, seat + 0.035), paint, 1)
    if rng.random() < 0.35:
        cushion = vivid(rng)
        block(builder, (-half + 0.02, -half, seat + 0.035), (half, half, seat + 0.075), cushion, 2)
    _chair_back(builder, (-half, half * 0.92, seat, top), paint, int(rng.integers(3)))
    return builder.build()


def _chair_back(builder: MeshBuilder, size: tuple[float, float, float, float], paint: Colour, kind: int) -> None:
    """Upright staves, level rails or one panel between two posts."""
    x, half, seat, top = size
    for y in (-half, half):
        builder.limb([(x, y, seat, 0.018), (x - 0.06, y, top, 0.016)], paint, 2)
    if kind == 0:
        for y in np.linspace(-half, half, 6)[1:-1].tolist():
            builder.limb([(x, y, seat, 0.009), (x - 0.055, y, top - 0.03, 0.009)], paint, 2)
        _rail(builder, x - 0.055, (-half - 0.02, half + 0.02), (top - 0.07, top + 0.02), paint, 3)
    elif kind == 1:
        for share in (0.3, 0.6, 0.92):
            z = seat + (top - seat) * share
            _rail(builder, x - 0.06 * share, (-half, half), (z - 0.035, z + 0.03), paint, 3)
    else:
        _rail(builder, x - 0.035, (-half, half), (seat + (top - seat) * 0.35, top), shade(paint, 1.05), 3)


def _office_chair(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    cloth = vivid(rng) if rng.random() < 0.6 else (40, 42, 46)
    for turn in np.linspace(0.3, 0.3 + 2 * pi, 6)[:-1].tolist():
        tip = (0.3 * cos(turn), 0.3 * sin(turn))
        builder.limb([(0, 0, 0.12, 0.03), (*tip, 0.07, 0.022)], (36, 36, 38), 0)
        builder.limb([(*tip, 0.03, 0.03)], (24, 24, 26), 0)
    builder.limb([(0, 0, 0.1, 0.03), (0, 0, 0.44, 0.025)], (70, 72, 75), 0)
    builder.limb([(x, y, 0.48, 0.05) for x in (-0.2, 0.2) for y in (-0.2, 0.2)], cloth, 1)
    for side in (-1, 1):
        builder.limb([(-0.1, side * 0.27, 0.5, 0.02), (0.05, side * 0.28, 0.68, 0.02)], (36, 36, 38), 1)
        builder.limb([(-0.12, side * 0.28, 0.7, 0.028), (0.14, side * 0.28, 0.7, 0.028)], (36, 36, 38), 2)
    builder.limb([(-0.22, 0, 0.46, 0.025), (-0.27, 0, 0.75, 0.025)], (60, 62, 65), 1)
    top = rng.uniform(0.95, 1.2)
    builder.limb([(-0.25, y, 0.65, 0.04) for y in (-0.17, 0.17)] + [(-0.31, y, top, 0.04) for y in (-0.15, 0.15)],
                 shade(cloth, 1.05), 2)  # fmt: skip
    return builder.build()


def _armchair(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    cloth, feet = vivid(rng), wood(rng)
    for x in (-0.3, 0.3):
        for y in (-0.33, 0.33):
            builder.limb([(x, y, 0.0, 0.022), (x, y, 0.16, 0.028)], feet, 0)
    block(builder, (-0.36, -0.38, 0.14), (0.36, 0.38, 0.34), shade(cloth, 0.9), 1)
    builder.limb([(x, y, 0.40, 0.07) for x in (-0.2, 0.3) for y in (-0.24, 0.24)], shade(cloth, 1.05), 2)
    top = rng.uniform(0.8, 1.0)
    back = [(-0.3, y, 0.35, 0.09) for y in (-0.3, 0.3)] + [(-0.42, y, top, 0.08) for y in (-0.28, 0.28)]
    builder.limb(back, cloth, 2)
    for side in (-1, 1):
        arm = [(x, side * 0.38, z, 0.08) for x, z in ((-0.3, 0.28), (0.32, 0.28), (-0.3, 0.55), (0.3, 0.52))]
        builder.limb(arm, shade(cloth, 0.97), 2)
    return builder.build()


def suitcase(rng: np.random.Generator) -> Mesh:
    """A hard shell with ribs on wheels, or an old case with straps; its broad sides look ahead and back."""
    return (_shell_case if rng.random() < 0.65 else _old_case)(rng)


def _rounded(half: float, low: float, high: float, bend: float) -> list[tuple[float, float]]:
    corners = ((half - bend, high - bend, 0.0), (-half + bend, high - bend, pi / 2), (-half + bend, low + bend, pi),
               (half - bend, low + bend, 1.5 * pi))  # fmt: skip
    return [point for y, z, start in corners for point in arc((y, z), bend, (start, start + pi / 2), 5)]


def _shell_case(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    paint = vivid(rng)
    half, tall, deep = rng.uniform(0.18, 0.25), rng.uniform(0.5, 0.7), rng.uniform(0.1, 0.14)
    for y in (-half * 0.75, half * 0.75):
        for x in (-deep * 0.6, deep * 0.6):
            builder.limb([(x, y, 0.025, 0.025), (x, y, 0.06, 0.02)], (30, 30, 32), 0)
    reach = tall + rng.uniform(0.08, 0.42)
    for y in (-half * 0.4, half * 0.4):
        builder.limb([(-deep * 0.7, y, tall, 0.008), (-deep * 0.7, y, reach, 0.008)], (160, 162, 165), 0)
    builder.limb([(-deep * 0.7, y, reach, 0.016) for y in (-half * 0.45, half * 0.45)], (36, 36, 38), 0)
    outline = _rounded(half, 0.05, tall, 0.06)
    slab(builder, [(-deep, y, z) for y, z in outline], (2 * deep, 0, 0), (paint, shade(paint, 0.9)), 1)
    for out in (-1, 1):
        builder.part((0, 0, tall / 2), 2)
        for y in np.linspace(-half * 0.75, half * 0.75, int(rng.integers(5, 9))).tolist():
            groove = [(y - 0.008, 0.12), (y + 0.008, 0.12), (y + 0.008, tall - 0.07), (y - 0.008, tall - 0.07)]
            builder.polygon([(out * (deep + 0.002), a, b) for a, b in groove], shade(paint, 0.65))
    builder.part((0, 0, tall / 2), 2)
    for side in (-1, 1):
        y = side * (half + 0.001)
        builder.polygon([(-0.008, y, 0.1), (0.008, y, 0.1), (0.008, y, tall - 0.05), (-0.008, y, tall - 0.05)],
                        (50, 50, 52))  # fmt: skip
    builder.limb([(0, y, tall + 0.02, 0.014) for y in (-half * 0.3, half * 0.3)], (36, 36, 38), 2)
    return builder.build()


def _old_case(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    hide = mix(wood(rng), vivid(rng), rng.choice([0.0, 0.6]))
    half, tall, deep = rng.uniform(0.28, 0.36), rng.uniform(0.38, 0.48), rng.uniform(0.08, 0.11)
    outline = _rounded(half, 0.0, tall, 0.035)
    slab(builder, [(-deep, y, z) for y, z in outline], (2 * deep, 0, 0), (hide, shade(hide, 0.85)), 1)
    trim = mix(hide, (50, 32, 22), 0.6)
    builder.part((0, 0, tall / 2), 2)
    for out in (-1, 1):
        x = out * (deep + 0.002)
        for y in (-half * 0.55, half * 0.55):
            builder.polygon([(x, y - 0.02, 0), (x, y + 0.02, 0), (x, y + 0.02, tall), (x, y - 0.02, tall)], trim)
            builder.polygon([(x * 1.01, y - 0.025, tall * 0.62), (x * 1.01, y + 0.025, tall * 0.62),
                             (x * 1.01, y + 0.025, tall * 0.72), (x * 1.01, y - 0.025, tall * 0.72)],
                            (200, 175, 105))  # fmt: skip
        for side in (-1, 1):
            for z in (0.0, tall - 0.07):
                corner = [(side * half, z), (side * (half - 0.08), z), (side * (half - 0.08), z + 0.07),
                          (side * half, z + 0.07)]  # fmt: skip
                builder.polygon([(x, a, b) for a, b in corner], trim)
    for y in (-half * 0.55, half * 0.55):
        builder.polygon([(-deep, y - 0.02, tall + 0.002), (deep, y - 0.02, tall + 0.002),
                         (deep, y + 0.02, tall + 0.002), (-deep, y + 0.02, tall + 0.002)], trim)  # fmt: skip
    for a, b in ((0.0, 0.35), (0.35, 0.65), (0.65, 1.0)):
        ends = [(0.0, 0.09 * cos(pi * t), tall + 0.05 * sin(pi * t), 0.011) for t in (a, b)]
        builder.limb(ends, shade(trim, 0.8), 2)
    return builder.build()


def umbrella(rng: np.random.Generator) -> Thing:
    """An open umbrella: a parasol on its foot, or one with a hooked handle that lies on the ground."""
    parasol = rng.random() < 0.5
    reach, crest = (rng.uniform(0.9, 1.3), rng.uniform(2.0, 2.4)) if parasol else (rng.uniform(0.5, 0.62), 0.85)
    builder = MeshBuilder()
    paint = vivid(rng)
    second = vivid(rng) if rng.random() < (0.75 if parasol else 0.35) else paint
    thick, low = (0.022, 0.0) if parasol else (0.009, 0.06)
    builder.limb([(0, 0, low, thick), (0, 0, crest + 0.04, thick)], (90, 70, 52) if parasol else _IRON, 1)
    _canopy(builder, reach, crest, reach * rng.uniform(0.42, 0.55), (paint, second))
    if parasol:
        stand = MeshBuilder()
        turned(stand, [(0.24, 0.0), (0.24, 0.05), (0.05, 0.09), (0.04, 0.3)], (120, 120, 118), upright(0, 0, 0), 16)
        lean = rng.normal(0, 0.12)
        return Thing(tilted(builder.build(), lean, rng.normal(0, 0.08)), stand.build())
    hook = [(0.035 - 0.035 * cos(t), 0.0, 0.06 - 0.04 * sin(t), 0.011) for t in np.linspace(0, pi, 6).tolist()]
    for start, end in pairwise(hook):
        builder.limb([start, end], wood(rng), 1)
    lying = rng.random() < 0.75
    pitch = rng.uniform(1.15, 1.5) if lying else rng.uniform(-0.3, 0.3)
    return Thing(grounded(tilted(builder.build(), pitch, rng.uniform(-0.5, 0.5), crest / 2)))


def _canopy(builder: MeshBuilder, reach: float, crest: float, fall: float, paints: tuple[Colour, Colour]) -> None:
    """Eight panels that arch outwards, seen from above and, darker, from below; their rims hang in scallops."""

    def at(turn: float, share: float) -> Point:
        return reach * share * cos(turn), reach * share * sin(turn), crest - fall * share**1.8

    rims = [2 * pi * index / 8 for index in range(9)]
    for below in (True, False):
        builder.part((0, 0, crest + 5 if below else crest - 5), 0 if below else 2)
        for panel, (left, right) in enumerate(pairwise(rims)):
            colour = shade(paints[panel % 2], 0.62 if below else 1.0)
            for inner, outer in ((0.0, 0.35), (0.35, 0.7), (0.7, 1.0)):
                corners = [at(left, inner), at(left, outer), at(right, outer), at(right, inner)]
                if outer == 1.0:
                    x, y, z = at((left + right) / 2, 0.94)
                    corners.insert(2, (x, y, z))
                if inner == 0.0:
                    corners = corners[:3]
                builder.polygon(corners, shade(colour, 1.0 + 0.06 * (inner > 0.3)))
            if not below:
                edge = [at(left, 0.0), at(left - 0.012, 0.98), at(left + 0.012, 0.98)]
                builder.polygon(edge, shade(colour, 0.75), LIT | TWO_SIDED)
