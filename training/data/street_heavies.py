"""Trucks, buses and trams of the synthetic street: boxes and lofts with glass, doors, adverts, lights."""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np

from training.data.street_mesh import LIT, Colour, Mesh, MeshBuilder, mix, shade
from training.data.street_vehicles import GLASS, Section, loft, panel, wheels

TRUCKS, BUSES, TRAINS = 300, 240, 240
_DARK: Colour = (24.0, 24.0, 26.0)
_LIVERY: tuple[Colour, ...] = (
    (225, 225, 222), (230, 230, 228), (185, 35, 35), (40, 75, 140), (45, 110, 75), (215, 170, 45), (200, 95, 35),
    (90, 95, 100), (160, 165, 170), (60, 130, 170), (235, 225, 200), (120, 35, 60),
)  # fmt: skip


@lru_cache(maxsize=TRUCKS)
def truck(number: int) -> Mesh:
    """Truck ``number``: a box lorry, a tipper, a semi-trailer or a tanker."""
    rng = np.random.default_rng([2, number])
    builder = MeshBuilder()
    body = (_box_body, _tipper_body, _semi_body, _tanker_body)[int(rng.choice(4, p=[0.45, 0.15, 0.28, 0.12]))]
    length = body(builder, rng)
    cab = rng.uniform(1.7, 2.1)
    _cab(builder, length / 2, cab, rng)
    _chassis(builder, length, rng)
    _mirrors(builder, length / 2 + 0.1, 1.36, 1.7)
    return builder.build()


@lru_cache(maxsize=BUSES)
def bus(number: int) -> Mesh:
    """Bus ``number``: a city bus, a coach or a double-decker."""
    rng = np.random.default_rng([3, number])
    builder = MeshBuilder()
    decks = 2 if rng.random() < 0.15 else 1
    coach = decks == 1 and rng.random() < 0.3
    length, half = rng.uniform(10.2, 13.0), 1.27
    top = 4.3 if decks == 2 else rng.uniform(3.4, 3.7) if coach else rng.uniform(2.95, 3.25)
    paint, second = _pick(rng), _pick(rng)
    _shell(builder, (length, half, 0.32, top), paint, second, rng)
    floor = 1.75 if coach else 1.15
    for deck in range(decks):
        low = floor if deck == 0 else 2.75
        high = min(top - 0.35, low + (1.25 if decks == 2 else 1.5))
        _window_row(builder, (length, half), (low, high), int(rng.integers(5, 9)), rng)
    if not coach:
        _bus_doors(builder, length, half, rng)
    _bus_front(builder, length / 2, half, (floor - 0.15, top), rng)
    _bus_rear(builder, -length / 2, half, (floor + 0.15, top), rng)
    wheels(builder, [length / 2 - 2.6, -length / 2 + 3.1], half, 0.48, (120, 122, 125))
    _mirrors(builder, length / 2 + 0.2, half + 0.12, 2.1)
    return builder.build()


@lru_cache(maxsize=TRAINS)
def train(number: int) -> Mesh:
    """Tram or train ``number``: one to four coupled sections."""
    rng = np.random.default_rng([4, number])
    builder = MeshBuilder()
    sections, section = int(rng.integers(1, 5)), rng.uniform(6.5, 9.5)
    half, top = rng.uniform(1.18, 1.4), rng.uniform(3.3, 3.75)
    paint, second = _pick(rng), _pick(rng)
    length = sections * section
    for index in range(sections):
        middle = length / 2 - (index + 0.5) * section
        first, last = index == 0, index == sections - 1
        _tram_section(builder, (middle, section - 0.5, half, top), (paint, second), (first, last), rng)
        if not last:
            builder.part((middle - section / 2, 0, 1.7), 1)
            x = middle - section / 2
            builder.box((x - 0.35, -half * 0.9, 0.5), (x + 0.35, half * 0.9, top - 0.15), (40, 40, 43))
    _tram_ends(builder, length / 2, half, top, rng)
    _pantograph(builder, top)
    return builder.build()


def _pick(rng: np.random.Generator) -> Colour:
    return shade(_LIVERY[int(rng.integers(len(_LIVERY)))], rng.uniform(0.8, 1.05))


def _band(
    builder: MeshBuilder, xs: tuple[float, float], y: float, zs: tuple[float, float], colour: Colour, flags: int = LIT
) -> None:
    """A rectangle on the side at ``y``."""
    (x0, x1), (z0, z1) = xs, zs
    builder.polygon([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)], colour, flags)


def _both(half: float) -> tuple[float, float]:
    return -half - 0.01, half + 0.01


def _cab(builder: MeshBuilder, front: float, depth: float, rng: np.random.Generator) -> None:
    half, top = 1.2, rng.uniform(2.5, 3.1)
    paint = _pick(rng)
    builder.part((front - depth / 2, 0, 1.5), 1)
    sections: list[Section] = [
        (front, half * 0.93, 0.45, top - 0.25),
        (front - 0.15, half, 0.4, top - 0.05),
        (front - depth, half, 0.4, top),
    ]
    loft(builder, sections, paint, (45, 45, 48))
    x, glass = front + 0.01, mix(GLASS, (80, 92, 104), rng.uniform(0, 0.6))
    wide = half * 0.86
    panel(builder, x, (-wide, wide), (1.55, top - 0.5), glass)
    panel(builder, x + 0.003, (-wide, wide * 0.2), (2.0, top - 0.55), mix(glass, (150, 165, 180), 0.3))
    panel(builder, x, (-wide * 0.7, wide * 0.7), (0.85, 1.4), _DARK)
    for z in (0.98, 1.12, 1.26):
        panel(builder, x + 0.003, (-wide * 0.65, wide * 0.65), (z, z + 0.04), (105, 107, 110))
    _plate_and_lamps(builder, x, half * 0.9, 0.55, (215.0, 218.0, 222.0))
    for y in _both(half):
        _band(builder, (front - depth * 0.7, front - 0.2), y, (1.6, top - 0.45), glass)
        _band(builder, (front - depth * 0.75, front - depth * 0.73), y, (0.6, top - 0.3), shade(paint, 0.6))


def _mirrors(builder: MeshBuilder, x: float, half: float, z: float) -> None:
    for y in (-half, half):
        builder.limb([(x, y, z, 0.1), (x, y, z + 0.42, 0.1)], _DARK, 3)


def _plate_and_lamps(builder: MeshBuilder, x: float, half: float, z: float, colour: Colour) -> None:
    beyond = 0.004 if x > 0 else -0.004
    panel(builder, x + beyond, (-0.26, 0.26), (z, z + 0.12), (226, 226, 216))
    for side in (-1, 1):
        panel(builder, x + beyond, (side * half * 0.68, side * half), (z + 0.02, z + 0.22), colour)
        panel(
            builder, x + beyond * 2, (side * half * 0.72, side * half * 0.84), (z + 0.05, z + 0.18), shade(colour, 1.2)
        )


def _chassis(builder: MeshBuilder, length: float, rng: np.random.Generator) -> None:
    end = length / 2
    builder.part((0, 0, 0.7), 0)
    builder.box((-end + 0.1, -0.9, 0.5), (end - 0.3, 0.9, 0.95), (20, 20, 21))
    builder.part((-end + 0.1, 0, 0.5), 2)
    panel(builder, -end - 0.02, (-1.15, 1.15), (0.45, 0.68), (50, 50, 52))
    for side in (-1, 1):
        panel(builder, -end - 0.03, (side * 0.75, side * 1.13), (0.5, 0.66), (175, 25, 25))
        panel(builder, -end - 0.035, (side * 0.75, side * 0.85), (0.5, 0.66), (225, 140, 50))
    panel(builder, -end - 0.035, (-0.26, 0.26), (0.52, 0.64), (222, 215, 190))
    rear = [-end + 1.2, -end + 2.45] if length > 9 else [-end + 1.5]
    wheels(builder, [end - 1.4, *rear], 1.2, 0.5, mix((150, 152, 155), (90, 40, 40), rng.uniform(0, 0.4)))


def _cargo(builder: MeshBuilder, xs: tuple[float, float], zs: tuple[float, float], paint: Colour) -> float:
    half = 1.25
    builder.part(((xs[0] + xs[1]) / 2, 0, (zs[0] + zs[1]) / 2), 1)
    builder.box((xs[0], -half, zs[0]), (xs[1], half, zs[1]), paint)
    return half


def _box_body(builder: MeshBuilder, rng: np.random.Generator) -> float:
    length, top = rng.uniform(6.5, 9.5), rng.uniform(2.9, 3.7)
    paint = mix(_pick(rng), (228, 228, 225), rng.uniform(0, 1))
    xs = (-length / 2, length / 2 - 2.2)
    half = _cargo(builder, xs, (0.95, top), paint)
    _rear_doors(builder, xs[0], half, (0.95, top), paint)
    _advert(builder, xs, half, (1.2, top - 0.3), rng)
    return length


def _semi_body(builder: MeshBuilder, rng: np.random.Generator) -> float:
    length, top = rng.uniform(13.0, 16.5), rng.uniform(3.7, 4.0)
    paint = _pick(rng)
    xs = (-length / 2, length / 2 - 2.6)
    half = _cargo(builder, xs, (1.05, top), paint)
    _rear_doors(builder, xs[0], half, (1.05, top), paint)
    for y in _both(half):
        for x in np.arange(xs[0] + 0.6, xs[1], 0.9).tolist():
            _band(builder, (x, x + 0.05), y, (1.15, top - 0.1), shade(paint, 0.86))
    _advert(builder, xs, half, (1.6, top - 0.6), rng)
    for y in _both(1.1):
        _band(builder, (xs[0] + 4.5, xs[1] - 1.5), y, (0.45, 0.95), (70, 70, 73))
    return length


def _tipper_body(builder: MeshBuilder, rng: np.random.Generator) -> float:
    length, top, paint = rng.uniform(7.0, 8.5), rng.uniform(2.0, 2.7), _pick(rng)
    xs = (-length / 2, length / 2 - 2.3)
    half = _cargo(builder, xs, (1.0, top), paint)
    builder.polygon([(xs[0] + 0.1, -1.15, top + 0.01), (xs[1], -1.15, top + 0.01), (xs[1], 1.15, top + 0.01),
                     (xs[0] + 0.1, 1.15, top + 0.01)], (95, 82, 66))  # fmt: skip
    for y in _both(half):
        for x in np.linspace(xs[0], xs[1] - 0.15, 6).tolist():
            _band(builder, (x, x + 0.14), y, (1.0, top), shade(paint, 0.75))
    for y0 in (-1.25, -0.45, 0.4, 1.1):
        panel(builder, xs[0] - 0.01, (y0, y0 + 0.12), (1.0, top), shade(paint, 0.75))
    return length


def _tanker_body(builder: MeshBuilder, rng: np.random.Generator) -> float:
    length, radius = rng.uniform(8.5, 13.0), rng.uniform(0.95, 1.15)
    front, rear, middle = length / 2 - 2.4, -length / 2, 1.15 + radius
    paint = mix(_pick(rng), (205, 207, 210), rng.uniform(0.2, 1))
    builder.part(((front + rear) / 2, 0, middle), 1)
    angles = np.linspace(0, 2 * np.pi, 15)
    ring = [(float(np.cos(a)) * radius * 1.08, middle + float(np.sin(a)) * radius) for a in angles]
    for (y0, z0), (y1, z1) in pairwise(ring):
        builder.polygon([(front, y0, z0), (rear, y0, z0), (rear, y1, z1), (front, y1, z1)], paint)
    for x in (front, rear):
        builder.polygon([(x, y, z) for y, z in ring[:-1]], shade(paint, 0.95))
    panel(builder, rear - 0.01, (-0.3, 0.3), (middle - 0.3, middle + 0.1), (220, 130, 40))
    return length


def _rear_doors(builder: MeshBuilder, x: float, half: float, zs: tuple[float, float], paint: Colour) -> None:
    low, high = zs
    for y in (-half * 0.98, -0.02, half * 0.95):
        panel(builder, x - 0.01, (y, y + 0.05), (low, high), shade(paint, 0.6))
    for y in (-half * 0.5, -half * 0.2, half * 0.2, half * 0.5):
        panel(builder, x - 0.012, (y, y + 0.04), (low + 0.1, high - 0.1), (130, 132, 135))
    for side in (-1, 1):
        panel(builder, x - 0.014, (side * half, side * half * 0.8), (low, low + 0.08), (200, 60, 50))


def _advert(
    builder: MeshBuilder, xs: tuple[float, float], half: float, zs: tuple[float, float], rng: np.random.Generator
) -> None:
    """Blocks and strokes like a logo with letters on both sides."""
    if rng.random() < 0.25:
        return
    ground, ink = _pick(rng), _pick(rng)
    long, tall = xs[1] - xs[0], zs[1] - zs[0]
    x0, z0 = xs[0] + long * rng.uniform(0.08, 0.3), zs[0] + tall * rng.uniform(0.15, 0.4)
    x1, z1 = x0 + long * rng.uniform(0.4, 0.6), z0 + tall * rng.uniform(0.25, 0.5)
    widths = rng.uniform(0.5, 1.0, 7)
    for y in _both(half):
        _band(builder, (x0, x1), y * 1.004, (z0, z1), ground)
        step = (x1 - x0) / 8
        for index, wide in enumerate(widths.tolist()):
            left = x0 + step * (index + 0.5)
            _band(
                builder, (left, left + step * 0.7 * wide), y * 1.006, (z0 + 0.15 * (z1 - z0), z1 - 0.2 * (z1 - z0)), ink
            )


def _shell(
    builder: MeshBuilder,
    size: tuple[float, float, float, float],
    paint: Colour,
    second: Colour,
    rng: np.random.Generator,
) -> None:
    length, half, low, top = size
    end = length / 2
    builder.part((0, 0, 0.4), 0)
    builder.box((-end + 0.4, -half + 0.2, 0.15), (end - 0.4, half - 0.2, 0.5), (18, 18, 18))
    builder.part((0, 0, top / 2), 1)
    sections: list[Section] = [
        (end, half * 0.95, low, top - 0.12),
        (end - 0.2, half, low, top),
        (-end + 0.15, half, low, top),
        (-end, half * 0.97, low, top - 0.1),
    ]
    loft(builder, sections, paint, second if rng.random() < 0.5 else shade(paint, 0.8))
    _advert(builder, (-end, end), half, (low + 0.1, low + 1.1), rng)


def _window_row(
    builder: MeshBuilder, size: tuple[float, float], zs: tuple[float, float], panes: int, rng: np.random.Generator
) -> None:
    length, half = size
    glass = mix(GLASS, (85, 98, 108), rng.uniform(0, 0.6))
    edges = np.linspace(-length / 2 + 0.3, length / 2 - 0.35, panes + 1).tolist()
    for y in _both(half):
        _band(builder, (edges[0], edges[-1]), y, zs, shade(glass, 0.6))
        for x0, x1 in pairwise(edges):
            _band(builder, (x0 + 0.04, x1 - 0.04), y * 1.001, (zs[0] + 0.04, zs[1] - 0.04), glass)
            if rng.random() < 0.7:
                top = zs[0] + (zs[1] - zs[0]) * rng.uniform(0.5, 0.8)
                _band(
                    builder, (x0 + 0.04, x1 - 0.04), y * 1.002, (top, zs[1] - 0.04), mix(glass, (165, 180, 195), 0.35)
                )
            head = x0 + (x1 - x0) * rng.uniform(0.2, 0.7)
            _band(builder, (head, head + 0.25), y * 1.003, (zs[0] + 0.05, zs[0] + 0.45), shade(glass, 0.5))


def _bus_doors(builder: MeshBuilder, length: float, half: float, rng: np.random.Generator) -> None:
    y = -half - 0.018
    for x in (length / 2 - 1.4, rng.uniform(-0.6, 0.4)):
        _band(builder, (x - 0.6, x + 0.6), y, (0.35, 2.5), (40, 42, 45))
        for left in (x - 0.54, x + 0.04):
            _band(builder, (left, left + 0.5), y - 0.003, (0.55, 2.4), (88, 98, 106))


def _bus_front(builder: MeshBuilder, x: float, half: float, zs: tuple[float, float], rng: np.random.Generator) -> None:
    low, top = zs
    glass, wide = mix(GLASS, (90, 104, 116), rng.uniform(0, 0.7)), half * 0.9
    panel(builder, x + 0.01, (-wide, wide), (low, top - 0.2), shade(glass, 0.7))
    panel(builder, x + 0.013, (-wide * 0.96, wide * 0.96), (low + 0.06, top - 0.62), glass)
    panel(builder, x + 0.015, (-wide * 0.9, wide * 0.1), (low + 0.7, top - 0.7), mix(glass, (160, 175, 190), 0.3))
    panel(builder, x + 0.015, (-wide * 0.75, wide * 0.75), (top - 0.52, top - 0.26), (18, 18, 18))
    for y in np.linspace(-wide * 0.6, wide * 0.5, 7).tolist():
        panel(builder, x + 0.018, (y, y + 0.14), (top - 0.46, top - 0.32), (255, 170, 40), 0)
    _plate_and_lamps(builder, x + 0.01, half * 0.9, 0.5, (215.0, 218.0, 225.0))


def _bus_rear(builder: MeshBuilder, x: float, half: float, zs: tuple[float, float], rng: np.random.Generator) -> None:
    low, top = zs
    glass, wide = mix(GLASS, (80, 92, 102), rng.uniform(0, 0.6)), half * 0.82
    panel(builder, x - 0.01, (-wide, wide), (low + 0.35, top - 0.4), glass)
    panel(builder, x - 0.013, (-wide, wide * 0.3), (low + 0.9, top - 0.42), mix(glass, (155, 170, 185), 0.3))
    panel(builder, x - 0.01, (-wide, wide), (0.55, low + 0.1), shade(_DARK, rng.uniform(1, 2.5)))
    for z in np.linspace(0.65, low, 5).tolist():
        panel(builder, x - 0.014, (-wide * 0.9, wide * 0.9), (z, z + 0.03), (85, 85, 88))
    for side in (-1, 1):
        outer, inner = side * half * 0.96, side * half * 0.84
        panel(builder, x - 0.012, (inner, outer), (0.75, 1.35), (165, 22, 22))
        panel(builder, x - 0.012, (inner, outer), (1.38, 1.55), (225, 135, 45))
    panel(builder, x - 0.016, (-0.26, 0.26), (0.5, 0.62), (226, 226, 210))


def _tram_section(
    builder: MeshBuilder,
    size: tuple[float, float, float, float],
    paints: tuple[Colour, Colour],
    ends: tuple[bool, bool],
    rng: np.random.Generator,
) -> None:
    middle, length, half, top = size
    front, rear = middle + length / 2, middle - length / 2
    builder.part((middle, 0, top / 2), 1)
    nose: list[Section] = [(front + 0.45, half * 0.72, 0.35, top - 0.5), (front - 0.4, half, 0.3, top)]
    stern: list[Section] = [(rear + 0.4, half, 0.3, top), (rear - 0.45, half * 0.72, 0.35, top - 0.5)]
    blunt_front, blunt_rear = [(front, half, 0.3, top)], [(rear, half, 0.3, top)]
    loft(builder, (nose if ends[0] else blunt_front) + (stern if ends[1] else blunt_rear), paints[0], paints[1])
    glass, inner = mix(GLASS, (80, 92, 102), rng.uniform(0, 0.5)), (rear + 0.5, front - 0.5)
    for y in _both(half):
        _band(builder, inner, y, (1.35, top - 0.75), shade(glass, 0.7))
        for x in np.linspace(inner[0], inner[1], 5).tolist()[:-1]:
            _band(builder, (x + 0.06, x + (inner[1] - inner[0]) / 4 - 0.06), y * 1.002, (1.42, top - 0.82), glass)
            _band(
                builder,
                (x + 0.06, x + (inner[1] - inner[0]) / 4 - 0.06),
                y * 1.003,
                (2.1, top - 0.82),
                mix(glass, (160, 175, 190), 0.3),
            )
        _band(builder, (middle - 0.65, middle + 0.65), y * 1.004, (0.45, top - 0.7), (52, 54, 57))
        for x in (middle - 0.58, middle + 0.05):
            _band(builder, (x, x + 0.53), y * 1.005, (0.75, top - 0.8), (92, 102, 110))
        _band(builder, (rear + 0.3, front - 0.3), y * 1.001, (top - 0.6, top - 0.45), paints[1])


def _tram_ends(builder: MeshBuilder, end: float, half: float, top: float, rng: np.random.Generator) -> None:
    glass = mix(GLASS, (85, 98, 110), rng.uniform(0, 0.6))
    for side in (-1, 1):
        x = side * (end + 0.21)
        builder.part((side * (end - 1.0), 0, 1.5), 2)
        wide = half * 0.66
        panel(builder, x, (-wide, wide), (1.3, top - 0.75), glass)
        panel(builder, x + side * 0.004, (-wide, wide * 0.2), (1.9, top - 0.8), mix(glass, (160, 175, 190), 0.3))
        panel(builder, x + side * 0.004, (-wide * 0.7, wide * 0.7), (top - 0.73, top - 0.55), (20, 20, 20))
        panel(builder, x + side * 0.008, (-wide * 0.5, wide * 0.4), (top - 0.69, top - 0.59), (250, 175, 50), 0)
        lamp: Colour = (240, 240, 225) if side > 0 else (190, 30, 28)
        for across in (-1, 1):
            panel(builder, x, (across * wide, across * wide * 0.75), (0.85, 1.05), lamp, 0)


def _pantograph(builder: MeshBuilder, top: float) -> None:
    builder.limb([(0.9, 0, top, 0.03), (0, 0, top + 0.6, 0.03)], (45, 45, 48), 3)
    builder.limb([(0, 0, top + 0.6, 0.03), (0.7, 0, top + 1.2, 0.03)], (45, 45, 48), 3)
    builder.limb([(0.7, -0.7, top + 1.2, 0.03), (0.7, 0.7, top + 1.2, 0.03)], (45, 45, 48), 3)


MAKERS: dict[str, tuple[Callable[[int], Mesh], int]] = {
    "truck": (truck, TRUCKS),
    "bus": (bus, BUSES),
    "train": (train, TRAINS),
}
"""Maker and number of variants by class name."""
