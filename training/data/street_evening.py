"""Dusk and night: what lamps, headlights and windows make of a street that was painted in even light."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import Points
from training.data.street_depths import Depths
from training.data.street_lamps import glare, own_beam, pools, seen_lamps, street_lamps, vehicle_lights
from training.data.street_light import Light, Rgb
from training.data.street_outlines import Bytes
from training.data.street_painter import Painter
from training.data.street_world import World

Floats = NDArray[np.float32]
EVEN = Light(
    sun=np.array([0.0, 0.0, 1.0]),
    direct=np.zeros(3),
    ambient=np.full(3, 1.02),
    sky_top=np.zeros(3),
    sky_low=np.zeros(3),
    haze=0.0,
    hardness=0.0,
    cloud=0.0,
)
"""Light without a direction, in which things have nearly their own colours."""


@dataclass(frozen=True)
class Evening:
    """``ambient`` and ``lamps`` RGB factors: what is left of the day, and a street lamp's light straight below it.

    ``sky`` lights sky and skyline; ``haze`` is the share of contrast lost per metre; ``beam`` the strength of our own
    headlights; ``windows`` and ``traffic`` (0-1) how bright windows are and which share of moving vehicles has lights
    on; ``noise`` grey levels.
    """

    sky: Light
    ambient: Rgb
    lamps: Rgb
    haze: float
    beam: float
    windows: float
    traffic: float
    noise: float


def draw_dusk(rng: np.random.Generator) -> Evening:
    """Between sunset and the end of twilight."""
    left = rng.uniform(0.25, 0.55)
    warm = rng.uniform(0.0, 1.0)
    top = np.array([62.0, 84.0, 128.0]) * rng.uniform(0.7, 1.25)
    low = (warm * np.array([232.0, 160.0, 110.0]) + (1 - warm) * np.array([150.0, 160.0, 182.0])) * rng.uniform(0.7, 1)
    tone = warm * np.array([1.04, 0.97, 0.98]) + (1 - warm) * np.array([0.84, 0.95, 1.14])
    return Evening(
        sky=_sky(top, low, left * tone * 0.55, rng.uniform(0.2, 0.9)),
        ambient=left * tone,
        lamps=_lamp_colour(rng) * rng.uniform(0.0, 0.35),
        haze=float(rng.uniform(0.002, 0.006)),
        beam=float(rng.uniform(0.0, 0.2)),
        windows=float(rng.uniform(0.25, 0.7)),
        traffic=float(rng.uniform(0.5, 1.0)),
        noise=float(rng.gamma(2.0, 0.9)),
    )


def draw_night(rng: np.random.Generator) -> Evening:
    """After twilight, in the gain of a camera that sees little."""
    left = rng.uniform(0.045, 0.13)
    glow = rng.uniform(0.3, 1.0)
    top = np.array([12.0, 14.0, 22.0]) * rng.uniform(0.5, 1.3)
    low = np.array([50.0, 42.0, 38.0]) * glow
    return Evening(
        sky=_sky(top, low, np.full(3, 0.12) * glow, rng.uniform(0.2, 1.0)),
        ambient=left * np.array([0.92, 0.96, 1.1]),
        lamps=_lamp_colour(rng) * rng.uniform(0.25, 0.65),
        haze=float(rng.uniform(0.003, 0.01)),
        beam=float(rng.uniform(0.3, 0.75)),
        windows=float(rng.uniform(0.5, 0.95)),
        traffic=float(rng.uniform(0.94, 1.0)),
        noise=float(1.5 + rng.gamma(2.0, 1.4)),
    )


def _sky(top: Rgb, low: Rgb, skyline: Rgb, cloud: float) -> Light:
    return Light(EVEN.sun, EVEN.direct, skyline, top, low, 0.0, 0.0, float(cloud))


def _lamp_colour(rng: np.random.Generator) -> Rgb:
    """Sodium or LED."""
    if rng.random() < 0.55:
        return np.array([1.0, rng.uniform(0.68, 0.8), rng.uniform(0.38, 0.52)])
    return np.array([0.96, 0.98, rng.uniform(0.9, 1.0)])


def light_up(painter: Painter, world: World, seconds: float, evening: Evening, rng: np.random.Generator) -> Bytes:
    """The picture [h, w, 3] at this hour of a street that was painted in ``EVEN`` light, with depths and shine.

    Raises ``ValueError`` if it was painted without them.
    """
    depths, shine = painter.depths, painter.shine
    if depths is None or shine is None:
        raise ValueError(
            "expected a painter that keeps depths and shine, got one without; render with a sky and depths"
        )
    lamps = street_lamps(world, seconds, painter.camera, rng) if evening.lamps.max() > 0.1 else np.zeros((0, 3))
    lit = _lit(painter.image, shine, depths, evening, lamps)
    lights = [
        *seen_lamps(painter, lamps, evening.lamps / max(float(evening.lamps.max()), 1e-6)),
        *vehicle_lights(painter, world, seconds, evening.traffic, rng),
    ]
    return np.asarray(cv2.add(lit, glare(painter.camera.size_hw, lights)), np.uint8)


def _lit(image: Bytes, shine: Bytes, depths: Depths, evening: Evening, lamps: Points) -> Bytes:
    """Things in the light that falls on them, behind the air between; the sky is painted as it shall be."""
    air = np.exp(np.float32(-evening.haze) * np.minimum(depths.metres[::2, ::2], 600))[:, :, None]
    veil = (1 - air) * (evening.sky.sky_low * 0.6).astype(np.float32)
    size = image.shape[1::-1]
    lit = cv2.multiply(image, cv2.resize(_illumination(depths, evening, lamps) * air, size), dtype=cv2.CV_32F)
    lit = cv2.add(lit, cv2.resize(veil, size))
    windows = cv2.convertScaleAbs(shine, alpha=evening.windows)
    shown = cv2.convertScaleAbs(lit)
    shown = cv2.add(shown, windows, shown, depths.on_wall.astype(np.uint8))
    open_sky = depths.in_sky.astype(np.uint8)
    if evening.sky.sky_low.max() < 80:
        # Pixels at an edge hold some of what stands before the sky, in daylight's colours: a bright rim at night.
        open_sky = np.asarray(cv2.erode(open_sky, np.ones((3, 3), np.uint8)), np.uint8)
    return np.asarray(cv2.copyTo(image, open_sky, shown), np.uint8)


def _illumination(depths: Depths, evening: Evening, lamps: Points) -> Floats:
    """Factors float32 [h / 2, w / 2, 3] on what was painted: the rest of the day, street lamps, our headlights."""
    beam = own_beam(depths) * np.float32(evening.beam)
    light = evening.ambient.astype(np.float32) + pools(depths, lamps)[:, :, None] * evening.lamps.astype(np.float32)
    return np.asarray(light + beam[:, :, None] * np.array([1.0, 0.96, 0.88], np.float32), np.float32)
