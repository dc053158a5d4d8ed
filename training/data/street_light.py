"""The light of a synthetic scene: sun, sky, haze and time of day."""

from dataclasses import dataclass
from math import cos, exp, radians, sin

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.float64]


@dataclass(frozen=True)
class Light:
    """``sun`` [3] points towards the sun; colours [3] are factors on a surface's RGB, sky and haze RGB 0-255.

    ``haze`` is the share of contrast lost per metre, ``hardness`` (0-1) how dark cast shadows are,
    ``cloud`` (0-1) how covered the sky is.
    """

    sun: Rgb
    direct: Rgb
    ambient: Rgb
    sky_top: Rgb
    sky_low: Rgb
    haze: float
    hardness: float
    cloud: float

    def through_haze(self, depth: float) -> tuple[float, Rgb]:
        """What is left of a colour after ``depth`` metres of air, and the RGB [3] that the air adds."""
        clear = exp(-self.haze * depth)
        return clear, self.sky_low * (1 - clear)

    def shades(self, normals: NDArray[np.float64], sun: Rgb) -> NDArray[np.float64]:
        """Factors [n, 3] for faces with these normals [n, 3]; ``sun`` is given in the same axes."""
        return self.factors(normals[:, 2], normals @ sun)

    def factors(self, rise: NDArray[np.float64], facing: NDArray[np.float64]) -> NDArray[np.float64]:
        """Factors [n, 3] for faces whose normals have this z [n] and this cosine [n] of the angle to the sun."""
        open_sky = (0.8 + 0.25 * rise)[:, None]
        factors: NDArray[np.float64] = self.ambient * open_sky + self.direct * np.maximum(facing, 0.0)[:, None]
        return factors


def draw_light(rng: np.random.Generator) -> Light:
    """A random time of day: bright, overcast or low sun."""
    kind = rng.choice(3, p=[0.45, 0.35, 0.20])
    azimuth = rng.uniform(0, 360)
    return (_bright, _overcast, _low)[int(kind)](rng, azimuth)


def _sun(azimuth: float, elevation: float) -> Rgb:
    a, e = radians(azimuth), radians(elevation)
    return np.array([sin(a) * cos(e), cos(a) * cos(e), sin(e)])


def _bright(rng: np.random.Generator, azimuth: float) -> Light:
    warm = rng.uniform(0.94, 1.0)
    blue = rng.uniform(0.75, 1.0)
    return Light(
        sun=_sun(azimuth, rng.uniform(32, 65)),
        direct=np.array([1.0, warm, warm * 0.94]) * rng.uniform(0.50, 0.68),
        ambient=np.array([0.93, 0.98, 1.05]) * rng.uniform(0.50, 0.64),
        sky_top=np.array([110 * blue, 155 * blue, 215.0]),
        sky_low=np.array([205.0, 222.0, 238.0]),
        haze=rng.uniform(0.0008, 0.004),
        hardness=rng.uniform(0.5, 0.7),
        cloud=rng.uniform(0.0, 0.7),
    )


def _overcast(rng: np.random.Generator, azimuth: float) -> Light:
    grey = rng.uniform(170, 240)
    return Light(
        sun=_sun(azimuth, rng.uniform(50, 75)),
        direct=np.ones(3) * rng.uniform(0.08, 0.22),
        ambient=np.array([0.97, 1.0, 1.03]) * rng.uniform(0.68, 0.88),
        sky_top=np.array([0.93, 0.97, 1.02]) * grey * 0.92,
        sky_low=np.array([1.0, 1.0, 1.0]) * min(250.0, grey * 1.06),
        haze=rng.uniform(0.002, 0.008),
        hardness=rng.uniform(0.0, 0.15),
        cloud=rng.uniform(0.5, 1.0),
    )


def _low(rng: np.random.Generator, azimuth: float) -> Light:
    glow = rng.uniform(0.7, 0.9)
    return Light(
        sun=_sun(azimuth, rng.uniform(18, 30)),
        direct=np.array([1.0, glow, glow * 0.75]) * rng.uniform(0.45, 0.65),
        ambient=np.array([0.92, 0.95, 1.08]) * rng.uniform(0.46, 0.6),
        sky_top=np.array([95.0, 125.0, 180.0]) * rng.uniform(0.8, 1.1),
        sky_low=np.array([245.0, 250 * glow, 235 * glow]),
        haze=rng.uniform(0.001, 0.005),
        hardness=rng.uniform(0.4, 0.6),
        cloud=rng.uniform(0.1, 0.8),
    )
