"""What a camera does to a clean picture: gain, colour cast, vignette, blur, noise, compression."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Lens:
    """One camera's faults: ``gain`` [3] per RGB channel, ``gamma``, ``vignette`` 0-1, ``blur`` sigma in pixels
    at a width of 1024, ``noise`` sigma in grey levels, ``shot`` sigma as a share of the brightness,
    ``quality`` of an extra JPEG pass (0: none)."""

    gain: tuple[float, float, float]
    gamma: float
    vignette: float
    blur: float
    noise: float
    shot: float
    quality: int


def draw_lens(rng: np.random.Generator) -> Lens:
    """A random camera."""
    gain = rng.uniform(0.9, 1.35)
    tint = rng.normal(1.0, 0.035, 3)
    return Lens(
        gain=(float(gain * tint[0]), float(gain * tint[1]), float(gain * tint[2])),
        gamma=float(rng.uniform(0.85, 1.15)),
        vignette=float(rng.uniform(0, 0.3)),
        blur=float(rng.choice([0.0, 0.45, 0.7, 1.0], p=[0.35, 0.3, 0.22, 0.13])),
        noise=float(rng.gamma(2.0, 1.6)),
        shot=float(rng.uniform(0, 0.035)),
        quality=int(rng.integers(45, 92)) if rng.random() < 0.35 else 0,
    )


def expose(image: Bytes, lens: Lens, rng: np.random.Generator) -> Bytes:
    """The picture [h, w, 3] as this camera records it; ``rng`` draws this frame's noise."""
    sigma = lens.blur * image.shape[1] / 1024
    if sigma > 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    image = np.asarray(cv2.LUT(image, _curve(lens)), np.uint8)
    if lens.vignette > 0.02:
        dark = _vignette(image.shape[0], image.shape[1], round(lens.vignette, 2))
        image = np.asarray(cv2.multiply(image, cv2.cvtColor(dark, cv2.COLOR_GRAY2RGB), scale=1 / 255), np.uint8)
    image = _noisy(image, lens, rng)
    return compressed(image, lens.quality) if lens.quality else image


@lru_cache(maxsize=64)
def _curve(lens: Lens) -> Bytes:
    level = np.arange(256) / 255
    curve = [255 * np.clip(level * gain, 0, 1) ** lens.gamma for gain in lens.gain]
    return np.stack(curve, axis=1).round().astype(np.uint8).reshape(256, 1, 3)


@lru_cache(maxsize=32)
def _vignette(high: int, wide: int, strength: float) -> Bytes:
    """What is left of 255 [h, w]; the cache holds every strength that a lens may have."""
    y, x = np.linspace(-1, 1, high)[:, None], np.linspace(-1, 1, wide)[None]
    return np.asarray(255 * (1 - strength * (x * x + y * y) / 2), np.uint8)


@lru_cache(maxsize=4)
def _static(high: int, wide: int) -> Bytes:
    """Noise around 128 with sigma 32, larger than a frame so that every frame takes another part."""
    rng = np.random.default_rng([10, high, wide])
    return np.clip(rng.normal(128, 32, (high + 128, wide + 128, 3)), 0, 255).astype(np.uint8)


def _noisy(image: Bytes, lens: Lens, rng: np.random.Generator) -> Bytes:
    high, wide = image.shape[:2]
    field = _static(high, wide)
    top, left = (int(offset) for offset in rng.integers(0, 128, 2))
    part = field[top : top + high, left : left + wide]
    scaled = cv2.addWeighted(image, 1.0, part, lens.noise / 32, -128 * lens.noise / 32)
    other = cv2.flip(part, 0)
    speckle = cv2.addWeighted(other, lens.shot * 4, other, 0.0, 128 * (1 - lens.shot * 4))
    return np.asarray(cv2.multiply(scaled, speckle, scale=1 / 128), np.uint8)


def compressed(image: Bytes, quality: int) -> Bytes:
    """The picture after a JPEG of this quality (1-100)."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
