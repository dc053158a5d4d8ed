"""Paints meshes and sprites into a frame back to front and remembers whose every pixel is."""

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import NEAR, Camera, Points, clip_near, turn
from training.data.street_light import Light
from training.data.street_mesh import GHOST, LIT, ROUND, TWO_SIDED, Mesh
from training.data.street_textures import blotches

_SHIFT = 4
_CIRCLE = np.stack([np.cos(np.arange(10) * np.pi / 5), np.sin(np.arange(10) * np.pi / 5)], axis=1)
_SHORTEST_CANVAS = 64
_MOST_ZOOM = 8

Box = tuple[int, int, int, int]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Pose:
    """Where an object stands: metres on the ground, heading in radians (0 looks along +y)."""

    x: float
    y: float
    heading: float
    z: float = 0.0


@dataclass(frozen=True)
class Silhouette:
    """An object's own outline before occlusion: ``box_xyxy`` in pixels, ``mask`` bool [h, w]."""

    box_xyxy: Box
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class _Outlines:
    """Projected faces in painting order: pixel outlines, RGB colours, flags, pixel radii per point."""

    polygons: list[Points]
    radii: list[Points | None]
    colours: list[list[float]]
    flags: list[int]


class Painter:
    """One frame in the making: ``image`` uint8 RGB [h, w, 3] and ``owners`` int32 [h, w] (0 is nobody)."""

    def __init__(self, image: Bytes, camera: Camera, light: Light) -> None:
        self.image = image
        self.owners = np.zeros(image.shape[:2], np.int32)
        self.silhouettes: dict[int, list[Silhouette]] = {}
        self._camera = camera
        self._light = light

    def mesh(self, mesh: Mesh, pose: Pose, owner: int, grain: int) -> None:
        """Paint one mesh; ``owner`` 0 is a thing that is no instance, ``grain`` picks its dirt."""
        outlines = _project(mesh, pose, self._camera, self._light)
        box = _frame_box(outlines, self._camera.size_hw)
        if box is None:
            return
        canvas, ghost = _fill(outlines, box, _zoom(box))
        if box[2] - box[0] > 10:
            _weather(canvas, grain)
        mask = canvas[:, :, 3] >= 128
        if ghost is not None:
            mask |= ghost >= 128
        self._blend(canvas, mask, box, owner)

    def sprite(self, sprite: Bytes, pose: Pose, height: float) -> None:
        """Paint an upright picture (premultiplied RGBA) of this height in metres, facing the camera."""
        foot = self._camera.to_camera(np.array([[pose.x, pose.y, pose.z]]))
        if foot[0, 2] < 2.0:
            return
        x, y = self._camera.to_pixels(foot)[0]
        tall = height * self._camera.focal / foot[0, 2]
        wide = tall * sprite.shape[1] / sprite.shape[0]
        self._place(sprite, (x - wide / 2, y - tall, x + wide / 2, y), float(foot[0, 2]))

    def warped(self, texture: Bytes, corners: Points, depth: float, tint: Points) -> None:
        """Paint a texture (RGBA) times ``tint`` [3] onto four pixel corners [4, 2], clockwise from the top left."""
        box = _clamp(corners.min(axis=0), corners.max(axis=0), self._camera.size_hw)
        if box is None:
            return
        texture = _shrunk(texture, corners)
        high, wide = texture.shape[:2]
        source = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32) - 0.5
        target = (corners - np.array(box[:2]) - 0.5).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, target)
        clear, veil = self._light.through_haze(depth)
        texture = cv2.add(cv2.multiply(texture, (*(tint * clear).tolist(), 1.0)), (*veil.tolist(), 0.0))
        canvas = cv2.warpPerspective(texture, matrix, (box[2] - box[0], box[3] - box[1]), flags=cv2.INTER_LINEAR)
        self._blend(canvas, canvas[:, :, 3] >= 128, box, 0)

    def _place(self, sprite: Bytes, area: tuple[float, float, float, float], depth: float) -> None:
        low, high = np.array(area[:2]), np.array(area[2:])
        box = _clamp(low, high, self._camera.size_hw)
        if box is None:
            return
        scale = np.array([sprite.shape[1], sprite.shape[0]]) / (high - low)
        x0, y0 = ((np.array(box[:2]) - low) * scale).astype(int).clip(0)
        x1, y1 = np.ceil((np.array(box[2:]) - low) * scale).astype(int)
        part = sprite[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        if part.size == 0:
            return
        size = (box[2] - box[0], box[3] - box[1])
        shrinking = part.shape[0] > size[1]
        canvas = cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        clear, veil = self._light.through_haze(depth)
        if clear < 0.98:
            hazy = np.zeros((4, 4))
            hazy[:3, :3], hazy[:3, 3], hazy[3, 3] = np.eye(3) * clear, veil / 255, 1.0
            canvas = cv2.transform(canvas, hazy)
        self._blend(canvas, canvas[:, :, 3] >= 128, box, 0)

    def _blend(self, canvas: Bytes, mask: NDArray[np.bool_], box: Box, owner: int) -> None:
        x0, y0, x1, y1 = box
        under, paint = self.image[y0:y1, x0:x1], cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB)
        rest = cv2.bitwise_not(cv2.extractChannel(canvas, 3))
        shown = cv2.multiply(under, cv2.merge([rest, rest, rest]), scale=1 / 255)
        self.image[y0:y1, x0:x1] = cv2.add(shown, paint)
        self.owners[y0:y1, x0:x1][mask] = owner
        if owner:
            self.silhouettes.setdefault(owner, []).append(Silhouette(box, mask))


def _project(mesh: Mesh, pose: Pose, camera: Camera, light: Light) -> _Outlines:
    rotation = turn(pose.heading)
    place = np.array([pose.x, pose.y, pose.z])
    seen = camera.to_camera(mesh.points @ rotation.T + place)
    eye = (camera.position - place) @ rotation
    order = _painting_order(mesh, eye)
    if seen[:, 2].max() < NEAR:
        return _Outlines([], [], [], [])
    clear, veil = light.through_haze(max(NEAR, float(seen[:, 2].mean())))
    colours = (_shaded(mesh, light, light.sun @ rotation)[order] * clear + veil).tolist()
    flags = mesh.flags[order].tolist()
    if seen[:, 2].min() < NEAR:
        return _project_cut(mesh, seen, camera, order, colours, flags)
    pixels = camera.to_pixels(seen)
    radii = mesh.radii * camera.focal / seen[:, 2]
    spans = [(mesh.starts[face], mesh.starts[face + 1]) for face in order.tolist()]
    polygons = [pixels[a:b] for a, b in spans]
    rounds = [radii[a:b] if flag & ROUND else None for (a, b), flag in zip(spans, flags, strict=True)]
    return _Outlines(polygons, rounds, colours, flags)


def _project_cut(
    mesh: Mesh,
    seen: Points,
    camera: Camera,
    order: NDArray[np.int64],
    colours: list[list[float]],
    flags: list[int],
) -> _Outlines:
    """The slow way for objects that reach behind the lens: every face is cut by itself; blobs are dropped."""
    kept = _Outlines([], [], [], [])
    for face, colour, flag in zip(order.tolist(), colours, flags, strict=True):
        outline = clip_near(seen[mesh.starts[face] : mesh.starts[face + 1]])
        if len(outline) < 3 or flag & ROUND:
            continue
        kept.polygons.append(np.clip(camera.to_pixels(outline), -8000, 8000))
        kept.radii.append(None)
        kept.colours.append(colour)
        kept.flags.append(flag)
    return kept


def _painting_order(mesh: Mesh, eye: Points) -> NDArray[np.int64]:
    anchors = mesh.points[mesh.starts[:-1]]
    towards = np.sum(mesh.normals * (eye - anchors), axis=1)
    faces = np.flatnonzero((towards > 0) | (mesh.flags & TWO_SIDED > 0))
    distances = np.sum((mesh.centres - eye) ** 2, axis=1)
    ranks = np.empty(len(distances), np.int64)
    ranks[np.lexsort((-distances, mesh.layers))] = np.arange(len(distances))
    return faces[np.argsort(ranks[mesh.parts[faces]], kind="stable")]


def _shaded(mesh: Mesh, light: Light, sun: Points) -> Points:
    factors = light.shades(mesh.normals, sun)
    flat = mesh.flags & ROUND > 0
    factors[flat] = light.ambient + light.direct * 0.35
    factors[mesh.flags & LIT == 0] = light.ambient + light.direct * 0.3
    return np.clip(mesh.colours * factors, 0, 255)


def _frame_box(outlines: _Outlines, size_hw: tuple[int, int]) -> Box | None:
    if not outlines.polygons:
        return None
    points = np.concatenate(outlines.polygons)
    reach = max((float(radius.max()) for radius in outlines.radii if radius is not None), default=0.0)
    return _clamp(points.min(axis=0) - reach, points.max(axis=0) + reach, size_hw)


def _clamp(low: Points, high: Points, size_hw: tuple[int, int]) -> Box | None:
    x0, y0 = max(0, int(np.floor(low[0]))), max(0, int(np.floor(low[1])))
    x1, y1 = min(size_hw[1], ceil(high[0])), min(size_hw[0], ceil(high[1]))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _zoom(box: Box) -> int:
    high = max(box[3] - box[1], 1)
    return int(min(_MOST_ZOOM, max(2, ceil(_SHORTEST_CANVAS / high))))


def _fill(outlines: _Outlines, box: Box, zoom: int) -> tuple[Bytes, Bytes | None]:
    """Painted RGBA (premultiplied) and, if any face is a ghost, the ghosts' alpha; both at frame scale."""
    wide, high = box[2] - box[0], box[3] - box[1]
    canvas = np.zeros((high * zoom, wide * zoom, 4), np.uint8)
    ghost = np.zeros(canvas.shape[:2], np.uint8) if any(flag & GHOST for flag in outlines.flags) else None
    origin = np.array(box[:2], np.float64)
    scale = float(zoom << _SHIFT)
    for outline, radii, colour, flag in zip(
        outlines.polygons, outlines.radii, outlines.colours, outlines.flags, strict=True
    ):
        corners = (outline - origin) * scale - (1 << (_SHIFT - 1))
        if radii is not None:
            _fill_round(canvas, corners, radii * scale, colour)
        elif flag & GHOST and ghost is not None:
            cv2.fillPoly(ghost, [corners.astype(np.int32)], 255, shift=_SHIFT)
        else:
            cv2.fillPoly(canvas, [corners.astype(np.int32)], (*colour, 255), shift=_SHIFT)
    small = cv2.resize(canvas, (wide, high), interpolation=cv2.INTER_AREA)
    return small, None if ghost is None else cv2.resize(ghost, (wide, high), interpolation=cv2.INTER_AREA)


def _fill_round(canvas: Bytes, centres: Points, radii: Points, colour: list[float]) -> None:
    ring = (centres[:, None] + radii[:, None, None] * _CIRCLE).astype(np.int32).reshape(-1, 2)
    cv2.fillConvexPoly(canvas, cv2.convexHull(ring), (*(c * 0.86 for c in colour), 255), shift=_SHIFT)
    if radii.max() > 3 << _SHIFT:
        # A brighter core above the darker rim makes a hull of spheres look round.
        lit = centres - radii[:, None] * np.array([0.12, 0.22])
        core = (lit[:, None] + radii[:, None, None] * (_CIRCLE * 0.6)).astype(np.int32).reshape(-1, 2)
        bright = tuple(min(255.0, c * 1.08) for c in colour)
        cv2.fillConvexPoly(canvas, cv2.convexHull(core), (*bright, 255), shift=_SHIFT)


def _weather(canvas: Bytes, grain: int) -> None:
    tile = blotches()
    row, column = (grain * 37) % 192, (grain * 91) % 192
    patch = cv2.resize(tile[row : row + 64, column : column + 64], canvas.shape[1::-1])
    canvas[:, :, :3] = cv2.multiply(canvas[:, :, :3], cv2.merge([patch, patch, patch]), scale=1 / 128)


def _shrunk(texture: Bytes, corners: Points) -> Bytes:
    """A half-size version as often as the target is much smaller, against shimmer."""
    tall = max(corners[3, 1] - corners[0, 1], corners[2, 1] - corners[1, 1])
    wide = max(corners[1, 0] - corners[0, 0], corners[2, 0] - corners[3, 0])
    while texture.shape[0] > 16 and texture.shape[1] > 16 and (
        texture.shape[0] > 1.7 * tall or texture.shape[1] > 2.5 * wide
    ):
        texture = cv2.resize(texture, (texture.shape[1] // 2, texture.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return texture
