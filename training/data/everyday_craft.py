"""Airplanes, boats and kites of the everyday views."""

from itertools import pairwise
from math import cos, pi, sin

import numpy as np

from training.data.everyday_solids import Thing, along_x, ribbon, slab, tilted, turned
from training.data.everyday_vessels import vivid
from training.data.street_mesh import LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, Point, mix, shade

_WINDOW: Colour = (42.0, 48.0, 56.0)
_WHITE: Colour = (236.0, 236.0, 234.0)


def airplane(rng: np.random.Generator, kind: str) -> Mesh:
    """An airliner or a small high-wing airplane on its wheels; ``flying`` ones have drawn them in and tilt."""
    flying = kind == "flying"
    builder = MeshBuilder()
    (_airliner if rng.random() < 0.6 else _small_airplane)(builder, rng, flying)
    mesh = builder.build()
    return tilted(mesh, rng.normal(0.08, 0.15), rng.normal(0, 0.35), 2.0) if flying else mesh


def _airliner(builder: MeshBuilder, rng: np.random.Generator, flying: bool) -> None:
    length, radius = rng.uniform(13, 17), rng.uniform(0.95, 1.1)
    paint, livery, z = mix(_WHITE, vivid(rng), rng.choice([0.0, 0.25])), vivid(rng), 1.9
    end = length / 2
    hull = [(0.3, -end), (radius * 0.75, -end * 0.55), (radius, -end * 0.3), (radius, end * 0.78),
            (radius * 0.8, end * 0.92), (radius * 0.45, end * 0.99), (0.0, end * 1.02)]  # fmt: skip
    bands = [livery, paint, paint, paint, paint, paint]
    turned(builder, hull, bands, along_x(0, 0, z), 18, 1)
    builder.part((0, 0, z), 2)
    for side in (-1, 1):
        y = side * radius * 0.985
        stripe = [(-end * 0.3, y, z - 0.12), (end * 0.78, y, z - 0.12), (end * 0.78, y, z - 0.28),
                  (-end * 0.3, y, z - 0.28)]  # fmt: skip
        builder.polygon(stripe, livery)
        for x in np.arange(-end * 0.28, end * 0.72, 0.55).tolist():
            builder.polygon([(x, y, z + 0.1), (x + 0.26, y, z + 0.1), (x + 0.26, y, z + 0.38), (x, y, z + 0.38)],
                            _WINDOW)  # fmt: skip
        pane = [(end * 0.9, side * radius * 0.7, z + 0.35), (end * 0.97, side * radius * 0.42, z + 0.3),
                (end * 0.93, side * radius * 0.4, z + 0.62), (end * 0.88, side * radius * 0.5, z + 0.68)]  # fmt: skip
        builder.polygon(pane, _WINDOW)
    wing, span = shade(paint, 0.85), end * rng.uniform(0.95, 1.1)
    for side in (-1, 1):
        outline = [(end * 0.3, side * radius * 0.6, z - 0.45), (-end * 0.12, side * span, z + 0.25),
                   (-end * 0.24, side * span, z + 0.25), (-end * 0.18, side * radius * 0.6, z - 0.45)]  # fmt: skip
        slab(builder, outline, (0, 0, 0.16), (wing, shade(wing, 0.8)), 2)
        rear = [(-end * 0.78, side * 0.3, z + 0.3), (-end * 0.98, side * span * 0.38, z + 0.5),
                (-end * 1.06, side * span * 0.38, z + 0.5), (-end * 0.95, side * 0.3, z + 0.3)]  # fmt: skip
        slab(builder, rear, (0, 0, 0.1), (wing, shade(wing, 0.8)), 2)
        y, x = side * span * 0.36, end * 0.16
        pod = [(0.34, -0.9), (0.46, 0.2), (0.42, 0.9)]
        turned(builder, pod, shade(livery, 0.9), along_x(x, y, z - 0.75), 14, 2)
        builder.limb([(x + 0.93, y, z - 0.75, 0.3)], (30, 30, 32), 3)
    fin = [(-end * 0.68, -0.06, z + radius * 0.7), (-end * 0.95, -0.06, z + 3.1), (-end * 1.05, -0.06, z + 3.1),
           (-end * 0.96, -0.06, z + 0.3)]  # fmt: skip
    slab(builder, fin, (0, 0.12, 0), (livery, shade(livery, 0.8)), 3)
    if not flying:
        _gear(builder, [(end * 0.75, 0.0), (-end * 0.05, 1.2), (-end * 0.05, -1.2)], z - radius, 0.4)


def _gear(builder: MeshBuilder, places: list[tuple[float, float]], top: float, radius: float) -> None:
    for x, y in places:
        builder.limb([(x, y, radius, 0.09), (x, y, top + 0.2, 0.09)], (120, 122, 125), 0)
        builder.limb([(x, y - 0.1, radius, radius), (x, y + 0.1, radius, radius)], (26, 26, 28), 0)


def _small_airplane(builder: MeshBuilder, rng: np.random.Generator, flying: bool) -> None:
    paint, livery = mix(_WHITE, vivid(rng), rng.choice([0.0, 0.9])), vivid(rng)
    z = 1.25
    hull = [(0.12, -3.6), (0.3, -2.4), (0.58, -0.6), (0.6, 1.0), (0.5, 1.9), (0.32, 2.35), (0.1, 2.5)]
    turned(builder, hull, [paint, livery, paint, paint, livery, paint], along_x(0, 0, z), 14, 1)
    builder.limb([(0.9, y, z + 0.55, 0.34) for y in (-0.25, 0.25)] + [(-0.5, y, z + 0.5, 0.3) for y in (-0.2, 0.2)],
                 _WINDOW, 2)  # fmt: skip
    wing = [(0.9, -5.0, z + 0.92), (0.9, 5.0, z + 0.92), (-0.3, 5.0, z + 0.92), (-0.4, 0.0, z + 0.92),
            (-0.3, -5.0, z + 0.92)]  # fmt: skip
    slab(builder, wing, (0, 0, 0.12), (paint, livery), 3)
    for side in (-1, 1):
        builder.limb([(0.3, side * 0.5, z - 0.3, 0.035), (0.3, side * 2.2, z + 0.9, 0.03)], shade(paint, 0.8), 2)
        tail = [(-2.9, side * 0.1, z + 0.1), (-3.2, side * 1.5, z + 0.12), (-3.8, side * 1.5, z + 0.12),
                (-3.7, side * 0.1, z + 0.1)]  # fmt: skip
        slab(builder, tail, (0, 0, 0.06), (paint, livery), 1)
        tip = [(0.9, side * 4.4, z + 1.045), (0.9, side * 5, z + 1.045), (-0.3, side * 5, z + 1.045),
               (-0.3, side * 4.4, z + 1.045)]  # fmt: skip
        builder.part((0, 0, -9), 4)
        builder.polygon(tip, livery)
    slab(builder, [(-2.7, -0.04, z + 0.2), (-3.4, -0.04, z + 1.4), (-3.9, -0.04, z + 1.4), (-3.7, -0.04, z)],
         (0, 0.08, 0), (livery, shade(livery, 0.8)), 2)  # fmt: skip
    turn = rng.uniform(0, pi)
    for blade in (0.0, pi):
        y, up = sin(turn + blade), cos(turn + blade)
        builder.limb([(2.56, 0, z, 0.07), (2.56, 0.85 * y, z + 0.85 * up, 0.04)], (50, 50, 52), 2)
    builder.limb([(2.5, 0, z, 0.16), (2.66, 0, z, 0.06)], livery, 3)
    _gear(builder, [(1.7, 0.0), (0.0, 1.0), (0.0, -1.0)], z - 0.5, 0.26 if not flying else 0.2)


def boat(rng: np.random.Generator) -> Mesh:
    """A sailing boat, a motor boat with its cabin, or a rowing boat; all that is above the water."""
    builder = MeshBuilder()
    (_sailing_boat, _motor_boat, _rowing_boat)[int(rng.choice(3, p=[0.4, 0.35, 0.25]))](builder, rng)
    return builder.build()


def _hull(
    builder: MeshBuilder, cuts: list[tuple[float, float, float]], paint: Colour, trim: Colour, deck: Colour
) -> None:
    """Cuts (x, half width, height of the gunwale) from stern to bow; a strake in ``trim`` runs below the gunwale."""

    def at(cut: tuple[float, float, float], side: int, share: float) -> Point:
        x, half, top = cut
        return x * (0.9 + 0.1 * share), side * half * (0.72 + 0.28 * share), top * share

    builder.part((0, 0, 0.1), 0)
    for rear, front in pairwise(cuts):
        for side in (-1, 1):
            for low, high, colour in ((0.0, 0.22, shade(trim, 0.6)), (0.22, 0.82, paint), (0.82, 1.0, trim)):
                corners = [at(rear, side, low), at(front, side, low), at(front, side, high), at(rear, side, high)]
                builder.polygon(corners, colour)
    stern = cuts[0]
    builder.polygon([at(stern, -1, 0), at(stern, 1, 0), at(stern, 1, 1), at(stern, -1, 1)], shade(paint, 0.9))
    builder.part((0, 0, -9), 1)
    rim = [at(cut, 1, 1.0) for cut in cuts] + [at(cut, -1, 1.0) for cut in reversed(cuts)]
    builder.polygon(rim, deck)


def _sailing_boat(builder: MeshBuilder, rng: np.random.Generator) -> None:
    paint, trim = mix(_WHITE, vivid(rng), rng.choice([0.0, 0.9])), vivid(rng)
    cuts = [(-2.8, 0.8, 0.75), (-1.0, 1.1, 0.72), (1.0, 0.95, 0.8), (2.4, 0.4, 0.92), (3.1, 0.02, 1.0)]
    _hull(builder, cuts, paint, trim, (186, 160, 120))
    builder.limb([(0.9, y, 0.85, 0.16) for y in (-0.35, 0.35)] + [(-0.8, y, 0.85, 0.18) for y in (-0.45, 0.45)],
                 shade(paint, 0.95), 2)  # fmt: skip
    tall, sail = rng.uniform(5.5, 7.5), mix(_WHITE, vivid(rng), rng.choice([0.0, 0.0, 0.85]))
    swing, belly = rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3)
    builder.limb([(0.4, 0, 0.8, 0.05), (0.4, 0, tall, 0.035)], (120, 110, 100), 2)
    boom = (-2.4 * cos(swing) + 0.4, 2.4 * sin(swing), 1.5)
    builder.limb([(0.4, 0, 1.45, 0.05), (*boom, 0.04)], (120, 110, 100), 2)
    builder.part((-0.5, boom[1] / 3, 3.0), 3)
    bulge = ((boom[0] + 0.4) / 2 - 0.2, boom[1] / 2 + belly, tall * 0.5)
    builder.polygon([(0.4, 0, 1.55), boom, bulge, (0.4, 0, tall * 0.97)], sail, LIT | TWO_SIDED)
    for share in (0.3, 0.55, 0.78):
        a, b = (0.4, 0.0, 1.55 + (tall * 0.97 - 1.55) * share), np.array(boom)
        c = b + (np.array([0.4, 0, tall * 0.97]) - b) * (share + 0.02)
        x, y, z = c.tolist()
        builder.polygon([a, (x, y, z), (x, y, z + 0.05), (a[0], a[1], a[2] + 0.05)], shade(sail, 0.82), LIT | TWO_SIDED)
    builder.part((1.6, 0.2, 2.6), 3)
    builder.polygon([(3.0, 0, 1.05), (0.5, boom[1] * 0.25, 1.3), (1.2, belly * 0.8, 2.9), (0.45, 0, tall * 0.86)],
                    shade(sail, 0.95), LIT | TWO_SIDED)  # fmt: skip


def _motor_boat(builder: MeshBuilder, rng: np.random.Generator) -> None:
    paint, trim = mix(_WHITE, vivid(rng), rng.choice([0.0, 0.8])), vivid(rng)
    cuts = [(-2.9, 1.05, 0.85), (-1.0, 1.2, 0.9), (1.2, 1.1, 1.05), (2.6, 0.55, 1.25), (3.3, 0.03, 1.4)]
    _hull(builder, cuts, paint, trim, (205, 195, 178))
    low, high, front = 0.95, rng.uniform(1.9, 2.5), rng.uniform(0.6, 1.3)
    builder.part((-0.4, 0, 1.5), 2)
    foot = [(front + 0.5, 0.75, low), (-1.4, 0.85, low), (-1.4, -0.85, low), (front + 0.5, -0.75, low)]
    head = [(front, 0.65, high), (-1.4, 0.7, high), (-1.4, -0.7, high), (front, -0.65, high)]
    for index in range(4):
        a, b, c, d = foot[index], foot[(index + 1) % 4], head[(index + 1) % 4], head[index]
        builder.polygon([a, b, c, d], shade(_WHITE, 0.97))
        pane = [_between(a, b, c, d, u, v) for u, v in ((0.08, 0.4), (0.92, 0.4), (0.92, 0.88), (0.08, 0.88))]
        builder.polygon(pane, (62, 78, 92))
    roof = [(x * 1.05, y * 1.1, z) for x, y, z in head]
    slab(builder, roof, (0, 0, 0.1), (paint, trim), 3)
    builder.limb([(-0.6, 0, high, 0.03), (-0.7, 0, high + 0.9, 0.02)], (200, 200, 200), 3)
    for side in (-1, 1):
        rail = [(1.4, side * 0.95, 1.5), (2.5, side * 0.5, 1.7), (3.1, side * 0.05, 1.8)]
        for start, stop in pairwise(rail):
            builder.limb([(*start, 0.025), (*stop, 0.025)], (190, 192, 195), 2)
            builder.limb([(*start, 0.02), (start[0], start[1], 1.1, 0.02)], (190, 192, 195), 2)
    builder.limb([(-2.95, 0, 0.4, 0.2), (-2.95, 0, 1.1, 0.22)], (40, 40, 44), 2)


def _between(a: Point, b: Point, c: Point, d: Point, u: float, v: float) -> Point:
    """A point of a face, a hair's breadth outside."""
    low = np.array(a) + (np.array(b) - np.array(a)) * u
    high = np.array(d) + (np.array(c) - np.array(d)) * u
    x, y, z = ((low + (high - low) * v) * (1.004, 1.004, 1.0)).tolist()
    return x, y, z


def _rowing_boat(builder: MeshBuilder, rng: np.random.Generator) -> None:
    paint, trim = vivid(rng), vivid(rng)
    timber: Colour = (150, 108, 70)
    cuts = [(-1.7, 0.45, 0.5), (-0.6, 0.72, 0.42), (0.7, 0.68, 0.44), (1.5, 0.3, 0.55), (1.9, 0.02, 0.66)]
    _hull(builder, cuts, paint, trim, shade(timber, 0.55))
    for x in (-1.0, 0.0, 0.9):
        half = 0.55 if x < 0.5 else 0.42
        builder.part((x, 0, 0.2), 2)
        builder.polygon([(x - 0.13, -half, 0.44), (x + 0.13, -half, 0.44), (x + 0.13, half, 0.44),
                         (x - 0.13, half, 0.44)], timber)  # fmt: skip
    for side in (-1, 1):
        out, way = rng.uniform(1.2, 1.9), rng.uniform(-0.6, 0.6)
        builder.limb([(0.2, side * 0.3, 0.62, 0.025), (0.2 + way, side * out, 0.2, 0.022)], timber, 3)
        builder.limb([(0.2 + way, side * out, 0.2, 0.03), (0.2 + way * 1.3, side * out * 1.25, 0.08, 0.07)], timber, 3)


def kite(rng: np.random.Generator) -> Thing:
    """A diamond or a delta with its tail, seen from below as it flies; its string is no part of it."""
    builder = MeshBuilder()
    paints = [vivid(rng) for _ in range(4)]
    half, up, down = rng.uniform(0.45, 0.6), rng.uniform(0.35, 0.5), rng.uniform(0.8, 1.0)
    if rng.random() < 0.6:
        corners: list[Point] = [(0, 0, up), (0, half, 0), (0, 0, -down), (0, -half, 0)]
        order = (0, 1, 2, 3) if rng.random() < 0.5 else (0, 1, 0, 1)
    else:
        half *= 1.7
        corners = [(0, 0, up), (0, half, -down * 0.45), (0, 0, -down * 0.6), (0, -half, -down * 0.45)]
        order = (0, 1, 1, 0)
    builder.part((-1, 0, 0))
    keel = (0.07, 0.0, 0.0)
    for index in range(4):
        face = [corners[index], corners[(index + 1) % 4], keel]
        builder.polygon(face, paints[order[index]], LIT | TWO_SIDED)
    for a, b in ((0, 2), (1, 3)):
        (_, y0, z0), (_, y1, z1) = corners[a], corners[b]
        spar = [(0.075, y0 - 0.008, z0), (0.075, y0 + 0.008, z0 + 0.012), (0.075, y1 + 0.008, z1 + 0.012),
                (0.075, y1 - 0.008, z1)]  # fmt: skip
        builder.polygon(spar, (60, 50, 40), LIT | TWO_SIDED)
    _streamers(builder, corners[2], paints, rng)
    string = MeshBuilder()
    string.limb([(0.08, 0, 0, 0.006), (6.0, rng.uniform(-3, 3), -9.0, 0.004)], (225, 225, 220))
    lean, roll = rng.uniform(-0.7, 0.2), rng.normal(0, 0.35)
    return Thing(tilted(builder.build(), lean, roll), string.build())


def _streamers(builder: MeshBuilder, root: Point, paints: list[Colour], rng: np.random.Generator) -> None:
    x, y, z = root
    long, wave = rng.uniform(0.8, 1.6), rng.uniform(0, 2 * pi)
    shares = np.linspace(0, 1, 9).tolist()
    way: list[Point] = [
        (x + 0.1 * s, y + 0.16 * s * sin(wave + 7 * s) - 0.16 * s * sin(wave), z - long * s) for s in shares
    ]
    builder.part(way[4], 1)
    ribbon(builder, way, (0.0, 0.022, 0.0), paints[2])
    for index in range(2, 9, 2):
        px, py, pz = way[index]
        for side in (-1, 1):
            bow = [(px, py, pz), (px, py + side * 0.08, pz + 0.04), (px, py + side * 0.08, pz - 0.04)]
            builder.polygon(bow, paints[index // 2 % 4], LIT | TWO_SIDED)
