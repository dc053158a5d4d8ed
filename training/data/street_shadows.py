"""Shadows that things of the synthetic street cast on the ground."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import NEAR, Camera, Points, turn
from training.data.street_light import Light
from training.data.street_mesh import Mesh
from training.data.street_outlines import Pose
from training.data.street_world import House

_SHARP = 45.0
"""Metres beyond which only the darkness below a thing is worth painting."""


class Shadows:
    """Collects shadows at half the frame's size; ``left`` tells how much light remains where."""

    def __init__(self, camera: Camera, light: Light) -> None:
        self._camera = camera
        self._light = light
        high, wide = camera.size_hw
        self._cast = np.zeros(((high + 1) // 2, (wide + 1) // 2), np.uint8)
        self._contact = np.zeros_like(self._cast)

    def mesh(self, mesh: Mesh, pose: Pose) -> None:
        """The sun's shadow of every part, and the darkness below."""
        rotation = turn(pose.heading)
        low, high = mesh.low_high
        inset = 0.04
        base = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]]) * (1 - inset)
        place = np.array([pose.x, pose.y])
        self._polygon(self._contact, base @ rotation[:2, :2].T + place)
        if self._light.hardness < 0.02 or np.hypot(*(place - self._camera.position[:2])) > _SHARP:
            return
        world = mesh.points @ rotation.T
        flat = world[:, :2] - self._light.sun[:2] * (world[:, 2:3] / self._light.sun[2]) + place
        self._parts(mesh, flat)

    def house(self, house: House) -> None:
        """A block's shadow; houses throw theirs onto the street when the sun stands behind them."""
        if self._light.hardness < 0.02 or self._light.sun[0] * house.side <= 0:
            return
        shift = -self._light.sun[:2] / self._light.sun[2] * house.height
        shift = shift * min(1.0, 14.0 / max(abs(float(shift[0])), 1e-6))
        foot = np.array([[house.x, house.y0], [house.x, house.y1]])
        self._polygon(self._cast, np.concatenate([foot, foot[::-1] + shift]))

    def disc(self, x: float, y: float, height: float) -> None:
        """A tree's: a round crown's shadow and its trunk's."""
        shift = -self._light.sun[:2] / self._light.sun[2] * height * 0.65
        angles = np.linspace(0, 2 * np.pi, 13)[:-1]
        wide = height * 0.26
        crown = np.column_stack([x + shift[0] + wide * np.cos(angles), y + shift[1] + wide * np.sin(angles)])
        self._polygon(self._cast, crown)
        across = np.array([-shift[1], shift[0]]) / max(float(np.hypot(*shift)), 1e-6) * 0.12
        here = np.array([x, y])
        self._polygon(
            self._cast, np.array([here - across, here + across, here + shift + across, here + shift - across])
        )

    def left(self) -> NDArray[np.float32]:
        """Share of light left on the ground, float32 [h / 2, w / 2]."""
        cast = cv2.GaussianBlur(self._cast, (0, 0), 0.7).astype(np.float32) / 255
        contact = cv2.GaussianBlur(self._contact, (0, 0), 1.6).astype(np.float32) / 255
        return np.asarray((1 - self._light.hardness * cast) * (1 - 0.55 * contact), np.float32)

    def _parts(self, mesh: Mesh, flat: Points) -> None:
        seen = self._camera.to_camera(np.column_stack([flat, np.zeros(len(flat))]))
        if seen[:, 2].min() < NEAR:
            return
        pixels = (self._camera.to_pixels(seen) * 8).astype(np.int32)
        widths = mesh.radii * self._camera.focal / seen[:, 2] * 8
        spread = np.column_stack([widths, widths * 0.3]).astype(np.int32)
        bounds = np.flatnonzero(np.diff(mesh.parts, prepend=-1, append=mesh.parts[-1] + 1))
        for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            a, b = int(mesh.starts[first]), int(mesh.starts[last])
            points = np.concatenate([pixels[a:b] - spread[a:b], pixels[a:b] + spread[a:b]])
            cv2.fillConvexPoly(self._cast, cv2.convexHull(points), 255, shift=4)

    def _polygon(self, canvas: NDArray[np.uint8], outline: Points) -> None:
        shown = self._camera.ground_polygon(outline)
        if shown is not None:
            corners = (np.clip(shown, -20000, 20000) * 8).astype(np.int32)
            cv2.fillPoly(canvas, [corners], 255, shift=4)
