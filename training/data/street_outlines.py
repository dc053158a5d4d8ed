"""A mesh as the camera sees it: shaded pixel outlines in painting order, and how they fill a canvas."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import NEAR, Camera, Points, clip_near, turn
from training.data.street_light import Light
from training.data.street_mesh import GHOST, LIT, ROUND, Mesh

Bytes = NDArray[np.uint8]
_SHIFT = 4
_CIRCLE = np.stack([np.cos(np.arange(10) * np.pi / 5), np.sin(np.arange(10) * np.pi / 5)], axis=1)
_OFF_FRAME = 8000


@dataclass(frozen=True)
class Pose:
    """Where an object stands: metres on the ground, heading in radians (0 looks along +y)."""

    x: float
    y: float
    heading: float
    z: float = 0.0


@dataclass(frozen=True)
class Outlines:
    """Faces in painting order: face f has ``points`` [p, 2] and ``radii`` [p] in pixels, from ``starts[f]``.

    ``starts`` has one more entry than there are faces; ``colours`` RGB 0-255 and ``flags`` one per face.
    """

    points: Points
    radii: Points
    starts: list[int]
    colours: list[list[float]]
    flags: list[int]

    def fill(self, canvas: Bytes, ghost: Bytes | None, origin_xy: tuple[int, int], zoom: int) -> None:
        """Paint into ``canvas`` uint8 RGBA, whose corner is ``origin_xy`` in the frame, enlarged ``zoom`` times.

        Ghosts go into ``ghost`` uint8 [h, w] instead.
        """
        scale = float(zoom << _SHIFT)
        corners = (self.points - np.array(origin_xy, np.float64)) * scale - (1 << (_SHIFT - 1))
        flat = corners.astype(np.int32)
        blobs = _Blobs(corners, self.radii * scale)
        for start, stop, colour, flag in zip(self.starts[:-1], self.starts[1:], self.colours, self.flags, strict=True):
            if flag & ROUND:
                blobs.fill(canvas, start, stop, colour)
            elif flag & GHOST and ghost is not None:
                cv2.fillPoly(ghost, [flat[start:stop]], 255, shift=_SHIFT)
            else:
                cv2.fillPoly(canvas, [flat[start:stop]], (*colour, 255), shift=_SHIFT)


class _Blobs:
    """Circles around all round points, made in one go: the rims and their brighter cores."""

    def __init__(self, centres: Points, radii: Points) -> None:
        chosen = radii > 0
        self._place = np.cumsum(chosen) - 1
        self._radii = radii[chosen]
        middle = centres[chosen]
        wide = self._radii[:, None, None]
        self._rims = (middle[:, None] + wide * _CIRCLE).astype(np.int32)
        lit = middle - self._radii[:, None] * np.array([0.12, 0.22])
        self._cores = (lit[:, None] + wide * (_CIRCLE * 0.6)).astype(np.int32)

    def fill(self, canvas: Bytes, start: int, stop: int, colour: list[float]) -> None:
        """The hull of some of the circles; a brighter core above the darker rim makes it look round."""
        first = int(self._place[start])
        last = first + stop - start
        rim = cv2.convexHull(self._rims[first:last].reshape(-1, 2))
        cv2.fillConvexPoly(canvas, rim, (*(c * 0.86 for c in colour), 255), shift=_SHIFT)
        if self._radii[first:last].max() > 3 << _SHIFT:
            core = cv2.convexHull(self._cores[first:last].reshape(-1, 2))
            cv2.fillConvexPoly(canvas, core, (*(min(255.0, c * 1.08) for c in colour), 255), shift=_SHIFT)


def project(mesh: Mesh, pose: Pose, camera: Camera, light: Light) -> Outlines | None:
    """The mesh at this place; None if nothing of it lies in front of the lens."""
    rotation = turn(pose.heading)
    place = np.array([pose.x, pose.y, pose.z])
    seen = camera.to_camera(mesh.points @ rotation.T + place)
    if seen[:, 2].max() < NEAR:
        return None
    order = _painting_order(mesh, (camera.position - place) @ rotation)
    clear, veil = light.through_haze(max(NEAR, float(seen[:, 2].mean())))
    colours = (_shaded(mesh, order, light, light.sun @ rotation) * clear + veil).tolist()
    if seen[:, 2].min() < NEAR:
        return _cut(mesh, seen, camera, order, colours)
    sizes = mesh.sizes[order]
    ends = np.cumsum(sizes)
    chosen = np.repeat(mesh.starts[order] - ends + sizes, sizes) + np.arange(sizes.sum())
    radii = mesh.radii[chosen] * camera.focal / seen[chosen, 2]
    pixels = camera.to_pixels(seen)[chosen]
    return Outlines(pixels, radii, [0, *ends.tolist()], colours, mesh.flags[order].tolist()) if len(order) else None


def _cut(
    mesh: Mesh, seen: Points, camera: Camera, order: NDArray[np.int64], colours: list[list[float]]
) -> Outlines | None:
    """For objects that reach behind the lens: every face is cut by itself; blobs are dropped."""
    kept: list[tuple[Points, list[float], int]] = []
    for face, colour in zip(order.tolist(), colours, strict=True):
        outline = clip_near(seen[mesh.starts[face] : mesh.starts[face + 1]])
        flag = int(mesh.flags[face])
        if len(outline) >= 3 and not flag & ROUND:
            kept.append((np.clip(camera.to_pixels(outline), -_OFF_FRAME, _OFF_FRAME), colour, flag))
    if not kept:
        return None
    points = np.concatenate([outline for outline, _, _ in kept])
    starts = [0, *np.cumsum([len(outline) for outline, _, _ in kept]).tolist()]
    return Outlines(points, np.zeros(len(points)), starts, [item[1] for item in kept], [item[2] for item in kept])


def _painting_order(mesh: Mesh, eye: Points) -> NDArray[np.int64]:
    """The faces that look towards ``eye`` [3] (object axes), part by part from layer 0 up and from far to near."""
    faces = np.flatnonzero((mesh.normals @ eye > mesh.reaches) | mesh.two_sided)
    distances = np.sum((mesh.centres - eye) ** 2, axis=1)
    ranks = np.empty(len(distances), np.int64)
    ranks[np.lexsort((-distances, mesh.layers))] = np.arange(len(distances))
    return faces[np.argsort(ranks[mesh.parts[faces]], kind="stable")]


def _shaded(mesh: Mesh, faces: NDArray[np.int64], light: Light, sun: Points) -> Points:
    flags = mesh.flags[faces]
    factors = light.shades(mesh.normals[faces], sun)
    factors[flags & ROUND > 0] = light.ambient + light.direct * 0.35
    factors[flags & LIT == 0] = light.ambient + light.direct * 0.3
    return np.minimum(mesh.colours[faces] * factors, 255)
