"""Paints meshes and sprites into a frame back to front and remembers whose every pixel is."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import Camera, Points
from training.data.street_depths import Depths
from training.data.street_ensemble import Ensemble, Pose
from training.data.street_light import Light
from training.data.street_outlines import Box, Bytes, Outlines, frame_box, project
from training.data.street_textures import blotches


@dataclass(frozen=True)
class Silhouette:
    """An object's own outline before occlusion: ``box_xyxy`` in pixels, ``mask`` bool [h, w]."""

    box_xyxy: Box
    mask: NDArray[np.bool_]


class Painter:
    """One frame in the making: ``image`` uint8 RGB [h, w, 3] and ``owners`` int32 [h, w] (0 is nobody).

    ``depths`` are kept up to what is painted; ``shine`` uint8 RGB [h, w, 3] becomes the light that windows give off,
    right where ``depths.on_wall``. Most pictures need neither.
    """

    def __init__(
        self, image: Bytes, camera: Camera, light: Light, depths: Depths | None = None, shine: Bytes | None = None
    ) -> None:
        self.image = image
        self.owners = np.zeros(image.shape[:2], np.int32)
        self.silhouettes: dict[int, list[Silhouette]] = {}
        self.camera = camera
        self.depths = depths
        self.shine = shine
        self._light = light

    def project(self, ensemble: Ensemble) -> list[Outlines | None]:
        """Each mesh as it will look; None for those out of the frame."""
        return project(ensemble, self.camera, self._light)

    def outlines(self, outlines: Outlines, owner: int, grain: int) -> None:
        """Paint one mesh; ``owner`` 0 is a thing that is no instance, ``grain`` picks its dirt."""
        canvas, ghost = _filled(outlines)
        box = outlines.box_xyxy
        if box[2] - box[0] > 10:
            canvas = _weathered(canvas, grain)
        mask = self._blend(canvas, box, owner, ghost)
        if self.depths is not None:
            self.depths.flat(mask, box, outlines.depth)

    def sprite(self, sprite: Bytes, pose: Pose, height: float) -> None:
        """Paint an upright picture (premultiplied RGBA) of this height in metres, facing the camera."""
        foot = self.camera.to_camera(np.array([[pose.x, pose.y, pose.z]]))
        if foot[0, 2] < 2.0:
            return
        x, y = self.camera.to_pixels(foot)[0]
        tall = height * self.camera.focal / foot[0, 2]
        wide = tall * sprite.shape[1] / sprite.shape[0]
        self._place(sprite, (x - wide / 2, y - tall, x + wide / 2, y), float(foot[0, 2]))

    def warped(self, texture: Bytes, corners: Points, depths: Points, tint: Points, shine: Bytes | None) -> None:
        """Paint a texture (RGBA) times ``tint`` [3] onto four pixel corners [4, 2], clockwise from the top left.

        ``depths`` [4] are the corners' in metres, ``shine`` RGB of the texture's size the light that it gives off, if
        that is kept.
        """
        box = frame_box(corners.min(axis=0).tolist(), corners.max(axis=0).tolist(), self.camera.size_hw)
        if box is None:
            return
        texture = _shrunk(texture, corners)
        high, wide = texture.shape[:2]
        source = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32) - 0.5
        target = (corners - np.array(box[:2]) - 0.5).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, target)
        clear, veil = self._light.through_haze(float(depths.mean()))
        lit = cv2.add(cv2.multiply(texture, np.array([*(tint * clear), 1.0])), np.array([*veil, 0.0]))
        canvas = np.asarray(cv2.warpPerspective(lit, matrix, (box[2] - box[0], box[3] - box[1])), np.uint8)
        mask = self._blend(canvas, box)
        if self.depths is not None:
            self.depths.plane(mask, box, corners[:3], depths[:3])
        if self.shine is not None and shine is not None:
            x0, y0, x1, y1 = box
            lit = cv2.warpPerspective(_shrunk(shine, corners), matrix, (x1 - x0, y1 - y0))
            self.shine[y0:y1, x0:x1][mask] = lit[mask]

    def _place(self, sprite: Bytes, area: tuple[float, float, float, float], depth: float) -> None:
        low, high = np.array(area[:2]), np.array(area[2:])
        box = frame_box(low.tolist(), high.tolist(), self.camera.size_hw)
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
        canvas = resized(part, size) if shrinking else np.asarray(cv2.resize(part, size), np.uint8)
        clear, veil = self._light.through_haze(depth)
        if clear < 0.98:
            hazy = np.zeros((4, 4))
            hazy[:3, :3], hazy[:3, 3], hazy[3, 3] = np.eye(3) * clear, veil / 255, 1.0
            canvas = np.asarray(cv2.transform(canvas, hazy), np.uint8)
        mask = self._blend(canvas, box)
        if self.depths is not None:
            self.depths.flat(mask, box, depth)

    def _blend(self, canvas: Bytes, box: Box, owner: int = 0, ghost: Bytes | None = None) -> NDArray[np.bool_]:
        """Paint, and give the pixels [box] that are the thing's now."""
        x0, y0, x1, y1 = box
        under, alpha = self.image[y0:y1, x0:x1], cv2.extractChannel(canvas, 3)
        rest = cv2.cvtColor(cv2.bitwise_not(alpha), cv2.COLOR_GRAY2RGB)
        shown = cv2.multiply(under, rest, scale=1 / 255)
        cv2.add(shown, cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB), dst=under)
        mask: NDArray[np.bool_] = (alpha if ghost is None else cv2.max(alpha, ghost)) >= 128
        self.owners[y0:y1, x0:x1][mask] = owner
        if owner:
            self.silhouettes.setdefault(owner, []).append(Silhouette(box, mask))
        return mask


def _filled(outlines: Outlines) -> tuple[Bytes, Bytes | None]:
    """Painted RGBA (premultiplied) and, if any face is a ghost, the ghosts' alpha; both at frame scale."""
    x0, y0, x1, y1 = outlines.box_xyxy
    wide, high = x1 - x0, y1 - y0
    canvas = np.zeros((high * outlines.zoom, wide * outlines.zoom, 4), np.uint8)
    ghost = np.zeros(canvas.shape[:2], np.uint8) if outlines.haunted else None
    outlines.fill(canvas, ghost)
    return resized(canvas, (wide, high)), None if ghost is None else resized(ghost, (wide, high))


def _weathered(canvas: Bytes, grain: int) -> Bytes:
    """The colours with dirt on them; alpha stays."""
    tile = blotches()
    row, column = (grain * 37) % 192, (grain * 91) % 192
    patch = cv2.resize(tile[row : row + 64, column : column + 64], canvas.shape[1::-1])
    dirt = cv2.merge([patch, patch, patch, np.full_like(patch, 128)])
    return np.asarray(cv2.multiply(canvas, dirt, scale=1 / 128), np.uint8)


def _shrunk(texture: Bytes, corners: Points) -> Bytes:
    """A half-size version as often as the target is much smaller, against shimmer."""
    tall = max(corners[3, 1] - corners[0, 1], corners[2, 1] - corners[1, 1])
    wide = max(corners[1, 0] - corners[0, 0], corners[2, 0] - corners[3, 0])
    while (
        texture.shape[0] > 16
        and texture.shape[1] > 16
        and (texture.shape[0] > 1.7 * tall or texture.shape[1] > 2.5 * wide)
    ):
        texture = resized(texture, (texture.shape[1] // 2, texture.shape[0] // 2))
    return texture


def resized(picture: Bytes, size_wh: tuple[int, int]) -> Bytes:
    """The picture made smaller by averaging; ``size_wh`` in pixels."""
    whole = picture.shape[1] % size_wh[0] == 0 and picture.shape[0] % size_wh[1] == 0
    if whole or picture.ndim == 2:
        return np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    # OpenCV averages parts of pixels faster where they are floats already, to the same bytes.
    means = cv2.resize(picture.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(means), np.uint8)
