"""A world seen under a condition: what is drawn for it, and the picture that comes of it."""

from dataclasses import dataclass, replace

import numpy as np

from training.data.street_conditions import DUSK, JPEG, MOTION_BLUR, NIGHT, RAIN, Condition
from training.data.street_effects import Lens, compressed, expose
from training.data.street_evening import EVEN, Evening, draw_dusk, draw_night, light_up
from training.data.street_motion import Motion, draw_motion, smeared
from training.data.street_outlines import Bytes
from training.data.street_painter import Painter
from training.data.street_rain import Rain, draw_rain, dripped, soaked, streaked
from training.data.street_render import render
from training.data.street_world import World


@dataclass(frozen=True)
class Weather:
    """What a condition means for one street; all None is a clear day. ``quality`` is of the JPEG that it went through.

    ``seed`` feeds what differs from frame to frame and what stays, such as drops on the lens.
    """

    seed: tuple[int, ...]
    evening: Evening | None = None
    rain: Rain | None = None
    motion: Motion | None = None
    quality: int | None = None

    @property
    def clear(self) -> bool:
        """Whether nothing of it is so."""
        return self.evening is None and self.rain is None and self.motion is None and self.quality is None


def draw_weather(seed: tuple[int, ...], condition: Condition, world: World) -> Weather:
    """The weather of this seed; each part is drawn by itself, so that it is the same whatever it comes with."""
    if not condition.parts:
        return Weather(seed)
    night, rain, motion, jpeg = (np.random.default_rng([*seed, part]) for part in range(4))
    evening = draw_dusk(night) if DUSK in condition else draw_night(night) if NIGHT in condition else None
    return Weather(
        seed=seed,
        evening=evening,
        rain=draw_rain(rain) if RAIN in condition else None,
        motion=draw_motion(motion, world.drive.speed, world.drive.focal) if MOTION_BLUR in condition else None,
        quality=int(jpeg.integers(20, 61)) if JPEG in condition else None,
    )


def picture(
    world: World, seconds: float, size_hw: tuple[int, int], weather: Weather, lens: Lens, noise: np.random.Generator
) -> tuple[Painter, Bytes]:
    """Everybody's pixels, and the frame [h, w, 3] after this time as the camera records it."""
    if weather.clear:
        painter = render(world, seconds, size_hw)
        return painter, expose(painter.image, lens, noise)
    painter, image = _seen(world, seconds, size_hw, weather)
    if weather.evening is not None:
        lens = replace(lens, noise=lens.noise + weather.evening.noise)
    image = expose(image, lens, noise)
    return painter, image if weather.quality is None else compressed(image, weather.quality)


def _seen(world: World, seconds: float, size_hw: tuple[int, int], weather: Weather) -> tuple[Painter, Bytes]:
    """What reaches the camera's sensor."""
    evening, rain, motion = weather.evening, weather.rain, weather.motion
    light = EVEN if evening else rain.light if rain else world.light
    world = replace(world, light=light)
    deep = evening is not None or rain is not None or motion is not None
    painter = render(world, seconds, size_hw, evening.sky if evening else None, depths=deep)
    depths, image = painter.depths, painter.image
    if depths is None:
        return painter, image
    if evening is not None:
        image = light_up(painter, world, seconds, evening, np.random.default_rng([*weather.seed, 4]))
    if rain is not None:
        falling = np.random.default_rng([*weather.seed, 5, round(seconds * 1e6)])
        image = streaked(soaked(image, depths, rain), rain, falling)
    if motion is not None:
        image = smeared(image, depths, motion)
    if rain is not None:
        image = dripped(image, rain, np.random.default_rng([*weather.seed, 6]))
    return painter, image
