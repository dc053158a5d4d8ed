"""What stands and moves in one synthetic street: plain records, no pixels."""

from dataclasses import dataclass
from functools import lru_cache
from math import sin

import numpy as np

from training.data.street_cycles import bicycle, cyclist, motorcycle, motorcyclist
from training.data.street_ensemble import Pose
from training.data.street_heavies import MAKERS
from training.data.street_light import Light
from training.data.street_mesh import Colour, Mesh
from training.data.street_people import Look, draw_look, walker
from training.data.street_props import prop
from training.data.street_vehicles import car

LOOKS = 4000


@dataclass(frozen=True)
class Strip:
    """A painted rectangle on the ground, metres; later ones lie on top."""

    x0: float
    x1: float
    y0: float
    y1: float
    colour: Colour


@dataclass(frozen=True)
class House:
    """A block at one side of the street; ``x`` is the wall at the pavement, ``side`` -1 left or 1 right."""

    x: float
    side: int
    y0: float
    y1: float
    height: float
    front: int
    tint: tuple[float, float, float]
    roof: float
    reach: float = 9.0


@dataclass(frozen=True)
class Actor:
    """One thing on the ground.

    ``kind`` is a class name of an instance, or ``tree``, or ``prop:`` and a name; ``class_index`` -1 is no
    instance. ``velocity`` in metres per second, ``track_id`` and ``rider_id`` from 1 (0: none).
    """

    kind: str
    class_index: int
    number: int
    x: float
    y: float
    heading: float
    velocity: tuple[float, float] = (0.0, 0.0)
    stride: float = 0.0
    size: float = 1.0
    track_id: int = 0
    rider_id: int = 0

    def pose(self, seconds: float) -> Pose:
        """Where it stands after this time."""
        return Pose(self.x + self.velocity[0] * seconds, self.y + self.velocity[1] * seconds, self.heading)

    def mesh(self, seconds: float) -> Mesh:
        """Its shape after this time; trees have none."""
        if self.kind == "person":
            return walker(look_of(self.number), self.number * 0.7 + seconds * 6.0 * self.stride, self.stride)
        if self.kind.startswith("prop:"):
            return prop(self.kind[5:], self.number)
        if self.kind in MAKERS:
            return MAKERS[self.kind][0](self.number)
        return {"car": car, "bicycle": bicycle, "motorcycle": motorcycle}[self.kind](self.number)

    def rider_mesh(self, seconds: float) -> Mesh:
        """The rider's shape after this time, in the machine's axes."""
        look = look_of(self.rider_id * 31 + self.number)
        if self.kind == "motorcycle":
            return motorcyclist(look, self.number)
        return cyclist(look, self.number * 0.9 + seconds * 7.0)


@dataclass(frozen=True)
class Drive:
    """The camera's mount and its way: metres, radians, metres per second; ``focal`` per frame width."""

    height: float
    x: float
    yaw: float
    pitch: float
    roll: float
    focal: float
    speed: float
    sway: float

    def at(self, seconds: float) -> tuple[float, float, float]:
        """Sideways place, pitch and roll after this time: a slow drift and the car's bounce."""
        drift = 0.12 * self.sway * sin(0.7 * seconds)
        bounce = 0.004 * self.sway * (sin(6.1 * seconds) + 0.6 * sin(9.7 * seconds + 1.0))
        return self.x + drift, self.pitch + bounce, self.roll + 0.003 * self.sway * sin(2.3 * seconds)


@dataclass(frozen=True)
class World:
    """A whole street; ``outside`` is the ground colour beyond all strips, ``seed`` feeds its skyline."""

    light: Light
    drive: Drive
    outside: Colour
    strips: tuple[Strip, ...]
    houses: tuple[House, ...]
    actors: tuple[Actor, ...]
    skyline: float
    seed: int


@lru_cache(maxsize=LOOKS)
def look_of(number: int) -> Look:
    """The person ``number`` always looks the same."""
    return draw_look(np.random.default_rng([8, number % LOOKS]))
