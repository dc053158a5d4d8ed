"""Dogs and birds of the everyday views."""

from math import cos, sin

import numpy as np

from training.data.everyday_solids import scaled, tilted
from training.data.street_mesh import LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, Point, mix, shade

_COATS: tuple[Colour, ...] = (
    (150, 105, 62), (196, 158, 108), (38, 34, 32), (92, 62, 42), (225, 215, 198), (120, 112, 106), (168, 88, 44),
)  # fmt: skip
_PLUMAGES: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((128, 134, 146), (96, 102, 118), (70, 95, 85)),
    ((240, 240, 238), (150, 156, 164), (240, 240, 238)),
    ((34, 34, 40), (26, 26, 30), (34, 34, 40)),
    ((186, 80, 45), (104, 84, 64), (110, 88, 66)),
    ((60, 150, 70), (40, 110, 55), (205, 60, 45)),
    ((70, 120, 190), (48, 84, 150), (60, 110, 180)),
    ((140, 108, 76), (104, 78, 54), (40, 96, 62)),
    ((232, 190, 60), (70, 66, 58), (232, 190, 60)),
)  # fmt: skip
"""Body, wings and head of pigeons, gulls, crows, robins, parrots, jays, ducks and canaries."""


def dog(rng: np.random.Generator) -> Mesh:
    """A dog that stands, walks or sits, looking ahead."""
    builder = MeshBuilder()
    coat = shade(_COATS[int(rng.integers(len(_COATS)))], rng.uniform(0.85, 1.12))
    second = _COATS[int(rng.integers(len(_COATS)))] if rng.random() < 0.5 else mix(coat, (240, 232, 220), 0.4)
    size, fat = rng.uniform(0.7, 1.15), rng.uniform(0.9, 1.25)
    sits = rng.random() < 0.3
    back = (-0.24, 0.0, 0.24 if sits else 0.5)
    chest = (0.18, 0.0, 0.47 if sits else 0.49)
    rear, front = ((*back, 0.14 * fat), (*chest, 0.145 * fat))
    builder.limb([rear, ((back[0] + chest[0]) / 2, 0, (back[2] + chest[2]) / 2 - 0.01, 0.125 * fat), front], coat, 1)
    if rng.random() < 0.5:
        builder.limb([(chest[0] + 0.05, 0, chest[2] - 0.05, 0.11 * fat)], second, 1)
    _legs(builder, back, chest, sits, 0.9 * rng.random() * (not sits), (coat, second if rng.random() < 0.4 else coat))
    _tail(builder, back, coat, rng)
    _dog_head(builder, chest, coat, second, rng)
    if rng.random() < 0.5:
        collar = (190.0, 40.0, 45.0) if rng.random() < 0.5 else (40.0, 80.0, 160.0)
        x, z = chest[0] + 0.13, chest[2] + 0.12
        builder.limb([(x, y, z, 0.035) for y in (-0.07, 0.07)], collar, 2)
    return scaled(builder.build(), size)


def _legs(
    builder: MeshBuilder, back: Point, chest: Point, sits: bool, stride: float, coats: tuple[Colour, Colour]
) -> None:
    for side in (-1, 1):
        y = side * 0.085
        swing = stride * side * 0.35
        knee = (chest[0] + 0.5 * swing * 0.4 - 0.01, y, 0.25)
        foot = (chest[0] + swing * 0.4, y, 0.03)
        builder.limb([(chest[0], y, chest[2] - 0.03, 0.075), (*knee, 0.042)], coats[0], 0)
        builder.limb([(*knee, 0.042), (*foot, 0.032)], coats[1], 0)
        builder.limb([(*foot, 0.032), (foot[0] + 0.05, y, 0.025, 0.03)], coats[1], 0)
        if sits:
            thigh = (back[0] + 0.2, y * 1.5, 0.12)
            builder.limb([(back[0], y, back[2] - 0.05, 0.12), (*thigh, 0.08)], coats[0], 2)
            builder.limb(
                [(thigh[0] - 0.05, y * 1.6, 0.035, 0.035), (thigh[0] + 0.12, y * 1.6, 0.03, 0.032)], coats[1], 2
            )
            continue
        hock = (back[0] - 0.1 - swing * 0.25, y, 0.2)
        paw = (back[0] - 0.03 - swing * 0.4, y, 0.03)
        builder.limb([(back[0], y, back[2] - 0.02, 0.1), (back[0] + 0.03 - swing * 0.1, y, 0.3, 0.055)], coats[0], 0)
        builder.limb([(back[0] + 0.03 - swing * 0.1, y, 0.3, 0.055), (*hock, 0.036)], coats[0], 0)
        builder.limb([(*hock, 0.034), (*paw, 0.03)], coats[1], 0)
        builder.limb([(*paw, 0.03), (paw[0] + 0.05, y, 0.025, 0.028)], coats[1], 0)


def _tail(builder: MeshBuilder, back: Point, coat: Colour, rng: np.random.Generator) -> None:
    root = (back[0] - 0.12, 0.0, back[2] + 0.06)
    rise, sway, long = rng.uniform(-0.3, 1.3), rng.uniform(-0.6, 0.6), rng.uniform(0.12, 0.2)
    middle = (root[0] - long * cos(rise), long * sin(sway) * 0.6, root[2] + long * sin(rise))
    end = (middle[0] - long * cos(rise + 0.5), long * sin(sway), middle[2] + long * sin(rise + 0.5))
    builder.limb([(*root, 0.045), (*middle, 0.036)], coat, 0)
    builder.limb([(*middle, 0.036), (*end, 0.02)], coat, 0)


def _dog_head(builder: MeshBuilder, chest: Point, coat: Colour, second: Colour, rng: np.random.Generator) -> None:
    nod, aside = rng.uniform(-0.05, 0.09), rng.uniform(-0.06, 0.06)
    head = (chest[0] + 0.23, aside, chest[2] + 0.24 + nod)
    builder.limb(
        [(chest[0] + 0.04, 0, chest[2] + 0.05, 0.115), (head[0] - 0.03, aside, head[2] - 0.03, 0.085)], coat, 1
    )
    builder.limb([(head[0] - 0.01, aside, head[2], 0.1), (head[0] + 0.05, aside, head[2] - 0.005, 0.085)], coat, 2)
    long = rng.uniform(0.1, 0.19)
    snout = (head[0] + 0.06 + long, aside * 1.4, head[2] - 0.05)
    builder.limb([(head[0] + 0.06, aside, head[2] - 0.035, 0.06), (*snout, 0.04)], mix(coat, second, 0.7), 3)
    builder.limb([(snout[0] + 0.035, snout[1], snout[2] + 0.02, 0.022)], (22, 20, 20), 4)
    pricked = rng.random() < 0.45
    for side in (-1, 1):
        builder.part((head[0] + 0.1, aside + side * 0.05, head[2] + 0.04), 4)
        builder.blob([(head[0] + 0.115, aside + side * 0.05, head[2] + 0.035, 0.014)], (18, 16, 16))
        y = aside + side * 0.08
        if pricked:
            ear = [(head[0] - 0.02, y, head[2] + 0.07, 0.035), (head[0] - 0.03, y * 1.2, head[2] + 0.18, 0.01)]
        else:
            ear = [
                (head[0] - 0.02, y, head[2] + 0.05, 0.035),
                (head[0] + 0.0, aside + side * 0.12, head[2] - 0.1, 0.035),
            ]
        builder.limb(ear, shade(coat, 0.72), 3)


def bird(rng: np.random.Generator, kind: str) -> Mesh:
    """A bird that stands, swims without legs (``afloat``) or flies with its wings spread (``flying``)."""
    builder = MeshBuilder()
    body, wing, hood = _PLUMAGES[int(rng.integers(len(_PLUMAGES)))]
    body, wing = shade(body, rng.uniform(0.85, 1.1)), shade(wing, rng.uniform(0.85, 1.1))
    flying, afloat = kind == "flying", kind == "afloat"
    lift = 0.02 if afloat else 0.11
    bend = 0.02 if flying or afloat else rng.uniform(0.02, 0.1)
    breast, rump = (0.07, 0.0, lift + 0.06 + bend), (-0.07, 0.0, lift + 0.06)
    builder.limb([(*breast, 0.066), (*rump, 0.048), (0.0, 0.0, lift + 0.05, 0.066)], body, 1)
    _tail_feathers(builder, rump, wing)
    long = rng.uniform(0.03, 0.05) if not afloat else rng.uniform(0.05, 0.09)
    head = (breast[0] + 0.06, 0.0, breast[2] + 0.04 + (0.02 if flying else long))
    builder.limb([(breast[0] + 0.01, 0, breast[2] + 0.02, 0.05), (*head, 0.042)], hood, 1)
    builder.limb([(*head, 0.046)], hood, 2)
    _beak(builder, head, rng)
    for side in (-1, 1):
        if flying:
            _spread(builder, breast, side, rng.uniform(-0.1, 0.8), wing)
        else:
            folded = [(0.08, side * 0.055, breast[2] + 0.01, 0.028), (-0.02, side * 0.07, lift + 0.07, 0.04),
                      (-0.19, side * 0.03, lift + 0.05, 0.012)]  # fmt: skip
            builder.limb(folded, wing, 2)
            bar = [(-0.02, side * 0.1, lift + 0.07, 0.012), (-0.1, side * 0.075, lift + 0.055, 0.012)]
            builder.limb(bar, shade(wing, 0.6), 3)
        if kind == "standing":
            y = side * 0.03
            builder.limb([(0.0, y, lift + 0.03, 0.008), (0.0, y, 0.01, 0.006)], (190, 110, 60), 0)
            builder.limb([(-0.01, y, 0.006, 0.006), (0.045, y, 0.006, 0.006)], (190, 110, 60), 0)
    made = builder.build()
    made = tilted(made, rng.normal(0.05, 0.25), rng.normal(0, 0.45), lift) if flying else made
    return scaled(made, rng.uniform(0.9, 1.5))


def _tail_feathers(builder: MeshBuilder, rump: Point, wing: Colour) -> None:
    x, _, z = rump
    builder.part((x - 0.1, 0, z), 1)
    fan = [(x - 0.02, 0.028, z + 0.01), (x - 0.17, 0.045, z - 0.005), (x - 0.17, -0.045, z - 0.005),
           (x - 0.02, -0.028, z + 0.01)]  # fmt: skip
    builder.polygon(fan, shade(wing, 0.8), LIT | TWO_SIDED)
    builder.limb([(x, 0, z, 0.035), (x - 0.14, 0, z, 0.012)], shade(wing, 0.9), 1)


def _beak(builder: MeshBuilder, head: Point, rng: np.random.Generator) -> None:
    x, _, z = head
    tip = x + rng.uniform(0.085, 0.12)
    colour = ((225, 160, 50), (60, 56, 54), (210, 100, 45))[int(rng.integers(3))]
    builder.limb([(x + 0.035, 0, z - 0.004, 0.016), (tip, 0, z - 0.012, 0.004)], colour, 3)
    for side in (-1, 1):
        builder.limb([(x + 0.022, side * 0.036, z + 0.012, 0.0085)], (14, 14, 14), 4)


def _spread(builder: MeshBuilder, breast: Point, side: int, rise: float, wing: Colour) -> None:
    """Arm, and two rows of feathers whose outer one is darker."""
    x, _, z = breast
    elbow = (x + 0.03, side * 0.17, z + 0.02 + 0.13 * sin(rise))
    tip = (x - 0.04, side * 0.4, z + 0.02 + 0.3 * sin(rise * 0.8))
    root = (x, side * 0.04, z + 0.02)
    builder.part(elbow, 2)
    inner = [root, elbow, (elbow[0] - 0.14, elbow[1] * 1.02, elbow[2] - 0.01), (x - 0.16, side * 0.04, z)]
    outer = [elbow, tip, (tip[0] - 0.06, tip[1] * 0.97, tip[2]), (elbow[0] - 0.14, elbow[1] * 1.02, elbow[2] - 0.01)]
    builder.polygon(inner, wing, LIT | TWO_SIDED)
    builder.polygon(outer, shade(wing, 0.85), LIT | TWO_SIDED)
    tips = [((tip[0] + a) * 0.5 + 0.5 * (tip[0] - 0.06), tip[1] * b, tip[2]) for a, b in ((0.0, 1.0), (-0.05, 0.93))]
    end = [tip, (tips[0][0], tips[0][1] * 1.04, tips[0][2]), (tip[0] - 0.06, tip[1] * 0.97, tip[2]),
           (elbow[0] - 0.14, elbow[1] * 1.3, (elbow[2] + tip[2]) / 2), (elbow[0] - 0.1, elbow[1] * 1.3,
           (elbow[2] + tip[2]) / 2)]  # fmt: skip
    builder.polygon(end, shade(wing, 0.62), LIT | TWO_SIDED)
    builder.limb([(*root, 0.025), (*elbow, 0.016)], wing, 3)
    builder.limb([(*elbow, 0.016), (*tip, 0.006)], wing, 3)
