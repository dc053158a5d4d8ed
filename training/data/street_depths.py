"""How far away what each pixel shows is: the light of lamps, wet roads and motion blur need to know."""

import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import Camera, Points

Metres = NDArray[np.float32]
SKY = np.float32(1e4)
"""The depth of pixels that show nothing nearer."""


class Depths:
    """``metres`` float32 [h, w] along the camera's axis, first of the bare ground, then of what is painted on it.

    ``ground`` stays the bare ground's.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        fall = rays(camera, 1)[2]
        self.ground: Metres = np.where(fall < -1e-4, -np.float32(camera.position[2]) / np.minimum(fall, -1e-4), SKY)
        np.minimum(self.ground, SKY, out=self.ground)
        self.metres = self.ground.copy()
        self._walls = np.zeros_like(self.ground)

    def flat(self, mask: NDArray[np.bool_], box_xyxy: tuple[int, int, int, int], depth: float) -> None:
        """Something painted where ``mask`` [box] says so, all of it this far away."""
        x0, y0, x1, y1 = box_xyxy
        self.metres[y0:y1, x0:x1][mask] = depth

    def plane(
        self, mask: NDArray[np.bool_], box_xyxy: tuple[int, int, int, int], corners: Points, depths: Points
    ) -> None:
        """A flat wall through three pixel corners [3, 2] at these depths [3]; the inverse of its depth is linear."""
        x0, y0, x1, y1 = box_xyxy
        across, down, there = np.linalg.solve(np.column_stack([corners, np.ones(3)]), 1 / depths)
        x, y = np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32)
        inverse = x * np.float32(across) + (y * np.float32(down) + np.float32(there))[:, None]
        depths = (1 / np.maximum(inverse, 1e-4))[mask]
        self.metres[y0:y1, x0:x1][mask] = depths
        self._walls[y0:y1, x0:x1][mask] = depths

    def places(self) -> tuple[Metres, Metres, Metres]:
        """World x, y and z in metres, float32 [h / 2, w / 2] each, of what every second pixel shows."""
        metres, here = self.metres[::2, ::2], self.camera.position.astype(np.float32)
        x, y, z = (ahead * metres + place for ahead, place in zip(rays(self.camera, 2), here, strict=True))
        return x, y, z

    @property
    def on_ground(self) -> NDArray[np.bool_]:
        """Whether a pixel [h, w] shows the ground itself."""
        return np.asarray((self.metres == self.ground) & (self.ground < SKY), np.bool_)

    @property
    def on_wall(self) -> NDArray[np.bool_]:
        """Whether a pixel [h, w] shows a wall, with nothing before it."""
        return np.asarray(self.metres == self._walls, np.bool_)

    @property
    def in_sky(self) -> NDArray[np.bool_]:
        """Whether a pixel [h, w] shows the sky or the skyline."""
        return self.metres >= SKY


def rays(camera: Camera, step: int) -> tuple[Metres, Metres, Metres]:
    """World x, y and z of the directions, one metre long along the camera's axis, of every ``step``-th pixel.

    They are float32, of shapes that broadcast to [h / step, w / step].
    """
    high, wide = camera.size_hw
    right = ((np.arange(0, wide, step, dtype=np.float32) + 0.5 - camera.centre_xy[0]) / camera.focal)[None]
    down = ((np.arange(0, high, step, dtype=np.float32) + 0.5 - camera.centre_xy[1]) / camera.focal)[:, None]
    axes = camera.rotation.astype(np.float32)
    x, y, z = (right * axes[0, k] + (down * axes[1, k] + axes[2, k]) for k in range(3))
    return x, y, z
