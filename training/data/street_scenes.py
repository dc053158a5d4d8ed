"""Kinds of synthetic streets: city, avenue with trams, residential, highway, square."""

from collections.abc import Callable
from math import pi

import numpy as np

from training.data.street_layout import (
    AHEAD,
    BEHIND,
    Draft,
    bikes,
    crossing_people,
    cyclists,
    dashes,
    furniture,
    house_row,
    lane_traffic,
    parked_row,
    walkers,
    zebra,
)
from training.data.street_light import draw_light
from training.data.street_mesh import Colour, shade
from training.data.street_world import Drive, World

_SIGHT = 92.0
_BACK = -8.0


def draw_world(rng: np.random.Generator, seconds: float) -> World:
    """A random street, long enough to be driven through for this many seconds (0: one picture)."""
    kind = int(rng.choice(5, p=[0.32, 0.22, 0.16, 0.16, 0.14]))
    speed = float(rng.uniform(14, 24) if kind == 3 else rng.uniform(3, 9))
    draft = Draft(rng, _SIGHT + speed * seconds * 1.4)
    drive = _drive(rng, speed)
    outside, skyline = _KINDS[kind](draft, speed)
    return World(
        light=draw_light(rng),
        drive=drive,
        outside=outside,
        strips=tuple(draft.strips),
        houses=tuple(draft.houses),
        actors=tuple(draft.actors),
        skyline=skyline,
        seed=int(rng.integers(1 << 30)),
    )


def _drive(rng: np.random.Generator, speed: float) -> Drive:
    view = np.radians(rng.uniform(61, 99))
    return Drive(
        height=float(rng.uniform(1.3, 2.2)),
        x=float(rng.normal(0, 0.2)),
        yaw=float(rng.normal(0, 0.04)),
        pitch=float(np.radians(rng.normal(-1.0, 1.8))),
        roll=float(np.radians(rng.normal(0, 0.5))),
        focal=float(0.5 / np.tan(view / 2)),
        speed=speed,
        sway=float(rng.uniform(0.5, 1.2)),
    )


def _asphalt(rng: np.random.Generator) -> Colour:
    grey = rng.uniform(90, 140)
    return (grey, grey * rng.uniform(0.98, 1.01), grey * rng.uniform(0.97, 1.03))


def _paving(rng: np.random.Generator) -> Colour:
    grey = rng.uniform(118, 165)
    return (grey, grey * 0.97, grey * rng.uniform(0.9, 0.98))


def _grass(rng: np.random.Generator) -> Colour:
    green = rng.uniform(78, 112)
    return (green * rng.uniform(0.82, 1.02), green, green * rng.uniform(0.52, 0.72))


def _road(draft: Draft, xs: tuple[float, float], walk: float, paving: Colour) -> Colour:
    """Pavements, kerbs and asphalt with patches; gives the asphalt's colour."""
    ys = (_BACK, draft.far + 400)
    tone = _asphalt(draft.rng)
    draft.strip((xs[0] - walk, xs[1] + walk), ys, paving)
    for y in np.arange(0.0, 24.0, 1.5).tolist():
        draft.strip((xs[0] - walk, xs[0]), (y, y + 0.03), shade(paving, 0.85))
        draft.strip((xs[1], xs[1] + walk), (y, y + 0.03), shade(paving, 0.85))
    draft.strip((xs[0] - 0.16, xs[1] + 0.16), ys, shade(paving, 1.12))
    draft.strip(xs, ys, tone)
    for edge in (xs[0], xs[1] - 0.35):
        draft.strip((edge, edge + 0.35), ys, shade(tone, 0.86))
    for _ in range(int(draft.rng.integers(0, 9))):
        x, y = draft.rng.uniform(*xs), draft.rng.uniform(2, min(draft.far, 90))
        size = draft.rng.uniform(0.5, 3.0, 2)
        patch = (max(xs[0], x - size[0]), min(xs[1], x + size[0]))
        draft.strip(patch, (y, y + size[1] * 2), shade(tone, draft.rng.uniform(0.8, 1.12)))
    return tone


def _cross(draft: Draft, y: float, width: float, tone: Colour, xs: tuple[float, float]) -> None:
    """A street that crosses ours, with its traffic and pedestrians."""
    draft.strip((-90, 90), (y, y + width), tone)
    white = (215.0, 215.0, 208.0)
    zebra(draft, xs, y - 2.5, white)
    draft.strip(xs, (y - 5.4, y - 5.0), white)
    for row, heading in ((0.28, pi / 2), (0.72, -pi / 2)):
        x = -32 + draft.rng.exponential(8)
        while x < 32:
            draw = draft.rng.random()
            kind = "car" if draw < 0.6 else str(draft.rng.choice(["bus", "truck", "bicycle", "motorcycle"]))
            ridden = kind in ("bicycle", "motorcycle")
            draft.add(kind, x, y + width * row, heading, draft.rng.uniform(2, 6), ridden)
            x += 10 + draft.rng.exponential(34)
    crossing_people(draft, xs, y - 2.5, draft.rng.uniform(0.6, 2.4))
    for x in (xs[0] - 0.8, xs[1] + 0.8):
        draft.prop("prop:light", x, y - 4.5)


def _crossings(draft: Draft, tone: Colour, xs: tuple[float, float], share: float) -> list[tuple[float, float]]:
    """Where our street is crossed: (start, end) of each gap in the houses."""
    gaps: list[tuple[float, float]] = []
    y = draft.rng.uniform(14, 60)
    while y < draft.far and draft.chance(share):
        width = draft.rng.uniform(7, 12)
        _cross(draft, y, width, tone, xs)
        gaps.append((y - 4.0, y + width + 4.0))
        y += draft.rng.uniform(55, 110)
    return gaps


def _stretches(far: float, gaps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    edges = [_BACK, *(edge for gap in gaps for edge in gap), far]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


def _sides(draft: Draft, xs: tuple[float, float], walk: float, busy: float, gaps: list[tuple[float, float]]) -> None:
    """Houses or park, people and furniture on both sides."""
    for side, kerb in ((-1, xs[0]), (1, xs[1])):
        built, trees = draft.chance(0.8), draft.chance(0.55)
        inner, outer = sorted((kerb + side * 0.9, kerb + side * (walk - 0.5)))
        for ys in _stretches(draft.far, gaps):
            length = ys[1] - ys[0]
            furniture(draft, kerb + side * 0.6, side, ys, trees)
            walkers(draft, (inner, outer), (max(4.0, ys[0]), ys[1]), busy * length / 30)
            if built:
                house_row(draft, kerb + side * walk, side, ys, draft.rng.uniform(0, 0.25))
            else:
                _park(draft, kerb + side * walk, side, ys)


def _park(draft: Draft, x: float, side: int, ys: tuple[float, float]) -> None:
    outline = sorted((x, x + side * 60))
    draft.strip((outline[0], outline[1]), ys, _grass(draft.rng))
    y = ys[0]
    while y < ys[1]:
        draft.prop("tree", x + side * draft.rng.uniform(1.5, 18), y, size=draft.rng.uniform(5, 12))
        y += draft.rng.uniform(2, 8)


def _city(draft: Draft, speed: float) -> tuple[Colour, float]:
    rng, paving = draft.rng, _paving(draft.rng)
    two_way, second = draft.chance(0.8), draft.chance(0.35)
    left = -1.7 - (3.3 if two_way else 0.0)
    right = 1.7 + (3.2 if second else 0.0)
    parked = (draft.chance(0.55), draft.chance(0.55))
    xs = (left - 2.2 * parked[0], right + 2.2 * parked[1])
    walk = rng.uniform(3.0, 6.5)
    tone = _road(draft, xs, walk, paving)
    gaps = _crossings(draft, tone, xs, 0.55)
    if two_way:
        dashes(draft, -1.65, (_BACK, draft.far), 3.0, 4.0 if draft.chance(0.8) else 0.0, (212, 212, 206))
        lane_traffic(draft, -3.3, False, rng.uniform(4, 9), rng.uniform(18, 55), 8.0, two=0.22)
    if second:
        dashes(draft, 1.65, (_BACK, draft.far), 3.0, 4.0, (212, 212, 206))
        lane_traffic(draft, 3.25, True, speed * rng.uniform(0.8, 1.1), rng.uniform(16, 45), 4.0)
    lane_traffic(draft, 0.0, True, speed, rng.uniform(22, 60), rng.uniform(9, 32), two=0.22)
    for ys in _stretches(draft.far, gaps):
        for index, (side, x) in enumerate(((-1, xs[0] + 1.1), (1, xs[1] - 1.1))):
            if parked[index]:
                parked_row(draft, x, side, (ys[0], ys[1] - 3), rng.uniform(0.1, 0.5))
    cyclists(draft, right - 0.6, True, rng.uniform(0, 1.2), (6, 60))
    cyclists(draft, left + 0.6, False, rng.uniform(0, 0.8), (8, 50))
    _sides(draft, xs, walk, rng.uniform(0.9, 2.2), gaps)
    return shade(paving, 0.95), rng.uniform(0.02, 0.07)


def _avenue(draft: Draft, speed: float) -> tuple[Colour, float]:
    """Trams in the middle or at our left, lanes beside them, stops with waiting people."""
    rng, paving = draft.rng, _paving(draft.rng)
    left, right = -12.0, 1.8 + 2.2
    walk = rng.uniform(3.5, 6.5)
    tone = _road(draft, (left, right), walk, paving)
    gaps = _crossings(draft, tone, (left, right), 0.5)
    bed = _grass(rng) if draft.chance(0.35) else shade(tone, 1.08)
    draft.strip((-8.3, -1.9), (_BACK, draft.far + 300), bed)
    for track in (-3.6, -6.6):
        for rail in (-0.72, 0.72):
            draft.strip((track + rail - 0.06, track + rail + 0.06), (_BACK, draft.far + 300), (72, 70, 70))
            draft.strip((track + rail - 0.02, track + rail + 0.02), (_BACK, draft.far + 300), (178, 180, 182))
    _trams(draft, -3.6, AHEAD, speed)
    _trams(draft, -6.6, BEHIND, 5.0)
    lane_traffic(draft, 0.0, True, speed, rng.uniform(20, 50), rng.uniform(9, 30))
    lane_traffic(draft, -10.2, False, rng.uniform(5, 9), rng.uniform(18, 50), 10.0)
    for ys in _stretches(draft.far, gaps):
        parked_row(draft, right - 1.1, 1, (ys[0], ys[1] - 3), rng.uniform(0.1, 0.55))
    cyclists(draft, 1.3, True, rng.uniform(0, 1.2), (6, 45))
    stop = rng.uniform(12, 45)
    walkers(draft, (-2.2, -1.6), (stop, stop + 14), rng.uniform(0.4, 2.0))
    _sides(draft, (left, right), walk, rng.uniform(0.7, 1.9), gaps)
    return shade(paving, 0.95), rng.uniform(0.03, 0.08)


def _trams(draft: Draft, x: float, heading: float, speed: float) -> None:
    y = draft.rng.uniform(20, 55)
    while y < draft.far:
        if draft.chance(0.88):
            draft.add("train", x, y, heading, speed)
        y += draft.rng.uniform(42, 90)


def _residential(draft: Draft, speed: float) -> tuple[Colour, float]:
    rng, grass = draft.rng, _grass(draft.rng)
    half = rng.uniform(3.4, 5.0)
    xs, walk = (-half - 1.5, half - 0.5), rng.uniform(1.6, 2.6)
    tone = _road(draft, xs, walk, _paving(rng))
    gaps = _crossings(draft, tone, xs, 0.35)
    lane_traffic(draft, -2.6, False, rng.uniform(4, 8), rng.uniform(20, 60), 10.0, two=0.25)
    lane_traffic(draft, 0.0, True, speed, rng.uniform(30, 70), rng.uniform(10, 30), two=0.25)
    for ys in _stretches(draft.far, gaps):
        for side, x in ((-1, xs[0] + 1.0), (1, xs[1] - 1.0)):
            parked_row(draft, x, side, (ys[0], ys[1] - 3), rng.uniform(0.1, 0.4))
        for side in (-1, 1):
            kerb = xs[0] if side < 0 else xs[1]
            furniture(draft, kerb + side * 0.5, side, ys, True)
            _park(draft, kerb + side * (walk + 0.3), side, ys)
            house_row(draft, kerb + side * (walk + rng.uniform(3, 8)), side, ys, 0.45)
            walkers(
                draft,
                (kerb + side * 0.4, kerb + side * walk),
                (max(5.0, ys[0]), ys[1]),
                rng.uniform(0.6, 1.6) * (ys[1] - ys[0]) / 60,
            )
    cyclists(draft, 1.4, True, 0.5, (6, 45))
    cyclists(draft, -2.9, False, 0.4, (8, 45))
    return shade(grass, 0.95), rng.uniform(0.02, 0.05)


def _highway(draft: Draft, speed: float) -> tuple[Colour, float]:
    rng, grass = draft.rng, _grass(draft.rng)
    lanes = int(rng.integers(2, 5))
    own = int(rng.integers(lanes))
    left, right = -own * 3.6 - 1.9, (lanes - own) * 3.6 - 1.7
    far, tone, white = draft.far + 500, _asphalt(rng), (218.0, 218.0, 212.0)
    draft.strip((left - 0.6, right + 2.6), (_BACK, far), tone)
    draft.strip((left - 3.5 - lanes * 3.6, left - 2.5), (_BACK, far), shade(tone, 1.04))
    for index in range(1, lanes):
        dashes(draft, left + index * 3.6 + 0.1, (_BACK, draft.far), 4.0, 8.0, white)
        dashes(draft, left - 3.0 - index * 3.6, (_BACK, draft.far), 4.0, 8.0, white)
    for x in (left + 0.1, right - 0.1, left - 2.9, left - 3.2 - lanes * 3.6):
        dashes(draft, x, (_BACK, far), 1.0, 0.0, white)
    for index in range(lanes):
        x = (index - own) * 3.6
        pace = speed if index == own else speed * rng.uniform(0.8, 1.2)
        lane_traffic(draft, x, True, pace, rng.uniform(10, 35), 3.0 if index != own else rng.uniform(8, 25), 0.2, 0.05)
        lane_traffic(draft, left - 4.6 - index * 3.6, False, speed, rng.uniform(18, 60), 12.0, 0.2, 0.05)
    for y in np.arange(2.0, min(draft.far, 700.0), 4.0).tolist():
        for x in (left - 1.6, right + 3.0):
            draft.prop("prop:rail", x, y)
    _roadside(draft, left - 6 - lanes * 3.6, right + 6)
    return grass, rng.uniform(0.02, 0.06)


def _roadside(draft: Draft, left: float, right: float) -> None:
    rng, y = draft.rng, 4.0
    while y < draft.far:
        draft.prop("prop:gantry" if draft.chance(0.18) else "prop:lamp", right - 1.5, y)
        for side, x in ((-1, left), (1, right)):
            for _ in range(3):
                draft.prop("tree", x + side * rng.uniform(1, 22), y + rng.uniform(0, 18), size=rng.uniform(5, 13))
        y += rng.uniform(12, 30)


def _square(draft: Draft, speed: float) -> tuple[Colour, float]:
    """A wide place: cars in bays, many people, cycles, a bus stop."""
    rng, paving = draft.rng, _paving(draft.rng)
    xs = (-8.0, 2.0)
    tone = _road(draft, xs, 16.0, paving)
    gaps = _crossings(draft, tone, xs, 0.5)
    for x in (-10.8, 4.8):
        if draft.chance(0.7):
            first = rng.uniform(5, 25)
            for y in np.arange(first, first + rng.uniform(12, 45), 2.7).tolist():
                draft.strip((x - 2.6, x + 2.6), (y - 1.4, y - 1.3), (210, 210, 205))
                if draft.chance(0.5):
                    turn = pi / 2 if draft.chance(0.5) else -pi / 2
                    draft.add("car", x + rng.normal(0, 0.2), y, turn + rng.normal(0, 0.03))
        else:
            walkers(draft, (x - 3, x + 3), (6, 50), rng.uniform(1.5, 4))
            bikes(draft, x, rng.uniform(8, 35), "bicycle", int(rng.integers(2, 5)))
    lane_traffic(draft, 0.0, True, speed, rng.uniform(20, 50), rng.uniform(8, 25), 0.25, 0.2)
    lane_traffic(draft, -4.0, False, 6.0, rng.uniform(25, 60), 10.0, 0.2, 0.2)
    cyclists(draft, -7.0, False, 0.8, (8, 45))
    cyclists(draft, 1.2, True, 0.8, (8, 45))
    for kerb, side in ((xs[0], -1), (xs[1], 1)):
        furniture(draft, kerb + side * 0.7, side, (_BACK, draft.far), True)
        house_row(draft, kerb + side * 16, side, (_BACK, draft.far), 0.15)
        walkers(draft, (kerb + side * 6, kerb + side * 15), (8, 75), rng.uniform(2, 6))
    if gaps:
        crossing_people(draft, xs, gaps[0][0], 2.0)
    return shade(paving, 0.97), rng.uniform(0.03, 0.08)


_KINDS: tuple[Callable[[Draft, float], tuple[Colour, float]], ...] = (_city, _avenue, _residential, _highway, _square)
