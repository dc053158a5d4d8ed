"""Lays out synthetic streets: roads, houses, traffic, parked rows, people."""

from dataclasses import dataclass, field
from math import pi

import numpy as np

from scene.classes import STREET_CLASSES
from training.data.street_cycles import BICYCLES, MOTORCYCLES
from training.data.street_heavies import BUSES, TRAINS, TRUCKS
from training.data.street_mesh import Colour
from training.data.street_vehicles import CARS
from training.data.street_world import LOOKS, Actor, House, Strip

_VARIANTS = {
    "car": CARS, "truck": TRUCKS, "bus": BUSES, "train": TRAINS, "bicycle": BICYCLES, "motorcycle": MOTORCYCLES,
    "person": LOOKS,
}  # fmt: skip
_LENGTHS = {"car": 4.8, "truck": 11.0, "bus": 12.5, "motorcycle": 2.2, "bicycle": 1.9, "train": 30.0}
AHEAD, BEHIND = 0.0, pi


@dataclass
class Draft:
    """A street while it is being laid out."""

    rng: np.random.Generator
    far: float
    actors: list[Actor] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    houses: list[House] = field(default_factory=list)
    ids: int = 0

    def strip(self, xs: tuple[float, float], ys: tuple[float, float], colour: Colour) -> None:
        """Paint a rectangle on the ground."""
        self.strips.append(Strip(xs[0], xs[1], ys[0], ys[1], colour))

    def add(
        self, kind: str, x: float, y: float, heading: float, velocity: float = 0.0, ridden: bool = False,
        stride: float = 0.0,
    ) -> None:  # fmt: skip
        """Add an instance that moves along its heading (metres per second)."""
        number = int(self.rng.integers(_VARIANTS[kind]))
        way = (-float(np.sin(heading)) * velocity, float(np.cos(heading)) * velocity)
        self.ids += 1 + ridden
        rider = self.ids if ridden else 0
        self.actors.append(
            Actor(kind, STREET_CLASSES.index(kind), number, x, y, heading, way, stride, 1.0, self.ids - ridden, rider)
        )

    def prop(self, kind: str, x: float, y: float, heading: float = 0.0, size: float = 1.0) -> None:
        """Add a thing that is no instance."""
        self.actors.append(Actor(kind, -1, int(self.rng.integers(40)), x, y, heading, size=size))

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < share)


def lane_traffic(
    draft: Draft, x: float, away: bool, speed: float, gap: float, first: float, heavy: float = 0.13, two: float = 0.1
) -> None:
    """Vehicles along one lane, ``gap`` metres apart on average; ``heavy`` and ``two`` are shares of kinds."""
    rng = draft.rng
    y = first + rng.exponential(gap * 0.5)
    heading = AHEAD if away else BEHIND
    while y < draft.far:
        draw = rng.random()
        if draw < heavy:
            kind = "bus" if rng.random() < 0.48 else "truck"
        else:
            kind = ("motorcycle" if speed > 12 or rng.random() < 0.75 else "bicycle") if draw < heavy + two else "car"
        length = _LENGTHS[kind]
        ridden = kind in ("motorcycle", "bicycle")
        place = x + rng.normal(0, 0.15)
        draft.add(kind, place, y + length / 2, heading + rng.normal(0, 0.015), speed, ridden)
        y += length + 3.0 + 0.45 * gap + rng.exponential(gap)


def parked_row(draft: Draft, x: float, side: int, ys: tuple[float, float], share: float) -> None:
    """Vehicles at the kerb, most in the direction of travel on their side."""
    rng, y = draft.rng, ys[0] + draft.rng.uniform(0, 5)
    while y < ys[1]:
        if rng.random() > share:
            y += rng.uniform(3, 9)
            continue
        draw = rng.random()
        heading = (AHEAD if (side > 0) != (rng.random() < 0.12) else BEHIND) + rng.normal(0, 0.02)
        if draw < 0.86:
            draft.add("car", x + rng.normal(0, 0.08), y + 2.4, heading)
            y += 4.9 + rng.uniform(0.6, 1.6) + (rng.exponential(7) if rng.random() < 0.6 else 0.0)
        elif draw < 0.91:
            draft.add("truck", x - side * 0.2, y + 4.8, heading)
            y += 10.0
        elif draw < 0.96:
            bikes(draft, x, y + 1.0, "motorcycle", int(rng.integers(1, 3)))
            y += 4.0
        else:
            draft.prop("prop:trailer", x, y + 2.5, heading)
            y += 7.0


def bikes(draft: Draft, x: float, y: float, kind: str, count: int) -> None:
    """Two-wheelers parked side by side."""
    heading = draft.rng.uniform(0, 2 * pi)
    for index in range(count):
        draft.add(kind, x + 0.3 * index * (1 if x > 0 else -1), y + 1.15 * index, heading + draft.rng.normal(0, 0.12))


def walkers(draft: Draft, xs: tuple[float, float], ys: tuple[float, float], groups: float) -> None:
    """Groups of one to five persons along a pavement, ``groups`` of them on average."""
    rng = draft.rng
    if ys[1] <= ys[0]:
        return
    for _ in range(int(rng.poisson(groups))):
        x = rng.uniform(min(xs), max(xs))
        # Along a short street most are near; a drive needs people all the way.
        y = rng.uniform(*ys) if ys[1] >= 130 else ys[0] + min(ys[1] - ys[0], 75.0) * rng.random() ** 1.4
        heading = (AHEAD if rng.random() < 0.5 else BEHIND) + rng.normal(0, 0.2)
        stands = rng.random() < 0.3
        speed = 0.0 if stands else rng.uniform(0.9, 1.6)
        for _ in range(int(rng.choice([1, 2, 3, 4, 5], p=[0.56, 0.28, 0.1, 0.04, 0.02]))):
            turn = rng.uniform(0, 2 * pi) if stands else heading + rng.normal(0, 0.1)
            spot = (x + rng.normal(0, 0.75), y + rng.normal(0, 0.9))
            draft.add("person", *spot, turn, speed, stride=0.0 if stands else 0.5 + speed * 0.35)


def crossing_people(draft: Draft, xs: tuple[float, float], y: float, groups: float) -> None:
    """Persons who walk across the road."""
    rng = draft.rng
    for _ in range(int(rng.poisson(groups))):
        x, side = rng.uniform(*xs), 1 if rng.random() < 0.5 else -1
        for _ in range(int(rng.integers(1, 4))):
            spot = (x + rng.normal(0, 1.3), y + rng.uniform(-1.6, 1.6))
            draft.add("person", *spot, side * pi / 2 + rng.normal(0, 0.12), rng.uniform(0.9, 1.5), stride=0.95)


def cyclists(draft: Draft, x: float, away: bool, count: float, ys: tuple[float, float], speed: float = 4.5) -> None:
    """Ridden bicycles near the kerb."""
    for _ in range(int(draft.rng.poisson(count))):
        heading = (AHEAD if away else BEHIND) + draft.rng.normal(0, 0.06)
        draft.add("bicycle", x + draft.rng.normal(0, 0.2), draft.rng.uniform(*ys), heading, speed, True)


def furniture(draft: Draft, x: float, side: int, ys: tuple[float, float], trees: bool) -> None:
    """Lamps, signs, bins, trees and parked cycles along the kerb."""
    rng, y = draft.rng, ys[0] + draft.rng.uniform(0, 8)
    while y < ys[1]:
        kind = str(rng.choice(["lamp", "sign", "bin", "bollard", "bench", "billboard", "cabinet", "light"],
                              p=[0.24, 0.26, 0.13, 0.12, 0.06, 0.06, 0.08, 0.05]))  # fmt: skip
        draft.prop(f"prop:{kind}", x, y, pi / 2 * side if kind in ("lamp", "bench") else rng.normal(0, 0.1))
        if trees and rng.random() < 0.6:
            draft.prop("tree", x + side * 0.3, y + rng.uniform(2, 5), size=rng.uniform(5, 10))
        if rng.random() < 0.11:
            bikes(draft, x + side * 0.6, y + 1.5, "bicycle", int(rng.integers(1, 4)))
        y += rng.uniform(8, 24)


def house_row(draft: Draft, x: float, side: int, ys: tuple[float, float], gaps: float) -> None:
    """Houses wall to wall with some gaps between."""
    rng, y = draft.rng, ys[0]
    while y < ys[1]:
        wide = rng.uniform(7, 16)
        if rng.random() >= gaps:
            grey = rng.uniform(0.8, 1.05)
            tint = (grey * rng.uniform(0.95, 1.05), grey, grey * rng.uniform(0.93, 1.05))
            roof = rng.uniform(2, 4) if rng.random() < 0.5 else 0.0
            height = rng.uniform(7, 18)
            draft.houses.append(
                House(x + side * rng.uniform(0, 0.8), side, y, y + wide, height, int(rng.integers(36)), tint, roof)
            )
        y += wide + (rng.uniform(2, 9) if rng.random() < gaps else 0.0)


def dashes(draft: Draft, x: float, ys: tuple[float, float], on: float, off: float, colour: Colour) -> None:
    """A broken line along the road; ``off`` 0 makes it solid."""
    if off <= 0:
        draft.strip((x - 0.07, x + 0.07), ys, colour)
        return
    y = ys[0] + draft.rng.uniform(0, on + off)
    while y < min(ys[1], ys[0] + 260):
        draft.strip((x - 0.07, x + 0.07), (y, y + on), colour)
        y += on + off


def zebra(draft: Draft, xs: tuple[float, float], y: float, colour: Colour) -> None:
    """Stripes of a pedestrian crossing."""
    for x in np.arange(xs[0] + 0.3, xs[1] - 0.4, 1.0).tolist():
        draft.strip((x, x + 0.5), (y - 1.8, y + 1.8), colour)
