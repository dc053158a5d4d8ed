"""Meshes as the camera sees them: pixel outlines in painting order, and how they fill a canvas.

All meshes of a picture are projected together: they are many and small, and an operation on each would cost more than
its arithmetic.
"""

from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import NEAR, Camera, Points, clip_near
from training.data.street_ensemble import Ensemble, Indices
from training.data.street_faces import Faces, visible_faces
from training.data.street_light import Light
from training.data.street_mesh import GHOST, ROUND

Bytes = NDArray[np.uint8]
Corners = NDArray[np.int32]
Box = tuple[int, int, int, int]
_SHIFT = 4
_CIRCLE = np.stack([np.cos(np.arange(10) * np.pi / 5), np.sin(np.arange(10) * np.pi / 5)], axis=1)
_OFF_FRAME = 8000
_SHORTEST_CANVAS = 64
_MOST_ZOOM = 8


@dataclass(frozen=True)
class Outlines:
    """One mesh's faces in painting order, for a canvas that shows ``box_xyxy`` of the frame, ``zoom`` times enlarged.

    ``depth`` in metres is the mesh's middle; ``haunted`` tells whether any face is a ghost.
    ``points`` [p, 2] are the faces' corners in frame pixels. Face f has ``corners[starts[f]:starts[f + 1]]`` in
    sixteenths of a canvas pixel, ``colours`` RGBA 0-255 and ``flags``; a round one is drawn from as many circles
    ``rims`` [n, 10, 2] from ``balls[f]`` on, and their ``cores`` where it is ``large``.
    """

    box_xyxy: Box
    zoom: int
    depth: float
    haunted: bool
    points: Points
    corners: Corners
    rims: Corners
    cores: Corners
    starts: list[int]
    balls: list[int]
    large: list[bool]
    colours: list[list[float]]
    flags: list[int]

    def fill(self, canvas: Bytes, ghost: Bytes | None) -> None:
        """Paint into ``canvas`` uint8 RGBA [h, w, 4], the zoomed box; ghosts go into ``ghost`` uint8 [h, w] instead."""
        corners, starts = self.corners, self.starts
        for face, (flag, colour) in enumerate(zip(self.flags, self.colours, strict=True)):
            start, stop = starts[face], starts[face + 1]
            if flag & ROUND:
                self._fill_round(canvas, face, stop - start, colour)
            elif flag & GHOST and ghost is not None:
                cv2.fillPoly(ghost, [corners[start:stop]], 255, shift=_SHIFT)
            else:
                cv2.fillPoly(canvas, [corners[start:stop]], colour, shift=_SHIFT)

    def _fill_round(self, canvas: Bytes, face: int, count: int, colour: list[float]) -> None:
        """The hull of ``count`` circles; a brighter core above the darker rim makes it look round."""
        red, green, blue, _ = colour
        circles = slice(self.balls[face], self.balls[face] + count)
        rim = cv2.convexHull(self.rims[circles].reshape(-1, 2))
        cv2.fillConvexPoly(canvas, rim, (red * 0.86, green * 0.86, blue * 0.86, 255.0), shift=_SHIFT)
        if self.large[face]:
            core = cv2.convexHull(self.cores[circles].reshape(-1, 2))
            lit = (min(255.0, red * 1.08), min(255.0, green * 1.08), min(255.0, blue * 1.08), 255.0)
            cv2.fillConvexPoly(canvas, core, lit, shift=_SHIFT)


@dataclass(frozen=True)
class _Pixels:
    """Faces whose corners are pixels: ``points`` [p, 2] and ``radii`` [p] face after face, ``sizes`` corners each."""

    owners: Indices
    points: Points
    radii: Points
    sizes: Indices
    colours: Points
    flags: Indices
    depths: list[float]


def project(ensemble: Ensemble, camera: Camera, light: Light) -> list[Outlines | None]:
    """Each mesh at its place; None where nothing of it lies in the frame."""
    if not len(ensemble):
        return []
    seen = camera.to_camera(ensemble.turned + ensemble.places[ensemble.owners])
    nearest = np.minimum.reduceat(seen[:, 2], ensemble.firsts[:-1])
    farthest = np.maximum.reduceat(seen[:, 2], ensemble.firsts[:-1])
    faces = visible_faces(ensemble, camera, light, seen)
    whole = _whole(faces.where((nearest >= NEAR)[faces.owners]), seen, ensemble.radii, camera)
    reaching = (nearest < NEAR) & (farthest >= NEAR)
    cut = _cut(faces.where(reaching[faces.owners]), seen, camera) if reaching.any() else None
    found: list[Outlines | None] = [None] * len(ensemble)
    for pixels in (whole, cut):
        for owner, outlines in _outlines(pixels, camera.size_hw) if pixels else ():
            found[owner] = outlines
    return found


def _whole(faces: Faces, seen: Points, radii: Points, camera: Camera) -> _Pixels | None:
    if not len(faces.sizes):
        return None
    chosen = np.repeat(faces.starts - np.cumsum(faces.sizes) + faces.sizes, faces.sizes) + np.arange(faces.sizes.sum())
    shown = seen[chosen]
    wide = radii[chosen] * camera.focal / shown[:, 2]
    return _Pixels(faces.owners, camera.to_pixels(shown), wide, faces.sizes, faces.colours, faces.flags, faces.depths)


def _cut(faces: Faces, seen: Points, camera: Camera) -> _Pixels | None:
    """For objects that reach behind the lens: every face is cut by itself; blobs are dropped."""
    kept: list[int] = []
    outlines: list[Points] = []
    for face in np.flatnonzero(faces.flags & ROUND == 0).tolist():
        outline = clip_near(seen[faces.starts[face] : faces.starts[face] + faces.sizes[face]])
        if len(outline) >= 3:
            kept.append(face)
            outlines.append(np.clip(camera.to_pixels(outline), -_OFF_FRAME, _OFF_FRAME))
    if not kept:
        return None
    points, sizes = np.concatenate(outlines), np.array([len(outline) for outline in outlines])
    rest = faces.colours[kept], faces.flags[kept], faces.depths
    return _Pixels(faces.owners[kept], points, np.zeros(len(points)), sizes, *rest)


def _outlines(pixels: _Pixels, size_hw: tuple[int, int]) -> list[tuple[int, Outlines | None]]:
    """The outlines of each mesh by its index."""
    edges = np.concatenate([[0], np.cumsum(pixels.sizes)])
    first_faces = np.flatnonzero(np.diff(pixels.owners, prepend=-1))
    face_edges = [*first_faces.tolist(), len(pixels.sizes)]
    point_edges = edges[face_edges]
    boxes = _boxes(pixels, point_edges[:-1], size_hw)
    zooms = [_zoom(box) if box else 1 for box in boxes]
    counts = np.diff(point_edges)
    scale = np.repeat(np.array(zooms, np.float64) * (1 << _SHIFT), counts)
    origins = np.repeat(np.array([box[:2] if box else (0, 0) for box in boxes], np.float64), counts, axis=0)
    corners = (pixels.points - origins) * scale[:, None] - (1 << (_SHIFT - 1))
    wide = pixels.radii * scale
    rims, cores = _circles(corners, wide)
    balls = (np.cumsum(pixels.radii > 0) - 1)[edges[:-1]].tolist()
    large = (np.maximum.reduceat(wide, edges[:-1]) > 3 << _SHIFT).tolist()
    colours = np.column_stack([pixels.colours, np.full(len(pixels.colours), 255.0)]).tolist()
    haunted = (np.bitwise_or.reduceat(pixels.flags, first_faces) & GHOST > 0).tolist()
    starts, flags, flat = edges.tolist(), pixels.flags.tolist(), corners.astype(np.int32)
    found: list[tuple[int, Outlines | None]] = []
    for number, owner in enumerate(pixels.owners[first_faces].tolist()):
        box, (a, b) = boxes[number], face_edges[number : number + 2]
        if box is None:
            continue
        points = pixels.points[starts[a] : starts[b]]
        found.append(
            (owner, Outlines(box, zooms[number], pixels.depths[owner], haunted[number], points, flat, rims, cores,
                             starts[a : b + 1], balls[a:b], large[a:b], colours[a:b], flags[a:b]))
        )  # fmt: skip
    return found


def _boxes(pixels: _Pixels, firsts: Indices, size_hw: tuple[int, int]) -> list[Box | None]:
    """The part of the frame that each mesh fills, whose points start at ``firsts``; None where it fills none."""
    reach = np.maximum.reduceat(pixels.radii, firsts)[:, None]
    lows = (np.minimum.reduceat(pixels.points, firsts) - reach).tolist()
    highs = (np.maximum.reduceat(pixels.points, firsts) + reach).tolist()
    return [frame_box(low, high, size_hw) for low, high in zip(lows, highs, strict=True)]


def frame_box(low: list[float], high: list[float], size_hw: tuple[int, int]) -> Box | None:
    """The whole pixels of the frame between two corners (x, y); None if there are none."""
    x0, y0 = max(0, floor(low[0])), max(0, floor(low[1]))
    x1, y1 = min(size_hw[1], ceil(high[0])), min(size_hw[0], ceil(high[1]))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _zoom(box: Box) -> int:
    return min(_MOST_ZOOM, max(2, ceil(_SHORTEST_CANVAS / max(box[3] - box[1], 1))))


def _circles(corners: Points, radii: Points) -> tuple[Corners, Corners]:
    """Circles around all round points: the rims and their brighter cores."""
    chosen = radii > 0
    middle, wide = corners[chosen], radii[chosen][:, None]
    lit = middle - wide * np.array([0.12, 0.22])
    rims = (middle[:, None] + wide[:, None] * _CIRCLE).astype(np.int32)
    return rims, (lit[:, None] + wide[:, None] * (_CIRCLE * 0.6)).astype(np.int32)
