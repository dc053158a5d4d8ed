"""What lies and stands about in everyday views and is of no class: boxes, books, lamps, bushes, cones, buoys."""

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np

from training.data.everyday_furniture import wood
from training.data.everyday_solids import block, slab, turned, upright
from training.data.everyday_things import LAWN, ROOM, SHORE, STREET, TABLE
from training.data.everyday_vessels import vivid
from training.data.street_mesh import Colour, Mesh, MeshBuilder, mix, shade
from training.data.street_props import PROPS, prop


def clutter(theme: str, rng: np.random.Generator) -> Mesh:
    """A random thing that may be about in this theme."""
    makers = _MAKERS[theme]
    return makers[int(rng.integers(len(makers)))](rng)


def support(theme: str, reach: float, height: float, rng: np.random.Generator) -> Mesh:
    """A cupboard, stool, crate or stump this high, on which something stands that reaches so far, both in metres."""
    builder = MeshBuilder()
    paint = wood(rng) if rng.random() < 0.6 else vivid(rng)
    half = max(reach * rng.uniform(1.1, 1.8), rng.uniform(0.16, 0.3))
    if theme == LAWN:
        turned(builder, [(half * 1.1, 0.0), (half, height)], shade(wood(rng), 0.8), upright(0, 0, 0), 18)
        return builder.build()
    if rng.random() < 0.5:
        wide = half * rng.uniform(1.0, 2.2)
        block(builder, (-half, -wide, 0), (half, wide, height - 0.02), paint)
        for x in (-half - 0.003, half + 0.003):
            builder.part((0, 0, height / 2), 1)
            for low in np.linspace(0.06, height, int(rng.integers(2, 4)))[:-1].tolist():
                high = min(low + height * 0.4, height - 0.05)
                builder.polygon([(x, -wide * 0.92, low), (x, wide * 0.92, low), (x, wide * 0.92, high),
                                 (x, -wide * 0.92, high)], shade(paint, 0.88))  # fmt: skip
        block(
            builder,
            (-half - 0.02, -wide - 0.02, height - 0.03),
            (half + 0.02, wide + 0.02, height),
            shade(paint, 1.1),
            2,
        )
        return builder.build()
    for turn in np.linspace(0.4, 0.4 + 2 * pi, 5)[:-1].tolist():
        foot = (half * 0.9 * cos(turn), half * 0.9 * sin(turn))
        builder.limb([(*foot, 0, 0.016), (foot[0] * 0.8, foot[1] * 0.8, height - 0.03, 0.018)], shade(paint, 0.8), 0)
    turned(builder, [(half, height - 0.035), (half, height)], paint, upright(0, 0, 0), 22, 1)
    return builder.build()


def _box(rng: np.random.Generator) -> Mesh:
    """A cardboard box with its tape, or a coloured one."""
    builder = MeshBuilder()
    paint: Colour = shade((178, 138, 96), rng.uniform(0.8, 1.15)) if rng.random() < 0.6 else vivid(rng)
    x, y, z = rng.uniform(0.12, 0.35, 3).tolist()
    block(builder, (-x, -y, 0), (x, y, 2 * z), paint)
    builder.part((0, 0, 0), 1)
    builder.polygon([(-x, -0.03, 2 * z + 0.001), (x, -0.03, 2 * z + 0.001), (x, 0.03, 2 * z + 0.001),
                     (-x, 0.03, 2 * z + 0.001)], mix(paint, (225, 205, 170), 0.6))  # fmt: skip
    return builder.build()


def _books(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    z = 0.0
    for pile in range(int(rng.integers(1, 6))):
        thick, half, long = rng.uniform(0.012, 0.045), rng.uniform(0.06, 0.1), rng.uniform(0.09, 0.15)
        cover, shift = vivid(rng), rng.normal(0, 0.012, 2)
        low, high = (-half + shift[0], -long + shift[1]), (half + shift[0], long + shift[1])
        block(builder, (*low, z), (*high, z + thick), cover, 2 * pile)
        builder.part((0, 0, z + thick / 2), 2 * pile + 1)
        for x in (low[0] - 0.001, high[0] + 0.001):
            if x > 0:
                builder.polygon([(x, low[1], z + 0.003), (x, high[1], z + 0.003), (x, high[1], z + thick - 0.003),
                                 (x, low[1], z + thick - 0.003)], (232, 226, 210))  # fmt: skip
        z += thick
    return builder.build()


def _bowl(rng: np.random.Generator) -> Mesh:
    """A bowl, a plate or a tray, some with something round in it."""
    builder = MeshBuilder()
    paint, wide = mix(vivid(rng), (240, 238, 232), rng.choice([0.0, 0.8])), rng.uniform(0.08, 0.15)
    deep = rng.choice([0.02, 0.06])
    turned(builder, [(wide * 0.5, 0), (wide * 0.85, deep * 0.6), (wide, deep)], paint, upright(0, 0, 0), 22, 0)
    builder.part((0, 0, -1), 1)
    rim = [(wide * 0.9 * cos(t), wide * 0.9 * sin(t), deep + 0.001) for t in np.linspace(0, 2 * pi, 23)[:-1].tolist()]
    builder.polygon(rim, shade(paint, 0.75))
    if rng.random() < 0.6:
        food = vivid(rng)
        for turn in np.linspace(0, 2 * pi, int(rng.integers(3, 6)))[:-1].tolist():
            spot = (wide * 0.4 * cos(turn), wide * 0.4 * sin(turn), deep + 0.02)
            builder.limb(
                [(*spot, 0.032), (spot[0] + 0.03, spot[1], spot[2], 0.024)], shade(food, rng.uniform(0.8, 1.1)), 2
            )
    return builder.build()


def _candle(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    wax, tall, wide = mix(vivid(rng), (240, 232, 215), 0.6), rng.uniform(0.06, 0.16), rng.uniform(0.025, 0.04)
    turned(builder, [(wide * 1.8, 0), (wide * 1.8, 0.008)], vivid(rng), upright(0, 0, 0), 18, 0)
    turned(builder, [(wide, 0.008), (wide, tall)], wax, upright(0, 0, 0), 16, 1)
    builder.limb([(0, 0, tall, 0.003), (0, 0, tall + 0.015, 0.003)], (40, 36, 34), 2)
    return builder.build()


def _pens(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    for _ in range(int(rng.integers(1, 4))):
        turn, x, y = rng.uniform(0, pi), *rng.normal(0, 0.04, 2)
        ends = [(x + s * 0.08 * cos(turn), y + s * 0.08 * sin(turn), 0.007, 0.006) for s in (-1, 1)]
        builder.limb(ends, vivid(rng))
    return builder.build()


def _table_lamp(rng: np.random.Generator) -> Mesh:
    return _lamp(rng, rng.uniform(0.28, 0.4), 0.12)


def _floor_lamp(rng: np.random.Generator) -> Mesh:
    return _lamp(rng, rng.uniform(1.3, 1.7), 0.22)


def _lamp(rng: np.random.Generator, tall: float, wide: float) -> Mesh:
    builder = MeshBuilder()
    turned(builder, [(wide * 0.7, 0), (wide * 0.6, 0.02)], (60, 58, 56), upright(0, 0, 0), 18, 0)
    builder.limb([(0, 0, 0.02, 0.01 + wide * 0.05), (0, 0, tall, 0.01 + wide * 0.05)], vivid(rng), 1)
    shadecloth = mix(vivid(rng), (240, 230, 205), 0.6)
    turned(builder, [(wide, tall * 0.8), (wide * 0.65, tall * 0.8 + wide * 1.4)], shadecloth, upright(0, 0, 0), 20, 2)
    return builder.build()


def _cushion(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    builder.limb([(x, y, 0.09, 0.09) for x in (-0.17, 0.17) for y in (-0.17, 0.17)], vivid(rng))
    return builder.build()


def _bucket(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    paint, tall = vivid(rng), rng.uniform(0.25, 0.6)
    turned(builder, [(tall * 0.35, 0), (tall * 0.45, tall)], paint, upright(0, 0, 0), 20, 0)
    builder.part((0, 0, -1), 1)
    inside = [
        (tall * 0.42 * cos(t), tall * 0.42 * sin(t), tall + 0.001) for t in np.linspace(0, 2 * pi, 21)[:-1].tolist()
    ]
    builder.polygon(inside, shade(paint, 0.4))
    return builder.build()


def _crate(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    timber, half, tall = wood(rng), rng.uniform(0.25, 0.45), rng.uniform(0.3, 0.6)
    block(builder, (-half, -half, 0), (half, half, tall), shade(timber, 0.6))
    for low in np.linspace(0, tall, 5)[:-1].tolist():
        for side in (-1, 1):
            x = side * (half + 0.01)
            slats = [
                (x, -half, low + 0.01),
                (x, half, low + 0.01),
                (x, half, low + tall / 5),
                (x, -half, low + tall / 5),
            ]
            builder.part((0, 0, tall / 2), 1)
            builder.polygon(slats, timber)
            builder.polygon([(y, x, z) for x, y, z in slats], timber)
    return builder.build()


def _cone(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    block(builder, (-0.19, -0.19, 0), (0.19, 0.19, 0.03), (40, 38, 38))
    orange, white = (225.0, 95.0, 40.0), (235.0, 232.0, 228.0)
    rings = [(0.15, 0.03), (0.11, 0.22), (0.08, 0.36), (0.06, 0.46), (0.03, 0.6)]
    turned(builder, rings, [orange, white, orange, orange], upright(0, 0, 0), 18, 1)
    return builder.build()


def _bush(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    green, size = rng.uniform(60, 100), rng.uniform(0.3, 0.9)
    for _ in range(int(rng.integers(28, 46))):
        turn, out = rng.uniform(0, 2 * pi), size * rng.uniform(0, 0.9) ** 0.7
        z = size * rng.uniform(0.2, 1.1)
        lit = rng.uniform(0.7, 1.0) + 0.35 * z / size
        tone: Colour = (green * 0.75 * lit, green * lit, green * 0.5 * lit)
        builder.limb([(out * cos(turn), out * sin(turn), z, size * rng.uniform(0.11, 0.24))], tone)
    return builder.build()


def _rock(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    grey, size = rng.uniform(95, 150), rng.uniform(0.12, 0.5)
    balls = [(*(rng.normal(0, 0.5, 2) * size).tolist(), size * rng.uniform(0.1, 0.4), size * rng.uniform(0.2, 0.45))
             for _ in range(5)]  # fmt: skip
    builder.limb(balls, (grey, grey * 0.97, grey * 0.92))
    return builder.build()


def _fence(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    paint = wood(rng) if rng.random() < 0.6 else (228.0, 226.0, 220.0)
    for y in np.arange(-1.5, 1.51, rng.choice([0.16, 0.75])).tolist():
        slab(builder, [(0, y - 0.045, 0), (0, y + 0.045, 0), (0, y + 0.045, 0.9), (0, y - 0.045, 0.9)], (0.03, 0, 0),
             (paint, shade(paint, 0.8)), 1)  # fmt: skip
    for z in (0.3, 0.7):
        block(builder, (-0.02, -1.55, z), (0.0, 1.55, z + 0.07), shade(paint, 0.9), 0)
    return builder.build()


def _post(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    builder.limb([(0, 0, 0, 0.1), (0, 0, rng.uniform(0.6, 1.4), 0.09)], shade((105, 88, 70), rng.uniform(0.7, 1.2)))
    return builder.build()


def _buoy(rng: np.random.Generator) -> Mesh:
    builder = MeshBuilder()
    paint = (215.0, 60.0, 40.0) if rng.random() < 0.6 else (60.0, 130.0, 75.0)
    turned(builder, [(0.4, 0), (0.42, 0.25), (0.15, 0.35), (0.1, 1.1)], [paint, shade(paint, 0.8), paint],
           upright(0, 0, 0), 16)  # fmt: skip
    builder.limb([(0, 0, 1.2, 0.12)], (235, 225, 150), 1)
    return builder.build()


def _prop(kind: str) -> Callable[[np.random.Generator], Mesh]:
    return lambda rng: prop(kind, int(rng.integers(PROPS)))


_MAKERS: dict[str, tuple[Callable[[np.random.Generator], Mesh], ...]] = {
    STREET: (_prop("sign"), _prop("lamp"), _prop("bin"), _prop("bollard"), _prop("billboard"), _prop("cabinet"),
             _cone, _box, _crate, _bush, _bucket),
    LAWN: (_bush, _bush, _rock, _fence, _crate, _bucket, _cone, _prop("bin"), _prop("lamp")),
    SHORE: (_post, _buoy, _rock, _rock, _bucket, _crate),
    ROOM: (_box, _books, _floor_lamp, _cushion, _bucket, _box, _crate),
    TABLE: (_books, _bowl, _candle, _pens, _table_lamp, _box, _bowl),
}  # fmt: skip
