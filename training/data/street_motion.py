"""Motion blur: what the camera's own way, turn and shaking do to a picture while its shutter is open."""

from dataclasses import dataclass
from math import ceil, log2

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_depths import Depths
from training.data.street_outlines import Bytes

_LONGEST = 0.045
"""Longest smear as a share of the frame's width."""
_FINEST = 3.0
"""Pixels between two samples of a smear."""


@dataclass(frozen=True)
class Motion:
    """While the shutter is open: ``way`` metres ahead, ``shift`` (x, y) of the whole picture as shares of its width."""

    way: float
    shift: tuple[float, float]


def draw_motion(rng: np.random.Generator, speed: float, focal: float) -> Motion:
    """A random exposure of 1/50 to 1/12 s at this ``speed`` in metres per second; some turn, all shake.

    ``focal`` is per frame width.
    """
    exposure = rng.uniform(0.02, 0.08)
    turning = rng.normal(0, 0.3) if rng.random() < 0.45 else 0.0
    shake = rng.normal(0, 1, 2) * (0.0018, 0.0022)
    return Motion(
        way=float(exposure * max(speed, 4.0)),
        shift=(float(exposure * turning * focal + shake[0]), float(shake[1])),
    )


def smeared(image: Bytes, depths: Depths, motion: Motion) -> Bytes:
    """The picture [h, w, 3], each pixel the mean along its way, in the middle of which it stands.

    Things come towards us from the point that we head for, the faster the nearer they are (Longuet-Higgins and
    Prazdny 1980); a turn shifts near and far alike.
    """
    coarse = _flow(depths, motion)
    steps = max(1, ceil(log2(max(float(np.abs(coarse).max()) / _FINEST, 1.0))))
    high, wide = image.shape[:2]
    flow = np.asarray(cv2.resize(coarse, (wide, high)), np.float32)
    x, y = np.arange(wide, dtype=np.float32)[None], np.arange(high, dtype=np.float32)[:, None]
    here = np.stack(np.broadcast_arrays(x, y), axis=2)
    first = 0.5 - 0.5 ** (steps + 1)
    result = _mean(_moved(image, here, flow, -first), _moved(image, here, flow, 0.5 - first))
    for step in range(2, steps + 1):
        result = _mean(result, _moved(result, here, flow, 0.5**step))
    return result


def _mean(first: Bytes, second: Bytes) -> Bytes:
    return np.asarray(cv2.addWeighted(first, 0.5, second, 0.5, 0), np.uint8)


def _flow(depths: Depths, motion: Motion) -> NDArray[np.float32]:
    """Pixels [h / 4, w / 4, 2] (x, y) that the picture moves by."""
    camera, metres = depths.camera, depths.metres[::4, ::4]
    ahead = camera.rotation @ np.array([0.0, 1.0, 0.0])
    towards = camera.to_pixels(ahead[None])[0]
    x = (np.arange(0, camera.size_hw[1], 4) - towards[0]).astype(np.float32)[None]
    y = (np.arange(0, camera.size_hw[0], 4) - towards[1]).astype(np.float32)[:, None]
    growth = np.float32(motion.way) / np.maximum(metres, 1.5)
    shift = np.array(motion.shift, np.float32) * camera.size_hw[1]
    flow = np.stack([x * growth + shift[0], y * growth + shift[1]], axis=2)
    most = np.float32(_LONGEST * camera.size_hw[1])
    length = np.maximum(np.hypot(flow[:, :, 0], flow[:, :, 1]), 1e-6)[:, :, None]
    return np.asarray(cv2.blur(flow * np.minimum(1, most / length), (3, 3)), np.float32)


def _moved(image: Bytes, here: NDArray[np.float32], flow: NDArray[np.float32], share: float) -> Bytes:
    x, y = cv2.split(cv2.addWeighted(here, 1.0, flow, share, 0.0))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
