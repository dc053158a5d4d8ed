"""Synthetic street scenes with exact instance masks, the same for the same seed and version.

Torch-free: the embedded default for people without a licensed data set, and a source of test pictures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError
from training.data.drawn import Drawn, SceneInstance, generator, labelled, require_sides
from training.data.street_balance import Balance, thinned
from training.data.street_conditions import CLEAR_DAY, CLEAR_ONLY, Condition, Mix, draw_condition, words_of
from training.data.street_effects import Lens, draw_lens
from training.data.street_painter import Painter
from training.data.street_scenes import draw_world
from training.data.street_weather import draw_weather, picture
from training.data.street_world import World
from training.data.synthetic_writer import Generated, picture_seed, write_generated

__all__ = [
    "VERSION",
    "SceneInstance",
    "SceneSettings",
    "StreetScene",
    "clip",
    "condition",
    "scene",
    "scene_seed",
    "write_dataset",
]

VERSION = "1"
"""Grows whenever the same seed gives other pixels or other labels."""
_RIDER = STREET_CLASSES.index("rider")
_REFERENCE_AREA = 1024 * 2048


@dataclass(frozen=True)
class StreetScene:
    """``image`` uint8 RGB [h, w, 3], its labelled instances, and the condition that it is seen under."""

    image: NDArray[np.uint8]
    instances: tuple[SceneInstance, ...]
    condition: Condition = CLEAR_DAY


@dataclass(frozen=True)
class SceneSettings:
    """How scenes are made: frame ``height`` and ``width`` in pixels (at least 64 each).

    Instances with fewer than ``smallest_area`` visible pixels (counted at 2048x1024) or hidden by more than
    ``most_occlusion`` are drawn and not labelled, as annotators do. ``conditions`` are what the scenes are seen
    under, with their shares; a seed's street and its labels are the same under each. ``balance`` leaves a street as it
    was laid out, or takes rare things out of it until they are as rare as in Cityscapes.
    """

    height: int = 512
    width: int = 1024
    smallest_area: float = 100.0
    most_occlusion: float = 0.9
    conditions: Mix = CLEAR_ONLY
    balance: Balance = "even"

    def __post_init__(self) -> None:
        require_sides(self.height, self.width)
        if not self.conditions:
            raise ConfigurationError("conditions", "expected at least one, got none; leave them away for clear days")


def scene(seed: int, settings: SceneSettings = SceneSettings()) -> StreetScene:
    """The scene of this seed (0 or more)."""
    rng = _generator(seed, 0)
    world, lens = thinned(draw_world(rng, 0.0), settings.balance, _generator(seed, 5)), draw_lens(rng)
    return _photograph(world, 0.0, lens, rng, seed, settings)


def condition(seed: int, settings: SceneSettings) -> Condition:
    """The condition under which the scene or clip of this seed is seen."""
    mix = settings.conditions
    return mix[0][0] if len(mix) == 1 else draw_condition(_generator(seed, 3), mix)


def _photograph(
    world: World, seconds: float, lens: Lens, noise: np.random.Generator, seed: int, settings: SceneSettings
) -> StreetScene:
    under = condition(seed, settings)
    weather = draw_weather((int(VERSION), seed, 4), under, world)
    painter, image = picture(world, seconds, (settings.height, settings.width), weather, lens, noise)
    return StreetScene(image, _instances(painter, world, settings), under)


def clip(
    seed: int,
    seconds: float = 10.0,
    fps: float = 25.0,
    settings: SceneSettings = SceneSettings(),
    frames: range | None = None,
) -> Iterator[StreetScene]:
    """Frames of a drive through one street; track ids persist, noise is new in every frame.

    ``frames`` picks some of them by number from 0, so that processes can share the work: a frame is the same whichever
    others are drawn. Raises ``ConfigurationError`` for times that are not positive or a negative seed.
    """
    for name, value in (("seconds", seconds), ("fps", fps)):
        if not 0 < value < 10_000:
            raise ConfigurationError(name, f"expected a positive number, got {value}; give more than 0")
    whole = range(max(1, round(seconds * fps)))
    return _frames(seed, _generator(seed, 1), seconds, fps, settings, whole if frames is None else frames)


def _frames(
    seed: int, rng: np.random.Generator, seconds: float, fps: float, settings: SceneSettings, frames: range
) -> Iterator[StreetScene]:
    world, lens = thinned(draw_world(rng, seconds), settings.balance, _generator(seed, 5)), draw_lens(rng)
    for frame in frames:
        noise = np.random.default_rng([int(VERSION), seed, 2, frame])
        yield _photograph(world, frame / fps, lens, noise, seed, settings)


def _generator(seed: int, purpose: int) -> np.random.Generator:
    return generator(VERSION, seed, purpose)


def _instances(painter: Painter, world: World, settings: SceneSettings) -> tuple[SceneInstance, ...]:
    classes = {actor.track_id: actor.class_index for actor in world.actors if actor.track_id}
    classes |= {actor.rider_id: _RIDER for actor in world.actors if actor.rider_id}
    least = settings.smallest_area * settings.height * settings.width / _REFERENCE_AREA
    return labelled(painter, classes, least, settings.most_occlusion)


def scene_seed(seed: int, index: int) -> int:
    """The seed of scene ``index`` in the data set with this seed; different data sets share none."""
    return picture_seed(VERSION, seed, index)


def write_dataset(
    folder: Path,
    count: int,
    seed: int,
    settings: SceneSettings = SceneSettings(),
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write scenes as ``write_generated`` does; returns the JSON's path.

    Unless all scenes are clear, the JSON says each picture's ``condition``, and the shares in ``info``; there it says
    the balance, too, if it is not even.
    """
    mixed = settings.conditions != CLEAR_ONLY
    facts = {"conditions": words_of(settings.conditions)} if mixed else {}
    kind = Generated(
        draw=partial(_drawn, settings),
        version=VERSION,
        class_names=STREET_CLASSES,
        description="StreetMask synthetic street scenes",
        facts=facts if settings.balance == "even" else {**facts, "balance": settings.balance},
    )
    return write_generated(kind, folder, count, seed, workers, progress)


def _drawn(settings: SceneSettings, seed: int) -> Drawn:
    made = scene(seed, settings)
    facts = {} if settings.conditions == CLEAR_ONLY else {"condition": str(made.condition)}
    return Drawn(made.image, made.instances, facts)
