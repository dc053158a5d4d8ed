"""Photometric distortion of a picture (SSD, Liu et al. 2016, section 2.2), in 8 bits by tables."""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from scene.image import RgbImage

_FULL_TURN_DEGREES = 360.0


@dataclass(frozen=True)
class Distortion:
    """One photometric change, drawn: contrast comes before saturation and hue, or after them."""

    brightness: float
    contrast: float
    saturation: float
    hue_degrees: float
    contrast_first: bool

    def of(self, image: RgbImage) -> RgbImage:
        """Uint8 RGB [H, W, 3] changed pixel by pixel, levels clipped to 0 to 255."""
        if self.contrast_first:
            return _shift_colours(_scale_levels(image, self.contrast, self.brightness), *self._colours)
        coloured = _shift_colours(_scale_levels(image, 1.0, self.brightness), *self._colours)
        return _scale_levels(coloured, self.contrast, 0.0)

    @property
    def _colours(self) -> tuple[float, float]:
        return self.saturation, self.hue_degrees


def _scale_levels(image: RgbImage, factor: float, offset: float) -> RgbImage:
    """``factor * (image + offset)``, clipped, by table."""
    if factor == 1 and offset == 0:
        return image
    table = np.clip((np.arange(256) + offset) * factor, 0, 255).round().astype(np.uint8)
    return cast(RgbImage, cv2.LUT(image, table))


def _shift_colours(image: RgbImage, saturation: float, hue_degrees: float) -> RgbImage:
    if saturation == 1 and hue_degrees == 0:
        return image
    levels = np.arange(256)
    hues = (levels + round(hue_degrees * 256 / _FULL_TURN_DEGREES)) % 256
    table = np.stack([hues, np.clip(levels * saturation, 0, 255).round(), levels], axis=1).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table[None])
    return cast(RgbImage, cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))
