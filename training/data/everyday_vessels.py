"""Bottles, cups and potted plants of the everyday views: what stands on tables and floors."""

from collections.abc import Callable
from itertools import pairwise
from math import cos, pi, sin

import numpy as np

from training.data.everyday_solids import Profile, slab, turned, upright
from training.data.street_mesh import LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, Point, mix, shade

VIVID: tuple[Colour, ...] = (
    (200, 40, 40), (225, 110, 35), (235, 190, 50), (60, 140, 70), (40, 120, 170), (35, 60, 130), (120, 60, 140),
    (220, 120, 150), (240, 238, 232), (35, 35, 38), (90, 180, 190), (150, 190, 70), (130, 85, 55),
)  # fmt: skip
"""Colours that things made to be sold come in."""


def vivid(rng: np.random.Generator) -> Colour:
    """One of them, a little off."""
    return shade(VIVID[int(rng.integers(len(VIVID)))], rng.uniform(0.8, 1.12))


_WINE: Profile = ((0.037, 0.0), (0.039, 0.01), (0.039, 0.19), (0.03, 0.215), (0.016, 0.24), (0.014, 0.30))
_BEER: Profile = ((0.031, 0.0), (0.032, 0.01), (0.032, 0.13), (0.024, 0.165), (0.014, 0.19), (0.013, 0.23))
_WATER: Profile = (
    (0.029, 0.0), (0.034, 0.012), (0.034, 0.06), (0.031, 0.075), (0.034, 0.09), (0.034, 0.165), (0.022, 0.20),
    (0.014, 0.212), (0.014, 0.225),
)  # fmt: skip
_SAUCE: Profile = ((0.03, 0.0), (0.033, 0.02), (0.027, 0.07), (0.033, 0.13), (0.024, 0.16), (0.018, 0.175))
_MILK: Profile = ((0.044, 0.0), (0.046, 0.01), (0.046, 0.12), (0.03, 0.17), (0.022, 0.19), (0.022, 0.21))
_GLASS: tuple[Colour, ...] = ((45, 75, 48), (70, 45, 25), (32, 42, 36), (95, 120, 70), (110, 70, 35))
_PLASTIC: tuple[Colour, ...] = ((165, 195, 210), (190, 205, 210), (120, 175, 205), (150, 200, 170), (60, 30, 25))


def bottle(rng: np.random.Generator) -> Mesh:
    """A bottle of wine, beer, water, sauce or milk, some with a label and most with a cap."""
    builder = MeshBuilder()
    kind = int(rng.choice(5, p=[0.28, 0.22, 0.28, 0.12, 0.1]))
    profile = (_WINE, _BEER, _WATER, _SAUCE, _MILK)[kind]
    tints = (_GLASS, _GLASS, _PLASTIC, VIVID, ((235, 235, 230),))[kind]
    glass = shade(tints[int(rng.integers(len(tints)))], rng.uniform(0.85, 1.15))
    tall, wide = rng.uniform(0.92, 1.1), rng.uniform(0.92, 1.12)
    shape = [(radius * wide, height * tall) for radius, height in profile]
    turned(builder, shape, glass, upright(0, 0, 0), 20)
    if kind < 3:
        _gleam(builder, shape, glass)
    widest = shape[2][0] if kind < 2 else max(radius for radius, _ in shape)
    low, high = (0.05, 0.13) if kind in (0, 4) else (0.035, 0.1) if kind == 1 else (0.09, 0.155)
    if kind != 3 and rng.random() < 0.85:
        _label(builder, widest + 0.0006, (low * tall, high * tall), rng)
    elif kind == 3:
        _label(builder, shape[2][0] + 0.003, (0.06 * tall, 0.08 * tall), rng)
    top, neck = shape[-1][1], shape[-1][0]
    cap = vivid(rng)
    if kind == 0:
        turned(builder, [(neck * 1.08, top - 0.06), (neck * 1.08, top + 0.003)], cap, upright(0, 0, 0), 16, 2)
    elif kind == 3:
        turned(builder, [(neck, top), (neck * 0.8, top + 0.02), (0.004, top + 0.045)], cap, upright(0, 0, 0), 14, 2)
    else:
        turned(builder, [(neck * 1.15, top - 0.004), (neck * 1.15, top + 0.016)], cap, upright(0, 0, 0), 16, 2)
    return builder.build()


def _gleam(builder: MeshBuilder, shape: Profile, glass: Colour) -> None:
    """Light that the glass throws back, on two opposite sides each brighter than the last."""
    bright = mix(glass, (255, 255, 255), 0.45)
    for turn in (0.4, 2.5, 4.4):
        builder.part((0, 0, shape[2][1] / 2), 1)
        for (r0, z0), (r1, z1) in pairwise(shape):
            a, b = turn, turn + 0.32
            builder.polygon(
                [(r * 1.004 * cos(t), r * 1.004 * sin(t), z) for r, z, t in
                 ((r0, z0, a), (r0, z0, b), (r1, z1, b), (r1, z1, a))], bright,
            )  # fmt: skip


def _label(builder: MeshBuilder, radius: float, zs: tuple[float, float], rng: np.random.Generator) -> None:
    ground, ink = mix(vivid(rng), (240, 236, 225), rng.choice([0.0, 0.8])), vivid(rng)
    low, high = zs
    step = (high - low) / 10
    edges = [low, low + step, low + 2 * step, high - 3 * step, high - 2 * step, high]
    bands = [ink, ground, ground, ink, ground] if rng.random() < 0.6 else [ground, ground, ink, ground, ground]
    turned(builder, [(radius, z) for z in edges], bands, upright(0, 0, 0), 20, 1)


def cup(rng: np.random.Generator) -> Mesh:
    """A mug, a tea cup on its saucer, or a paper cup with a lid."""
    return (_mug, _tea_cup, _paper_cup)[int(rng.choice(3, p=[0.5, 0.25, 0.25]))](rng)


def _mug(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    paint, wide, tall = vivid(rng), rng.uniform(0.036, 0.046), rng.uniform(0.085, 0.11)
    second = vivid(rng) if rng.random() < 0.5 else paint
    _handle(builder, wide, (tall * 0.2, tall * 0.82), 0.006, paint)
    _inside(builder, [(wide * 0.93, tall * 0.7), (wide * 0.95, tall)], paint, rng)
    edges = [0.0, 0.08, 0.35, 0.6, 1.0]
    turned(builder, [(wide * (0.94 if e == 0 else 1.0), e * tall) for e in edges], [paint, second, second, paint],
           upright(0, 0, 0), 22, 1)  # fmt: skip
    _rim(builder, wide, tall, paint)
    return builder.build()


def _tea_cup(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    paint, trim = mix(vivid(rng), (244, 242, 236), 0.75), vivid(rng)
    saucer = [(0.03, 0.0), (0.05, 0.004), (0.075, 0.014), (0.078, 0.016)]
    turned(builder, saucer, [paint, paint, trim], upright(0, 0, 0), 22, 0)
    builder.part((0, 0, -0.01), 1)
    for radius, z, colour in ((0.077, 0.0165, trim), (0.072, 0.0166, paint), (0.035, 0.0167, shade(paint, 0.85))):
        builder.polygon([(radius * cos(t), radius * sin(t), z) for t in np.linspace(0, 2 * pi, 23)[:-1]], colour)
    _handle(builder, 0.042, (0.03, 0.062), 0.004, paint, 2)
    profile = [(0.024, 0.016), (0.034, 0.028), (0.042, 0.05), (0.046, 0.07)]
    _inside(builder, [(0.04, 0.055), (0.045, 0.07)], paint, rng, 2)
    turned(builder, profile, [paint, paint, trim], upright(0, 0, 0), 22, 3)
    _rim(builder, 0.046, 0.07, trim)
    return builder.build()


def _paper_cup(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    tall, paint, sleeve = rng.uniform(0.1, 0.14), mix(vivid(rng), (235, 230, 220), 0.6), vivid(rng)
    profile = [(0.028, 0.0), (0.031, tall * 0.25), (0.036, tall * 0.7), (0.04, tall)]
    turned(builder, profile, [paint, sleeve, paint], upright(0, 0, 0), 20, 0)
    lid: Colour = (238, 238, 236) if rng.random() < 0.5 else (38, 36, 36)
    turned(builder, [(0.043, tall), (0.043, tall + 0.006), (0.037, tall + 0.007), (0.035, tall + 0.018)], lid,
           upright(0, 0, 0), 20, 1)  # fmt: skip
    return builder.build()


def _handle(
    builder: MeshBuilder, wide: float, zs: tuple[float, float], thick: float, colour: Colour, layer: int = 0
) -> None:
    middle, reach = (zs[0] + zs[1]) / 2, (zs[1] - zs[0]) / 2
    turns = np.linspace(-pi / 2, pi / 2, 10).tolist()
    outer = [(wide * 0.96 + (reach * 0.85 + thick) * cos(t), -thick, middle + (reach + thick) * sin(t)) for t in turns]
    inner = [(wide * 0.96 + (reach * 0.85 - thick) * cos(t), -thick, middle + (reach - thick) * sin(t)) for t in turns]
    slab(builder, [*outer, *inner[::-1]], (0, 2 * thick, 0), (colour, shade(colour, 0.85)), layer)


def _inside(builder: MeshBuilder, wall: Profile, paint: Colour, rng: np.random.Generator, layer: int = 0) -> None:
    """The inner wall seen from above, and what is in the cup."""
    (r0, z0), (r1, z1) = wall
    drink: Colour = ((70, 42, 25), (150, 105, 70), (170, 90, 35), (235, 235, 228))[int(rng.integers(4))]
    builder.part((0, 0, z0 - 1), layer)
    turns = np.linspace(0, 2 * pi, 21).tolist()
    for a, b in pairwise(turns):
        corners = [(r * cos(t), r * sin(t), z) for r, z, t in ((r0, z0, a), (r0, z0, b), (r1, z1, b), (r1, z1, a))]
        builder.polygon(corners, shade(paint, 0.7), LIT | TWO_SIDED)
    builder.polygon([(r0 * cos(t), r0 * sin(t), z0) for t in turns[:-1]], drink)


def _rim(builder: MeshBuilder, radius: float, z: float, paint: Colour) -> None:
    builder.part((0, 0, z - 1), 4)
    turns = np.linspace(0, 2 * pi, 21).tolist()
    inner = radius * 0.94
    for a, b in pairwise(turns):
        corners = [(r * cos(t), r * sin(t), z) for r, t in ((inner, a), (inner, b), (radius, b), (radius, a))]
        builder.polygon(corners, shade(paint, 1.12))


def potted_plant(rng: np.random.Generator) -> Mesh:
    """A pot with a bush, blades, fronds, a cactus or flowers in it."""
    builder = MeshBuilder()
    wide, tall = rng.uniform(0.11, 0.18), rng.uniform(0.18, 0.32)
    clay: Colour = (175, 95, 65) if rng.random() < 0.5 else vivid(rng)
    band = shade(clay, 1.1)
    profile = [(wide * 0.68, 0.0), (wide * 0.92, tall * 0.8), (wide * 1.04, tall * 0.81), (wide * 1.04, tall)]
    turned(builder, profile, [clay, band, band], upright(0, 0, 0), 20, 0)
    builder.part((0, 0, -1.0), 1)
    soil = [(wide * 0.94 * cos(t), wide * 0.94 * sin(t), tall + 0.001) for t in np.linspace(0, 2 * pi, 21)[:-1]]
    builder.polygon(soil, (62, 45, 34))
    green = rng.uniform(85, 130)
    leaf: Colour = (green * rng.uniform(0.45, 0.85), green, green * rng.uniform(0.35, 0.6))
    growths: tuple[Callable[[MeshBuilder, float, float, Colour, np.random.Generator], None], ...]
    growths = (_bush, _blades, _fronds, _cactus, _flowers)
    growths[int(rng.choice(5, p=[0.25, 0.22, 0.25, 0.13, 0.15]))](builder, wide, tall, leaf, rng)
    return builder.build()


def _leaf(builder: MeshBuilder, root: Point, tip: Point, wide: float, colour: Colour) -> None:
    """A pointed leaf from root to tip, lying as flat as its way allows, with a paler rib."""
    way = np.subtract(tip, root)
    across = np.cross(way, (0.0, 0.0, 1.0)) + np.array([1e-4, 0, 0])
    across = across / np.linalg.norm(across) * wide
    start, side = np.array(root), [0.35 * way + across, 0.75 * way + 0.7 * across]
    other = [0.75 * way - 0.7 * across, 0.35 * way - across]
    sag = np.array([0, 0, 0.12 * wide])
    points = [start, *(start + step - sag for step in side), np.array(tip), *(start + step - sag for step in other)]
    builder.part(_point((start + np.array(tip)) / 2), 2)
    builder.polygon([_point(point) for point in points], colour, LIT | TWO_SIDED)
    rib = [start, start + 0.5 * way + 0.06 * across, np.array(tip), start + 0.5 * way - 0.06 * across]
    builder.polygon([_point(point) for point in rib], shade(colour, 1.3), LIT | TWO_SIDED)


def _point(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Point:
    x, y, z = values.tolist()
    return x, y, z


def _bush(builder: MeshBuilder, wide: float, tall: float, leaf: Colour, rng: np.random.Generator) -> None:
    reach, middle = wide * rng.uniform(1.2, 1.8), tall + wide * rng.uniform(1.2, 2.2)
    builder.limb([(0, 0, tall, 0.015), (0, 0, middle, 0.012)], (95, 72, 50), 1)
    for _ in range(int(rng.integers(45, 80))):
        turn, rise = rng.uniform(0, 2 * pi), rng.uniform(-0.7, 1.4)
        out = np.array([cos(turn) * cos(rise), sin(turn) * cos(rise), sin(rise) * 1.15]) * reach
        root = np.array([0, 0, middle]) + out * rng.uniform(0.25, 0.7)
        tip = root + out * rng.uniform(0.3, 0.55) + np.array([0, 0, -0.02])
        _leaf(builder, _point(root), _point(tip), reach * 0.13, shade(leaf, rng.uniform(0.65, 1.2)))


def _blades(builder: MeshBuilder, wide: float, tall: float, leaf: Colour, rng: np.random.Generator) -> None:
    edge = mix(leaf, (225, 215, 120), 0.6)
    for _ in range(int(rng.integers(8, 15))):
        turn, out, high = rng.uniform(0, 2 * pi), rng.uniform(0.1, 0.6) * wide, rng.uniform(0.3, 0.75)
        x, y = out * cos(turn), out * sin(turn)
        thick = 0.022 + 0.012 * rng.random()
        lean = 1 + high * rng.uniform(0.3, 1.2)
        for half, colour in ((thick, edge), (thick * 0.65, shade(leaf, rng.uniform(0.7, 1.1)))):
            u, v = -sin(turn) * half, cos(turn) * half
            outline = [(x - u, y - v, tall), (x + u, y + v, tall),
                       (x * lean + u, y * lean + v, tall + high * 0.6), (x * lean * 1.2, y * lean * 1.2, tall + high),
                       (x * lean - u, y * lean - v, tall + high * 0.6)]  # fmt: skip
            builder.part((x, y, tall + high / 2 - (0.001 if half == thick else 0)), 2)
            builder.polygon(outline, colour, LIT | TWO_SIDED)


def _fronds(builder: MeshBuilder, wide: float, tall: float, leaf: Colour, rng: np.random.Generator) -> None:
    stem = tall + rng.uniform(0.02, 0.4)
    builder.limb([(0, 0, tall, 0.025), (0, 0, stem, 0.018)], (105, 82, 55), 1)
    for turn in np.linspace(0, 2 * pi, int(rng.integers(8, 13)))[:-1].tolist():
        around, length, rise = turn + rng.normal(0, 0.15), rng.uniform(0.3, 0.5), rng.uniform(0.5, 1.3)
        colour = shade(leaf, rng.uniform(0.75, 1.15))
        for share in np.linspace(0.25, 1.0, 6).tolist():
            out, up = length * share, length * (rise * share - 0.9 * share * share)
            x, y, z = out * cos(around), out * sin(around), stem + up
            builder.limb([(x * 0.75, y * 0.75, stem + up * 0.8, 0.004), (x, y, z, 0.004)], colour, 2)
            for side in (-1, 1):
                tip = (x * 1.15 - side * sin(around) * 0.11, y * 1.15 + side * cos(around) * 0.11, z - 0.035)
                _leaf(builder, (x, y, z), tip, 0.014, colour)


def _cactus(builder: MeshBuilder, wide: float, tall: float, leaf: Colour, rng: np.random.Generator) -> None:
    thick, high = wide * rng.uniform(0.4, 0.6), rng.uniform(0.25, 0.55)
    profile = [(thick * 0.85, tall), (thick, tall + high * 0.5), (thick * 0.9, tall + high * 0.85),
               (thick * 0.55, tall + high * 0.97), (0.0, tall + high)]  # fmt: skip
    turned(builder, profile, leaf, upright(0, 0, 0), 16, 2)
    for turn in np.linspace(0, 2 * pi, 9)[:-1].tolist():
        builder.part((0, 0, tall + high / 2), 3)
        ridge = [(thick * 1.02 * cos(t), thick * 1.02 * sin(t)) for t in (turn, turn + 0.12)]
        (x0, y0), (x1, y1) = ridge
        builder.polygon([(x0, y0, tall), (x1, y1, tall), (x1, y1, tall + high * 0.8), (x0, y0, tall + high * 0.8)],
                        shade(leaf, 1.4))  # fmt: skip
    for side in (-1, 1):
        if rng.random() < 0.7:
            z = tall + high * rng.uniform(0.35, 0.55)
            elbow = (0.0, side * thick * 2.1, z)
            builder.limb([(0, side * thick * 0.8, z, thick * 0.42), (*elbow, thick * 0.42)], shade(leaf, 0.9), 2)
            builder.limb([(*elbow, thick * 0.42), (0, elbow[1], z + high * 0.35, thick * 0.36)], leaf, 2)


def _flowers(builder: MeshBuilder, wide: float, tall: float, leaf: Colour, rng: np.random.Generator) -> None:
    petal, heart = vivid(rng), (235.0, 195.0, 60.0)
    for _ in range(int(rng.integers(22, 34))):
        turn, rise = rng.uniform(0, 2 * pi), rng.uniform(0.2, 1.2)
        root = (wide * 0.3 * cos(turn), wide * 0.3 * sin(turn), tall)
        out = wide * rng.uniform(0.8, 1.5)
        tip = (out * cos(turn), out * sin(turn), tall + out * rise * 0.8)
        _leaf(builder, root, tip, 0.025, shade(leaf, rng.uniform(0.7, 1.15)))
    for _ in range(int(rng.integers(6, 13))):
        turn, out = rng.uniform(0, 2 * pi), wide * rng.uniform(0.1, 1.1)
        x, y, z = out * cos(turn), out * sin(turn), tall + rng.uniform(0.1, 0.3)
        builder.limb([(x * 0.3, y * 0.3, tall, 0.005), (x, y, z, 0.005)], shade(leaf, 0.8), 2)
        size = rng.uniform(0.03, 0.045)
        petals = [(x + size * cos(t), y + size * sin(t), z + 0.3 * size * sin(t + turn), size * 0.55)
                  for t in np.linspace(0, 2 * pi, 6)[:-1].tolist()]  # fmt: skip
        builder.part((x, y, z), 3)
        for round_petal in petals:
            builder.blob([round_petal], petal)
        builder.blob([(x, y, z + size * 0.5, size * 0.5)], heart)
