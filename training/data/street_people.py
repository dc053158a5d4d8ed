"""Persons of the synthetic street: a jointed skeleton dressed in tapering limbs."""

from dataclasses import dataclass
from itertools import pairwise
from math import cos, sin

import numpy as np

from training.data.street_mesh import LIT, TWO_SIDED, Colour, Mesh, MeshBuilder, Point, mix, shade

_SKINS: tuple[Colour, ...] = (
    (236, 196, 170),
    (225, 180, 150),
    (198, 150, 118),
    (150, 105, 78),
    (105, 70, 52),
    (82, 56, 44),
)
_HAIRS: tuple[Colour, ...] = ((32, 26, 24), (60, 42, 30), (105, 75, 48), (160, 130, 85), (150, 148, 145), (40, 34, 32))
_CLOTHES: tuple[Colour, ...] = (
    (38, 40, 46), (52, 55, 62), (30, 30, 33), (70, 76, 88), (120, 118, 112), (168, 160, 146), (215, 212, 205),
    (90, 40, 42), (160, 45, 45), (45, 65, 105), (70, 105, 150), (60, 85, 62), (120, 100, 72), (190, 140, 60),
    (205, 120, 130), (120, 80, 120), (225, 220, 215), (85, 72, 60), (235, 110, 40), (50, 110, 115),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = ((38, 42, 55), (48, 56, 76), (62, 74, 100), (28, 28, 31), (95, 92, 88), (140, 125, 100),
                                 (75, 66, 58), (55, 55, 58))  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How one person is built and dressed; ``height`` in metres, colours RGB 0-255."""

    height: float
    girth: float
    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    shoes: Colour
    garment: int
    long_hair: bool
    bag: int
    umbrella: bool
    helmet: Colour


def draw_look(rng: np.random.Generator, child_share: float = 0.1) -> Look:
    """A random person."""
    child = rng.random() < child_share
    top = shade(_pick(_CLOTHES, rng), rng.uniform(0.8, 1.15))
    return Look(
        height=rng.uniform(1.0, 1.45) if child else rng.normal(1.71, 0.08),
        girth=rng.uniform(0.88, 1.22),
        skin=shade(_pick(_SKINS, rng), rng.uniform(0.9, 1.08)),
        hair=_pick(_HAIRS, rng),
        top=top,
        legs=shade(_pick(_TROUSERS, rng), rng.uniform(0.8, 1.2)),
        shoes=_pick(((28, 26, 26), (60, 48, 40), (210, 208, 205), (40, 40, 48)), rng),
        garment=int(rng.choice(5, p=[0.45, 0.2, 0.14, 0.11, 0.1])),
        long_hair=bool(rng.random() < 0.4),
        bag=int(rng.choice(4, p=[0.5, 0.18, 0.17, 0.15])),
        umbrella=bool(rng.random() < 0.025),
        helmet=_pick(((235, 235, 232), (30, 30, 32), (190, 40, 40), (50, 80, 150), (200, 200, 60)), rng),
    )


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def walker(look: Look, phase: float, stride: float) -> Mesh:
    """A standing or walking person; ``phase`` in radians, ``stride`` 0 (stands) to 1 (walks briskly)."""
    builder = MeshBuilder()
    tall = look.height
    hip, shoulder = 0.52 * tall, 0.815 * tall
    for side in (-1, 1):
        swing = sin(phase) * side * 0.48 * stride
        bend = max(0.0, cos(phase) * side) * 0.75 * stride + 0.04
        _leg(builder, look, side, hip, swing, bend)
        _arm(builder, look, side, shoulder, -swing * 0.9, 0.2 + 0.35 * stride)
    _trunk(builder, look, (0.0, hip), (0.02 * stride * tall, shoulder))
    head = (0.03 * stride * tall + 0.01, 0.0, 0.925 * tall)
    _head(builder, look, head)
    _carried(builder, look, hip, shoulder)
    return builder.build()


def sitter(
    look: Look, hip: Point, shoulder: Point, hands: tuple[Point, Point], feet: tuple[Point, Point], cover: int = 0
) -> Mesh:
    """A rider: hips, shoulders (middle), hands and feet (left, right) are given in the machine's axes.

    ``cover`` 0 is a bare head, 1 a cycle helmet, 2 a full motorcycle helmet.
    """
    builder = MeshBuilder()
    scale = look.height / 1.72
    for side, hand, foot in zip((1, -1), hands, feet, strict=True):
        top = (hip[0], hip[1] + side * 0.09, hip[2])
        knee = _elbow(top, foot, 0.43 * scale, 0.43 * scale, ahead=1.0)
        knee = (knee[0], knee[1] + side * 0.07, knee[2])
        _limbs(builder, [top, knee, foot], (0.088, 0.062, 0.045), (look.legs, look.legs))
        toe = (foot[0] + 0.14, foot[1], foot[2] - 0.03)
        builder.limb([(*foot, 0.05), (*toe, 0.04)], look.shoes, 1)
        root = (shoulder[0], shoulder[1] + side * 0.18, shoulder[2])
        elbow = _elbow(root, hand, 0.29 * scale, 0.27 * scale, ahead=-0.35)
        elbow = (elbow[0], elbow[1] + side * 0.08, elbow[2])
        _limbs(builder, [root, elbow, hand], (0.062, 0.048, 0.035), (look.top, look.top))
        builder.limb([(*hand, 0.05)], shade(look.shoes, 0.9), 1)
    _trunk(builder, look, (hip[0], hip[2]), (shoulder[0], shoulder[2]), folded=True)
    lean = shoulder[0] - hip[0]
    head = (shoulder[0] + 0.06 + lean * 0.25, 0.0, shoulder[2] + 0.21 * scale)
    _head(builder, look, head)
    if cover:
        _helmet(builder, look, head, full=cover == 2)
    if look.bag == 1:
        _backpack(builder, look, (hip[0] + shoulder[0]) / 2 - 0.2, (hip[2] + shoulder[2]) / 2)
    return builder.build()


def _leg(builder: MeshBuilder, look: Look, side: int, hip: float, swing: float, bend: float) -> None:
    tall, fat = look.height, look.girth
    thigh, shin = 0.245 * tall, 0.235 * tall
    y = side * 0.055 * tall
    top = (0.0, y, hip)
    knee = (thigh * sin(swing), y, hip - thigh * cos(swing))
    foot = (knee[0] + shin * sin(swing - bend), y * 0.95, max(0.05, knee[2] - shin * cos(swing - bend)))
    shin_colour = look.skin if look.garment in (3, 4) else look.legs
    _limbs(builder, [top, knee, foot], (0.054 * tall * fat, 0.036 * tall, 0.024 * tall), (look.legs, shin_colour))
    toe = (foot[0] + 0.085 * tall, foot[1], max(0.03, foot[2] - 0.035))
    builder.limb(
        [(*foot, 0.026 * tall), (foot[0] - 0.02, foot[1], toe[2], 0.026 * tall), (*toe, 0.02 * tall)], look.shoes
    )


def _arm(builder: MeshBuilder, look: Look, side: int, shoulder: float, swing: float, bend: float) -> None:
    tall = look.height
    y = side * 0.115 * tall * look.girth
    top = (0.0, y, shoulder)
    elbow = (0.165 * tall * sin(swing), y * 1.12, shoulder - 0.165 * tall * cos(swing))
    hand = (elbow[0] + 0.15 * tall * sin(swing + bend), y * 1.1, elbow[2] - 0.15 * tall * cos(swing + bend))
    lower = look.skin if look.garment in (2, 4) else look.top
    _limbs(builder, [top, elbow, hand], (0.036 * tall, 0.027 * tall, 0.02 * tall), (look.top, lower))
    builder.limb([(*hand, 0.024 * tall), (hand[0] + 0.01, hand[1], hand[2] - 0.035 * tall, 0.018 * tall)], look.skin)


def _limbs(
    builder: MeshBuilder, joints: list[Point], radii: tuple[float, float, float], colours: tuple[Colour, Colour]
) -> None:
    for index in (1, 0):
        start, end = joints[index], joints[index + 1]
        middle: Point = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
        builder.part(middle)
        builder.blob([(*start, radii[index]), (*end, radii[index + 1])], colours[index])


def _trunk(
    builder: MeshBuilder, look: Look, hip: tuple[float, float], shoulder: tuple[float, float], folded: bool = False
) -> None:
    """Torso from (x, z) of the hips to (x, z) of the shoulders, with what is worn over it."""
    tall, fat = look.height, look.girth
    (hx, hz), (sx, sz) = hip, shoulder
    wide, deep = 0.088 * tall * fat, 0.062 * tall * fat
    builder.part(((hx + sx) / 2, 0, (hz + sz) / 2))
    builder.blob([(hx, y, hz, deep) for y in (-0.035 * tall, 0.035 * tall)], look.legs)
    low = hz + (0.02 * tall if look.garment != 1 or folded else -0.13 * tall)
    chest = [(sx, y, sz - 0.03 * tall, deep * 0.85) for y in (-wide, wide)]
    waist = [(hx, y, low, deep * 0.98) for y in (-0.045 * tall, 0.045 * tall)]
    builder.blob(chest + waist, look.top)
    if look.garment in (3, 4) and not folded:
        hem = [(hx, y, hz - 0.19 * tall, deep * 1.05) for y in (-0.06 * tall, 0.06 * tall)]
        builder.blob(waist + hem, look.top if look.garment == 4 else look.legs)
    if look.garment == 0:
        _stripe(builder, look, (hx, hz), (sx, sz))


def _stripe(builder: MeshBuilder, look: Look, hip: tuple[float, float], shoulder: tuple[float, float]) -> None:
    """An open jacket: the shirt shows in front."""
    (hx, hz), (sx, sz) = hip, shoulder
    ahead, shirt = 0.066 * look.height * look.girth, mix(look.top, (230, 228, 222), 0.75)
    x0, x1 = hx + ahead, sx + ahead * 0.9
    builder.polygon(
        [(x0, -0.04, hz + 0.05), (x0, 0.04, hz + 0.05), (x1, 0.06, sz - 0.05), (x1, -0.06, sz - 0.05)], shirt
    )


def _head(builder: MeshBuilder, look: Look, at: Point) -> None:
    x, y, z = at
    size = 0.058 * look.height if look.height > 1.5 else 0.068 * look.height
    builder.part((x, y, z))
    builder.blob(
        [(x - 0.02, y, z - size * 1.6, size * 0.62), (x - 0.02, y, z - size, size * 0.6)], shade(look.skin, 0.85)
    )
    if look.long_hair:
        builder.blob(
            [(x - size * 0.4, y, z + size * 0.1, size), (x - size * 0.5, y, z - size * 1.7, size * 0.75)], look.hair
        )
    builder.blob([(x, y, z + size * 0.35, size * 0.95), (x + size * 0.12, y, z - size * 0.45, size * 0.72)], look.skin)
    builder.part((x - size * 0.35, y, z + size * 0.3))
    hair = [(x - size * 0.3, y, z + size * 0.55, size * 0.95), (x - size * 0.5, y, z - size * 0.1, size * 0.8)]
    builder.blob(hair, look.hair)


def _helmet(builder: MeshBuilder, look: Look, at: Point, full: bool) -> None:
    """A cycle helmet, or a full motorcycle helmet with a dark visor."""
    x, y, z = at
    size = 0.078 * look.height if full else 0.066 * look.height
    if not full:
        builder.limb([(x - 0.05, y, z + 0.06, size), (x + 0.05, y, z + 0.065, size * 0.85)], look.helmet, 1)
        return
    builder.limb([(x, y, z + 0.02, size), (x + 0.03, y, z - 0.05, size * 0.9)], look.helmet)
    builder.part((x + size, y, z))
    builder.blob([(x + size * 0.72, side * size * 0.45, z + 0.02, size * 0.36) for side in (-1, 1)], (26, 28, 32))


def _carried(builder: MeshBuilder, look: Look, hip: float, shoulder: float) -> None:
    tall = look.height
    colour = shade(look.shoes, 1.1) if look.bag != 3 else (200, 195, 185)
    if look.bag == 1:
        _backpack(builder, look, -0.105 * tall, (hip + shoulder) / 2 + 0.04)
    elif look.bag == 2:
        y = -0.14 * tall
        builder.limb([(0, y, hip + 0.05, 0.06), (0, y, hip - 0.1, 0.075), (0.12, y, hip - 0.1, 0.07)], colour)
        builder.limb([(0, y * 0.85, shoulder, 0.014), (0, y, hip, 0.014)], colour)
    elif look.bag == 3:
        y = 0.145 * tall
        builder.limb(
            [
                (-0.1, y, 0.3 * tall, 0.02),
                (0.12, y, 0.3 * tall, 0.02),
                (0.1, y, 0.42 * tall, 0.02),
                (-0.1, y, 0.42 * tall, 0.02),
            ],
            colour,
        )
    if look.umbrella:
        _umbrella(builder, look)


def _backpack(builder: MeshBuilder, look: Look, x: float, z: float) -> None:
    colour = mix(look.legs, look.helmet, 0.4)
    builder.limb([(x, side * 0.07, z + up, 0.085) for side in (-1, 1) for up in (-0.11, 0.12)], colour)


def _umbrella(builder: MeshBuilder, look: Look) -> None:
    top = look.height + 0.35
    builder.limb([(0.12, -0.15, look.height * 0.6, 0.012), (0.12, -0.15, top, 0.012)], (40, 40, 42))
    builder.part((0.12, -0.15, top - 0.5), 2)
    rim = [(0.12 + 0.5 * cos(a), -0.15 + 0.5 * sin(a), top - 0.2) for a in np.linspace(0, 2 * np.pi, 9).tolist()]
    for index, (first, second) in enumerate(pairwise(rim)):
        builder.polygon(
            [first, second, (0.12, -0.15, top)], shade(look.helmet, 0.8 + 0.12 * (index % 2)), LIT | TWO_SIDED
        )


def _elbow(root: Point, tip: Point, first: float, second: float, ahead: float) -> Point:
    """The middle joint of a two-part limb in the x-z plane; it bends to the front if ``ahead`` is positive."""
    dx, dz = tip[0] - root[0], tip[2] - root[2]
    span = max((dx * dx + dz * dz) ** 0.5, 1e-6)
    along = span * first / (first + second)
    out = max(first * first - along * along, 0.0) ** 0.5
    sign = 1.0 if ahead > 0 else -1.0
    y = root[1] + (tip[1] - root[1]) * along / span
    return root[0] + dx / span * along - dz / span * out * sign, y, root[2] + dz / span * along + dx / span * out * sign
