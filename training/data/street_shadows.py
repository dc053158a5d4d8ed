"""Shadows that things of the synthetic street cast on the ground."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import NEAR, Camera, Points
from training.data.street_ensemble import Ensemble
from training.data.street_light import Light
from training.data.street_mesh import Mesh
from training.data.street_world import Actor, House

_SHARP = 45.0
"""Metres beyond which only the darkness below a thing is worth painting."""
_INSET = 0.04
_ROUND = np.linspace(0, 2 * np.pi, 13)[:-1]


class Shadows:
    """Collects shadows at half the frame's size; ``left`` tells how much light remains where."""

    def __init__(self, camera: Camera, light: Light) -> None:
        self._camera = camera
        self._light = light
        high, wide = camera.size_hw
        self._cast = np.zeros(((high + 1) // 2, (wide + 1) // 2), np.uint8)
        self._contact = np.zeros_like(self._cast)

    def meshes(self, ensemble: Ensemble) -> None:
        """The sun's shadow of every part of every mesh, and the darkness below each."""
        if not len(ensemble):
            return
        self._polygons(self._contact, ensemble.on_ground(ensemble.feet * (1 - _INSET)))
        if self._light.hardness < 0.02:
            return
        away = ensemble.places[:, :2] - self._camera.position[:2]
        near = np.hypot(away[:, 0], away[:, 1]) <= _SHARP
        turned = ensemble.turned
        flat = turned[:, :2] - self._light.sun[:2] * (turned[:, 2:3] / self._light.sun[2])
        flat = flat + ensemble.places[ensemble.owners, :2]
        seen = self._camera.to_camera(np.column_stack([flat, np.zeros(len(flat))]))
        near &= np.minimum.reduceat(seen[:, 2], ensemble.firsts[:-1]) >= NEAR
        for mesh, rows, shown in zip(ensemble.meshes, ensemble.spans(), near.tolist(), strict=True):
            if shown:
                self._parts(mesh, seen[rows])

    def house(self, house: House) -> None:
        """A block's shadow; houses throw theirs onto the street when the sun stands behind them."""
        if self._light.hardness < 0.02 or self._light.sun[0] * house.side <= 0:
            return
        shift = -self._light.sun[:2] / self._light.sun[2] * house.height
        shift = shift * min(1.0, 14.0 / max(abs(float(shift[0])), 1e-6))
        foot = np.array([[house.x, house.y0], [house.x, house.y1]])
        self._polygons(self._cast, np.concatenate([foot, foot[::-1] + shift])[None])

    def trees(self, trees: list[Actor]) -> None:
        """Round crowns' shadows and their trunks'."""
        if not trees:
            return
        here, height = np.array([(tree.x, tree.y) for tree in trees]), np.array([tree.size for tree in trees])[:, None]
        shift = -self._light.sun[:2] / self._light.sun[2] * height * 0.65
        wide, middle = height * 0.26, here + shift
        crowns = [middle[:, :1] + wide * np.cos(_ROUND), middle[:, 1:] + wide * np.sin(_ROUND)]
        self._polygons(self._cast, np.stack(crowns, axis=2))
        length = np.maximum(np.hypot(shift[:, :1], shift[:, 1:]), 1e-6)
        across = np.column_stack([-shift[:, 1], shift[:, 0]]) / length * 0.12
        trunks = [here - across, here + across, here + shift + across, here + shift - across]
        self._polygons(self._cast, np.stack(trunks, axis=1))

    def left(self) -> NDArray[np.float32]:
        """Share of light left on the ground, float32 [h / 2, w / 2]."""
        cast = cv2.GaussianBlur(self._cast, (0, 0), 0.7).astype(np.float32) / 255
        contact = cv2.GaussianBlur(self._contact, (0, 0), 1.6).astype(np.float32) / 255
        return np.asarray((1 - self._light.hardness * cast) * (1 - 0.55 * contact), np.float32)

    def _parts(self, mesh: Mesh, seen: Points) -> None:
        pixels = (self._camera.to_pixels(seen) * 8).astype(np.int32)
        widths = mesh.radii * self._camera.focal / seen[:, 2] * 8
        spread = np.column_stack([widths, widths * 0.3]).astype(np.int32)
        bounds = mesh.starts[mesh.part_edges]
        lows = np.minimum.reduceat(pixels - spread, bounds[:-1])
        highs = np.maximum.reduceat(pixels + spread, bounds[:-1])
        beyond = np.array(self._cast.shape[::-1]) << 4
        shown: list[bool] = np.all((highs >= -16) & (lows <= beyond + 16), axis=1).tolist()
        points = np.stack([pixels - spread, pixels + spread], axis=1)
        for inside, (first, last) in zip(shown, pairwise(bounds.tolist()), strict=True):
            if inside:
                hull = cv2.convexHull(points[first:last].reshape(-1, 2))
                cv2.fillConvexPoly(self._cast, hull, 255, shift=4)

    def _polygons(self, canvas: NDArray[np.uint8], outlines: Points) -> None:
        """Fill ground outlines [n, k, 2] in metres, cut at the near plane."""
        for outline in self._camera.ground_polygons(outlines):
            if outline is not None:
                shown = (np.clip(outline, -20000, 20000) * 8).astype(np.int32)
                cv2.fillPoly(canvas, [shown], 255, shift=4)
