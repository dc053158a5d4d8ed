"""How often each class stands in a synthetic street: as often as teaches most, or as seldom as in Cityscapes."""

from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from training.data.street_world import World

Balance = Literal["even", "cityscapes"]
"""``even``: as the streets are laid out, some 15 persons to a train; ``cityscapes``: some 110."""

KEPT = MappingProxyType({"truck": 0.26, "bus": 0.27, "train": 0.13, "motorcycle": 0.6, "bicycle": 1.0})
"""The share of each kind that is left, towards Cityscapes' objects a picture (Cordts et al. 2016, figure 1); the rest
has as many already."""

RIDDEN = 0.5
"""Of ridden cycles, the share that keeps its rider's place on the road."""


def thinned(world: World, balance: Balance, rng: np.random.Generator) -> World:
    """The street without some of its rare things, everything else as it was; itself where the balance is even."""
    if balance == "even":
        return world
    draws = rng.random(len(world.actors))
    shares = [KEPT.get(each.kind, 1.0) * (RIDDEN if each.rider_id else 1.0) for each in world.actors]
    kept = tuple(each for each, share, draw in zip(world.actors, shares, draws, strict=True) if draw < share)
    return replace(world, actors=kept)
