"""What may be seen in everyday views: how each class is made, where it is seen, and how it may be turned."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi

import numpy as np

from scene.classes import EVERYDAY_CLASSES
from training.data.everyday_animals import bird, dog
from training.data.everyday_balls import sports_ball
from training.data.everyday_craft import airplane, boat, kite
from training.data.everyday_furniture import bench, chair, suitcase, umbrella
from training.data.everyday_signs import clock, fire_hydrant, stop_sign, traffic_light
from training.data.everyday_solids import Thing
from training.data.everyday_vessels import bottle, cup, potted_plant
from training.data.street_cycles import BICYCLES, MOTORCYCLES, bicycle, cyclist, motorcycle, motorcyclist
from training.data.street_heavies import MAKERS
from training.data.street_mesh import Mesh
from training.data.street_people import walker
from training.data.street_vehicles import CARS, car
from training.data.street_world import LOOKS, look_of

STREET, LAWN, SHORE, SKY, ROOM, TABLE = "street", "lawn", "shore", "sky", "room", "table"
THEMES = (STREET, LAWN, SHORE, SKY, ROOM, TABLE)
RIDDEN = 0.25
"""Share of bicycles and motorcycles that a person rides."""
_WHERE: dict[str, dict[str, float]] = {
    "person": {STREET: 0.16, LAWN: 0.14, ROOM: 0.12, SHORE: 0.08},
    "bicycle": {STREET: 0.6, LAWN: 0.4},
    "car": {STREET: 0.7, LAWN: 0.3},
    "motorcycle": {STREET: 0.65, LAWN: 0.35},
    "airplane": {SKY: 0.65, LAWN: 0.35},
    "bus": {STREET: 0.75, LAWN: 0.25},
    "train": {STREET: 0.6, LAWN: 0.4},
    "truck": {STREET: 0.7, LAWN: 0.3},
    "boat": {SHORE: 1.0},
    "traffic light": {STREET: 1.0},
    "fire hydrant": {STREET: 0.65, LAWN: 0.35},
    "stop sign": {STREET: 0.7, LAWN: 0.3},
    "bench": {STREET: 0.35, LAWN: 0.5, SHORE: 0.15},
    "bird": {LAWN: 0.3, SHORE: 0.3, SKY: 0.3, TABLE: 0.1},
    "dog": {LAWN: 0.35, STREET: 0.25, ROOM: 0.3, SHORE: 0.1},
    "umbrella": {SHORE: 0.3, LAWN: 0.3, STREET: 0.2, ROOM: 0.2},
    "suitcase": {STREET: 0.35, ROOM: 0.5, LAWN: 0.15},
    "sports ball": {LAWN: 0.35, ROOM: 0.25, SHORE: 0.15, TABLE: 0.25},
    "kite": {SKY: 0.8, SHORE: 0.2},
    "bottle": {TABLE: 0.65, ROOM: 0.2, LAWN: 0.15},
    "cup": {TABLE: 0.8, ROOM: 0.2},
    "chair": {ROOM: 0.7, LAWN: 0.3},
    "potted plant": {ROOM: 0.4, STREET: 0.2, TABLE: 0.4},
    "clock": {ROOM: 0.45, TABLE: 0.35, STREET: 0.2},
}
"""Shares of the themes in which a class is seen. They add up to 1, so that classes are equally common; those of persons
add up to less by those who ride."""
_FACING = {"traffic light": 0.9, "stop sign": 0.8, "clock": 0.7, "kite": 0.7}
"""How far, in radians, those may turn away that only their fronts tell apart."""
_RAISED = {ROOM: ("bottle", "cup", "potted plant", "sports ball"), LAWN: ("bottle",)}
"""What stands on another thing rather than on the ground."""


@dataclass(frozen=True)
class Kind:
    """One labelled thing to be placed: its class, itself, how it may be turned, and whether it flies."""

    name: str
    thing: Thing
    heading: float
    aloft: bool
    on_water: bool
    on_wall: bool
    raised: bool


def theme_shares() -> dict[str, float]:
    """How common each theme is, for all classes to be equally common."""
    sums = {theme: sum(where.get(theme, 0.0) for where in _WHERE.values()) for theme in THEMES}
    return {theme: share / sum(sums.values()) for theme, share in sums.items()}


def class_shares(theme: str) -> list[float]:
    """How common each of ``EVERYDAY_CLASSES`` is among the things of a theme."""
    shares = [_WHERE[name].get(theme, 0.0) for name in EVERYDAY_CLASSES]
    return [share / sum(shares) for share in shares]


def draw_kind(name: str, theme: str, rng: np.random.Generator, alone: bool = False) -> Kind:
    """A random thing of this class as it looks in this theme; ``alone`` nobody rides it."""
    aloft = name == "kite" or (theme == SKY) or (name == "bird" and theme in (SHORE, LAWN) and rng.random() < 0.25)
    on_water = theme == SHORE and (name == "boat" or (name == "bird" and not aloft and rng.random() < 0.6))
    facing = _FACING.get(name)
    heading = rng.uniform(0, 2 * pi) if facing is None else pi + rng.uniform(-facing, facing)
    return Kind(
        name=name,
        thing=_make(name, theme, rng, aloft, on_water, alone),
        heading=float(heading),
        aloft=aloft,
        on_water=on_water,
        on_wall=name == "clock" and theme == ROOM,
        raised=name in _RAISED.get(theme, ()) and rng.random() < 0.75,
    )


def _make(name: str, theme: str, rng: np.random.Generator, aloft: bool, on_water: bool, alone: bool) -> Thing:
    if name in ("bicycle", "motorcycle"):
        return _cycle(name, rng, alone)
    if name == "clock":
        return clock(rng, {ROOM: "wall", TABLE: "alarm", STREET: "post"}[theme])
    if name == "bird":
        return Thing(bird(rng, "flying" if aloft else "afloat" if on_water else "standing"))
    if name == "airplane":
        return Thing(airplane(rng, "flying" if aloft else "parked"))
    if name in _THINGS:
        return _THINGS[name](rng)
    return Thing(_MESHES[name](rng))


def _cycle(name: str, rng: np.random.Generator, alone: bool) -> Thing:
    ridden = rng.random() < RIDDEN and not alone
    look = replace(look_of(int(rng.integers(LOOKS))), umbrella=False)
    if name == "bicycle":
        mesh, rider = bicycle(int(rng.integers(BICYCLES))), cyclist(look, rng.uniform(0, 2 * pi))
    else:
        number = int(rng.integers(MOTORCYCLES))
        mesh, rider = motorcycle(number), motorcyclist(look, number)
    return Thing(mesh, rider=rider if ridden else None)


def _person(rng: np.random.Generator) -> Mesh:
    look = replace(look_of(int(rng.integers(LOOKS))), umbrella=False)
    return walker(look, rng.uniform(0, 2 * pi), rng.choice([0.0, 0.15, 0.6, 1.0]))


def _heavy(name: str) -> Callable[[np.random.Generator], Mesh]:
    make, variants = MAKERS[name]
    return lambda rng: make(int(rng.integers(variants)))


_THINGS: dict[str, Callable[[np.random.Generator], Thing]] = {
    "traffic light": traffic_light, "stop sign": stop_sign, "umbrella": umbrella, "kite": kite,
}  # fmt: skip
_MESHES: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "person": _person, "car": lambda rng: car(int(rng.integers(CARS))), "bus": _heavy("bus"),
    "train": _heavy("train"), "truck": _heavy("truck"), "boat": boat, "fire hydrant": fire_hydrant, "bench": bench,
    "dog": dog, "suitcase": suitcase, "sports ball": sports_ball, "bottle": bottle, "cup": cup, "chair": chair,
    "potted plant": potted_plant,
}  # fmt: skip
